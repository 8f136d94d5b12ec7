"""What `warppool check` says of the ledger: what `run` would say of it, with nothing made and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from warppool.commands.findings import Finding
from warppool.errors import LedgerError
from warppool.ledger.opening import look_at

LEDGER_KEY: Final = "ledger.url"
BOOKS_KEY: Final = "ledger"
"""Of programs whose books lie in their data_dir always."""

LEDGER_KEYS: Final = (LEDGER_KEY, BOOKS_KEY)


def ledger_findings(url: str, data_dir: Path, key: str = LEDGER_KEY) -> Iterator[Finding]:
    """Whether the books can be opened; nothing where there are none and a start makes them."""
    try:
        sentence = look_at(url, data_dir)
    except LedgerError as exc:
        yield Finding("error", key, str(exc))
        return
    if sentence is not None:
        yield Finding("ok", key, sentence)

"""What `ledger.url` may be. Nothing is opened here, so reading a configuration takes no database (`opening.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from warppool.errors import ConfigError

_SQLITE: Final = "sqlite:///"
_MAY_BE: Final = "it may be sqlite:///shares.db (in data_dir) or sqlite:////path/of/shares.db"


def database_path(url: str, data_dir: Path) -> Path:
    """The file that `url` names, a relative one in `data_dir`; ConfigError for every other kind of URL."""
    if url.startswith(("postgresql:", "postgres:")):
        scheme = url.partition(":")[0]      # the rest may hold a password
        raise ConfigError(f"ledger.url is of the kind {scheme}:, which this version cannot use yet: {_MAY_BE}")
    name = url.removeprefix(_SQLITE)
    if name == url or not name.strip("/") or name.endswith("/") or "\0" in name:
        raise ConfigError(f"ledger.url is {url!r}: {_MAY_BE}")
    return data_dir / name

"""Names in lists that anybody may read: enough to know one's own, not enough to look up another's address."""

from __future__ import annotations

from typing import Final

_HEAD: Final = 8                        # bc1q and four characters
_TAIL: Final = 4


def shorten(name: str) -> str:
    """`bc1qw508…f3t4.rig` for `bc1qw508...f3t4.rig`: user and worker, each without its middle where it is long."""
    user, dot, worker = name.partition(".")
    return _short(user) + dot + _short(worker)


def _short(part: str) -> str:
    return part if len(part) <= _HEAD + _TAIL + 1 else f"{part[:_HEAD]}\u2026{part[-_TAIL:]}"

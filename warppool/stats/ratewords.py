"""A hash rate as people read it."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s")


def human_rate(rate: float) -> str:
    """`12.3 MH/s` for 12,300,000 hashes a second."""
    for unit in _UNITS:
        if rate < 1000:
            return f"{rate:.1f} {unit}"
        rate /= 1000
    return f"{rate:.1f} EH/s"

"""The operator's part of a block."""

from __future__ import annotations

DUST = 546
"""sat. Nodes do not pass on a transaction with a smaller output, so nobody could ever spend such a fee alone."""


def fee_of(value_sat: int, basis_points: int) -> int:
    """What the operator takes of a block of `value_sat`, before it is divided; 0 where it would be below DUST."""
    fee_sat = value_sat * basis_points // 10_000
    return fee_sat if fee_sat >= DUST else 0

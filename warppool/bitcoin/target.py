"""Targets, compact targets (nbits) and difficulties, in exact arithmetic.

A target is an int. A hash, read as a little-endian number, meets a target if the hash is not above the target.
Difficulty is `DIFF1 / target`, which pool engineers call "bdiff". All is done in ints and fractions: with floats, a
share just under its target could be lost to rounding.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

DIFF1 = 0xFFFF << 208               # the target of difficulty 1, the easiest one that main ever had
MAX_TARGET = 2**256 - 1             # met by every hash

_SIGN_BIT = 0x0080_0000
_MANTISSA = 0x007F_FFFF

# Beyond these powers of ten the target is 1 or MAX_TARGET, whatever the digits are (DIFF1 has 68 digits, and
# MAX_TARGET / DIFF1 has 10). Without this bound a peer could make us compute with numbers of a million digits.
_HARDEST_EXPONENT = 70
_EASIEST_EXPONENT = -12


def target_from_nbits(nbits: int) -> int:
    """The target of `nbits` (the compact form, U32); 0 if the mantissa is 0, and no block can meet that.

    ValueError if the sign bit is set or the target has more than 256 bits: the node refuses a header with either.
    """
    if not 0 <= nbits <= 0xFFFF_FFFF:
        raise ValueError(f"nbits {nbits} is not a U32")
    if nbits & _SIGN_BIT:
        raise ValueError(f"nbits {nbits:08x} is negative")
    exponent, mantissa = nbits >> 24, nbits & _MANTISSA
    if exponent <= 3:
        return mantissa >> 8 * (3 - exponent)
    target = mantissa << 8 * (exponent - 3)
    if target > MAX_TARGET:
        raise ValueError(f"nbits {nbits:08x} is above 256 bits")
    return target


def nbits_from_target(target: int) -> int:
    """The compact form of `target`. It keeps the highest 15 to 23 bits and cuts off the others, as the node does.

    Of all exponents it takes the smallest whose mantissa leaves the sign bit clear. ValueError outside 0..MAX_TARGET.
    """
    if not 0 <= target <= MAX_TARGET:
        raise ValueError("a target has 0..256 bits")
    exponent = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - exponent) if exponent <= 3 else target >> 8 * (exponent - 3)
    if mantissa & _SIGN_BIT:
        mantissa >>= 8
        exponent += 1
    return exponent << 24 | mantissa


def target_from_difficulty(difficulty: int | Decimal | Fraction | str) -> int:
    """The target of a difficulty, rounded down, 1..MAX_TARGET.

    Text is read as a decimal number. A float is a TypeError, because it may not be the number that was meant any more.
    ValueError unless the difficulty is a finite number above 0.
    """
    if isinstance(difficulty, str):
        difficulty = _decimal(difficulty)
    if isinstance(difficulty, Decimal):
        if not difficulty.is_finite() or difficulty <= 0:
            raise ValueError(f"difficulty must be finite and above 0, not {difficulty:.6g}")
        if difficulty.adjusted() > _HARDEST_EXPONENT:
            return 1
        if difficulty.adjusted() < _EASIEST_EXPONENT:
            return MAX_TARGET
    elif not isinstance(difficulty, (int, Fraction)):
        raise TypeError(f"difficulty is an int, Decimal, Fraction or str, not {type(difficulty).__name__}")
    elif difficulty <= 0:
        raise ValueError("difficulty must be above 0")
    numerator, denominator = difficulty.as_integer_ratio()
    return min(MAX_TARGET, max(1, DIFF1 * denominator // numerator))


def difficulty_from_target(target: int) -> Fraction:
    """The exact difficulty of a target; ValueError outside 1..MAX_TARGET."""
    if not 1 <= target <= MAX_TARGET:
        raise ValueError("a difficulty needs a target in 1..2^256-1")
    return Fraction(DIFF1, target)


def target_from_hash_rate(rate_hps: float, shares_per_minute: Fraction | Decimal | float) -> int:
    """The target that a machine of `rate_hps` hashes a second meets `shares_per_minute` times a minute, 1..MAX_TARGET.

    Source: the formula of the Stratum reference implementation, docs/share-to-block.rst#targets. ValueError unless the
    rate is finite and at least 0, and the shares a minute are finite and above 0.
    """
    if not math.isfinite(rate_hps) or rate_hps < 0:
        raise ValueError(f"a hash rate is finite and at least 0, not {rate_hps}")
    if not math.isfinite(shares_per_minute) or shares_per_minute <= 0:
        raise ValueError(f"shares a minute are finite and above 0, not {shares_per_minute}")
    hashes = int(Fraction(rate_hps) * 60 / Fraction(shares_per_minute))
    return max(1, (MAX_TARGET - hashes) // (hashes + 1))


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"difficulty {text[:40]!r} is not a number") from None

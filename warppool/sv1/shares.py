"""Shares of V1: the parameters of a submit, and what a share adds to its submission to be answered in its turn."""

from __future__ import annotations

import struct
from typing import TypeAlias, cast

from warppool.mining.validator import Submission
from warppool.sv1.jobs import key_of

Fields: TypeAlias = tuple[str, int, bytes, int, int, int]
"""Of a submit: worker, key of the job, extranonce2, ntime, nonce, version bits (-1 for none)."""

BEYOND_ANY_MASK = -1
"""Stands for a version that asks for bits it may not roll: it differs from every job's outside of any mask, so that
the channel says so, in its place among the other reasons."""

_HEX_SIZE = 8
_TWO_NUMBERS = struct.Struct(">II")


class Share(Submission):
    """V1's submission, as `sv2.shares.Share` is V2's. It is its own place among the answers (`answers.Place`).

    Both fields are set right after it is made.
    """

    __slots__ = ("line", "request_id")

    request_id: bytes
    line: bytes | None


def read_submit(params: list[object] | None) -> Fields | None:
    """The fields of a submit, or None where count, type or hex are not right.

    ntime and version bits have 8 hex digits; of a nonce the leading zeros may be missing, as NerdMiner prints it.
    """
    if params is None or not 5 <= len(params) <= 6:
        return None
    for param in params:
        if type(param) is not str:
            return None
    user, job, extranonce2, ntime, nonce, bits = cast(list[str], params if len(params) == 6 else [*params, ""])
    if 0 < len(nonce) < _HEX_SIZE:
        nonce = nonce.zfill(_HEX_SIZE)
    if len(nonce) != _HEX_SIZE or len(ntime) != _HEX_SIZE or (len(params) == 6 and len(bits) != _HEX_SIZE):
        return None
    digits = f"{ntime}{nonce}{bits}{extranonce2}"
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return None
    if 2 * len(raw) != len(digits):                     # `fromhex` passes over white space
        return None
    ntime_number, nonce_number = _TWO_NUMBERS.unpack_from(raw)
    if not bits:
        return user, key_of(job), raw[8:], ntime_number, nonce_number, -1
    return user, key_of(job), raw[12:], ntime_number, nonce_number, int.from_bytes(raw[8:12], "big")

"""A solution of a template client: assembled and hashed before anything else is done about it.

What does not meet the template's target costs its sender nothing to make, so it must cost us next to nothing. What does
meet it is a block, unless its coinbase spoils it; then the log says so, for somebody has lost a block.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from warppool.bitcoin.block import block_hash
from warppool.bitcoin.coinbase import (
    MAX_SCRIPT_SIG,
    MIN_SCRIPT_SIG,
    find_commitment,
    restore_witness,
)
from warppool.bitcoin.compactsize import decode_compact_size, encode_compact_size
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import Header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import MARKER_AND_FLAG, parse_outputs
from warppool.mining.shorter import ShortTemplate
from warppool.sv2.messages.template import SubmitSolution

_SCRIPT_LENGTH = 41             # offset in a stripped coinbase: version 4, count 1, outpoint 36
_SEQUENCE = 4                   # bytes between scriptSig and the count of outputs
_LOCKTIME = 4
_WITNESS_AND_LOCKTIME = 34 + _LOCKTIME      # the reserved value with its two lengths


class Solved(NamedTuple):
    """A block: its header (80 bytes), its coinbase as the block carries it, and its hash (header order)."""

    header: bytes
    coinbase_tx: bytes
    block_hash: bytes


class Spoiled(NamedTuple):
    """No block; `reason` is for the log. `has_work`: the hash is good, so a block is lost."""

    reason: str
    has_work: bool = False


def check_solution(m: SubmitSolution, short: ShortTemplate) -> Solved | Spoiled:
    """What a solution of the template `short` is. Nothing is read of the coinbase before its block is hashed."""
    template, stripped = short.template, m.coinbase_tx
    if stripped[4:6] == MARKER_AND_FLAG:
        stripped = b"".join((stripped[:4], stripped[6:-_WITNESS_AND_LOCKTIME], stripped[-_LOCKTIME:]))
    given, stripped = stripped, _without_second_copy(stripped, short)
    header, found = _assembled(m, short, stripped)
    if stripped is not given and int.from_bytes(found, "little") > template.tip.target:
        stripped = given
        header, found = _assembled(m, short, stripped)
    if int.from_bytes(found, "little") > template.tip.target:
        return Spoiled("its hash is above the target")
    try:
        coinbase = restore_witness(stripped)            # which reads it, and looks whether it is a coinbase
        if stripped is given and m.coinbase_tx not in (stripped, coinbase):
            raise ValueError("its coinbase has another reserved value than 32 zero bytes")
        _check_script(stripped, template.coinbase_prefix)
        _check_outputs(stripped, short)
    except ValueError as exc:
        return Spoiled(str(exc), has_work=True)
    return Solved(header, coinbase if template.has_witness else stripped, found)


def _assembled(m: SubmitSolution, short: ShortTemplate, stripped: bytes) -> tuple[bytes, bytes]:
    """The header with this coinbase, and its hash."""
    tip = short.template.tip
    root = fold_merkle_path(double_sha256(stripped), short.path)
    header = Header(m.version, tip.prev_hash, root, m.header_timestamp, tip.nbits, m.header_nonce).pack()
    return header, block_hash(header)


def _without_second_copy(stripped: bytes, short: ShortTemplate) -> bytes:
    """The coinbase as it was mined where the template's outputs stand at its end twice; else as it is.

    SRI's pool (0.7.0) hands in the blocks of standard channels in a group so.
    """
    outputs, length = short.outputs, stripped[_SCRIPT_LENGTH] if len(stripped) > _SCRIPT_LENGTH else 0
    if not outputs or not stripped.endswith(2 * outputs, 0, -_LOCKTIME):
        return stripped
    at = _SCRIPT_LENGTH + 1 + length + _SEQUENCE
    try:
        count, start = decode_compact_size(stripped, at)
        fewer = encode_compact_size(count - short.template.coinbase_tx_outputs_count)
    except ValueError:
        return stripped
    return b"".join((stripped[:at], fewer, stripped[start:-_LOCKTIME - len(outputs)], stripped[-_LOCKTIME:]))


def _check_script(stripped: bytes, prefix: bytes) -> None:
    length = stripped[_SCRIPT_LENGTH]
    if not MIN_SCRIPT_SIG <= length <= MAX_SCRIPT_SIG:
        raise ValueError(f"its coinbase script has {length} bytes, not {MIN_SCRIPT_SIG} to {MAX_SCRIPT_SIG}")
    if not stripped.startswith(prefix, _SCRIPT_LENGTH + 1):
        raise ValueError("its coinbase script does not begin with the prefix of the template")


def _check_outputs(stripped: bytes, short: ShortTemplate) -> None:
    """ValueError unless the template's outputs are among them, and no more is claimed than the template has."""
    template = short.template
    after_script = _SCRIPT_LENGTH + 1 + stripped[_SCRIPT_LENGTH]
    count, start = decode_compact_size(stripped, after_script + _SEQUENCE)
    outputs = stripped[start:-_LOCKTIME]
    found = parse_outputs(outputs, count)
    wanted = parse_outputs(short.outputs, template.coinbase_tx_outputs_count)
    if Counter(wanted) - Counter(found):
        raise ValueError("its coinbase lacks an output of the template")
    if find_commitment(outputs, count) != find_commitment(short.outputs, template.coinbase_tx_outputs_count):
        raise ValueError("its coinbase has another witness commitment behind the one of the template")
    claimed = sum(value for value, _ in found)
    allowed = short.value + sum(value for value, _ in wanted)
    if claimed > allowed:
        raise ValueError(f"its coinbase claims {claimed} sat, and the template has {allowed}")

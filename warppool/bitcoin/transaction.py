"""Serialized transactions, read as far as a pool needs them: ids, sizes and outputs.

The node has checked scripts and values. The structure is read strictly, because one wrong id makes a whole block
invalid: only the shortest form of a count is taken, and a segwit form must have a witness. Each count is compared with
the bytes that are left before anything is read, so that a wrong count cannot keep us busy.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.bitcoin.compactsize import decode_compact_size, encode_compact_size
from warppool.bitcoin.hashes import double_sha256

MAX_MONEY_SAT = 21_000_000 * 100_000_000
MAX_TRANSACTION_SIZE = 4_000_000        # bytes: the weight limit of a block, at one unit a byte of witness

MARKER_AND_FLAG = b"\x00\x01"           # BIP144, after the version
_LEAST_INPUT = 41                       # bytes: outpoint 36, empty script 1, sequence 4
_LEAST_OUTPUT = 9                       # bytes: value 8, empty script 1
_LEAST_WITNESS_ITEM = 1                 # byte: an empty item


@dataclass(frozen=True, slots=True)
class Transaction:
    """The ids and sizes of one raw transaction. Ids are 32 bytes in header order."""

    txid: bytes             # of the stripped form
    wtxid: bytes            # of all its bytes; equal to txid without a witness
    size: int               # bytes, with witness
    stripped_size: int      # bytes, without
    end: int                # where the transaction ends in the bytes that it was read from

    @property
    def weight(self) -> int:
        """Weight units (BIP141): a byte of witness weighs one, any other byte four."""
        return 3 * self.stripped_size + self.size


def parse_transaction(raw: bytes, offset: int = 0) -> Transaction:
    """Read one transaction at `offset`, in legacy or segwit form; ValueError if it is cut short or malformed."""
    has_witness = raw[offset + 4:offset + 6] == MARKER_AND_FLAG
    body = offset + (6 if has_witness else 4)
    inputs, position = _count(raw, body, _LEAST_INPUT, "inputs")
    for _ in range(inputs):
        position = _skip_bytes(raw, position + 36) + 4
    outputs, position = _count(raw, position, _LEAST_OUTPUT, "outputs")
    for _ in range(outputs):
        position = _skip_bytes(raw, position + 8)
    if not inputs or not outputs:
        raise ValueError("a transaction has at least one input and one output")
    witness = position
    if has_witness:
        position = _skip_witnesses(raw, position, inputs)
    end = position + 4
    if end > len(raw):
        raise ValueError("the bytes end inside a transaction")
    if end - offset > MAX_TRANSACTION_SIZE:
        raise ValueError(f"a transaction of {end - offset} bytes fits no block")
    whole = raw[offset:end]
    wtxid = double_sha256(whole)
    if not has_witness:
        return Transaction(wtxid, wtxid, len(whole), len(whole), end)
    stripped = raw[offset:offset + 4] + raw[body:witness] + raw[position:end]
    return Transaction(double_sha256(stripped), wtxid, len(whole), len(stripped), end)


def whole_transaction(raw: bytes) -> Transaction:
    """Read bytes that are exactly one transaction; ValueError otherwise."""
    transaction = parse_transaction(raw)
    if transaction.end != len(raw):
        raise ValueError(f"{len(raw) - transaction.end} bytes follow the transaction")
    return transaction


def transaction_ids(raw: bytes) -> tuple[bytes, bytes]:
    """(txid, wtxid) of one raw transaction, header order; ValueError if `raw` is not exactly one."""
    transaction = whole_transaction(raw)
    return transaction.txid, transaction.wtxid


def transaction_weight(raw: bytes) -> int:
    """Weight units of one raw transaction; ValueError if `raw` is not exactly one."""
    return whole_transaction(raw).weight


def without_witness(raw: bytes) -> bytes:
    """The stripped form of one raw transaction in either form, whatever its witness; ValueError if `raw` is not exactly
    one.
    """
    transaction = whole_transaction(raw)
    if raw[4:6] != MARKER_AND_FLAG:
        return raw
    return raw[:4] + raw[6:transaction.stripped_size - 2] + raw[-4:]


def serialize_output(value_sat: int, script: bytes) -> bytes:
    """One output: U64 value, CompactSize, script. ValueError for a value outside 0..21 million coins."""
    if not 0 <= value_sat <= MAX_MONEY_SAT:
        raise ValueError(f"an output holds 0..{MAX_MONEY_SAT} sat, not {value_sat}")
    return value_sat.to_bytes(8, "little") + encode_compact_size(len(script)) + script


def parse_outputs(outputs: bytes, count: int) -> tuple[tuple[int, bytes], ...]:
    """(value in sat, script) of `count` serialized outputs; ValueError if the bytes are not exactly that many."""
    if not 0 <= count <= len(outputs) // _LEAST_OUTPUT:
        raise ValueError(f"{count} outputs do not fit {len(outputs)} bytes")
    position, found = 0, []
    for _ in range(count):
        length, start = decode_compact_size(outputs, position + 8)
        value = int.from_bytes(outputs[position:position + 8], "little")
        position = start + length
        if position > len(outputs):
            raise ValueError("the bytes end inside an output")
        if value > MAX_MONEY_SAT:
            raise ValueError(f"an output holds {value} sat, more than there are")
        found.append((value, outputs[start:position]))
    if position != len(outputs):
        raise ValueError(f"{len(outputs) - position} bytes follow {count} outputs")
    return tuple(found)


def outputs_of(raw: bytes) -> tuple[tuple[int, bytes], ...]:
    """(value in sat, script) of each output of one raw transaction; ValueError if `raw` is not exactly one."""
    whole_transaction(raw)
    body = 6 if raw[4:6] == MARKER_AND_FLAG else 4
    inputs, position = _count(raw, body, _LEAST_INPUT, "inputs")
    for _ in range(inputs):
        position = _skip_bytes(raw, position + 36) + 4
    count, start = _count(raw, position, _LEAST_OUTPUT, "outputs")
    position = start
    for _ in range(count):
        position = _skip_bytes(raw, position + 8)
    return parse_outputs(raw[start:position], count)


def _count(raw: bytes, offset: int, least_size: int, what: str) -> tuple[int, int]:
    """(a count of things that have at least `least_size` bytes each, the offset after the count); ValueError where the
    bytes that are left cannot hold so many.
    """
    count, position = decode_compact_size(raw, offset)
    if count * least_size > len(raw) - position:
        raise ValueError(f"{count} {what} do not fit the {len(raw) - position} bytes left")
    return count, position


def _skip_bytes(raw: bytes, offset: int) -> int:
    """The offset after a byte string that has its length before it. An `offset` past the end is a ValueError, too."""
    length, position = decode_compact_size(raw, offset)
    if length > len(raw) - position:
        raise ValueError(f"{length} bytes of script or witness, {len(raw) - position} left")
    return position + length


def _skip_witnesses(raw: bytes, offset: int, inputs: int) -> int:
    """The offset after the witness of each input; ValueError if all are empty, since BIP144 wants legacy form then."""
    position, items_seen = offset, 0
    for _ in range(inputs):
        items, position = _count(raw, position, _LEAST_WITNESS_ITEM, "witness items")
        for _ in range(items):
            position = _skip_bytes(raw, position)
        items_seen += items
    if not items_seen:
        raise ValueError("a segwit form without any witness")
    return position

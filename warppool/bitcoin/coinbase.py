"""The coinbase transaction: its halves around the extranonce, its two forms, and the commitment to witnesses.

Machines get the stripped form (without witness), because its hash is the txid. A block carries the segwit form. The
scriptSig has the BIP34 height, the pool's tag, an opcode that pushes what follows, and at its end the extranonce.

Source: docs/share-to-block.rst#coinbase-forms.
"""

from __future__ import annotations

from collections.abc import Sequence

from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import HASH_SIZE, double_sha256
from warppool.bitcoin.merkle import merkle_root
from warppool.bitcoin.transaction import MARKER_AND_FLAG, parse_outputs, serialize_output, whole_transaction

MIN_SCRIPT_SIG = 2                      # bytes, consensus: bad-cb-length otherwise
MAX_SCRIPT_SIG = 100                    # bytes, consensus
MAX_HEIGHT = 2**31 - 1                  # the node counts blocks in a signed 32-bit number

INPUT_SEQUENCE = 0xFFFF_FFFE
"""nSequence of a coinbase's input (BIP54): with 0xFFFFFFFF the node would ignore nLockTime, so it is one less."""

_OP_1 = 0x51
_OP_PUSHDATA1 = 0x4C
_MAX_DIRECT_PUSH = 75                   # bytes that one opcode pushes

_INPUT = b"\x01" + bytes(32) + b"\xff\xff\xff\xff"      # one input that spends nothing
_RESERVED_VALUE = b"\x00" * HASH_SIZE   # BIP141 lets it be anything, and the mining protocols assume zeros
_WITNESS = b"\x01\x20" + _RESERVED_VALUE
_COMMITMENT_SCRIPT = b"\x6a\x24\xaa\x21\xa9\xed"    # OP_RETURN, 36 bytes, the mark of BIP141


def height_push(height: int) -> bytes:
    """The push that BIP34 wants at the beginning of the scriptSig: 1 to 5 bytes; ValueError outside 0..2^31-1.

    The heights 0 to 16 are a single opcode, since BIP34 wants the shortest push. From 17 on the number is little-endian
    and signed, so 128 takes two bytes.
    """
    if not 0 <= height <= MAX_HEIGHT:
        raise ValueError(f"{height} is not a block height")
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes((_OP_1 + height - 1,))
    size = height.bit_length() // 8 + 1
    return bytes((size,)) + height.to_bytes(size, "little")


def height_of(coinbase_prefix: bytes) -> int:
    """The height at the beginning of a scriptSig; ValueError unless `height_push` makes that push.

    Whatever follows the push (padding, tags) is ignored.
    """
    if not coinbase_prefix:
        raise ValueError("an empty coinbase prefix holds no height")
    opcode = coinbase_prefix[0]
    if opcode == 0 or _OP_1 <= opcode <= _OP_1 + 15:
        return opcode and opcode - _OP_1 + 1
    height = int.from_bytes(coinbase_prefix[1:1 + opcode], "little")
    if height > MAX_HEIGHT or not coinbase_prefix.startswith(height_push(height)):
        raise ValueError(f"the coinbase prefix {coinbase_prefix[:8].hex()} does not begin with a height")
    return height


def script_sig_of(coinbase: bytes) -> bytes:
    """The scriptSig of a coinbase in stripped or segwit form; b"" for what is no coinbase."""
    at = 6 if coinbase[4:6] == MARKER_AND_FLAG else 4               # after the version, and marker and flag
    if coinbase[at:at + len(_INPUT)] != _INPUT:
        return b""
    at += len(_INPUT)
    size = int.from_bytes(coinbase[at:at + 1], "little")
    script = coinbase[at + 1:at + 1 + size]
    return script if len(script) == size <= MAX_SCRIPT_SIG else b""


def locktime_of(height: int) -> int:
    """nLockTime of the coinbase of the block at `height`: the height before it (BIP54).

    A transaction that is locked until height n may be in block n + 1, so the block is valid. And coinbases of two
    different heights are never the same transaction.
    """
    if not 1 <= height <= MAX_HEIGHT:
        raise ValueError(f"no coinbase of ours stands at height {height}")
    return height - 1


def tag_push(tag: bytes) -> bytes:
    """A push of `tag` for the scriptSig; b"" for an empty tag. ValueError if the script cannot hold the push."""
    if not tag:
        return b""
    opcode = bytes((len(tag),)) if len(tag) <= _MAX_DIRECT_PUSH else bytes((_OP_PUSHDATA1, len(tag) & 0xFF))
    if len(opcode) + len(tag) > MAX_SCRIPT_SIG:
        raise ValueError(f"a tag of {len(tag)} bytes does not fit the {MAX_SCRIPT_SIG} bytes of a coinbase script")
    return opcode + tag


def coinbase_halves(
    *,
    version: int,
    input_sequence: int,
    locktime: int,
    script_prefix: bytes,
    extranonce_size: int,
    outputs: bytes,
    outputs_count: int,
) -> tuple[bytes, bytes]:
    """(prefix, suffix) of the stripped form: prefix ‖ extranonce of `extranonce_size` bytes ‖ suffix is the coinbase.

    The scriptSig is `script_prefix` and the extranonce; the opcode that pushes the extranonce is part of
    `script_prefix`. The numbers are U32, `outputs` are serialized without their count. ValueError if the scriptSig has
    not 2..100 bytes, or if there are not `outputs_count` outputs: every block with such a coinbase would be invalid.
    """
    head = coinbase_head(version=version, script_prefix=script_prefix, extranonce_size=extranonce_size)
    if not parse_outputs(outputs, outputs_count):
        raise ValueError("a coinbase has at least one output")
    return head, _u32(input_sequence) + encode_compact_size(outputs_count) + outputs + _u32(locktime)


def coinbase_head(*, version: int, script_prefix: bytes, extranonce_size: int) -> bytes:
    """The first half alone, as in `coinbase_halves`: it does not depend on what the coinbase pays."""
    if extranonce_size < 0:
        raise ValueError("an extranonce has no negative size")
    script_size = len(script_prefix) + extranonce_size
    if not MIN_SCRIPT_SIG <= script_size <= MAX_SCRIPT_SIG:
        raise ValueError(
            f"a coinbase script has {MIN_SCRIPT_SIG}..{MAX_SCRIPT_SIG} bytes, "
            f"not {len(script_prefix)} and an extranonce of {extranonce_size}"
        )
    return _u32(version) + _INPUT + bytes((script_size,)) + script_prefix


def restore_witness(stripped: bytes) -> bytes:
    """The segwit form of a stripped coinbase, with 32 zero bytes as reserved value; ValueError for other bytes."""
    _check_stripped(stripped)
    return stripped[:4] + MARKER_AND_FLAG + stripped[4:-4] + _WITNESS + stripped[-4:]


def strip_witness(segwit: bytes) -> bytes:
    """The stripped form of a segwit coinbase; ValueError unless its witness is the reserved value of 32 zero bytes.

    `restore_witness` could not put any other value back.
    """
    if segwit[4:6] != MARKER_AND_FLAG or segwit[-38:-4] != _WITNESS:
        raise ValueError("not a coinbase in segwit form with the usual reserved value")
    stripped = segwit[:4] + segwit[6:-38] + segwit[-4:]
    _check_stripped(stripped)
    return stripped


def witness_commitment(wtxids_without_coinbase: Sequence[bytes]) -> bytes:
    """The 32 bytes by which a coinbase commits to all witnesses of its block (BIP141).

    BIP141 takes 32 zero bytes for the wtxid of the coinbase. So the commitment does not depend on the extranonce, and
    one commitment serves all machines.
    """
    return double_sha256(merkle_root([b"\x00" * HASH_SIZE, *wtxids_without_coinbase]) + _RESERVED_VALUE)


def commitment_output(commitment: bytes) -> bytes:
    """The serialized output (47 bytes, value 0) that holds `commitment`; ValueError unless it has 32 bytes."""
    if len(commitment) != HASH_SIZE:
        raise ValueError(f"a commitment has {HASH_SIZE} bytes, not {len(commitment)}")
    return serialize_output(0, _COMMITMENT_SCRIPT + commitment)


def find_commitment(outputs: bytes, count: int) -> bytes | None:
    """The 32-byte commitment in serialized outputs, or None. Where several outputs hold one, the last counts (BIP141).

    BIP141 looks at the beginning of a script alone, so a longer script may hold the commitment, too. ValueError if the
    bytes are not exactly `count` outputs.
    """
    size = len(_COMMITMENT_SCRIPT) + HASH_SIZE
    for _, script in reversed(parse_outputs(outputs, count)):
        if len(script) >= size and script.startswith(_COMMITMENT_SCRIPT):
            return script[len(_COMMITMENT_SCRIPT):size]
    return None


def _u32(number: int) -> bytes:
    if not 0 <= number <= 0xFFFF_FFFF:
        raise ValueError(f"{number} is not a U32")
    return number.to_bytes(4, "little")


def _check_stripped(stripped: bytes) -> None:
    """ValueError unless the bytes are one whole transaction without witness, with one input that spends nothing."""
    if stripped[4:41] != _INPUT:
        raise ValueError("not a coinbase in stripped form")
    whole_transaction(stripped)

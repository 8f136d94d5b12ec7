import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.coinbase import (
    MAX_HEIGHT,
    MAX_SCRIPT_SIG,
    coinbase_halves,
    commitment_output,
    find_commitment,
    height_of,
    height_push,
    locktime_of,
    restore_witness,
    script_sig_of,
    strip_witness,
    tag_push,
    witness_commitment,
)
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.transaction import serialize_output, whole_transaction

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())
SHARE = VECTORS["share"]
PAYOUT = serialize_output(5_000_000_000, bytes.fromhex("00142a97516c354b68848cdbd8f54a226a0a55b21ed1"))


def halves(**changes):
    fields = {"version": 2, "input_sequence": 0xFFFFFFFF, "locktime": 0, "script_prefix": height_push(840_000),
              "extranonce_size": 8, "outputs": PAYOUT, "outputs_count": 1}
    return coinbase_halves(**(fields | changes))


# ---- height

@pytest.mark.parametrize(("height", "push"), VECTORS["height_push"].items())
def test_height_vectors_hold(height, push):
    assert height_push(int(height)).hex() == push
    assert height_of(bytes.fromhex(push)) == int(height)


def test_every_height_of_one_opcode():
    assert [height_push(height).hex() for height in range(17)] == ["00", *(f"{op:02x}" for op in range(0x51, 0x61))]
    assert [height_of(height_push(height)) for height in range(18)] == [*range(18)]


@given(st.one_of(st.integers(0, 70_000), st.integers(0, MAX_HEIGHT)), st.binary(max_size=5))
def test_height_of_undoes_the_push_whatever_follows(height, rest):
    push = height_push(height)
    assert height_of(push + rest) == height
    for length in range(len(push)):
        with pytest.raises(ValueError):
            height_of(push[:length])


@pytest.mark.parametrize("height", [-1, MAX_HEIGHT + 1])
def test_what_is_no_height(height):
    with pytest.raises(ValueError, match="not a block height"):
        height_push(height)


def test_the_last_height():
    assert height_push(MAX_HEIGHT).hex() == "04ffffff7f"


@pytest.mark.parametrize("prefix", [
    "",
    "0110",             # 16 must be OP_16
    "0101",
    "0100",
    "021100",           # 17 with a byte too many
    "0340d1",           # cut
    "0480d10c00",       # 840,064 with a byte too many
    "01ff",             # negative
    "0180",
    "0400000080",
    "05ffffffff00",     # above 31 bits
    "0340d18c",
    "50", "61", "4c", "4d0100", "4f", "6a", "ff", "2000",
])
def test_what_does_not_begin_with_a_height(prefix):
    with pytest.raises(ValueError, match="height"):
        height_of(bytes.fromhex(prefix))


# ---- tag

@pytest.mark.parametrize(("size", "opcode"), [(1, "01"), (10, "0a"), (75, "4b"), (76, "4c4c"), (98, "4c62")])
def test_a_tag_is_pushed_as_data(size, opcode):
    assert tag_push(b"t" * size) == bytes.fromhex(opcode) + b"t" * size


def test_no_tag_takes_no_room():
    assert tag_push(b"") == b""


@pytest.mark.parametrize("size", [99, 256, 300])
def test_a_tag_that_fits_no_script_is_refused(size):
    with pytest.raises(ValueError, match=f"a tag of {size} bytes"):
        tag_push(b"t" * size)


# ---- halves

def test_worked_share():
    outputs = bytes.fromhex(SHARE["coinbase_tx_suffix"])[5:-4]
    prefix, suffix = coinbase_halves(
        version=2, input_sequence=0xFFFFFFFF, locktime=0,
        script_prefix=height_push(SHARE["height"]) + tag_push(b"/demo/") + b"\x08", extranonce_size=8,
        outputs=outputs, outputs_count=2,
    )
    assert prefix.hex() == SHARE["coinbase_tx_prefix"]
    assert suffix.hex() == SHARE["coinbase_tx_suffix"]
    coinbase = prefix + bytes.fromhex(SHARE["extranonce_prefix"] + SHARE["extranonce"]) + suffix
    assert coinbase.hex() == SHARE["coinbase_stripped"]
    assert double_sha256(coinbase).hex() == SHARE["coinbase_txid_raw"]
    assert restore_witness(coinbase).hex() == SHARE["coinbase_segwit"]
    assert strip_witness(bytes.fromhex(SHARE["coinbase_segwit"])) == coinbase
    assert find_commitment(outputs, 2).hex() == SHARE["witness_commitment"]


@given(st.binary(max_size=100), st.integers(0, 40), st.integers(0, 300))
def test_the_halves_take_an_extranonce_of_the_size_they_were_made_for(script_prefix, size, more_outputs):
    fields = {"script_prefix": script_prefix, "extranonce_size": size,
              "outputs": PAYOUT + serialize_output(0, b"") * more_outputs, "outputs_count": 1 + more_outputs}
    if not 2 <= len(script_prefix) + size <= MAX_SCRIPT_SIG:
        with pytest.raises(ValueError, match=r"2\.\.100 bytes"):
            halves(**fields)
        return
    prefix, suffix = halves(**fields)
    whole = whole_transaction(prefix + b"x" * size + suffix)
    assert whole.size == whole.stripped_size
    assert prefix.endswith(bytes((len(script_prefix) + size,)) + script_prefix)
    if size:
        with pytest.raises(ValueError):
            whole_transaction(prefix + b"x" * (size - 1) + suffix)


@pytest.mark.parametrize(("prefix_size", "extranonce_size"), [(0, 2), (2, 0), (1, 1), (100, 0), (68, 32), (0, 100)])
def test_the_edges_of_the_script_budget_fit(prefix_size, extranonce_size):
    prefix, suffix = halves(script_prefix=bytes(prefix_size), extranonce_size=extranonce_size)
    whole_transaction(prefix + bytes(extranonce_size) + suffix)


@pytest.mark.parametrize(("prefix_size", "extranonce_size"), [(0, 0), (1, 0), (0, 1), (101, 0), (69, 32), (1, 2**40)])
def test_beyond_the_script_budget_is_refused(prefix_size, extranonce_size):
    with pytest.raises(ValueError, match=f"not {prefix_size} and an extranonce of {extranonce_size}"):
        halves(script_prefix=bytes(prefix_size), extranonce_size=extranonce_size)


def test_a_negative_extranonce_is_refused():
    with pytest.raises(ValueError, match="negative"):
        halves(script_prefix=bytes(50), extranonce_size=-1)


@pytest.mark.parametrize(("outputs", "count"), [(PAYOUT, 0), (PAYOUT, 2), (PAYOUT + b"\0", 1), (PAYOUT[:-1], 1)])
def test_outputs_that_are_not_as_many_as_said_are_refused(outputs, count):
    with pytest.raises(ValueError):
        halves(outputs=outputs, outputs_count=count)


def test_a_coinbase_without_outputs_is_refused():
    with pytest.raises(ValueError, match="at least one output"):
        halves(outputs=b"", outputs_count=0)


def test_fields_stand_where_the_transaction_has_them():
    prefix, suffix = halves(version=0x01020304, input_sequence=0xFFFFFFFE, locktime=839_999)
    assert prefix[:4].hex() == "04030201"
    assert suffix[:4].hex() == "feffffff"
    assert suffix[-4:] == (839_999).to_bytes(4, "little")


def test_the_lock_time_is_the_height_before():
    assert [locktime_of(height) for height in (1, 2, 840_000, MAX_HEIGHT)] == [0, 1, 839_999, MAX_HEIGHT - 1]
    for height in (0, -1, MAX_HEIGHT + 1):
        with pytest.raises(ValueError, match="height"):
            locktime_of(height)


@pytest.mark.parametrize("field", ["version", "input_sequence", "locktime"])
@pytest.mark.parametrize("number", [-1, 2**32])
def test_numbers_are_u32(field, number):
    with pytest.raises(ValueError, match="U32"):
        halves(**{field: number})


# ---- the two forms

@given(st.binary(max_size=96))
def test_the_script_sig_is_that_of_either_form(script):
    prefix, suffix = halves(script_prefix=script, extranonce_size=4)
    coinbase = prefix + b"abcd" + suffix
    assert script_sig_of(coinbase) == script_sig_of(restore_witness(coinbase)) == script + b"abcd"
    assert script_sig_of(coinbase.replace(bytes(32), b"\x01" * 32, 1)) == b""          # an input that spends something
    assert script_sig_of(prefix) == b""


@given(st.binary(max_size=300))
def test_what_is_no_coinbase_has_no_script_sig(data):
    assert script_sig_of(data) == b""


@given(st.integers(0, 32), st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_strip_undoes_restore(extranonce_size, more_outputs, locktime):
    prefix, suffix = halves(extranonce_size=extranonce_size, locktime=locktime,
                            outputs=PAYOUT + serialize_output(0, b"") * more_outputs, outputs_count=1 + more_outputs)
    stripped = prefix + b"x" * extranonce_size + suffix
    segwit = restore_witness(stripped)
    assert len(segwit) == len(stripped) + 36
    assert strip_witness(segwit) == stripped
    assert whole_transaction(segwit).txid == double_sha256(stripped)


COINBASE = bytes.fromhex(SHARE["coinbase_stripped"])
SEGWIT = bytes.fromhex(SHARE["coinbase_segwit"])


@pytest.mark.parametrize("data", [
    b"", bytes(100), SEGWIT, COINBASE[:-1], COINBASE + b"\0", COINBASE[:4] + b"\x02" + COINBASE[5:],
    COINBASE[:5] + b"\x01" + COINBASE[6:],              # spends something
    COINBASE[:37] + bytes(4) + COINBASE[41:],
])
def test_only_a_stripped_coinbase_gets_a_witness(data):
    with pytest.raises(ValueError):
        restore_witness(data)


@pytest.mark.parametrize("data", [
    b"", bytes(100), COINBASE, SEGWIT[:-1], SEGWIT + b"\0",
    SEGWIT[:5] + b"\x02" + SEGWIT[6:],
    SEGWIT[:-38] + b"\x02" + SEGWIT[-37:],
    SEGWIT[:-37] + b"\x1f" + SEGWIT[-36:],
    SEGWIT[:-5] + b"\x01" + SEGWIT[-4:],                # another reserved value, which restore could not put back
    SEGWIT[:8] + b"\x01" + SEGWIT[9:],
    SEGWIT[:6] + SEGWIT[7:],
])
def test_only_a_segwit_coinbase_is_stripped(data):
    with pytest.raises(ValueError):
        strip_witness(data)


# ---- commitment

def test_the_commitment_of_a_block_without_other_transactions():
    commitment = witness_commitment([])
    assert commitment == double_sha256(bytes(64))
    assert commitment_output(commitment).hex() == (
        "0000000000000000266a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9"
    )


def test_the_coinbase_counts_as_zeros():
    wtxids = [bytes([n]) * 32 for n in (1, 2)]
    root = double_sha256(double_sha256(bytes(32) + wtxids[0]) + double_sha256(wtxids[1] * 2))
    assert witness_commitment(wtxids) == double_sha256(root + bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_commitment_has_32_bytes(size):
    with pytest.raises(ValueError, match="32 bytes"):
        commitment_output(bytes(size))


FIRST, SECOND = commitment_output(b"\x01" * 32), commitment_output(b"\x02" * 32)
LONGER = serialize_output(7, bytes.fromhex("6a24aa21a9ed") + b"\x03" * 32 + b"more")


@pytest.mark.parametrize(("outputs", "found"), [
    ([], None),
    ([PAYOUT], None),
    ([FIRST], b"\x01" * 32),
    ([PAYOUT, FIRST, PAYOUT], b"\x01" * 32),
    ([FIRST, SECOND], b"\x02" * 32),
    ([SECOND, FIRST], b"\x01" * 32),
    ([FIRST, LONGER], b"\x03" * 32),
    ([serialize_output(0, bytes.fromhex("6a24aa21a9ed") + bytes(31))], None),                   # a byte short
    ([serialize_output(0, bytes.fromhex("6a24aa21a9ee") + bytes(32))], None),                   # another mark
    ([serialize_output(0, b"\x6a" + bytes.fromhex("6a24aa21a9ed") + bytes(32))], None),         # not in front
])
def test_of_several_commitments_the_last_counts(outputs, found):
    assert find_commitment(b"".join(outputs), len(outputs)) == found


def test_a_commitment_is_not_looked_for_in_broken_outputs():
    with pytest.raises(ValueError):
        find_commitment(FIRST + b"\0", 1)

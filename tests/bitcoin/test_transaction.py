import json
from pathlib import Path

import pbk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.transaction import (
    MAX_MONEY_SAT,
    MAX_TRANSACTION_SIZE,
    Transaction,
    outputs_of,
    parse_outputs,
    parse_transaction,
    serialize_output,
    transaction_ids,
    transaction_weight,
    whole_transaction,
    without_witness,
)

BIP143 = [bytes.fromhex(raw) for raw in
          json.loads((Path(__file__).parents[1] / "vectors" / "bip143.json").read_text())["signed"]]
GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d"
    "65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220"
    "62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f"
    "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)


def legacy(inputs=(b"",), outputs=((1, b"\x51"),)) -> bytes:
    """A transaction without witness: the scripts of its inputs, values and scripts of its outputs."""
    body = encode_compact_size(len(inputs))
    body += b"".join(bytes(36) + encode_compact_size(len(script)) + script + b"\xff" * 4 for script in inputs)
    body += encode_compact_size(len(outputs)) + b"".join(serialize_output(*output) for output in outputs)
    return b"\x02\0\0\0" + body + b"\x07\0\0\0"


def with_witness(stripped: bytes, stacks) -> bytes:
    witness = b"".join(
        encode_compact_size(len(stack)) + b"".join(encode_compact_size(len(item)) + item for item in stack)
        for stack in stacks
    )
    return stripped[:4] + b"\0\1" + stripped[4:-4] + witness + stripped[-4:]


scripts = st.binary(max_size=300)
shapes = st.integers(1, 5).flatmap(lambda count: st.tuples(
    st.lists(scripts, min_size=count, max_size=count),
    st.lists(st.tuples(st.integers(0, MAX_MONEY_SAT), scripts), min_size=1, max_size=5),
    st.lists(st.lists(scripts, max_size=4), min_size=count, max_size=count).filter(any),
))


@pytest.mark.parametrize("raw", [*BIP143, GENESIS_COINBASE])
def test_published_transactions_have_the_ids_the_kernel_gives_them(raw):
    txid, wtxid = transaction_ids(raw)
    assert txid == bytes(pbk.Transaction(raw).txid)
    assert wtxid == double_sha256(raw)


def test_a_legacy_transaction_weighs_four_units_a_byte():
    transaction = whole_transaction(GENESIS_COINBASE)
    assert transaction.txid == transaction.wtxid
    assert transaction.txid.hex() == "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
    assert transaction.size == transaction.stripped_size == transaction.end == 204
    assert transaction_weight(GENESIS_COINBASE) == 816


@given(shapes)
def test_witness_counts_once_and_stays_out_of_the_txid(shape):
    inputs, outputs, stacks = shape
    stripped = legacy(inputs, outputs)
    raw = with_witness(stripped, stacks)
    transaction = whole_transaction(raw)
    assert transaction == Transaction(double_sha256(stripped), double_sha256(raw), len(raw), len(stripped), len(raw))
    assert transaction.weight == transaction_weight(raw) == 4 * len(stripped) + (len(raw) - len(stripped))
    assert whole_transaction(stripped).wtxid == transaction.txid


@given(st.lists(st.sampled_from([*BIP143, GENESIS_COINBASE]), min_size=1, max_size=5), st.binary(max_size=3))
def test_transactions_are_read_one_behind_the_other(raws, before):
    data, offset = before + b"".join(raws), len(before)
    for raw in raws:
        transaction = parse_transaction(data, offset)
        assert (transaction.txid, transaction.wtxid) == transaction_ids(raw)
        offset = transaction.end
    assert offset == len(data)


@pytest.mark.parametrize("raw", [BIP143[0], BIP143[4], GENESIS_COINBASE], ids=["segwit", "large", "legacy"])
def test_every_truncation_is_refused(raw):
    for length in range(len(raw)):
        with pytest.raises(ValueError):
            parse_transaction(raw[:length])


@pytest.mark.parametrize("raw", [BIP143[0], GENESIS_COINBASE])
def test_nothing_may_follow_a_whole_transaction(raw):
    for read in (whole_transaction, transaction_ids, transaction_weight):
        with pytest.raises(ValueError, match="1 bytes follow"):
            read(raw + b"\0")


HUGE = b"\xff" + b"\xff" * 8


@pytest.mark.parametrize(("raw", "words"), [
    (bytes(4) + HUGE + bytes(100), "18446744073709551615 inputs do not fit"),
    (bytes(4) + b"\x03" + bytes(41 * 3 - 1), "3 inputs do not fit the 122 bytes left"),
    (bytes(4) + b"\x01" + bytes(36) + HUGE + bytes(100), "18446744073709551615 bytes of script"),
    (legacy()[:46] + HUGE + bytes(100), "18446744073709551615 outputs do not fit"),
    (legacy()[:46] + b"\x02" + bytes(17), "2 outputs do not fit"),
    (legacy()[:55] + HUGE + bytes(100), "18446744073709551615 bytes of script"),
    (bytes(4) + b"\0\1" + legacy()[4:-4] + HUGE + bytes(100), "18446744073709551615 witness items do not fit"),
    (bytes(4) + b"\0\1" + legacy()[4:-4] + b"\x01" + HUGE + bytes(100), "18446744073709551615 bytes of script"),
])
def test_absurd_counts_are_refused_before_anything_is_made_of_them(raw, words):
    with pytest.raises(ValueError, match=words):
        parse_transaction(raw)


@pytest.mark.parametrize("raw", [
    legacy(inputs=()),
    legacy(outputs=()),
    bytes(4) + b"\0\2" + legacy()[4:],                          # a flag nobody has defined
    with_witness(legacy(outputs=()), [[b"\x01"]]),
    bytes(4) + b"\0\1" + b"\0" + b"\1" + serialize_output(1, b"") + bytes(4),
    bytes(10),
])
def test_a_transaction_has_inputs_and_outputs(raw):
    with pytest.raises(ValueError):
        parse_transaction(raw)


def test_a_segwit_form_without_witness_is_refused():
    with pytest.raises(ValueError, match="without any witness"):
        parse_transaction(with_witness(legacy([b"", b""]), [[], []]))
    parse_transaction(with_witness(legacy([b"", b""]), [[], [b""]]))      # one empty item is a witness


@pytest.mark.parametrize("at", [4, 41, 46, 55])
def test_counts_are_in_their_shortest_form(at):
    raw = legacy()
    long_form = raw[:at] + b"\xfd" + raw[at:at + 1] + b"\0" + raw[at + 1:]
    with pytest.raises(ValueError, match="shortest"):
        parse_transaction(long_form + bytes(50))


def test_a_transaction_that_fits_no_block_is_refused():
    frame = len(legacy(outputs=[(0, bytes(100_000))])) - 100_000
    largest = legacy(outputs=[(0, bytes(MAX_TRANSACTION_SIZE - frame))])
    assert whole_transaction(largest).size == MAX_TRANSACTION_SIZE
    with pytest.raises(ValueError, match="4000001 bytes fits no block"):
        parse_transaction(legacy(outputs=[(0, bytes(MAX_TRANSACTION_SIZE - frame + 1))]))
    assert parse_transaction(bytes(9) + largest, 9).size == MAX_TRANSACTION_SIZE      # the size, not where it ends


@given(st.one_of(st.binary(max_size=200), st.tuples(st.sampled_from(BIP143), st.integers(0, 10_000), st.binary(
    max_size=9)).map(lambda t: t[0][:t[1] % len(t[0])] + t[2] + t[0][t[1] % len(t[0]) + len(t[2]):])))
def test_garbage_is_read_or_a_value_error(data):
    try:
        transaction = parse_transaction(data)
    except ValueError:
        return
    assert 0 < transaction.end <= len(data)
    assert pbk.Transaction(data[:transaction.end]).txid is not None     # what we read, the kernel reads


# ---- outputs

@given(st.lists(st.tuples(st.integers(0, MAX_MONEY_SAT), scripts), max_size=6))
def test_outputs_round_trip_and_only_with_their_count(outputs):
    data = b"".join(serialize_output(*output) for output in outputs)
    assert parse_outputs(data, len(outputs)) == tuple(outputs)
    for count in {0, len(outputs) - 1, len(outputs) + 1} - {len(outputs)}:
        with pytest.raises(ValueError):
            parse_outputs(data, count)
    if data:
        with pytest.raises(ValueError):
            parse_outputs(data[:-1], len(outputs))
    with pytest.raises(ValueError):
        parse_outputs(data + b"\0", len(outputs))


@given(shapes)
def test_the_stripped_form_is_that_of_either_form(shape):
    inputs, outputs, stacks = shape
    stripped = legacy(inputs, outputs)
    assert without_witness(stripped) == without_witness(with_witness(stripped, stacks)) == stripped
    for raw in (stripped, with_witness(stripped, stacks)):
        with pytest.raises(ValueError, match="1 bytes follow"):
            without_witness(raw + b"\0")


@given(shapes)
def test_outputs_are_read_out_of_a_transaction_in_both_forms(shape):
    inputs, outputs, stacks = shape
    stripped = legacy(inputs, outputs)
    assert outputs_of(stripped) == outputs_of(with_witness(stripped, stacks)) == tuple(outputs)


@pytest.mark.parametrize("raw", BIP143)
def test_outputs_are_those_that_the_kernel_reads(raw):
    theirs = pbk.Transaction(raw).outputs
    assert outputs_of(raw) == tuple((each.amount, bytes(each.script_pubkey)) for each in theirs)
    with pytest.raises(ValueError, match="1 bytes follow"):
        outputs_of(raw + b"\0")


def test_a_serialized_output():
    assert serialize_output(312500000, bytes.fromhex("00142a97516c354b68848cdbd8f54a226a0a55b21ed1")).hex() == (
        "205fa012000000001600142a97516c354b68848cdbd8f54a226a0a55b21ed1"
    )


@pytest.mark.parametrize("value", [-1, MAX_MONEY_SAT + 1])
def test_an_output_holds_no_more_than_there_is(value):
    assert MAX_MONEY_SAT == 2_100_000_000_000_000
    with pytest.raises(ValueError, match="an output holds"):
        serialize_output(value, b"")


def test_an_output_read_holds_no_more_than_there_is():
    with pytest.raises(ValueError, match="more than there are"):
        parse_outputs((MAX_MONEY_SAT + 1).to_bytes(8, "little") + b"\0", 1)


@pytest.mark.parametrize("count", [-1, 2, 2**64, 10**30])
def test_an_absurd_count_of_outputs_is_refused_at_once(count):
    with pytest.raises(ValueError, match="do not fit"):
        parse_outputs(serialize_output(1, b""), count)


def test_outputs_end_where_their_scripts_end():
    with pytest.raises(ValueError, match="1 bytes follow 1 outputs"):
        parse_outputs(bytes(8) + b"\0" + b"\x51", 1)
    with pytest.raises(ValueError, match="end inside an output"):
        parse_outputs(bytes(8) + b"\x02\x51", 1)

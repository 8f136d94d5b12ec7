import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.compactsize import decode_compact_size, encode_compact_size

EDGES = {
    0: "00",
    0xFC: "fc",
    0xFD: "fdfd00",
    0xFFFF: "fdffff",
    0x1_0000: "fe00000100",
    0xFFFF_FFFF: "feffffffff",
    0x1_0000_0000: "ff0000000001000000",
    2**64 - 1: "ffffffffffffffffff",
}


@pytest.mark.parametrize(("number", "wire"), EDGES.items())
def test_edges_of_every_width(number, wire):
    assert encode_compact_size(number).hex() == wire
    assert decode_compact_size(bytes.fromhex(wire)) == (number, len(wire) // 2)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5), st.binary(max_size=5))
def test_decode_undoes_encode_wherever_it_stands(number, before, after):
    wire = encode_compact_size(number)
    assert decode_compact_size(before + wire + after, len(before)) == (number, len(before) + len(wire))


@given(st.integers(0, 2**64 - 1))
def test_every_truncation_is_refused(number):
    wire = encode_compact_size(number)
    for length in range(len(wire)):
        with pytest.raises(ValueError, match="end"):
            decode_compact_size(wire[:length])


@pytest.mark.parametrize("wire", ["fdfc00", "fd0000", "feffff0000", "fe00000000", "ffffffffff00000000"])
def test_only_the_shortest_form_is_a_number(wire):
    with pytest.raises(ValueError, match="shortest"):
        decode_compact_size(bytes.fromhex(wire))


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_that_have_no_form(number):
    with pytest.raises(ValueError, match="does not fit"):
        encode_compact_size(number)


@pytest.mark.parametrize("offset", [-1, 1, 2])
def test_an_offset_outside_the_bytes_is_refused(offset):
    with pytest.raises(ValueError, match="end where"):
        decode_compact_size(b"\x05", offset)

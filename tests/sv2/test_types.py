"""Each wire type (docs/sv2-wire.rst#wire-types): its bytes, its bounds, and what it says of bytes that are not it."""

from __future__ import annotations

import math
import struct
import tracemalloc
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import BadOption, LengthExceeded, LocalProtocolError, MalformedPayload, Truncated
from warppool.sv2 import types
from warppool.sv2.types import WireType


def kind(alias: Any) -> WireType[Any]:
    return get_args(alias)[1]


EXAMPLES = [
    (types.BOOL, True, "01"),
    (types.BOOL, False, "00"),
    (types.U8, 255, "ff"),
    (types.U16, 0x1234, "3412"),
    (types.U32, 0x12345678, "78563412"),
    (types.U64, 0x123456789ABCDEF0, "f0debc9a78563412"),
    (types.U256, bytes(range(32)), bytes(range(32)).hex()),
    (types.F32, 1.5e12 + 26_624, "7c9fae53"),
    (types.STR0_255, "", "00"),
    (types.STR0_255, "né", "036ec3a9"),
    (types.STR0_255, "\udcff\udcfe", "02fffe"),
    (types.B0_32, b"\x01\x02", "020102"),
    (types.B0_255, b"", "00"),
    (types.B0_64K, b"\x07" * 3, "0300070707"),
    (types.OPTION_U32, None, "00"),
    (types.OPTION_U32, 0, "0100000000"),
    (types.SEQ0_255_U256, (), "00"),
    (types.SEQ0_255_U256, (b"\x01" * 32, b"\x02" * 32), "02" + "01" * 32 + "02" * 32),
    (types.SEQ0_64K_U32, (1, 2), "02000100000002000000"),
    (types.SEQ0_64K_B0_16M, (b"", b"\xaa"), "0200" + "000000" + "010000aa"),
]


@pytest.mark.parametrize(("alias", "value", "wire"), EXAMPLES)
def test_a_value_and_its_bytes(alias, value, wire):
    data = bytes.fromhex(wire)
    assert kind(alias).write(value) == data
    assert kind(alias).read(b"\xee" + data + b"\xee", 1) == (value, 1 + len(data))


@pytest.mark.parametrize(("alias", "value", "wire"), EXAMPLES)
def test_every_truncation_of_a_value_is_refused(alias, value, wire):
    data = bytes.fromhex(wire)
    for cut in range(len(data)):
        with pytest.raises(Truncated):
            kind(alias).read(b"\xee" + data[:cut], 1)


@pytest.mark.parametrize(("alias", "wire"), [(types.TAIL_U16, "3412"), (types.TAIL_U32, "34120000")])
def test_an_optional_tail_is_there_whole_or_not_at_all(alias, wire):
    data = bytes.fromhex(wire)
    assert kind(alias).read(data, 0) == (0x1234, len(data))
    assert kind(alias).read(data, len(data)) == (None, len(data))
    assert kind(alias).write(0x1234) == data
    assert kind(alias).write(None) == b""
    for cut in range(1, len(data)):
        with pytest.raises(Truncated):
            kind(alias).read(data[:cut], 0)


def test_readers_of_bool_take_bit_0_alone():
    for byte in range(256):
        assert kind(types.BOOL).read(bytes([byte]), 0) == (byte % 2 == 1, 1)


@pytest.mark.parametrize("has_bytes", [False, True])
def test_a_b0_32_announced_longer_than_32_is_too_long_whatever_follows(has_bytes):
    for length in range(33, 256):
        with pytest.raises(LengthExceeded):
            kind(types.B0_32).read(bytes([length]) + bytes(length * has_bytes), 0)


def test_an_option_counts_0_or_1():
    for count in range(2, 256):
        with pytest.raises(BadOption):
            kind(types.OPTION_U32).read(bytes([count]) + bytes(4 * count), 0)


@pytest.mark.parametrize(("alias", "wire"), [
    (types.STR0_255, "ff"),
    (types.B0_32, "20"),
    (types.B0_255, "ff"),
    (types.B0_64K, "ffff"),
    (types.SEQ0_255_U256, "ff"),
    (types.SEQ0_64K_U32, "ffff"),
    (types.SEQ0_64K_B0_16M, "ffff"),
    (types.SEQ0_64K_B0_16M, "0100ffffff"),
])
def test_a_length_or_count_above_what_is_left_takes_no_room(alias, wire):
    payload = bytes.fromhex(wire).ljust(10, b"\xff")
    read = kind(alias).read
    tracemalloc.start()
    try:
        with pytest.raises(Truncated):
            read(payload, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_192             # 65,535 hashes would be 2 MiB, a B0_16M 16 MiB


def test_a_count_is_refused_before_its_first_value_is_read(monkeypatch):
    def never(payload, offset):
        raise AssertionError("a value was read")

    element = types.UInt(4)
    monkeypatch.setattr(element, "read", never)
    with pytest.raises(Truncated):
        types.Seq(2, element).read(b"\x03\x00" + bytes(11), 0)


@pytest.mark.parametrize(("alias", "value"), [
    (types.U8, 256),
    (types.U8, -1),
    (types.U16, 65_536),
    (types.U32, 2**32),
    (types.U32, -1),
    (types.U64, 2**64),
    (types.U32, None),
    (types.U256, bytes(31)),
    (types.U256, bytes(33)),
    (types.F32, 1e39),
    (types.STR0_255, "x" * 256),
    (types.STR0_255, "é" * 128),
    (types.STR0_255, "\ud800"),
    (types.B0_32, bytes(33)),
    (types.B0_255, bytes(256)),
    (types.B0_64K, bytes(65_536)),
    (types.OPTION_U32, 2**32),
    (types.SEQ0_255_U256, (bytes(32),) * 256),
    (types.SEQ0_255_U256, (bytes(31),)),
    (types.SEQ0_64K_U32, (0,) * 65_536),
    (types.SEQ0_64K_B0_16M, (bytes(2**24),)),
    (types.TAIL_U16, 65_536),
])
def test_a_value_that_its_type_cannot_hold_is_our_fault(alias, value):
    with pytest.raises(LocalProtocolError):
        kind(alias).write(value)


@pytest.mark.parametrize(("alias", "value"), [
    (types.STR0_255, "x" * 255),
    (types.B0_32, bytes(32)),
    (types.B0_255, bytes(255)),
    (types.B0_64K, bytes(65_535)),
    (types.SEQ0_255_U256, (bytes(32),) * 255),
    (types.SEQ0_64K_U32, (7,) * 65_535),
    (types.SEQ0_64K_B0_16M, (bytes(2**24 - 1),)),
])
def test_the_longest_values_pass(alias, value):
    data = kind(alias).write(value)
    assert kind(alias).read(data, 0) == (value, len(data))


@pytest.mark.parametrize("value", [math.inf, -math.inf, -1.0, -0.0, 0.0])
def test_f32_lets_every_number_pass(value):
    data = kind(types.F32).write(value)
    assert data == struct.pack("<f", value)
    assert kind(types.F32).read(data, 0) == (value, 4)


def test_f32_lets_nan_pass():
    value, _ = kind(types.F32).read(kind(types.F32).write(math.nan), 0)
    assert math.isnan(value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=255))
def test_any_bytes_are_text_and_come_out_again(data):
    text, end = kind(types.STR0_255).read(bytes([len(data)]) + data, 0)
    assert end == 1 + len(data)
    assert kind(types.STR0_255).write(text) == bytes([len(data)]) + data


KINDS = list(dict.fromkeys([*(alias for alias, _, _ in EXAMPLES), types.TAIL_U16, types.TAIL_U32]))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=80), st.integers(0, 8))
def test_garbage_is_a_value_within_its_bounds_or_malformed(alias, data, offset):
    offset = min(offset, len(data))
    try:
        value, end = kind(alias).read(data, offset)
    except MalformedPayload:
        return
    assert offset + kind(alias).min_size <= end <= len(data)
    assert len(kind(alias).write(value)) == end - offset

"""Frames out of a stream: header, caps, and no trust in where TCP or records cut (docs/sv2-wire.rst#wire-frames)."""

from __future__ import annotations

import gc
from contextlib import suppress
from itertools import accumulate, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import BadFrame, LocalProtocolError, RemoteProtocolError
from warppool.sv2.frame import CHANNEL_BIT, HEADER_SIZE, MAX_U24, Frame, FrameReader, encode_frame

FRAMES = [Frame(0, 0x00, b"setup"), Frame(0, 0x1A, b""), Frame(0x0ABC, 0xFF, bytes(300)), Frame(0, 0x76, b"\xff" * 20)]
WIRE = b"".join(encode_frame(frame.msg_type, frame.payload, frame.extension_type) for frame in FRAMES)

ANY_FRAME = st.builds(Frame, st.integers(0, 0x7FFF), st.integers(0, 255), st.binary(max_size=70))


def encode_all(frames: list[Frame]) -> bytes:
    return b"".join(encode_frame(frame.msg_type, frame.payload, frame.extension_type) for frame in frames)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def read_all(reader: FrameReader, pieces: list[bytes]) -> tuple[list[Frame], str]:
    """The frames that come, and what is said of the one that ends them, if one does."""
    seen = []
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                seen.append(frame)
    except BadFrame as exc:
        return seen, str(exc)
    return seen, ""


def test_the_header_is_extension_number_and_length():
    assert encode_frame(0x1A, bytes(24), CHANNEL_BIT) == bytes.fromhex("00801a180000") + bytes(24)
    assert encode_frame(0x71, bytes(0x012345), 0x0ABC)[:HEADER_SIZE] == bytes.fromhex("bc0a71452301")


def test_the_channel_bit_names_no_extension():
    reader = FrameReader(100)
    assert [*reader.feed(encode_frame(1, b"x", 0x8ABC) + encode_frame(1, b"x", 0x0ABC))] == [Frame(0x0ABC, 1, b"x")] * 2
    assert [*reader.feed(encode_frame(2, b"", CHANNEL_BIT))] == [Frame(0, 2, b"")]


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_frames_do_not_depend_on_where_tcp_cuts_them(cut):
    reader = FrameReader(300)
    assert [*reader.feed(WIRE[:cut]), *reader.feed(WIRE[cut:])] == FRAMES
    assert reader.pending == 0


def test_frames_come_byte_by_byte_as_soon_as_they_are_whole():
    reader = FrameReader(300)
    ends = [*accumulate(HEADER_SIZE + len(frame.payload) for frame in FRAMES)]
    for position in range(len(WIRE)):
        frames = [*reader.feed(WIRE[position:position + 1])]
        assert frames == ([FRAMES[ends.index(position + 1)]] if position + 1 in ends else [])
        assert reader.pending == position + 1 - max([0, *(end for end in ends if end <= position + 1)])


@settings(max_examples=500, deadline=None)
@given(st.lists(ANY_FRAME, max_size=6), st.lists(st.integers(0, 10_000), max_size=6))
def test_any_frames_in_any_pieces_come_out_whole(frames, cuts):
    reader = FrameReader(70)
    assert [frame for piece in split(encode_all(frames), cuts) for frame in reader.feed(piece)] == frames
    assert reader.pending == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_FRAME, max_size=6), st.lists(st.integers(0, 10_000), max_size=6), st.data())
def test_a_consumer_may_stop_early_and_go_on_later(frames, cuts, data):
    reader, seen = FrameReader(70), []
    for piece in split(encode_all(frames), cuts):
        stop_after = data.draw(st.integers(1, 3))
        seen += islice(reader.feed(piece), stop_after)
    seen += reader.feed(b"")
    assert seen == frames
    assert reader.pending == 0


def test_what_is_fed_is_taken_in_even_if_nobody_looks():
    reader = FrameReader(300)
    reader.feed(WIRE[:50])
    reader.feed(WIRE[50:])
    assert reader.pending == len(WIRE)
    assert next(iter(reader.feed(b""))) == FRAMES[0]
    assert reader.pending == len(WIRE) - HEADER_SIZE - len(FRAMES[0].payload)
    assert [*reader.feed(WIRE)] == FRAMES[1:] + FRAMES


@pytest.mark.parametrize("cap", [0, 1, 1_291, 4_096, 1_048_576])
def test_the_cap_is_inclusive_and_refuses_on_the_header_alone(cap):
    whole = encode_frame(5, bytes(cap))
    assert [*FrameReader(cap).feed(whole)] == [Frame(0, 5, bytes(cap))]
    header = bytes.fromhex("000005") + (cap + 1).to_bytes(3, "little")
    reader = FrameReader(cap)
    assert [*reader.feed(header[:-1])] == []
    with pytest.raises(BadFrame, match=rf"{cap + 1} bytes .* {cap} "):
        next(reader.feed(header[-1:]))


@pytest.mark.parametrize("cut", range(len(WIRE) + HEADER_SIZE + 1))
def test_frames_before_a_bad_one_are_delivered_and_nothing_after_it(cut):
    wire = WIRE + bytes.fromhex("0000050000ff") + WIRE
    reader = FrameReader(300)
    seen, fault = read_all(reader, [wire[:cut], wire[cut:]])
    assert seen == FRAMES
    assert "announced" in fault
    assert read_all(reader, [WIRE]) == ([], fault)


def test_the_cap_may_change_between_two_frames_of_one_piece():
    reader, wire = FrameReader(10), encode_frame(0, bytes(10)) + encode_frame(1, bytes(20)) + encode_frame(2, bytes(20))
    frames = reader.feed(wire)
    assert next(frames) == Frame(0, 0, bytes(10))
    reader.max_payload = 20
    assert next(frames) == Frame(0, 1, bytes(20))
    reader.max_payload = 19
    with pytest.raises(BadFrame):
        next(frames)


def test_an_idle_reader_holds_no_bytes():
    reader = FrameReader(1_048_576)
    wire = encode_frame(1, bytes(1_048_576))
    for piece in (wire[:3], wire[3:70_000], wire[70_000:]):
        for frame in reader.feed(piece):
            assert len(frame.payload) == 1_048_576
    assert not [held for held in gc.get_referents(reader) if isinstance(held, bytes | bytearray) and held]
    assert reader.pending == 0


def test_small_pieces_of_a_large_frame_are_not_copied_again_and_again():
    def held() -> list[int]:
        return [id(held) for held in gc.get_referents(reader) if isinstance(held, bytearray)]

    reader, wire = FrameReader(1_000), encode_frame(1, bytes(1_000))
    assert [*reader.feed(wire[:HEADER_SIZE])] == []
    [first] = held()
    for position in range(HEADER_SIZE, len(wire) - 1):
        assert [*reader.feed(wire[position:position + 1])] == []
        assert held() == [first]
    assert [*reader.feed(wire[-1:])] == [Frame(0, 1, bytes(1_000))]


def test_feeding_nothing_is_nothing():
    reader = FrameReader(300)
    assert [*reader.feed(b"")] == []
    assert [*reader.feed(WIRE[:8]), *reader.feed(b""), *reader.feed(b""), *reader.feed(WIRE[8:])] == FRAMES


def test_a_payload_that_no_header_can_announce_is_our_fault():
    assert encode_frame(1, bytes(MAX_U24))[3:HEADER_SIZE] == b"\xff\xff\xff"
    with pytest.raises(LocalProtocolError):
        encode_frame(1, bytes(MAX_U24 + 1))


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_refused_or_awaited_and_nothing_else(pieces):
    reader, seen = FrameReader(100), 0
    with suppress(RemoteProtocolError):
        for piece in pieces:
            for frame in reader.feed(piece):
                seen += HEADER_SIZE + len(frame.payload)
    assert seen + reader.pending <= sum(map(len, pieces))


@settings(max_examples=500, deadline=None)
@given(st.integers(0, len(WIRE) - 1), st.integers(1, 255), st.lists(st.integers(0, 1_000), max_size=4))
def test_a_damaged_stream_is_cut_the_same_in_any_pieces(at, flip, cuts):
    wire = WIRE[:at] + bytes([WIRE[at] ^ flip]) + WIRE[at + 1:]
    assert read_all(FrameReader(300), [wire]) == read_all(FrameReader(300), split(wire, cuts))


def test_a_frame_that_comes_alone_and_is_too_long_is_refused():
    reader = FrameReader(5)
    assert [*reader.feed(encode_frame(1, bytes(5)))] == [Frame(0, 1, bytes(5))]
    with pytest.raises(BadFrame, match="6 bytes is announced, 5 are allowed"):
        list(reader.feed(encode_frame(1, bytes(6))))


def test_frames_that_were_left_come_before_the_next():
    reader = FrameReader(5)
    one, two, three = (encode_frame(number, b"") for number in (1, 2, 3))
    assert [*islice(reader.feed(one + two), 1)] == [Frame(0, 1, b"")]
    assert [*reader.feed(three)] == [Frame(0, 2, b""), Frame(0, 3, b"")]

"""The codec over all messages: decode undoes encode, and whatever else comes is refused by its right name."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import BadOption, LengthExceeded, LocalProtocolError, MalformedPayload, Truncated
from warppool.sv2 import types
from warppool.sv2.codec import decode, encode, kinds_of, layout_of
from warppool.sv2.messages import common, mining, template
from warppool.sv2.types import Bytes, Maybe, Message, Seq, Text, WireType

from .samples import CLASSES, SAMPLES, fields_of, messages_of

ANY_CLASS = st.sampled_from(CLASSES)
ANY_MESSAGE = ANY_CLASS.flatmap(messages_of)
IS_LOSSY = {cls for cls in CLASSES if {"BOOL", "F32"} & {*cls.__annotations__.values()}}


def spans(cls: type[Message], payload: bytes) -> list[tuple[str, WireType, int]]:
    """Where each field of a well-formed payload begins."""
    found, offset = [], 0
    for name, kind in kinds_of(cls).items():
        found.append((name, kind, offset))
        _, offset = kind.read(payload, offset)
    return found


PREFIXES = [
    (cls, name, kind, offset)
    for cls, (_, payload) in SAMPLES.items()
    for name, kind, offset in spans(cls, payload)
    if isinstance(kind, Bytes | Text | Maybe | Seq)
]
"""Every length and every count in the samples."""


@settings(max_examples=600, deadline=None)
@given(ANY_MESSAGE, st.binary(max_size=10))
def test_decode_undoes_encode(message, rest):
    payload = encode(message)
    if fields_of(message).popitem()[1] is None:      # behind an absent tail nothing can follow
        rest = b""
    assert decode(type(message), payload + rest) == (message, rest)


@settings(max_examples=600, deadline=None)
@given(ANY_MESSAGE, st.data())
def test_a_message_that_is_cut_is_truncated_or_without_its_tail(message, data):
    payload = encode(message)
    cut = data.draw(st.integers(0, len(payload) - 1))
    try:
        cut_message, rest = decode(type(message), payload[:cut])
    except Truncated:
        return
    *_, (tail, kind, offset) = spans(type(message), payload)
    assert isinstance(kind, types.Tail) and cut == offset
    assert (fields_of(cut_message), rest) == ({**fields_of(message), tail: None}, b"")


def assert_sound(cls: type[Message], payload: bytes) -> None:
    """`payload` is malformed, or a message that stands for the bytes it was read from."""
    try:
        message, rest = decode(cls, payload)
    except (Truncated, LengthExceeded, BadOption):
        return
    again = encode(message)
    assert again + rest == payload if cls not in IS_LOSSY else len(again) + len(rest) == len(payload)
    assert encode(decode(cls, again)[0]) == again


@settings(max_examples=1_500, deadline=None)
@given(ANY_CLASS, st.binary(max_size=150))
def test_garbage_is_malformed_or_a_message(cls, payload):
    assert_sound(cls, payload)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(ANY_CLASS, st.data())
def test_a_mutated_sample_is_malformed_or_a_message(cls, data):
    payload = bytearray(SAMPLES[cls][1])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at:at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        payload = payload or bytearray(1)
    assert_sound(cls, bytes(payload))


def test_only_bool_and_f32_may_lose_bits():
    """Bits 1 to 7 of a BOOL are ignored, and a float of Python may quiet a signalling NaN; nothing else changes."""
    assert {cls.__name__ for cls in IS_LOSSY} == {
        "OpenStandardMiningChannel", "OpenExtendedMiningChannel", "UpdateChannel", "NewExtendedMiningJob",
        "NewTemplate"}
    payload = bytearray(SAMPLES[template.NewTemplate][1])
    for byte, canonical in ((0xFF, 1), (0xFE, 0)):
        payload[8] = byte
        message, _ = decode(template.NewTemplate, bytes(payload))
        assert message.future_template is (canonical == 1)
        assert encode(message)[8] == canonical


def test_a_hash_rate_may_be_nan():
    message = mining.UpdateChannel(1, math.nan, bytes(32))
    decoded, _ = decode(mining.UpdateChannel, encode(message))
    assert math.isnan(decoded.nominal_hash_rate)


def test_the_samples_have_every_kind_of_prefix():
    assert {type(kind) for _, _, kind, _ in PREFIXES} == {Bytes, Text, Maybe, Seq}


@pytest.mark.parametrize(("cls", "name", "kind", "offset"), PREFIXES)
def test_an_over_long_length_or_count_is_refused_before_there_is_room_for_it(cls, name, kind, offset):
    payload = bytearray(SAMPLES[cls][1])
    size = kind.min_size
    payload[offset:offset + size] = b"\xff" * size
    end = offset + size + 10                            # whatever is announced, ten bytes follow
    over_long = bytes(payload[:end])
    expected = {Maybe: BadOption, Bytes: LengthExceeded}.get(type(kind), Truncated)
    if isinstance(kind, Bytes) and kind.limit == 256**size - 1:
        expected = Truncated
    layout = layout_of(cls)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedPayload, match=rf"^{cls.__name__}\.{name}: ") as caught:
            layout.decode(over_long)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.type is expected
    assert peak < 65_536                                # 65,535 hashes would be 2 MiB, a B0_16M 16 MiB


@pytest.mark.parametrize(("cls", "name", "kind", "offset"), PREFIXES)
def test_the_length_or_count_that_is_one_too_many_is_refused(cls, name, kind, offset):
    """In a payload that ends behind the field, so that no later field lends its bytes."""
    payload = SAMPLES[cls][1]
    if isinstance(kind, Maybe):
        one_more = payload[:offset] + b"\x02" + payload[offset + 1:]
        expected: type[MalformedPayload] = BadOption
    else:
        size = kind.min_size
        _, end = kind.read(payload, offset)
        count = int.from_bytes(payload[offset:offset + size], "little")
        one_more = payload[:offset] + (count + 1).to_bytes(size, "little") + payload[offset + size:end]
        expected = Truncated
    with pytest.raises(MalformedPayload, match=rf"^{cls.__name__}\.{name}: ") as caught:
        decode(cls, one_more)
    assert caught.type is expected


def test_65535_hashes_in_ten_bytes_take_no_room():
    kind: WireType = Seq(2, types.Fixed(32))
    payload = b"\xff\xff" + bytes(8)
    tracemalloc.start()
    try:
        with pytest.raises(Truncated):
            kind.read(payload, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_192


@pytest.mark.parametrize(("message", "field"), [
    (mining.SubmitSharesSuccess(1, 2, 2**32, 4), "new_submits_accepted_count"),
    (mining.SubmitSharesSuccess(1, 2, 3, -1), "new_shares_sum"),
    (mining.SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(33)), "extranonce"),
    (mining.SetTarget(1, bytes(31)), "maximum_target"),
    (mining.SetTarget(2**32, bytes(32)), "channel_id"),
    (mining.UpdateChannel(1, 1e39, bytes(32)), "nominal_hash_rate"),
    (mining.SubmitSharesError(1, 2, "x" * 256), "error_code"),
    (common.ChannelEndpointChanged(-1), "channel_id"),
    (template.CoinbaseOutputConstraints(1, 65_536), "coinbase_output_max_additional_sigops"),
    (template.NewTemplate(1, True, 2, 3, bytes(256), 4, 5, 6, b"", 7, ()), "coinbase_prefix"),
])
def test_a_value_beyond_its_bounds_is_our_fault_and_named(message, field):
    with pytest.raises(LocalProtocolError, match=rf"^{type(message).__name__}\.{field}: "):
        encode(message)


@dataclass(frozen=True, slots=True)
class Unheard(Message):
    """A message of nobody: a new one is a new class and nothing else."""

    number: types.U16
    rate: types.F32
    is_last: types.BOOL


def test_a_new_message_is_a_new_class():
    payload = bytes.fromhex("0201" + "0000c03f" + "01")
    assert encode(Unheard(258, 1.5, True)) == payload
    assert decode(Unheard, payload + b"rest") == (Unheard(258, 1.5, True), b"rest")
    for message, field in ((Unheard(1, 1e39, True), "rate"), (Unheard(65_536, 1.5, True), "number")):
        with pytest.raises(LocalProtocolError, match=rf"^Unheard\.{field}: "):
            encode(message)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_number_is_held_to_its_width(cls):
    values, _ = SAMPLES[cls]
    for name, kind in kinds_of(cls).items():
        if isinstance(kind, types.UInt):
            with pytest.raises(LocalProtocolError, match=rf"^{cls.__name__}\.{name}: "):
                encode(cls(**{**values, name: 256**kind.min_size}))


@pytest.mark.parametrize("cls", [mining.OpenExtendedMiningChannelSuccess, template.CoinbaseOutputConstraints])
def test_a_layout_without_its_tail_reads_it_and_never_writes_it(cls):
    values, payload = SAMPLES[cls]
    layout = layout_of(cls, writes_tail=False)
    message, rest = layout.decode(payload)
    assert (fields_of(message), rest) == (values, b"")
    written = layout.encode(message)
    assert payload.startswith(written) and written != payload
    assert layout.decode(written)[0] == type(message)(**{**values, [*values][-1]: None})


def test_a_class_is_compiled_once():
    assert layout_of(mining.SetTarget) is layout_of(mining.SetTarget)
    assert layout_of(mining.SetTarget) is not layout_of(mining.SetTarget, writes_tail=False)

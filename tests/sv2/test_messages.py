"""Every message against messages.json, and against the samples of vectors.json byte for byte."""

from __future__ import annotations

import dataclasses
from typing import get_type_hints

import pytest

from warppool.errors import Truncated
from warppool.sv2 import types
from warppool.sv2.codec import decode, encode, kinds_of
from warppool.sv2.messages.mining import OpenExtendedMiningChannelSuccess
from warppool.sv2.messages.template import CoinbaseOutputConstraints
from warppool.sv2.types import Message, Tail

from .samples import CLASSES, MODULES, SAMPLES, TABLE, fields_of

OPTIONAL_TAILS = {
    CoinbaseOutputConstraints: ("coinbase_output_max_additional_sigops", 4),
    OpenExtendedMiningChannelSuccess: ("group_channel_id", 55),
}
"""By class: its optional tail and the bytes of its sample before it."""


def is_message(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Message) and value is not Message


def test_there_is_a_class_for_every_message_and_no_other():
    found = [value for module in MODULES.values() for value in vars(module).values() if is_message(value)]
    assert sorted(map(repr, found)) == sorted(map(repr, CLASSES))
    assert {name: sum(row["subprotocol"] == name for row in TABLE) for name in MODULES} == {
        "common": 5, "mining": 21, "template_distribution": 7}


@pytest.mark.parametrize(("cls", "row"), [*zip(CLASSES, TABLE, strict=True)])
def test_fields_have_the_names_the_order_and_the_types_of_the_specification(cls, row):
    hints = get_type_hints(cls, include_extras=True)
    expected = {}
    for field in row["fields"]:
        name = field["type"].replace("[", "_").rstrip("]")
        if OPTIONAL_TAILS.get(cls, ("",))[0] == field["name"]:
            name = "TAIL_" + name
        expected[field["name"]] = getattr(types, name)
    assert list(hints.items()) == list(expected.items())


@pytest.mark.parametrize("cls", CLASSES)
def test_a_message_is_frozen_and_has_no_dict(cls):
    values, payload = SAMPLES[cls]
    for message in (cls(**values), decode(cls, payload)[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, next(iter(values)), None)
        assert not hasattr(message, "__dict__")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_decoded_message_is_like_a_built_one(cls):
    message, _ = decode(cls, SAMPLES[cls][1])
    built = dataclasses.replace(message)
    assert type(message) is cls
    assert (message, repr(message), hash(message)) == (built, repr(built), hash(built))


@pytest.mark.parametrize("cls", CLASSES)
def test_the_sample_is_decoded_to_its_values(cls):
    values, payload = SAMPLES[cls]
    message, rest = decode(cls, payload)
    assert rest == b""
    if "nominal_hash_rate" in values:
        values = {**values, "nominal_hash_rate": pytest.approx(values["nominal_hash_rate"], rel=2**-24)}
    assert fields_of(message) == values


@pytest.mark.parametrize("cls", CLASSES)
def test_the_sample_is_encoded_to_its_bytes(cls):
    values, payload = SAMPLES[cls]
    assert encode(cls(**values)) == payload
    assert encode(decode(cls, payload)[0]) == payload


@pytest.mark.parametrize("cls", CLASSES)
def test_what_follows_the_last_field_is_handed_back(cls):
    _, payload = SAMPLES[cls]
    tlv = bytes.fromhex("0200010a00") + b"0123456789"
    message, rest = decode(cls, payload + tlv)
    assert (message, rest) == (decode(cls, payload)[0], tlv)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_truncation_of_the_sample_is_refused(cls):
    _, payload = SAMPLES[cls]
    _, tail_at = OPTIONAL_TAILS.get(cls, ("", -1))
    for cut in range(len(payload)):
        if cut == tail_at:
            continue
        with pytest.raises(Truncated, match=rf"^{cls.__name__}\.\w+: "):
            decode(cls, payload[:cut])


@pytest.mark.parametrize("cls", OPTIONAL_TAILS)
def test_a_cut_exactly_at_an_optional_tail_decodes_as_its_absence(cls):
    values, payload = SAMPLES[cls]
    tail, tail_at = OPTIONAL_TAILS[cls]
    message, rest = decode(cls, payload[:tail_at])
    assert (fields_of(message), rest) == ({**values, tail: None}, b"")
    assert encode(message) == payload[:tail_at]


def test_only_last_fields_are_optional_tails():
    for cls in CLASSES:
        *others, last = kinds_of(cls).values()
        assert not any(isinstance(kind, Tail) for kind in others)
        assert isinstance(last, Tail) == (cls in OPTIONAL_TAILS)

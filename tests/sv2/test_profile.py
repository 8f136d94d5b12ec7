"""Two dialects as data: their numbers against messages.json, their layouts, caps, and what they lack."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import (
    BadFrame,
    LocalProtocolError,
    MalformedPayload,
    RemoteProtocolError,
    Truncated,
    UnexpectedMessage,
)
from warppool.mining.share import Reject
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import WARP_SUITE
from warppool.sv2.codec import decode, encode
from warppool.sv2.frame import CHANNEL_BIT, HEADER_SIZE, Frame, FrameReader, encode_frame
from warppool.sv2.messages import common, mining, template
from warppool.sv2.messages.mining import SubmitSharesExtended
from warppool.sv2.profile import PROFILES, SPEC, WARP, Profile, Subprotocol
from warppool.sv2.types import Message

from .samples import CLASSES, SAMPLES, TABLE, class_for, messages_of

SUBPROTOCOL = {"common": Subprotocol.COMMON, "mining": Subprotocol.MINING,
               "template_distribution": Subprotocol.TEMPLATE_DISTRIBUTION}
SPEC_TABLE = {(SUBPROTOCOL[row["subprotocol"]], class_for(row["subprotocol"], row["name"])): row["spec_id"]
              for row in TABLE}
WARP_TABLE = {(SUBPROTOCOL[row["subprotocol"]], class_for(row["subprotocol"], row["name"])):
              row["spec_id"] if row["warp_id"] is None else row["warp_id"] for row in TABLE if row["in_warp"]}
TABLES = [(WARP, WARP_TABLE), (SPEC, SPEC_TABLE)]
EVERY_KNOWN = [(profile, subprotocol, cls) for profile, table in TABLES for subprotocol, cls in table]


def read_one(wire: bytes) -> Frame:
    [frame] = FrameReader(2**24).feed(wire)
    return frame


@pytest.mark.parametrize(("profile", "table"), TABLES)
def test_numbers_are_those_of_the_specification_both_ways(profile, table):
    for subprotocol in Subprotocol:
        homes = (subprotocol, Subprotocol.COMMON)
        expected = {msg_type: cls for (home, cls), msg_type in table.items() if home in homes}
        for msg_type in range(256):
            if msg_type in expected:
                assert profile.class_of(subprotocol, msg_type) is expected[msg_type]
                assert profile.id_of(expected[msg_type]) == msg_type
            else:
                with pytest.raises(UnexpectedMessage, match=f"0x{msg_type:02x} in {subprotocol.name}"):
                    profile.class_of(subprotocol, msg_type)


def test_where_the_dialects_differ():
    assert WARP.pace is None and (SPEC.pace.least_s, SPEC.pace.settling_s) == (30.0, 120.0)
    assert (WARP.ends_deaf, SPEC.ends_deaf) == (False, True)
    assert (WARP.id_of(mining.NewMiningJob), SPEC.id_of(mining.NewMiningJob)) == (0x1E, 0x15)
    assert WARP.class_of(Subprotocol.MINING, 0x22) is mining.NewExtendedMiningJob
    assert SPEC.class_of(Subprotocol.MINING, 0x22) is mining.SetCustomMiningJob
    assert (WARP.version_mask, SPEC.version_mask) == (0x1FFFE000, 0x1FFFFFE0)
    assert (WARP.checks_sequence, SPEC.checks_sequence) == (True, False)
    assert WARP.suite is WARP_SUITE


def test_each_dialect_has_its_own_suite_of_noise():
    assert (WARP.suite, SPEC.suite) == (WARP_SUITE, SPEC_SUITE)
    assert PROFILES == {"warp": WARP, "spec": SPEC}


@pytest.mark.parametrize(("profile", "subprotocol", "cls"), EVERY_KNOWN)
def test_a_sample_goes_out_and_comes_in_as_a_frame(profile, subprotocol, cls):
    message, _ = decode(cls, SAMPLES[cls][1])
    wire = profile.encode(message)
    payload = SAMPLES[cls][1]
    if profile is WARP and cls is template.CoinbaseOutputConstraints:
        payload = payload[:4]
        message = dataclasses.replace(message, coinbase_output_max_additional_sigops=None)
    assert wire[HEADER_SIZE:] == payload
    frame = read_one(wire)
    assert (frame.extension_type, frame.msg_type) == (0, profile.id_of(cls))
    assert profile.decode(subprotocol, frame) == message


@pytest.mark.parametrize("row", TABLE)
def test_the_published_dialect_marks_the_messages_of_channels_and_warp_none(row):
    cls = class_for(row["subprotocol"], row["name"])
    message, _ = decode(cls, SAMPLES[cls][1])
    assert SPEC.encode(message)[:2] == (CHANNEL_BIT if row["channel_bit"] else 0).to_bytes(2, "little")
    if row["in_warp"]:
        assert WARP.encode(message)[:2] == b"\x00\x00"


def test_common_messages_belong_to_every_subprotocol():
    frame = read_one(WARP.encode(common.Reconnect("", 0)))
    for subprotocol in Subprotocol:
        assert WARP.decode(subprotocol, frame) == common.Reconnect("", 0)


@pytest.mark.parametrize("row", [row for row in TABLE if not row["in_warp"]], ids=lambda row: row["name"])
def test_a_message_that_warp_lacks_is_neither_sent_nor_known(row):
    cls = class_for(row["subprotocol"], row["name"])
    with pytest.raises(LocalProtocolError, match=cls.__name__):
        WARP.encode(decode(cls, SAMPLES[cls][1])[0])
    with pytest.raises(LocalProtocolError, match=cls.__name__):
        WARP.id_of(cls)
    if row["spec_id"] != WARP.id_of(mining.NewExtendedMiningJob):
        with pytest.raises(UnexpectedMessage):
            WARP.decode(SUBPROTOCOL[row["subprotocol"]], Frame(0, row["spec_id"], SAMPLES[cls][1]))


@pytest.mark.parametrize(("profile", "home", "cls"), EVERY_KNOWN)
def test_a_message_of_another_subprotocol_is_unexpected(profile, home, cls):
    frame = Frame(0, profile.id_of(cls), SAMPLES[cls][1])
    for subprotocol in Subprotocol:
        if home not in (Subprotocol.COMMON, subprotocol):
            with pytest.raises(UnexpectedMessage):
                profile.decode(subprotocol, frame)


def test_the_two_messages_of_one_name_do_not_meet():
    payload = SAMPLES[template.SetNewPrevHash][1]
    assert type(WARP.decode(Subprotocol.TEMPLATE_DISTRIBUTION, Frame(0, 0x72, payload))) is template.SetNewPrevHash
    assert type(WARP.decode(Subprotocol.MINING, Frame(0, 0x20, payload))) is mining.SetNewPrevHash


def test_warps_0x70_is_the_size_alone_and_reads_sigops_that_are_there():
    message = template.CoinbaseOutputConstraints(100, 400)
    size, whole = bytes.fromhex("64000000"), bytes.fromhex("640000009001")
    assert WARP.encode(message) == bytes.fromhex("000070040000") + size
    assert SPEC.encode(message) == bytes.fromhex("000070060000") + whole
    for profile in (WARP, SPEC):
        for payload, sigops in ((whole, 400), (size, None)):
            received = profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, Frame(0, 0x70, payload))
            assert received == template.CoinbaseOutputConstraints(100, sigops)
        for cut in (*range(4), 5):
            with pytest.raises(Truncated):
                profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, Frame(0, 0x70, whole[:cut]))


@pytest.mark.parametrize("profile", [WARP, SPEC])
def test_bytes_behind_the_last_field_are_ignored(profile):
    frame = Frame(0, profile.id_of(mining.SubmitSharesSuccess), encode(mining.SubmitSharesSuccess(1, 2, 3, 4)) + b"TLV")
    assert profile.decode(Subprotocol.MINING, frame) == mining.SubmitSharesSuccess(1, 2, 3, 4)


@pytest.mark.parametrize(("extension_type", "number"), [(1, 3), (1, 255), (2, 0), (0x4000, 0), (0x7FFF, 0)])
def test_frames_of_an_extension_are_discarded_but_not_before_the_set_up(extension_type, number):
    frame = Frame(extension_type, number, b"what it holds is not looked at")
    for profile in (WARP, SPEC):
        assert profile.decode(Subprotocol.MINING, frame) is None
        assert profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, frame) is None
        with pytest.raises(UnexpectedMessage, match="before the set-up"):
            profile.decode(Subprotocol.COMMON, frame)


def test_caps_of_the_phases():
    assert (WARP.max_payload_before_setup, WARP.max_payload_from_client, WARP.max_payload) == (1_291, 4_096, 1_048_576)
    assert (SPEC.max_payload_before_setup, SPEC.max_payload) == (1_291, 16_777_215)


def test_the_largest_messages_of_clients_pass_their_cap():
    setup = common.SetupConnection(0, 2, 2, 0, *["x" * 255, 0, *["x" * 255] * 4])
    assert len(encode(setup)) == WARP.max_payload_before_setup == SPEC.max_payload_before_setup
    largest_open = mining.OpenExtendedMiningChannel(1, "x" * 255, 0.0, bytes(32), 0)
    assert len(encode(largest_open)) <= WARP.max_payload_from_client
    largest_job = mining.SetCustomMiningJob(
        1, 2, bytes(255), 3, bytes(32), 4, 5, 6, bytes(255), 7, bytes(65_535), 8, (bytes(32),) * 255)
    assert len(encode(largest_job)) == 74_274 <= SPEC.max_payload_from_client


@pytest.mark.parametrize("profile", [WARP, SPEC], ids=lambda profile: profile.name)
def test_a_payload_above_what_peers_read_is_not_sent(profile):
    small = dataclasses.replace(profile, max_payload=30)
    assert len(small.encode(template.SubmitSolution(1, 2, 3, 4, bytes(8)))) == HEADER_SIZE + 30
    with pytest.raises(LocalProtocolError, match="SubmitSolution of 31 bytes"):
        small.encode(template.SubmitSolution(1, 2, 3, 4, bytes(9)))


@pytest.mark.parametrize("profile", [WARP, SPEC], ids=lambda profile: profile.name)
def test_the_transactions_of_a_template_alone_fill_a_frame_to_its_end(profile):
    def answer(size: int) -> template.RequestTransactionDataSuccess:
        return template.RequestTransactionDataSuccess(1, b"", (bytes(size - 15),))

    longest = answer(16_777_215)
    frame = profile.encode(longest)
    assert len(frame) == HEADER_SIZE + 16_777_215
    with pytest.raises(LocalProtocolError):
        profile.encode(answer(16_777_216))
    reader = FrameReader(1_048_576, profile.longer_numbers(Subprotocol.TEMPLATE_DISTRIBUTION))
    assert [profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, each) for each in reader.feed(frame)] == [longest]
    assert not profile.longer_numbers(Subprotocol.MINING)


@pytest.mark.parametrize("number", [0x71, 0x75])
def test_every_other_template_message_ends_at_the_cap(number):
    reader = FrameReader(1_048_576, WARP.longer_numbers(Subprotocol.TEMPLATE_DISTRIBUTION))
    header = b"\0\0" + bytes([number]) + (1_048_577).to_bytes(3, "little")
    with pytest.raises(BadFrame, match="1048577 bytes is announced, 1048576 are"):
        list(reader.feed(header))


@pytest.mark.parametrize(("subprotocol", "cls"), [
    (Subprotocol.MINING, mining.SetTarget),
    (Subprotocol.MINING, common.Reconnect),
    (Subprotocol.COMMON, common.Reconnect),
])
def test_two_messages_of_one_number_are_refused_at_construction(subprotocol, cls):
    ids = {home: dict(table) for home, table in WARP.ids.items()}
    taken = common.SetupConnection if subprotocol is Subprotocol.COMMON else mining.CloseChannel
    ids[Subprotocol.COMMON if cls is common.Reconnect else subprotocol][cls] = WARP.id_of(taken)
    with pytest.raises(ValueError, match="one number"):
        dataclasses.replace(WARP, ids=ids)


def test_numbers_of_subprotocols_that_never_meet_may_be_the_same():
    ids = {home: dict(table) for home, table in WARP.ids.items()}
    ids[Subprotocol.TEMPLATE_DISTRIBUTION][template.NewTemplate] = WARP.id_of(mining.SetTarget)
    profile = dataclasses.replace(WARP, ids=ids)
    assert profile.class_of(Subprotocol.TEMPLATE_DISTRIBUTION, 0x21) is template.NewTemplate
    assert profile.class_of(Subprotocol.MINING, 0x21) is mining.SetTarget


def test_a_profile_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        WARP.version_mask = 0  # type: ignore[misc]


ANY_PROFILE = st.sampled_from([WARP, SPEC])


def is_known(profile: Profile, cls: type[Message]) -> bool:
    with suppress(LocalProtocolError):
        profile.id_of(cls)
        return True
    return False


@settings(max_examples=200, deadline=None)
@given(ANY_PROFILE, st.sampled_from(CLASSES).flatmap(messages_of))
def test_what_one_side_encodes_the_other_decodes(profile, message):
    if not is_known(profile, type(message)):
        with pytest.raises(LocalProtocolError):
            profile.encode(message)
        return
    home = next(subprotocol for subprotocol, table in profile.ids.items() if type(message) in table)
    received = profile.decode(home, read_one(profile.encode(message)))
    if profile is WARP and isinstance(message, template.CoinbaseOutputConstraints):
        message = dataclasses.replace(message, coinbase_output_max_additional_sigops=None)
    assert received == message


@settings(max_examples=500, deadline=None)
@given(ANY_PROFILE, st.data())
def test_a_framer_makes_what_encode_makes_of_the_message(profile, data):
    cls = data.draw(st.sampled_from([cls for ids in profile.ids.values() for cls in ids]))
    message = data.draw(messages_of(cls))
    values = [getattr(message, field.name) for field in dataclasses.fields(cls)]
    assert profile.framer(cls)(*values) == profile.encode(message)


@pytest.mark.parametrize(("values", "words"), [
    ((1, 2, 3, 4, 5, 6, bytes(33)), "extranonce"), ((1, 2, 3, 4, 5, 2**32, bytes(4)), "version"),
    ((-1, 2, 3, 4, 5, 6, bytes(4)), "channel_id"), ((1, 2, "3", 4, 5, 6, b""), "job_id"),
])
def test_a_framer_names_the_field_that_its_type_cannot_hold(values, words):
    with pytest.raises(LocalProtocolError, match=f"SubmitSharesExtended.{words}: "):
        WARP.framer(SubmitSharesExtended)(*values)


def test_there_is_no_framer_for_what_the_dialect_lacks():
    lacking = next(cls for cls in CLASSES if all(cls not in ids for ids in WARP.ids.values()))
    with pytest.raises(LocalProtocolError, match=f"profile warp has no {lacking.__name__}"):
        WARP.framer(lacking)


def test_a_framer_sends_nothing_longer_than_the_profile_allows():
    small = dataclasses.replace(WARP, max_payload=30)
    assert small.framer(SubmitSharesExtended)(1, 2, 3, 4, 5, 6, bytes(5)) == WARP.encode(
        SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(5)))
    with pytest.raises(LocalProtocolError, match="SubmitSharesExtended of 31 bytes"):
        small.framer(SubmitSharesExtended)(1, 2, 3, 4, 5, 6, bytes(6))


@settings(max_examples=1_000, deadline=None)
@given(ANY_PROFILE, st.sampled_from(Subprotocol), st.integers(0, 0x7F), st.binary(max_size=120))
def test_any_frame_is_a_message_or_the_peers_error(profile, subprotocol, msg_type, payload):
    try:
        message = profile.decode(subprotocol, Frame(0, msg_type, payload))
    except (UnexpectedMessage, MalformedPayload):
        return
    assert type(message) is profile.class_of(subprotocol, msg_type)


@settings(max_examples=500, deadline=None)
@given(ANY_PROFILE, st.sampled_from(Subprotocol), st.data())
def test_a_mutated_stream_is_messages_or_the_peers_error(profile, subprotocol, data):
    wire = bytearray()
    for cls in data.draw(st.lists(st.sampled_from([*profile.ids[Subprotocol.COMMON], *profile.ids[subprotocol]]),
                                  min_size=1, max_size=3)):
        wire += encode_frame(profile.id_of(cls), SAMPLES[cls][1])
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RemoteProtocolError):
        for frame in FrameReader(profile.max_payload_from_client).feed(bytes(wire)):
            message = profile.decode(subprotocol, frame)
            assert message is None or type(message) is profile.class_of(subprotocol, frame.msg_type)


SRI_CODES = {
    "stale-share", "invalid-job-id", "invalid-channel-id", "difficulty-too-low", "duplicate-share",
    "bad-extranonce-size", "invalid-share", "version-rolling-not-allowed", "invalid-non-rollable-version-bit",
    "unknown-user", "channel-capacity-exhausted",
}
"""What the reference implementation's mining_sv2 12.0.0 has for shares, and for a pool that is full. The specification
names no codes."""


def test_codes_are_spelled_as_others_know_them_but_for_what_they_have_no_word_for():
    of_shares = {reject.sv2_code for reject in Reject if reject is not Reject.MALFORMED}      # that one closes
    assert {SPEC.error_codes.get(code, code) for code in of_shares} - SRI_CODES == {"not-recorded"}
    assert set(SPEC.error_codes.values()) <= SRI_CODES and WARP.error_codes == {}

"""Extensions: their negotiation byte by byte, TLVs, and the names of workers that come with shares."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.mining.makers import make_channel
from tests.sv2.pairs import MAX_TARGET, Pair, dialect, make_jobs
from tests.sv2.profiles import profile  # noqa: F401
from tests.sv2.samples import messages_of
from warppool.errors import MalformedPayload, Truncated, UnexpectedMessage
from warppool.events import BlockFound, Happened, ShareAccepted, ShareRefused
from warppool.mining.channel import Channel
from warppool.mining.identity import read_identity
from warppool.mining.names import FreeNames
from warppool.sv2.client import ChannelOpened, ExtensionsAgreed, ShareRejected, WorkReady
from warppool.sv2.codec import layout_of
from warppool.sv2.frame import FrameReader, encode_frame, with_tlvs
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from warppool.sv2.messages.mining import SubmitSharesExtended, SubmitSharesSuccess
from warppool.sv2.profile import SPEC, Subprotocol
from warppool.sv2.tlv import worker_in, worker_tlv
from warppool.sv2.workers import MAX_NAMES, WorkerNames, named

MESSAGES = [
    (RequestExtensions(7, (2, 0x4001)), "010000080000" "0700" "0200" "0200" "0140"),
    (RequestExtensionsSuccess(7, (2,)), "010001060000" "0700" "0100" "0200"),
    (RequestExtensionsError(7, (0x4001,), (3,)), "0100020a0000" "0700" "0100" "0140" "0100" "0300"),
]


def in_frames(message):
    [frame] = FrameReader(2**20).feed(dialect().encode(message))
    return frame


@pytest.mark.parametrize(("message", "wire"), MESSAGES, ids=lambda each: type(each).__name__)
def test_the_messages_of_the_negotiation(message, wire):
    assert dialect().encode(message).hex() == wire
    for subprotocol in (Subprotocol.MINING, Subprotocol.TEMPLATE_DISTRIBUTION):
        assert dialect().decode(subprotocol, in_frames(message)) == message
    with pytest.raises(UnexpectedMessage):
        dialect().decode(Subprotocol.COMMON, in_frames(message))


@pytest.mark.parametrize("cls", [RequestExtensions, RequestExtensionsSuccess, RequestExtensionsError])
def test_decode_undoes_encode_and_no_beginning_of_it_can_be_read(cls):
    @given(messages_of(cls))
    def there_and_back(message):
        payload = layout_of(cls).encode(message)
        assert layout_of(cls).decode(payload + b"TLV") == (message, b"TLV")
        for cut in range(len(payload)):
            with pytest.raises(MalformedPayload):
                layout_of(cls).decode(payload[:cut])
    there_and_back()


def test_a_count_beyond_the_payload_takes_no_memory():
    with pytest.raises(Truncated):
        layout_of(RequestExtensions).decode(b"\x00\x00\xff\xff\x01\x00")


# -- TLVs --------------------------------------------------------------------------------------------------------------

def test_the_tlv_of_a_worker():
    assert worker_tlv(b"Worker_001").hex() == "0200010a00" + b"Worker_001".hex()
    assert worker_in(worker_tlv(b"Worker_001")) == b"Worker_001"


@pytest.mark.parametrize(("area", "name"), [
    (b"", b""),
    (bytes.fromhex("000201000a") + b"Worker_001", b"Worker_001"),                   # big-endian, as the example has it
    (bytes.fromhex("0300010200") + b"ab" + worker_tlv(b"rig"), b"rig"),             # behind another extension's
    (worker_tlv(b"rig") + bytes.fromhex("0500010000"), b"rig"),
    (bytes.fromhex("0200020300") + b"rig", b""),                                    # another field
    (bytes.fromhex("0300010200") + b"ab", b""),
    (worker_tlv(b"rig")[:-1], None),
    (b"\x02\x00\x01", None),
    (worker_tlv(b"rig") + b"\x02", None),
    (bytes.fromhex("020001ffff") + b"rig", None),
])
def test_what_an_area_says_of_the_worker(area, name):
    assert worker_in(area) == name


@given(st.binary(max_size=80))
def test_any_area_is_read_or_refused(area):
    name = worker_in(area)
    assert name is None or len(name) <= len(area)


@given(st.binary(min_size=1, max_size=32))
def test_a_frame_with_tlvs_is_one_frame(name):
    frame = with_tlvs(dialect().encode(SubmitSharesSuccess(1, 2, 3, 4)), worker_tlv(name))
    [whole] = FrameReader(2**20).feed(frame)
    assert dialect().read(Subprotocol.MINING, whole) == (SubmitSharesSuccess(1, 2, 3, 4), worker_tlv(name))


# -- names -------------------------------------------------------------------------------------------------------------

USERS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60).filter(
    lambda user: read_identity(user) == user)


def channel_of(user: str) -> Channel:
    """A channel that was opened under that name."""
    channel = make_channel()
    channel.user = user
    return channel


@given(USERS, st.binary(max_size=60))
@example("alice", b"bob.rig")
@example("alice.rig1", b".")
@example("alice", "äöü".encode()[:5])
@example("alice", b"\xe2\x80")
@example("bc1qxyz.7", b"bc1qabc.rig")
def test_no_worker_leads_to_another_user(user, worker):
    name = named(user, worker)
    names = WorkerNames(FreeNames())
    found = names.user_of(channel_of(user), worker_tlv(worker))
    assert found in (user, name) and found.partition(".")[0] == user.partition(".")[0]
    assert read_identity(found) == found
    assert (names.ignored == 1) == (name is None and worker != b"")


@pytest.mark.parametrize(("worker", "name"), [
    (b"rig1", "alice.rig1"), (b"a.b", "alice.a.b"), ("ä".encode() * 16, "alice." + "ä" * 16),
    (b"x" * 32, "alice." + "x" * 32),
    (b"x" * 33, None), (b"rig\n1", None), (b"rig\x1b[31m", None), (b"\x7f", None), (b"a\x00", None), (b"   ", None),
])
def test_what_is_a_name(worker, name):
    assert named("alice.unnamed", worker) == name


def test_names_that_a_connection_makes_up_are_bounded():
    names, alice = WorkerNames(FreeNames()), channel_of("alice")
    for number in range(3 * MAX_NAMES):
        names.user_of(alice, worker_tlv(b"%d" % number))
    assert len(names._known) == MAX_NAMES and names.ignored == 2 * MAX_NAMES
    assert names.user_of(alice, worker_tlv(b"7")) == "alice.7"
    assert names.user_of(alice, worker_tlv(b"2999")) == "alice"


# -- a miner and the pool ----------------------------------------------------------------------------------------------

def agreed_pair(*, asks=True):
    pair = Pair()
    pair.talk()
    session = pair.miner.session
    if asks:
        pair.miner.send(session.request_extensions())
    pair.miner.send(session.open_extended("alice.unnamed", 0.0, MAX_TARGET, 4))
    heard = pair.talk()
    pair.offer(make_jobs(1)[0])
    pair.nonces = count(1)
    return pair, heard


def users(pair):
    """Under whose names shares were accepted or refused, and blocks found."""
    return {event.user for event in pair.events if isinstance(event, BlockFound | ShareAccepted | ShareRefused)}


def send(pair, tlvs):
    work = next(event.work for event in pair.heard if isinstance(event, WorkReady))
    share = pair.miner.session.submit(
        work, bytes(work.extranonce_size), work.version, work.min_ntime, next(pair.nonces))
    pair.miner._unsealed.append(with_tlvs(dialect().encode(share), tlvs))
    pair.talk()
    return share.sequence_number


def test_the_answer_comes_before_that_to_the_open():
    pair, heard = agreed_pair()
    assert [type(event) for event in heard] == [ExtensionsAgreed, ChannelOpened]
    assert heard[0].extensions == {2}


@pytest.mark.parametrize(("wanted", "answer"), [
    ((2,), RequestExtensionsSuccess(9, (2,))),
    ((3, 2, 2, 0x4000), RequestExtensionsSuccess(9, (2,))),
    ((1, 3), RequestExtensionsError(9, (1, 3), ())),
    ((), RequestExtensionsError(9, (), ())),
])
def test_what_the_pool_grants(wanted, answer):
    names = WorkerNames(FreeNames())
    assert names.agree(RequestExtensions(9, wanted), dialect()) == answer
    assert names.is_agreed == (2 in wanted)


def test_a_refusal_names_no_more_than_a_machine_reads():
    refusal = WorkerNames(FreeNames()).agree(RequestExtensions(9, tuple(range(3, 32_000))), SPEC)
    assert isinstance(refusal, RequestExtensionsError) and len(SPEC.encode(refusal)) < 8_192


def test_shares_accepted_refused_and_blocks_bear_the_workers_name():
    pair, _ = agreed_pair()
    for tlvs in (worker_tlv(b"rig1"), b"", worker_tlv(b"rig2")):
        send(pair, tlvs)
    pair.judge()
    assert users(pair) == {"alice.rig1", "alice.unnamed", "alice.rig2"}


def test_a_name_that_was_not_agreed_on_is_not_looked_at():
    pair, _ = agreed_pair(asks=False)
    send(pair, worker_tlv(b"rig1"))
    send(pair, worker_tlv(b"x" * 40))
    pair.judge()
    assert pair.close is None
    assert users(pair) == {"alice.unnamed"}
    assert "worker.ignored" not in [event.name for event in pair.events if isinstance(event, Happened)]


def test_names_that_are_none_are_counted_said_once_and_the_share_is_the_channels():
    pair, _ = agreed_pair()
    for _ in range(5):
        send(pair, worker_tlv(b"rig\n1"))
    pair.judge()
    said = [event for event in pair.events if isinstance(event, Happened) and event.name == "worker.ignored"]
    assert [(event.level, dict(event.fields)["count"]) for event in said] == [("info", 1), ("debug", 2), ("debug", 4)]
    assert users(pair) == {"alice.unnamed"}


def test_a_share_that_could_not_be_recorded_is_refused_under_its_workers_name():
    pair, _ = agreed_pair()
    while not pair.accepted():
        send(pair, worker_tlv(b"rig1"))
        pair.judge()
    pair.events.clear()
    before = len(pair.heard)
    pair.deliver(pair.server.not_recorded([1], pair.now))
    assert [event.user for event in pair.events if isinstance(event, ShareRefused)] == ["alice.rig1"]
    assert isinstance(pair.heard[before], ShareRejected)


def test_a_share_for_no_channel_with_a_name_is_refused():
    pair, _ = agreed_pair()
    work = next(event.work for event in pair.heard if isinstance(event, WorkReady))
    pair.miner._unsealed.append(with_tlvs(dialect().framer(SubmitSharesExtended)(
        99, 0, work.job_id, 0, 0, 0, b""), worker_tlv(b"rig1")))
    heard = pair.talk()
    assert [(event.channel_id, event.error_code) for event in heard] == [(99, "invalid-channel-id")]


def test_an_answer_that_nobody_asked_for_means_nothing():
    pair, _ = agreed_pair(asks=False)
    session = pair.miner.session
    assert session.receive(RequestExtensionsSuccess(0, (2,))) == []
    session.request_extensions()
    assert session.receive(RequestExtensionsSuccess(1, (2,))) == []
    assert session.receive(RequestExtensionsSuccess(0, (2, 5))) == [ExtensionsAgreed(frozenset({2}))]
    assert session.receive(RequestExtensionsError(0, (2,), ())) == []
    session.request_extensions()
    assert session.receive(RequestExtensionsError(0, (2,), (7,))) == [ExtensionsAgreed(frozenset())]


def test_requests_of_the_largest_size_are_answered():
    pair, _ = agreed_pair()
    pair.miner.send(RequestExtensions(1, tuple(range(100, 2_100))))
    pair.talk()
    assert pair.close is None
    pair.miner._unsealed.append(encode_frame(0, bytes(4), 1))
    pair.talk()
    assert pair.close is None

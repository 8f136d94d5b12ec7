"""Bytes in, events out: the server connection against a miner in memory, and against garbage."""

from __future__ import annotations

import pytest

from tests.sv2.pairs import MAX_TARGET, START, Pair, dialect, make_jobs, make_miner, make_server
from tests.sv2.profiles import profile  # noqa: F401
from warppool.errors import BadRecord, WrongServerKey
from warppool.events import BlockFound, Close, Happened, Now, Send, ShareAccepted, ShareRefused, ShareSubmitted
from warppool.mining.connection import MAX_UNANSWERED
from warppool.mining.share import weigh
from warppool.noise.primitives import new_buffer
from warppool.sv2.client import (
    ChannelClosed,
    ChannelOpened,
    MiningClientSession,
    SetUp,
    ShareRejected,
    SharesAccepted,
    WorkReady,
)
from warppool.sv2.connection import SETUP_DEADLINE_S
from warppool.sv2.frame import encode_frame


def mining_pair(kind="extended", tip=1):
    pair = Pair()
    pair.talk()
    (job,) = make_jobs(tip)
    pair.offer(job)
    session = pair.miner.session
    pair.miner.send(session.open_standard("alice", 0.0, MAX_TARGET) if kind == "standard"
                    else session.open_extended("alice", 0.0, MAX_TARGET, 4))
    *_, ready = pair.talk()
    pair.events.clear()
    return pair, ready.work


def submit(pair, work, count=1, start=0):
    shares = [pair.miner.session.submit(work, bytes(work.extranonce_size), work.version, work.min_ntime, nonce)
              for nonce in range(start, start + count)]
    pair.miner.send(*shares)


def test_handshake_and_set_up():
    pair = Pair()
    assert pair.talk() == [SetUp(0)]
    assert pair.close is None


@pytest.mark.parametrize("kind", ["standard", "extended"])
def test_a_channel_is_opened_and_mined(kind):
    pair, work = mining_pair(kind)
    submit(pair, work, 20)
    pair.talk()
    pair.judge()
    blocks = [event for event in pair.events if isinstance(event, BlockFound)]
    refused = [event for event in pair.events if isinstance(event, ShareRefused)]
    assert len(blocks) + len(refused) == 20 and blocks
    (answer,) = pair.record()
    assert isinstance(answer, SharesAccepted) and answer.news == len(blocks)
    assert sum(isinstance(event, ShareRejected) for event in pair.heard) == len(refused)
    assert pair.server.in_flight == 0


def test_what_a_call_leads_to_is_one_send():
    pair, work = mining_pair()
    submit(pair, work, 10)
    pair.talk()
    events = pair.judge()
    assert sum(isinstance(event, Send) for event in events) == 1


def test_the_wrong_key_is_the_miners_refusal():
    server = make_server()
    setup = MiningClientSession.setup(host="h", port=1, vendor="v", firmware="f")
    miner = make_miner(setup, bytes([5]) * 32)
    (act_two,) = server.receive(miner.outgoing(), START)
    with pytest.raises(WrongServerKey):
        miner.receive(act_two.data)


def test_a_miner_hears_what_came_before_the_pools_fault():
    pair, work = mining_pair()
    submit(pair, work, 20)
    pair.talk()
    pair.judge()
    data = b"".join(event.data for event in pair.server.recorded([share.share_id for share in pair.accepted()], START)
                    if isinstance(event, Send))
    transport, frames = pair.miner._transport, pair.miner._frames
    before, heard = frames.messages, frames.hear(transport.open(data + b"\x20\x00" + bytes(32), 0.0))
    assert isinstance(next(heard), SharesAccepted)
    assert isinstance(transport.end.error, BadRecord)
    assert list(heard) == [] and frames.messages == before + 1


@pytest.mark.parametrize("cut", range(1, 130, 7))
def test_tcp_may_cut_anywhere(cut):
    pair, work = mining_pair()
    submit(pair, work, 5)
    data = pair.miner.outgoing()
    pair.deliver(pair.server.receive(data[:cut], START))
    pair.deliver(pair.server.receive(data[cut:], START))
    assert sum(isinstance(event, ShareSubmitted) for event in pair.events) == 5
    assert pair.server.backlog == 0


def test_shares_before_bad_bytes_are_served_and_then_the_connection_closes():
    pair, work = mining_pair()
    submit(pair, work, 3)
    events = pair.server.receive(pair.miner.outgoing() + b"\x20\x00" + bytes(32), START)
    assert [type(event) for event in events] == [ShareSubmitted] * 3 + [Close]
    assert "BadRecord" in events[-1].reason and events[-1].is_peers_fault
    pair.deliver(pair.server.closed(START))
    found = pair.server.judged([weigh(e.header, e.network_target) for e in events[:3]], START)
    assert found and not any(isinstance(event, Send) for event in found)      # mute, but a block is not lost
    shares = [e.share if isinstance(e, BlockFound) else e for e in found]
    ids = [share.share_id for share in shares if isinstance(share, ShareAccepted)]
    assert pair.server.recorded(ids, START) == []
    assert pair.server.in_flight == 0


def test_frames_of_the_other_subprotocol_close():
    pair, _ = mining_pair()
    pair.miner._unsealed.append(encode_frame(0x70, bytes(4)))
    pair.talk()
    assert "UnexpectedMessage" in pair.close.reason


@pytest.mark.parametrize("msg_type", [0x03, 0x15, 0x1F, 0x25, 0x50, 0x57, 0xFF, 0x1C, 0x20])
def test_unknown_and_wrong_way_messages_close(msg_type):
    pair, _ = mining_pair()
    pair.miner._unsealed.append(encode_frame(msg_type, bytes(60)))
    pair.talk()
    assert "UnexpectedMessage" in pair.close.reason


def test_frames_of_an_extension_are_discarded():
    pair, work = mining_pair()
    pair.miner._unsealed.append(encode_frame(0x00, b"hello", extension_type=0x4ABC))
    submit(pair, work)
    pair.talk()
    assert pair.close is None and isinstance(pair.events[-1], ShareSubmitted)


@pytest.mark.parametrize(("is_set_up", "more", "is_refused"), [
    (False, 0, False), (False, 1, True), (True, 0, False), (True, 1, True)])
def test_the_cap_is_small_before_set_up_and_larger_after(is_set_up, more, is_refused):
    pair = Pair()
    if not is_set_up:
        pair.miner._unsealed.clear()                    # shake hands and say nothing yet
    pair.talk()
    length = (dialect().max_payload_from_client if is_set_up else dialect().max_payload_before_setup) + more
    transport, header = pair.miner._transport, b"\0\0\x7f" + length.to_bytes(3, "little")
    sealed = (transport.seal(header) if dialect().suite.has_length_prefixes
              else transport._send.encrypt_with_ad(b"", header, new_buffer()))      # a header is a record there
    pair.deliver(pair.server.receive(sealed, START))
    assert (pair.close is not None and "BadFrame" in pair.close.reason) is is_refused


def test_a_connection_that_says_nothing_is_closed_after_ten_seconds():
    server = make_server()
    assert server.wakes_at == START.monotonic + SETUP_DEADLINE_S
    assert server.tick(Now(START.monotonic + 9.9, 0)) == []
    (close,) = server.tick(Now(START.monotonic + 10.0, 0))
    assert close == Close(7, "no handshake within 10 s", True)
    assert server.receive(b"late", START) == []


def test_a_handshake_alone_does_not_buy_time():
    pair = Pair()
    pair.miner._unsealed.clear()
    pair.talk()
    (close,) = pair.server.tick(Now(START.monotonic + 10.0, 0))
    assert close.reason == "no SetupConnection within 10 s"


def test_a_peer_without_a_channel_is_dropped_after_the_idle_time():
    pair = Pair()
    pair.talk()
    (close,) = pair.server.tick(Now(START.monotonic + 600.0, 0))
    assert close.reason == "no channel for 600 s"


def run_until(pair, seconds):
    """Let its worker wake it until so many seconds after the start."""
    while pair.server.wakes_at <= START.monotonic + seconds:
        pair.now = Now(pair.server.wakes_at, START.unix + pair.server.wakes_at - START.monotonic)
        pair.deliver(pair.server.tick(pair.now))
    pair.now = Now(START.monotonic + seconds, START.unix + seconds)


def mine(pair, work, count=30):
    """Shares, of which about half are accepted."""
    submit(pair, work, count)
    pair.talk()
    pair.judge()
    pair.record()
    pair.events.clear()


def closed_channels(pair):
    return [event.channel_id for event in pair.heard if isinstance(event, ChannelClosed)]


def test_a_channel_without_a_share_has_a_day_where_its_difficulty_cannot_fall():
    pair, work = mining_pair("standard")                # the network's difficulty is the least
    for hour in range(1, 24):
        run_until(pair, hour * 3600)
        submit(pair, work, 5)                           # junk: their sequence numbers are old or their hashes too high
        pair.miner.outgoing()
    run_until(pair, 86_399)
    assert closed_channels(pair) == [] and pair.close is None
    run_until(pair, 86_400)
    assert closed_channels(pair) == [1]
    assert pair.close == Close(7, "no accepted share for too long", is_peers_fault=True)


def test_channels_that_find_nothing_any_more_are_closed_one_by_one_and_the_last_one_ends_the_connection():
    pair, first = mining_pair("standard")
    mine(pair, first)
    pair.miner.send(pair.miner.session.open_standard("bob", 0.0, MAX_TARGET))
    *_, ready = pair.talk()
    run_until(pair, 400)
    mine(pair, ready.work)                              # channel 2: its mean interval is about 400 s / 15
    run_until(pair, 599)
    assert closed_channels(pair) == []
    run_until(pair, 620)
    assert closed_channels(pair) == [1] and pair.close is None
    assert [dict(event.fields) for event in pair.events if isinstance(event, Happened)] == [
        {"channel": 1, "reason": "no accepted share for too long", "user": "alice", "channels": 1}]
    run_until(pair, 1010)
    assert closed_channels(pair) == [1, 2] and pair.close is not None


def test_shares_beyond_the_bound_wait_unread_until_answers_made_room():
    pair, work = mining_pair("standard")
    submit(pair, work, MAX_UNANSWERED + 300)
    data = pair.miner.outgoing()
    pair.deliver(pair.server.receive(data, START))
    assert sum(isinstance(event, ShareSubmitted) for event in pair.events) == MAX_UNANSWERED
    assert pair.server.in_flight == MAX_UNANSWERED and pair.server.backlog > 0
    submit(pair, work, 10, start=5000)
    pair.deliver(pair.server.receive(pair.miner.outgoing(), START))
    assert pair.server.in_flight == MAX_UNANSWERED
    while pair.server.in_flight:
        pair.judge()
        waiting = pair.accepted()
        pair.events = [event for event in pair.events if isinstance(event, ShareSubmitted)]
        pair.record([share.share_id for share in waiting])
    answered = sum(event.news for event in pair.heard if isinstance(event, SharesAccepted))
    refused = sum(isinstance(event, ShareRejected) for event in pair.heard)
    assert answered + refused == MAX_UNANSWERED + 310
    assert pair.server.backlog == 0


def test_of_a_backlog_with_bad_bytes_behind_it_the_shares_are_taken_all_the_same():
    pair, work = mining_pair("standard")
    submit(pair, work, MAX_UNANSWERED + 1)
    pair.deliver(pair.server.receive(pair.miner.outgoing() + bytes(22), START))
    assert pair.close is not None and "BadRecord" in pair.close.reason
    assert pair.server.in_flight == MAX_UNANSWERED
    pair.judge()
    assert sum(isinstance(event, ShareSubmitted) for event in pair.events) == 1 and pair.server.backlog == 0


def test_several_channels_on_one_connection():
    pair = Pair()
    pair.talk()
    (job,) = make_jobs(1)
    pair.offer(job)
    session = pair.miner.session
    pair.miner.send(*[session.open_standard(f"w.{n}", 0.0, MAX_TARGET) for n in range(20)],
                    *[session.open_extended(f"x.{n}", 0.0, MAX_TARGET, n) for n in range(20)])
    heard = pair.talk()
    opened = [event for event in heard if isinstance(event, ChannelOpened)]
    works = [event.work for event in heard if isinstance(event, WorkReady)]
    assert len(opened) == len(works) == 40
    assert len({event.extranonce_prefix for event in opened}) == 40
    for work in works:
        submit(pair, work, 3)
    pair.talk()
    pair.judge()
    pair.record()
    answered = sum(event.news for event in pair.heard if isinstance(event, SharesAccepted))
    refused = sum(isinstance(event, ShareRejected) for event in pair.heard)
    assert answered + refused == 120


def test_closed_channels_free_their_place():
    pair, work = mining_pair()
    pair.miner.send(pair.miner.session.close_channel(work.channel_id, "enough"))
    pair.talk()
    (close,) = pair.server.tick(Now(START.monotonic + 600.0, 0))
    assert close.reason == "no channel for 600 s"

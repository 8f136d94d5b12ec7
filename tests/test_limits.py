"""The token bucket for calls, alone and in the connections of both protocols."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.mining.makers import HARD_NBITS
from tests.sv1 import pairs as sv1
from tests.sv2 import pairs as sv2
from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Close, Event, Held, Holds, Now, Send, ShareSubmitted
from warppool.limits import FREE_CALLS, V1, Bucket
from warppool.sv2.client import ChannelOpened
from warppool.sv2.messages.mining import UpdateChannel

PING = b'{"id":1,"method":"mining.ping","params":[]}\n'


def drained(each: int = 0) -> Bucket:
    bucket = Bucket(V1, 100.0)
    for _ in range(V1.calls - FREE_CALLS):
        assert bucket.has_one(100.0, each)
        bucket.take(100.0, each)
    return bucket


def test_two_thousand_calls_at_once_and_one_again_within_50_ms() -> None:
    bucket = drained()
    assert not bucket.has_one(100.0, 0)
    assert bucket.due(100.0, 0) == pytest.approx(100.05)
    assert bucket.has_one(100.0501, 0)


@pytest.mark.parametrize("each", [0, 1, 50, 1000])
def test_it_fills_by_twenty_a_second_and_one_for_each_channel(each: int) -> None:
    bucket = drained(each)
    calls = 0
    now = 100.0
    while now < 110.0:
        now += 0.01
        while bucket.has_one(now, each):
            bucket.take(now, each)
            calls += 1
    assert calls == pytest.approx(10 * (20 + each), rel=0.02)
    assert bucket.due(now, each) - now <= 0.05


def test_it_never_holds_more_than_it_may() -> None:
    bucket = drained()
    calls = 0
    while bucket.has_one(1e6, 0):
        bucket.take(1e6, 0)
        calls += 1
    assert calls == V1.calls


# --- V1 ---------------------------------------------------------------------------------------------------------------

def storm(server: Any, data: bytes, now: Now) -> list[Event]:
    """All turns that it wants at one time."""
    events: list[Event] = server.receive(data, now)
    while server.held == Held.TURN:
        events += server.receive(b"", now)
    return events


def pongs(events: list[Event]) -> int:
    return sum(event.data.count(b"pong") for event in events if isinstance(event, Send))


def test_one_call_of_receive_makes_eight_calls() -> None:
    pair = sv1.Pair()
    assert pongs(pair.server.receive(PING * 100, pair.now)) == 8
    assert pair.server.held == Held.TURN and pair.server.backlog == 92 * len(PING)


def test_a_v1_machine_makes_two_thousand_calls_and_then_waits_unrefused() -> None:
    pair = sv1.Pair()
    pair.set_up()
    events = storm(pair.server, PING * 3000, pair.now)
    assert pongs(events) == V1.calls - 2                        # subscribe and authorize are calls, too
    assert pair.server.held == Held.CALLS and not any(isinstance(event, Close) for event in events)
    due = pair.server.wakes_at
    assert 0 < due - pair.now.monotonic <= 0.05
    assert storm(pair.server, PING, pair.now) == [] and pair.server.held == Held.CALLS
    assert pair.server.tick(Now(due, 0)) == [] and pair.server.held == Held.TURN
    assert pongs(storm(pair.server, b"", Now(due, 0))) == 1
    later = Now(due + 10.0, 0)
    pair.server.tick(later)
    assert pongs(storm(pair.server, b"", later)) == pytest.approx(210, abs=2)   # one worker: 21 a second


def test_shares_cost_no_call() -> None:
    pair = sv1.Pair()
    pair.set_up()
    share = b'{"id":1,"method":"mining.submit","params":["alice.rig1","zz","00","00000000","00000000"]}\n'
    odd = b'{"method":"mining.submit","id":[1],"params":[7]}\n'
    for _ in range(100):
        storm(pair.server, share * 50 + odd * 10, pair.now)
        assert pair.server.held == Held.NOTHING


def test_a_share_behind_too_many_calls_comes_when_they_are_through() -> None:
    pair = sv1.Pair(nbits=HARD_NBITS)
    pair.set_up()
    job, extranonce2, ntime, nonce = pair.mine()
    share = f'{{"id":9,"method":"mining.submit","params":["alice.rig1","{job}","{extranonce2}","{ntime}","{nonce}"]}}\n'
    events = storm(pair.server, PING * 1998 + share.encode(), pair.now)
    assert pair.server.held == Held.CALLS and not any(isinstance(event, ShareSubmitted) for event in events)
    due = Now(pair.server.wakes_at, 0)
    pair.server.tick(due)
    assert [type(event) for event in storm(pair.server, b"", due)] == [ShareSubmitted]


def test_of_one_that_is_gone_only_shares_are_taken() -> None:
    pair = sv1.Pair(nbits=HARD_NBITS)
    pair.set_up()
    job, extranonce2, ntime, nonce = pair.mine()
    share = f'{{"id":9,"method":"mining.submit","params":["alice.rig1","{job}","{extranonce2}","{ntime}","{nonce}"]}}\n'
    assert pair.server.receive(PING * 2500 + share.encode() + b'{"id":1,"method":"mining.subscribe","params":[]}\n',
                               pair.now)
    pair.server.abandon()
    events = storm(pair.server, b"", pair.now)
    assert [type(event) for event in events] == [ShareSubmitted]
    assert pair.server.held == Held.NOTHING and pair.server.backlog == 0


def test_workers_are_told_as_they_come() -> None:
    pair = sv1.Pair()
    pair.set_up()
    told = [event.holders for event in pair.events if isinstance(event, Holds)]
    pair.call("mining.authorize", "alice.rig2", "x")
    pair.call("mining.authorize", "alice.rig2", "x")
    assert told == [1]
    assert [event.holders for event in pair.events if isinstance(event, Holds)] == [1, 2]


# --- V2 ---------------------------------------------------------------------------------------------------------------

def set_up() -> sv2.Pair:
    pair = sv2.Pair()
    pair.talk()
    job, = sv2.make_jobs(1)
    pair.offer(job)
    return pair


def test_a_v2_peer_makes_two_thousand_calls_and_then_waits_unrefused() -> None:
    pair = set_up()
    session = pair.miner.session
    pair.miner.send(*[session.open_standard("w", 0.0, MAX_TARGET) for _ in range(990)])
    pair.talk()
    assert sum(isinstance(event, ChannelOpened) for event in pair.heard) == 990
    assert [event.holders for event in pair.events if isinstance(event, Holds)] == list(range(1, 991))
    update = session.profile.encode(UpdateChannel(99_999, 1.0, bytes(32)))
    pair.deliver(pair.server.receive(pair.miner._transport.seal(update * 1500), pair.now))
    assert pair.server.held == Held.CALLS and pair.close is None
    due = pair.server.wakes_at
    assert 0 < due - pair.now.monotonic <= 1 / 1000             # 990 channels: 1,010 calls a second
    later = Now(due + 100.0, 0)
    pair.server.tick(later)
    pair.now = later
    pair.deliver(pair.server.receive(b"", later))
    assert pair.server.held == Held.NOTHING and pair.close is None and pair.server.backlog == 0


def test_a_v2_peer_that_is_gone_has_its_shares_weighed() -> None:
    pair = set_up()
    session = pair.miner.session
    pair.miner.send(session.open_standard("w", 0.0, MAX_TARGET))
    pair.talk()
    work = next(event.work for event in pair.heard if hasattr(event, "work"))
    submit = session.submit(work, b"", work.version, work.min_ntime, 1)
    encode = session.profile.encode
    update = encode(UpdateChannel(1, 1.0, MAX_TARGET.to_bytes(32, "little")))
    plain = update * 500 + encode(submit) + encode(session.open_standard("w", 0.0, MAX_TARGET))
    pair.server.receive(pair.miner._transport.seal(plain), pair.now)
    assert pair.server.held == Held.TURN
    pair.server.abandon()
    events = storm(pair.server, b"", pair.now)
    assert [type(event) for event in events] == [ShareSubmitted] and pair.server.in_flight == 1
    assert pair.server.held == Held.NOTHING and pair.server.wakes_at < math.inf

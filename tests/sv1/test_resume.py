"""Sessions that go from worker to worker: every order of their messages, with the threads played by the test."""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import HARD_NBITS, make_channel
from tests.sv1.pairs import START, Chance, Jobs, Pair, make_counters, with_policy
from warppool.events import Nudge
from warppool.mining.extranonce import PrefixPool
from warppool.sv1.resume import (
    CLAIM_S,
    MAX_RESUMABLE,
    RESUMABLE_S,
    Claim,
    Handed,
    ResumableSessions,
    Returned,
    Withdrawn,
)
from warppool.sv1.server import Context
from warppool.sv1.words import NO_PREFERENCE


class Workers:
    """Workers whose inboxes are emptied when the test says so; all of them have one job."""

    def __init__(self, count: int = 2) -> None:
        self.inboxes: list[deque] = [deque() for _ in range(count)]
        self.pools: list[Context] = []
        chance = Chance()
        for index in range(count):
            prefixes = PrefixPool(0, index, count)
            sessions = ResumableSessions(prefixes, index, count, lambda to, message: self.inboxes[to].append(message))
            self.pools.append(Context(with_policy().policy, prefixes, make_counters(), sessions, chance))
        self.jobs = Jobs(nbits=HARD_NBITS)
        self.job = self.jobs.make()
        self.pairs: list[Pair] = []
        self.now = START
        self._starts = itertools.count(1)           # nonces that no machine has tried

    def sessions(self, worker: int) -> ResumableSessions:
        return self.pools[worker].resumable

    def pair(self, worker: int) -> Pair:
        pair = Pair(self.pools[worker], self.jobs)
        pair.server.conn_id = pair.server._session.conn_id = 100 + len(self.pairs)
        pair.worker, pair.now, pair.job = worker, self.now, self.job
        self.pairs.append(pair)
        pair.deliver(pair.server.offer(self.job, self.now))
        return pair

    def begin(self, worker: int, session: str | None = None) -> Pair:
        pair = self.pair(worker)
        pair.call("mining.subscribe", "agent", session, request_id=1)
        pair.call("mining.authorize", "alice.rig1", "x", request_id=2)
        return pair

    def mined(self, worker: int) -> Pair:
        """A machine with an accepted share, still there."""
        pair = self.begin(worker)
        self.mine(pair)
        return pair

    def mine(self, pair: Pair) -> None:
        self.send(pair)
        assert pair.settle()[-1]["result"] is True

    def send(self, pair: Pair) -> None:
        pair.submit(*pair.mine(start=next(self._starts) << 12), request_id=9)

    def wait(self, seconds: float) -> None:
        for pair in self.pairs:
            pair.wait(seconds)
        self.now = type(self.now)(self.now.monotonic + seconds, self.now.unix + seconds)

    def hear(self, worker: int, count: int = 1) -> None:
        """Let a worker handle messages, as its thread does: who is nudged gets a tick."""
        for _ in range(count):
            self.nudge(self.sessions(worker).receive(self.inboxes[worker].popleft(), self.now.monotonic))

    def nudge(self, events) -> None:
        for event in events:
            if isinstance(event, Nudge):
                for pair in self.pairs:
                    if pair.server.conn_id == event.conn_id:
                        pair.tick()

    def hear_all(self) -> None:
        while any(self.inboxes):
            for worker, inbox in enumerate(self.inboxes):
                self.hear(worker, len(inbox))


def session_of(pair: Pair) -> str:
    return pair.subscription[0][1][1]


def is_answered(pair: Pair) -> bool:
    return any(line.get("id") == 1 for line in pair.said)


def kinds(inbox) -> list[type]:
    return [type(message) for message in inbox]


# --- the way there and back -------------------------------------------------------------------------------------------

def test_a_session_is_taken_up_at_another_worker_and_comes_home_at_the_next_drop():
    workers = Workers(3)
    first = workers.mined(1)
    session, space, work = session_of(first), first.subscription, first.work
    assert session.startswith("01")
    first.drop()
    for worker in (2, 0, 0, 1, 2):
        second = workers.begin(worker, session)
        assert is_answered(second) is (worker == 1)
        workers.hear_all()
        assert second.subscription == space and second.happened("miner.resumed")
        assert [line["id"] for line in second.said if "method" not in line] == [1, 2]
        assert second.said[-1]["method"] == "mining.notify" and second.said[-1]["params"][8] is True
        assert second.work.extranonce1 == work.extranonce1
        assert len(workers.sessions(1)) == 0
        workers.mine(second)
        second.drop()
        workers.hear_all()
        assert [len(workers.sessions(index)) for index in range(3)] == [0, 1, 0], "it is at home again"
    assert [workers.sessions(index).held for index in range(3)] == [0, 1, 0], "and nothing else is left behind"


def test_shares_of_before_count_there_and_none_counts_twice():
    workers = Workers()
    first = workers.mined(0)
    old = first.mine(start=1 << 20)
    first.submit(*old)
    first.settle()
    late = first.mine(start=int(old[3], 16) + 1)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    for fields, answer in ((old, [22, "Duplicate share", None]), (late, None), (late, [22, "Duplicate share", None])):
        second.submit(*fields)
        assert second.settle()[-1]["error"] == answer


def test_a_kept_session_remembers_its_newest_keys_and_so_many_shares(monkeypatch):
    monkeypatch.setattr("warppool.sv1.resume.MAX_KEPT_SHARES", 4)
    workers = Workers()
    first = workers.begin(0)
    sent, late = [], []
    for _ in range(3):
        first.offer()
        for start in (1, 2):
            sent.append(first.mine(start=start << 20))
            first.submit(*sent[-1])
            first.settle()
        late.append(first.mine(start=3 << 20))
    first.drop()
    assert workers.sessions(0).shares == 4
    second = workers.begin(0, session_of(first))
    for fields in sent[:2] + late[:1]:
        assert second.submit(*fields)[-1]["error"] == [21, "Job not found", None], "its key is forgotten"
    for fields in sent[2:]:
        second.submit(*fields)
        assert second.settle()[-1]["error"] == [22, "Duplicate share", None]
    for fields in late[1:]:
        second.submit(*fields)
        assert second.settle()[-1]["result"] is True


def test_a_session_with_too_many_shares_on_one_key_is_kept_without_them(monkeypatch):
    monkeypatch.setattr("warppool.sv1.resume.MAX_KEPT_SHARES", 4)
    workers = Workers()
    first = workers.begin(1)
    for _ in range(5):
        workers.mine(first)
    fields = first.mine(start=1 << 20)
    first.drop()
    workers.hear_all()
    assert (len(workers.sessions(1)), workers.sessions(1).shares) == (1, 0)
    second = workers.begin(0, session_of(first))
    workers.hear_all()
    assert second.subscription == first.subscription
    assert second.submit(*fields)[-1]["error"] == [21, "Job not found", None]
    workers.mine(second)
    assert second.server._session.machine.channel.remembered == 1


def test_the_old_owner_has_let_the_channel_go():
    workers = Workers()
    first = workers.mined(0)
    channel = first.server._session.machine.channel
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    assert second.server._session.machine.channel is channel
    assert first.server._session.machine.channel is None
    target, jobs = channel.target, dict(channel.jobs)
    first.wait(3600)
    for step in (first.server.tick(first.now), first.server.offer(workers.jobs.make(2), first.now),
                 first.server.recorded([1], first.now), first.server.not_recorded([1], first.now)):
        assert step == []
    assert (channel.target, channel.jobs) == (target, jobs)


def test_the_prefix_goes_home_when_the_session_is_over():
    workers = Workers()
    first = workers.mined(0)
    prefix = bytes.fromhex(first.subscription[1])
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    second.drop()
    workers.hear_all()
    workers.wait(RESUMABLE_S)
    for pool in workers.pools:
        pool.resumable.expire(workers.now.monotonic)
        pool.prefixes.moved(workers.jobs.make(2).tip)
    assert prefix in [workers.pools[0].prefixes.take() for _ in range(3)]
    assert prefix not in [workers.pools[1].prefixes.take() for _ in range(3)]


def test_a_prefix_rests_until_the_last_tip_of_its_channel_is_gone_also_where_that_came_first_elsewhere():
    tip_1, tip_2, tip_3 = (Jobs().make(number).tip for number in (1, 2, 3))
    prefixes = PrefixPool(0, 0, 1)
    prefixes.moved(tip_1)
    prefix = prefixes.take()
    prefixes.release(prefix, tip_2)             # another worker was faster
    prefixes.moved(tip_2)
    assert prefixes.take() != prefix
    prefixes.moved(tip_3)
    assert prefixes.take() == prefix


def test_a_session_that_ends_where_its_home_is_behind_leaves_its_prefix_resting():
    pool = PrefixPool(0, 0, 1)
    prefix = pool.take()
    old, new, last = (Jobs().make(number).tip for number in (1, 2, 3))
    pool.moved(old)
    channel = make_channel(prefix=prefix)
    channel.tip = new                           # it had a job of this tip at another worker
    ResumableSessions(pool).keep(bytes(8), channel, NO_PREFERENCE, 0.0)       # without a share it is not kept
    pool.moved(new)
    assert pool.take() != prefix
    pool.moved(last)
    assert pool.take() == prefix


# --- owner gone, owner slow -------------------------------------------------------------------------------------------

def test_who_names_a_session_of_a_worker_that_is_not_there_waits_for_nothing():
    workers = Workers()
    for named in ("02" + "00" * 7, "ff" * 8):
        assert is_answered(workers.begin(0, named))
    assert not any(workers.inboxes)


def test_an_unknown_session_is_refused_by_its_home_at_once():
    workers = Workers()
    pair = workers.begin(0, "01" + "77" * 7)
    assert not is_answered(pair)
    workers.hear(1)
    assert kinds(workers.inboxes[0]) == [Handed]
    workers.hear(0)
    assert is_answered(pair) and pair.happened("miner.opened")
    assert workers.sessions(0).held == workers.sessions(1).held == 0


def test_a_home_that_is_silent_for_a_second_is_not_waited_for_and_what_comes_late_goes_back():
    workers = Workers()
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    assert second.server.wakes_at == START.monotonic + CLAIM_S == second.now.monotonic + 1
    workers.wait(0.999)
    assert second.tick() == []
    workers.wait(0.001)
    heard = second.tick()
    assert [line.get("method", line.get("id")) for line in heard] == [1, 2, "mining.set_difficulty", "mining.notify"]
    assert second.subscription[1] != first.subscription[1]
    assert kinds(workers.inboxes[0]) == [Claim, Withdrawn]
    workers.hear_all()
    assert len(workers.sessions(0)) == 1
    third = workers.begin(1, session_of(first))
    workers.hear_all()
    assert third.subscription == first.subscription


def test_an_answer_that_crosses_the_withdrawal_brings_the_session_home():
    workers = Workers()
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.wait(0.9)
    workers.hear(0)                             # it is on its way to worker 1 ...
    workers.wait(0.1)
    second.tick()                               # ... where nobody waits for it any more
    assert (kinds(workers.inboxes[0]), kinds(workers.inboxes[1])) == ([Withdrawn], [Handed])
    workers.hear(1)
    assert kinds(workers.inboxes[0]) == [Withdrawn, Returned]
    workers.hear_all()
    assert (len(workers.sessions(0)), workers.sessions(0).held, workers.sessions(1).held) == (1, 1, 0)


# --- drops in the midst -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("is_answered_first", [False, True])
def test_a_drop_in_the_midst_of_a_claim(is_answered_first):
    workers = Workers()
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    if is_answered_first:
        workers.hear(0)
    second.drop()
    workers.hear_all()
    assert (len(workers.sessions(0)), workers.sessions(0).held, workers.sessions(1).held) == (1, 1, 0)
    third = workers.begin(0, session_of(first))
    assert third.subscription == first.subscription


def test_a_drop_between_answer_and_tick_sends_the_session_home():
    workers = Workers()
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear(0)
    assert workers.sessions(1).receive(workers.inboxes[1].popleft(), workers.now.monotonic) == [
        Nudge(second.server.conn_id)]
    second.drop()                               # before its nudge is heeded
    workers.hear_all()
    assert (len(workers.sessions(0)), workers.sessions(1).held) == (1, 0)


def test_a_claim_waits_for_shares_in_flight_at_home():
    workers = Workers()
    first = workers.mined(0)
    fields = first.mine(start=1 << 20)
    first.submit(*fields)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    assert not is_answered(second) and first.server._session.machine.channel is not None
    first.judge()
    workers.hear_all()
    assert not is_answered(second), "weighed, and not yet in the books"
    first.record()
    assert first.server._session.machine.channel is None
    workers.hear_all()
    assert second.subscription == first.subscription
    second.submit(*fields)
    assert second.settle()[-1]["error"] == [22, "Duplicate share", None]


@pytest.mark.parametrize("worker", [0, 1, 2])
def test_a_claim_waits_for_shares_in_flight_at_a_third_worker(worker):
    workers = Workers(3)
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    fields = second.mine(start=1 << 21)
    second.submit(*fields)
    second.drop()
    third = workers.begin(worker, session_of(first))
    workers.hear_all()
    assert not is_answered(third)
    second.settle()
    workers.hear_all()
    for pair in (second, third):
        workers.nudge(pair.events)
    assert third.subscription == first.subscription
    third.submit(*fields)
    assert third.settle()[-1]["error"] == [22, "Duplicate share", None]


def test_a_share_that_is_given_up_in_flight_may_be_sent_again_by_the_next_owner():
    workers = Workers()
    first = workers.mined(0)
    fields = first.mine(start=1 << 20)
    first.submit(*fields)
    first.drop()
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    first.judge()
    first.deliver(first.server.not_recorded([share.share_id for share in first.unrecorded], first.now))
    workers.hear_all()
    second.submit(*fields)
    assert second.settle()[-1]["result"] is True


@pytest.mark.parametrize("worker", [0, 1])
def test_a_drop_while_the_ledger_hangs_loses_no_session(worker):
    """The last share in flight is given up: no word of it may ever come, since its connection is forgotten now."""
    workers = Workers()
    first = workers.mined(0)
    fields = first.mine(start=1 << 20)
    first.submit(*fields)
    first.drop()
    first.judge()
    first.deliver(first.server.given_up([share.share_id for share in first.unrecorded], first.now))
    second = workers.begin(worker, session_of(first))
    workers.hear_all()
    workers.nudge(second.events)
    assert second.subscription == first.subscription
    second.submit(*fields)                      # it may be in the books
    assert second.settle()[-1]["error"] == [22, "Duplicate share", None]


def test_shares_that_are_never_answered_free_the_prefix_at_last():
    workers = Workers()
    first = workers.mined(0)
    first.submit(*first.mine(start=1 << 20))
    first.drop()                                # the worker abandons it after a minute, and nobody hears of that
    workers.wait(RESUMABLE_S)
    workers.sessions(0).expire(workers.now.monotonic)
    assert workers.sessions(0).held == 0
    workers.pools[0].prefixes.moved(workers.jobs.make(2).tip)
    assert workers.pools[0].prefixes.take() == bytes.fromhex(first.subscription[1])


# --- two at once, and others' sessions --------------------------------------------------------------------------------

def test_of_two_who_claim_one_session_one_gets_it():
    workers = Workers(3)
    first = workers.mined(0)
    first.drop()
    second, third, fourth = (workers.begin(worker, session_of(first)) for worker in (1, 2, 0))
    assert fourth.subscription == first.subscription, "who is at its home is first"
    workers.hear_all()
    assert second.subscription[1] != first.subscription[1] != third.subscription[1] != second.subscription[1]


def test_of_two_others_who_claim_one_session_one_gets_it_and_the_second_begins_anew():
    workers = Workers(3)
    first = workers.mined(0)
    first.drop()
    second, third = (workers.begin(worker, session_of(first)) for worker in (1, 2))
    workers.hear_all()
    assert second.subscription == first.subscription and not is_answered(third)
    workers.wait(CLAIM_S)
    third.tick()
    assert is_answered(third) and third.subscription[1] != first.subscription[1]
    second.drop()
    workers.hear_all()
    assert [workers.sessions(worker).held for worker in range(3)] == [1, 0, 0]


def test_a_session_of_a_live_machine_is_nobody_elses():
    workers = Workers()
    first = workers.mined(0)
    second = workers.begin(1, session_of(first))
    workers.hear_all()
    assert second.subscription[1] != first.subscription[1]
    workers.mine(first)


def test_claims_of_strangers_leave_nothing_behind():
    workers = Workers()
    lent = workers.mined(0)
    lent.drop()
    workers.begin(1, session_of(lent))
    workers.hear_all()
    for number in range(500):
        stranger = workers.begin(number % 2, session_of(lent) if number % 3 else f"{1 - number % 2:02x}" + "5a" * 7)
        if number % 5:
            workers.hear_all()
        if number % 7 == 0:
            workers.wait(0.4)
        stranger.tick()
        stranger.drop()
    workers.hear_all()
    assert [workers.sessions(worker).held for worker in range(2)] == [1, 0], "the one that is lent"


def test_a_second_subscribe_waits_with_the_first():
    workers = Workers()
    first = workers.mined(0)
    first.drop()
    second = workers.begin(1, session_of(first))
    second.call("mining.subscribe", "agent", request_id=3)
    second.call("mining.submit", "alice.rig1", "1", "00" * 8, "00" * 4, "00" * 4, request_id=4)
    second.call("mining.ping", request_id=5)
    workers.hear_all()
    answers = [line for line in second.said if "method" not in line]
    assert [line["id"] for line in answers] == [1, 2, 3, 4, 5]
    assert answers[0]["result"] == answers[2]["result"] == first.subscription
    assert answers[3]["error"][0] == 25 and answers[4]["result"] == "pong"


def test_no_prefix_left_after_a_claim_in_vain(monkeypatch):
    workers = Workers()
    pair = workers.pair(1)
    monkeypatch.setattr(workers.pools[1].prefixes, "take", lambda: None)
    pair.call("mining.subscribe", "agent", "00" * 8, request_id=1)
    workers.hear_all()
    assert pair.said == [{"id": 1, "result": None, "error": [20, "No extranonce left", None]}]
    assert pair.happened("miner.refused")


def test_what_comes_home_is_bounded_like_what_is_dropped_there():
    workers = Workers()
    first = workers.mined(0)
    channel = first.server._session.machine.channel
    for number in range(MAX_RESUMABLE + 10):
        preference = first.server._session.machine.preference
        workers.sessions(0).keep(b"\0" + number.to_bytes(7, "big"), channel, preference, 1000.0)
    assert len(workers.sessions(0)) == MAX_RESUMABLE


def test_there_are_no_more_homes_than_a_byte_can_name():
    with pytest.raises(ValueError, match="257 workers"):
        ResumableSessions(PrefixPool(0, 0, 1), 0, 257)


# --- whatever the order -----------------------------------------------------------------------------------------------

@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["come", "hear", "hear", "hear", "drop", "share", "settle", "wait"]),
                          st.integers(0, 2)), max_size=40))
def test_whatever_the_order_a_channel_has_one_owner_and_comes_home(steps):
    workers = Workers(3)
    first = workers.mined(0)
    channel, session = first.server._session.machine.channel, session_of(first)
    first.drop()
    live: list[Pair] = []
    for step, which in steps:
        pair = live[which % len(live)] if live else None
        if step == "come":
            live.append(workers.begin(which, session))
        elif step == "hear" and workers.inboxes[which]:
            workers.hear(which)
        elif step == "wait":
            workers.wait(0.35)
            for each in live:
                each.tick()
        elif pair is not None and step == "share" and is_answered(pair):
            workers.send(pair)
        elif pair is not None and step == "settle":
            pair.settle()
        elif pair is not None and step == "drop":
            live.remove(pair)
            pair.drop()
        for each in workers.pairs:
            workers.nudge(each.events)
            each.events = [event for event in each.events if not isinstance(event, Nudge)]
        owners = [each for each in workers.pairs if each.server._session.machine.channel is channel]
        messages = [message for inbox in workers.inboxes for message in inbox]
        carried = [message for message in messages if isinstance(message, Handed | Returned)
                   and message.dropped is not None and message.dropped.channel is channel]
        kept = sum(dropped.channel is channel for dropped in workers.sessions(0)._kept.values())
        answers = sum(dropped is not None and dropped.channel is channel
                      for worker in range(3) for dropped in workers.sessions(worker)._answers.values())
        assert len(owners) + len(carried) + kept + answers == 1
    for pair in workers.pairs:
        if pair in live:
            pair.drop()
        pair.settle()
    workers.hear_all()
    assert any(dropped.channel is channel for dropped in workers.sessions(0)._kept.values())
    for worker in range(3):
        sessions = workers.sessions(worker)
        assert sessions.held == len(sessions)

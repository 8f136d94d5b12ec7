"""Shares that wait for a verdict, beside a plain account of the same that keeps no sums."""

from __future__ import annotations

import math
import random

import pytest

from tests.translate.world import World
from warppool.translate.sent import Sent, SentShares


def share(number, at):
    return Sent(b"%d" % number, "bob", 1, 800_000, 1.0, number.to_bytes(32, "big"), at)


@pytest.mark.parametrize("seed", range(30))
def test_any_history(seed):
    dice, shares, now = random.Random(seed), SentShares(), 1000.0
    pending, late = {}, {}
    for number in range(300):
        now += dice.choice((0.0, 0.3, 1.1))
        what = dice.choice(("add", "add", "add", "answered", "accept", "reject", "overdue"))
        known = [*pending, *late]
        if what in ("add", "answered"):
            sent = share(number, now)
            sent.is_answered = what == "answered"
            (late if sent.is_answered else pending)[shares.next_sequence] = sent
            shares.add(sent)
        elif what == "accept":
            last = dice.choice(known) if known and dice.random() < 0.8 else dice.randrange(400)
            assert shares.take_late(last) == [late.pop(each) for each in list(late) if each <= last]
            assert shares.take_accepted(last) == [pending.pop(each) for each in list(pending) if each <= last]
        elif what == "reject":
            sequence = dice.choice(known) if known and dice.random() < 0.8 else dice.randrange(400)
            is_late = sequence not in pending
            assert shares.awaits(sequence) is (sequence in pending or sequence in late)
            assert shares.take_rejected(sequence) == (pending.pop(sequence, None) or late.pop(sequence, None), is_late)
        else:
            overdue = {each: sent for each, sent in pending.items() if sent.at + 2.0 <= now}
            assert shares.take_overdue(now, 2.0) == list(overdue.values())
            late.update(overdue)
            late = dict(sorted(late.items()))
            shares.unconfirmed = dict(sorted((shares.unconfirmed or {}).items()))
            for each in overdue:
                del pending[each]
        assert shares.pending == pending and (shares.unconfirmed or {}) == late
        assert shares.first_sent_at == min((sent.at for sent in pending.values()), default=math.inf)
    assert shares.take_all() == list(pending.values())
    assert (shares.pending, shares.unconfirmed, shares.first_sent_at, shares.fails_at) == ({}, None, math.inf, math.inf)


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_verdict_on_one_leaves_the_patience_with_the_next_as_it_was(is_refused):
    world = World()
    pool = world.pools[0]
    machine = world.machine().start()
    pool.withholds = True
    machine.mine(1)
    world.wait(1)
    machine.mine(1)
    (conn_id, first), _ = pool._withheld
    server = pool.servers[conn_id]
    pool.deliver(conn_id, server.not_recorded(first, world.now) if is_refused else server.recorded(first, world.now))
    world.run()
    assert len(machine.answers()) == 1
    world.wait(1.99)
    assert len(machine.answers()) == 1 and world.counters.pending == 1
    world.wait(0.02)
    assert len(machine.answers()) == 2 and world.counters.unconfirmed == 1

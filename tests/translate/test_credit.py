"""What the pool behind the translator credits is at most what the machine has hashed, whatever it does."""

from __future__ import annotations

import pytest

from tests.translate.profiles import profile  # noqa: F401
from tests.translate.world import EASY, World
from warppool.bitcoin.target import target_from_difficulty
from warppool.mining.share import weigh

HASHES = 6000
HASH = 0xFFFF / 2**48                   # in difficulty: what one hash is worth is the same under every target
WORK = HASHES * HASH
STEPS = [EASY * 2**step for step in range(7)]


class Greedy:
    """A machine that has every key of a job, hashes first, and then names the key that pays best."""

    def __init__(self, world):
        self.world = world
        self.machine = world.machine().start("alice.rig1", f"d={float(STEPS[0])}")
        self.works = [self.machine.work]
        self.submitted = 0

    def wish(self, difficulty):
        """Ask for another difficulty, and keep what comes of it."""
        self.machine.client.authorize("alice.rig1", f"d={float(difficulty)}")
        self.machine.say()
        self.world.wait(1.1)                    # a job of its own follows in time
        if self.machine.work is not self.works[-1]:
            self.works.append(self.machine.work)

    def hash(self, work, nonce, ntime):
        return weigh(work.header(bytes(8), work.version, ntime, nonce), 0).value

    def submit(self, work, nonce, ntime):
        self.submitted += 1
        self.machine.client.submit("alice.rig1", work, bytes(8), work.version, ntime, nonce)
        self.machine.say()


def greedy():
    world = World(idle_timeout_s=1e6)
    it = Greedy(world)
    for difficulty in STEPS[1:]:
        it.wish(difficulty)
    return world, it


@pytest.mark.parametrize("is_hardest_first", [True, False])
def test_naming_the_key_after_hashing_pays_no_more_than_the_work(is_hardest_first):
    world, it = greedy()
    ntime = max(work.ntime for work in it.works)
    by_price = sorted(it.works, key=lambda work: work.target, reverse=not is_hardest_first)
    assert len({work.target for work in it.works}) == len(STEPS)
    for nonce in range(HASHES):
        value = it.hash(by_price[0], nonce, ntime)
        for work in by_price:                   # the first that the hash meets is the one that is named
            if value <= work.target:
                it.submit(work, nonce, ntime)
                break
    # who submits under another key has the pool hash another header, which is one more try
    assert world.pools[0].credited.total() <= 1.2 * (WORK + it.submitted * HASH)


def test_a_hard_job_after_the_channel_got_easier_pays_no_more_than_the_work():
    world = World(idle_timeout_s=1e6)
    it = Greedy(world)
    it.wish(STEPS[-1])
    hard = it.works[-1]
    it.wish(STEPS[0])
    easy = target_from_difficulty(STEPS[0])
    for nonce in range(HASHES):
        if it.hash(hard, nonce, hard.ntime) <= easy:
            it.submit(hard, nonce, hard.ntime)
    assert world.counters.filtered > 1000 and world.counters.rejected.total() == 0
    assert world.pools[0].credited.total() <= 1.6 * WORK            # a hundred shares of the hard target


def test_an_honest_machine_is_credited_all_its_work():
    world = World(idle_timeout_s=1e6)
    it = Greedy(world)
    for turn in range(6):
        it.wish(STEPS[turn % 3])
        work = it.machine.work
        for nonce in range(HASHES // 6):
            if it.hash(work, nonce, work.ntime) <= work.target:
                it.submit(work, nonce, work.ntime)
    assert world.counters.rejected.total() == 0 and world.counters.filtered == 0
    assert world.pools[0].credited.total() == pytest.approx(WORK, rel=0.2)
    assert sum(share.difficulty for share in world.booked) == pytest.approx(world.pools[0].credited.total())

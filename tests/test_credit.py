"""Credit equals work, before the real sessions of both protocols: the greediest machine and the honest one.

Headers are hashed for once, under difficulties that every few hashes meet, so the work is known exactly. Whatever the
machine does, each hash is worth the same before it is known; so credit less work is a fair game, whose deviation is the
root of the squares of the credits. Seeds are fixed: what passes once passes always.
"""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import HARD_NBITS, make_factory, make_template, make_tip
from tests.sv1 import pairs as sv1
from tests.sv2 import pairs as sv2
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.target import DIFF1, MAX_TARGET, target_from_difficulty
from warppool.events import Now, ShareAccepted
from warppool.mining.difficulty import DifficultyPolicy
from warppool.sv1.client import Work as Sv1Work
from warppool.sv2.client import SetUp, WorkReady
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import UpdateChannel
from warppool.sv2.profile import WARP

BASE = Fraction(1, 10**9)           # a fourth of all hashes meets it
POLICY = DifficultyPolicy(BASE, BASE, Fraction(0), Fraction(6000))
LADDER = [BASE * 2**step for step in range(5)]
WORTH = float(Fraction(DIFF1, 2**256))      # the difficulty that one hash is worth
DEVIATIONS = 4.5
ROLLED = int(sv1.START.unix) + 1000     # a header time that every key takes: machines may roll it


class Rig:
    """A machine on a real connection; `works` are its keys, the newest last, and `credited` what the books hold."""

    def __init__(self) -> None:
        self.works = []
        self.credits = []
        self.hashed = {}
        self.tip = 1

    def header(self, work, nonce):
        """The header of `nonce`, hashed: this is the work."""
        header = self.build(work, nonce)
        if header not in self.hashed:
            self.hashed[header] = int.from_bytes(double_sha256(header), "little")
        return header, self.hashed[header]

    @property
    def work_done(self):
        return len(self.hashed) * WORTH

    @property
    def credited(self):
        return sum(self.credits)

    @property
    def deviation(self):
        return math.sqrt(sum(credit ** 2 for credit in self.credits))


class Sv1Rig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.context = sv1.make_context(POLICY)
        self.jobs = sv1.Jobs(nbits=HARD_NBITS)
        self.pair = sv1.Pair(self.context, self.jobs)
        self.hear(self.pair.set_up())

    def hear(self, lines):
        for line in lines:
            if line.get("method") == "mining.set_difficulty":
                self.target = target_from_difficulty(str(line["params"][0]))
            elif line.get("method") == "mining.notify":
                extranonce1, size = self.pair.subscription[1:]
                self.works.append(Sv1Work.of(line["params"], bytes.fromhex(extranonce1), size, self.target, 0))

    def build(self, work, nonce):
        return work.header(bytes(8), work.version, ROLLED, nonce)

    def ask(self, difficulty, dice):
        self.hear(self.pair.call("mining.authorize", "alice.rig1", f"d={float(difficulty):.12f}"))

    def resume(self):
        session = self.pair.subscription[0][0][1]
        self.pair.drop()
        before, self.pair = self.pair, sv1.Pair(self.context, self.jobs)
        self.pair.now, self.pair.job = before.now, before.job
        self.pair.deliver(self.pair.server.offer(before.job, before.now))
        self.hear(self.pair.call("mining.subscribe", "agent", session))
        self.hear(self.pair.call("mining.authorize", "alice.rig1", "x"))

    def offer(self, tip):
        self.hear(self.pair.offer(tip))

    def wait(self, seconds):
        self.pair.wait(seconds)
        self.hear(self.pair.tick())

    def submit(self, work, nonce):
        """The answer: None where it was accepted, else the code."""
        self.pair.submit(work.job_id, bytes(8).hex(), f"{ROLLED:08x}", f"{nonce:08x}")
        self.hear(self.pair.judge())
        self.credits += [event.difficulty for event in self.pair.events if isinstance(event, ShareAccepted)]
        return (self.pair.record() or self.pair.said)[-1]["error"]


class Sv2Rig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.factory = make_factory({WARP.name: lambda job: EncodedJob(WARP, job)})
        self.pair = sv2.Pair(sv2.make_context(POLICY))
        self.pair.talk()
        assert any(isinstance(event, SetUp) for event in self.pair.heard)
        self.offer(1)
        self.pair.miner.send(self.pair.miner.session.open_extended("alice", 0.0, MAX_TARGET, 8))
        self.pair.talk()
        self.hear()

    def hear(self):
        self.works += [event.work for event in self.pair.heard if isinstance(event, WorkReady)]
        self.pair.heard.clear()

    def build(self, work, nonce):
        return work.header(bytes(8), work.version, ROLLED, nonce)

    def ask(self, difficulty, dice):
        """By a rate, or, where `dice` says so, by the floor or by both."""
        max_target, rate = MAX_TARGET, float(difficulty * 2**32 * POLICY.shares_per_minute / 60)
        if dice is not None:
            max_target = dice.choice([MAX_TARGET, target_from_difficulty(difficulty)])
            rate = dice.choice([0.0, rate])
        self.pair.miner.send(UpdateChannel(self.works[-1].channel_id, rate, max_target.to_bytes(32, "little")))
        self.pair.talk()
        self.hear()

    def resume(self):
        """V2 has none: the channel stays."""

    def offer(self, tip):
        self.pair.offer(self.factory.make(make_template(make_tip(tip, HARD_NBITS)), now=self.pair.now.unix))
        self.hear()

    def wait(self, seconds):
        self.pair.now = Now(self.pair.now.monotonic + seconds, self.pair.now.unix + seconds)
        self.pair.deliver(self.pair.server.tick(self.pair.now))
        self.hear()

    def submit(self, work, nonce):
        self.pair.miner.send(self.pair.miner.session.submit(work, bytes(8), work.version, ROLLED, nonce))
        self.pair.talk()
        self.pair.judge()
        shares = self.pair.accepted()
        self.credits += [share.difficulty for share in shares]
        self.pair.record()
        self.pair.events.clear()
        self.hear()
        return None if shares else "refused"


RIGS = pytest.mark.parametrize("rig_class", [Sv1Rig, Sv2Rig])
SEEDS = st.integers(0, 2**32)


def shake(rig, dice):
    """Anything that the machine or the chain can do between two hashes."""
    step = dice.randrange(10)
    if step < 5:
        rig.ask(dice.choice(LADDER), dice)
    elif step == 5:
        rig.resume()
    elif step == 6:
        rig.wait(dice.choice([1.0, 15.0]))
    elif step == 7:
        rig.tip = 3 - rig.tip           # two tips that flap
        rig.offer(rig.tip)
    else:
        rig.offer(rig.tip)


def hand_in(rig, held):
    """Each share under the key with the hardest target that it meets, then under all others, and once more."""
    for work, nonce in held:
        header, value = rig.header(work, nonce)
        same = [other for other in rig.works[-40:] if rig.build(other, nonce) == header]
        same.sort(key=lambda other: (other.target < value, other.target))
        for other in [*same, *same[:1]]:
            rig.submit(other, nonce)
    del held[:-10]                      # a few are tried again later


@RIGS
@settings(max_examples=4, derandomize=True, deadline=None)
@given(seed=SEEDS)
def test_the_greediest_machine_never_gets_more_than_its_work(rig_class, seed):
    """It names, after hashing, the key with the hardest target that its hash meets, holds shares back until it has
    other keys, and tries each share under every key, twice, whatever its target.
    """
    rig, dice, held = rig_class(), Random(seed), []
    for nonce in range(1, 1000):
        if nonce % 25 == 0:
            if dice.random() < 0.3:
                hand_in(rig, held)
            tip = rig.tip
            shake(rig, dice)
            if rig.tip != tip and dice.random() < 0.8:      # it flaps back: what was held is tried again
                rig.tip = tip
                rig.offer(tip)
        work = rig.works[-1] if dice.random() < 0.5 else dice.choice(rig.works[-4:])
        _, value = rig.header(work, nonce)
        if value <= max(other.target for other in rig.works[-20:]):
            held.append((work, nonce))
    hand_in(rig, held)
    assert rig.credits and rig.credited - rig.work_done <= DEVIATIONS * rig.deviation


@RIGS
@settings(max_examples=8, derandomize=True, deadline=None)
@given(seed=SEEDS)
def test_an_honest_machine_gets_what_its_work_is_worth(rig_class, seed):
    """It works on the newest key, under that key's target, and hands its shares in late, also after a resume."""
    rig, dice, held = rig_class(), Random(seed), []
    for nonce in range(1, 1500):
        if nonce % 25 == 0:
            if dice.random() < 0.5:                     # else it holds them back over what comes now
                while held:
                    assert rig.submit(*held.pop()) is None
            tip = rig.tip
            shake(rig, dice)
            if rig.tip != tip:                          # what it holds is stale now, until the tip comes back
                rig.tip = tip
                rig.offer(tip)
        work = rig.works[-1]
        _, value = rig.header(work, nonce)
        if value <= work.target:
            held.append((work, nonce))
    while held:
        assert rig.submit(*held.pop()) is None
    assert abs(rig.credited - rig.work_done) <= DEVIATIONS * rig.deviation


@RIGS
def test_of_twelve_keys_each_hash_meets_one(rig_class):
    """Twelve keys of one job, each header under each of them: what was credited 5.9 times its work."""
    rig, dice = rig_class(), Random(1)
    while len(rig.works) < 12:
        rig.ask(dice.choice(LADDER), dice)
    for nonce in range(300):
        header, value = rig.header(rig.works[0], nonce)
        keys = [work for work in rig.works if rig.build(work, nonce) == header]
        assert len(keys) == 1
        for work in sorted(rig.works, key=lambda work: work.target):
            if value <= work.target and rig.build(work, nonce) == header and rig.submit(work, nonce) is None:
                break
    assert abs(rig.credited - rig.work_done) <= DEVIATIONS * rig.deviation


@RIGS
def test_one_hard_job_after_an_easing_pays_its_own_difficulty_alone(rig_class):
    """All hashes on the hard key, handed in after the channel got easier: accepted, and the easy ones credited 0."""
    rig, easy_ones = rig_class(), 0
    rig.ask(LADDER[-1], None)
    hard = rig.works[-1]
    rig.ask(BASE, None)
    easy = rig.works[-1].target
    assert easy > 12 * hard.target
    for nonce in range(1500):
        value = rig.header(hard, nonce)[1]
        if value <= easy:
            assert rig.submit(hard, nonce) is None
            easy_ones += value > hard.target
    assert easy_ones > 200 and rig.credits.count(0.0) == easy_ones
    assert abs(rig.credited - rig.work_done) <= DEVIATIONS * rig.deviation

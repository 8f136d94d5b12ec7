"""Credit equals work where channels get their jobs in groups and at a pace: greedy and honest machines with several
members of one group, before a real session, as in test_credit.py.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings

from tests.mining.makers import HARD_NBITS, make_factory, make_template, make_tip
from tests.sv2 import pairs
from tests.sv2.profiles import in_spec  # noqa: F401
from tests.test_credit import BASE, DEVIATIONS, LADDER, POLICY, ROLLED, SEEDS, Rig
from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty
from warppool.events import Now, ShareAccepted, ShareSubmitted
from warppool.sv2.client import ChannelClosed, ChannelOpened, WorkReady
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import SubmitSharesExtended, SubmitSharesStandard, UpdateChannel
from warppool.sv2.profile import SPEC
from warppool.sv2.work import Work

SIZES = (8, 8, 0)               # rollable bytes of the channels that are open at first: two groups


class GroupRig(Rig):
    """A machine with several channels; `works` are the keys of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = make_factory({SPEC.name: lambda job: EncodedJob(SPEC, job)})
        self.pair = pairs.Pair(pairs.make_context(POLICY))
        self.pair.talk()
        self.channels = []              # the ids of those that are open
        self.sequence = 0
        self.offer(1)
        for size in SIZES:
            self.open(size)

    def open(self, size):
        session = self.pair.miner.session
        asked = session.open_extended("alice", 0.0, MAX_TARGET, size) if size else session.open_standard(
            "alice", 0.0, MAX_TARGET)
        self.tell(asked)

    def close(self, channel_id):
        self.channels.remove(channel_id)
        self.tell(self.pair.miner.session.close_channel(channel_id, "done"))

    def tell(self, *messages):
        self.pair.miner.send(*messages)
        self.pair.talk()
        self.hear()

    def hear(self):
        for event in self.pair.heard:
            assert not isinstance(event, ChannelClosed)
            if isinstance(event, ChannelOpened):
                self.channels.append(event.channel_id)
            elif isinstance(event, WorkReady):
                self.works.append(event.work)
        self.pair.heard.clear()

    def build(self, work, nonce):
        return work.header(bytes(work.extranonce_size), work.version, ROLLED, nonce)

    def ask(self, channel_id, difficulty, dice):
        """By a rate, by the floor, or by both."""
        rate = float(difficulty * 2**32 * POLICY.shares_per_minute / 60)
        self.tell(UpdateChannel(channel_id, dice.choice([0.0, rate]),
                                dice.choice([MAX_TARGET, target_from_difficulty(difficulty)]).to_bytes(32, "little")))

    def offer(self, tip):
        self.tip = tip
        self.pair.offer(job := self.factory.make(make_template(make_tip(tip, HARD_NBITS)), now=self.pair.now.unix))
        self.hear()
        return job

    def wait(self, seconds):
        self.pair.now = Now(self.pair.now.monotonic + seconds, self.pair.now.unix + seconds)
        self.pair.deliver(self.pair.server.tick(self.pair.now))
        self.hear()

    def submit(self, work, nonce):
        """Whether the share was accepted, on whatever channel and key."""
        self.sequence += 1
        numbers = (work.channel_id, self.sequence, work.job_id, nonce, ROLLED, work.version)
        self.tell(SubmitSharesExtended(*numbers, bytes(work.extranonce_size)) if work.extranonce_size
                  else SubmitSharesStandard(*numbers))
        if any(isinstance(event, ShareSubmitted) for event in self.pair.events):
            self.pair.judge()
        shares = self.pair.accepted()
        self.credits += [share.difficulty for share in shares if isinstance(share, ShareAccepted)]
        self.pair.record()
        self.pair.events.clear()
        self.hear()
        return bool(shares)


def shake(rig, dice):
    """Anything that the machine or the chain can do between two hashes."""
    step = dice.randrange(12)
    if step < 4:
        rig.ask(dice.choice(rig.channels), dice.choice(LADDER), dice)
    elif step == 4:
        rig.close(dice.choice(rig.channels))
        rig.open(dice.choice(SIZES))
    elif step == 5 and len(rig.channels) < 5:
        rig.open(dice.choice(SIZES))
    elif step < 8:
        rig.wait(dice.choice([1.0, 15.0, 31.0, 61.0]))
    elif step == 8:
        rig.offer(3 - rig.tip)          # two tips that flap
    else:
        rig.offer(rig.tip)


def hand_in(rig, held, dice):
    """Each share under the key with the hardest target that it meets, then under all others, and once more; and now
    and then unseen under the same key of another member.
    """
    for work, nonce in held:
        header, value = rig.header(work, nonce)
        same = [other for other in rig.works[-40:] if rig.build(other, nonce) == header]
        assert {(other.channel_id, other.job_id) for other in same} <= {(work.channel_id, work.job_id)}
        same.sort(key=lambda other: (other.target < value, other.target))
        for other in [*same, *same[:1]]:
            rig.submit(other, nonce)
        others = [other for other in rig.works[-40:] if other.job_id == work.job_id and other is not work]
        if others and dice.random() < 0.2:
            rig.header(other := dice.choice(others), nonce)     # the pool hashes it, so this is work
            rig.submit(other, nonce)
    del held[:-10]                      # a few are tried again later


@settings(max_examples=4, derandomize=True, deadline=None)
@given(seed=SEEDS)
def test_the_greediest_machine_never_gets_more_than_its_work(seed):
    """It has several members of a group and names, after hashing, the key with the hardest target that its hash meets,
    holds shares back until it has other keys, opens and closes channels, and tries each share everywhere, twice.
    """
    rig, dice, held = GroupRig(), Random(seed), []
    for nonce in range(1, 1000):
        if nonce % 25 == 0:
            if dice.random() < 0.3:
                hand_in(rig, held, dice)
            tip = rig.tip
            shake(rig, dice)
            if rig.tip != tip and dice.random() < 0.8:      # it flaps back: what was held is tried again
                rig.offer(tip)
        work = rig.works[-1] if dice.random() < 0.5 else dice.choice(rig.works[-8:])
        _, value = rig.header(work, nonce)
        if value <= max(other.target for other in rig.works[-20:]):
            held.append((work, nonce))
    hand_in(rig, held, dice)
    assert rig.credits and rig.credited - rig.work_done <= DEVIATIONS * rig.deviation


@settings(max_examples=6, derandomize=True, deadline=None)
@given(seed=SEEDS)
def test_an_honest_machine_gets_what_its_work_is_worth(seed):
    """It works on the newest key of each channel in turn, under that key's target, and hands its shares in late."""
    rig, dice, held = GroupRig(), Random(seed), []

    def bring():
        while held:
            assert rig.submit(*held.pop())

    for nonce in range(1, 1500):
        if nonce % 25 == 0:
            if dice.random() < 0.5:                     # else it holds them back over what comes now
                bring()
            tip = rig.tip
            channels = list(rig.channels)
            if dice.random() < 0.1:
                bring()                                 # before it closes a channel
                rig.close(dice.choice(channels))
                rig.open(dice.choice(SIZES))
            else:
                step = dice.randrange(4)
                if step == 0:
                    rig.ask(dice.choice(channels), dice.choice(LADDER), dice)
                elif step == 1:
                    rig.wait(dice.choice([1.0, 15.0, 31.0, 61.0]))
                else:
                    rig.offer(rig.tip if step == 2 else 3 - rig.tip)
            if rig.tip != tip:                          # what it holds is stale now, until the tip comes back
                rig.offer(tip)
        mine = dice.choice(rig.channels)
        work = next(work for work in reversed(rig.works) if work.channel_id == mine)
        _, value = rig.header(work, nonce)
        if value <= work.target:
            held.append((work, nonce))
    bring()
    assert abs(rig.credited - rig.work_done) <= DEVIATIONS * rig.deviation


def test_what_is_hashed_before_a_job_that_was_held_back_comes_is_of_no_key():
    """The machine has the job from another connection: it hashes with its own prefix, and then asks for a difficulty
    that suits the best hash.
    """
    rig, dice = GroupRig(), Random(1)
    prefixes = {work.channel_id: (work.extranonce_prefix, work.extranonce_size) for work in rig.works}
    for _ in range(6):
        job = rig.offer(1)
        foreseen = {}
        for channel_id, (prefix, size) in prefixes.items():
            head, tail = job.coinbase_halves(len(prefix) + size)
            work = Work(channel_id, 0, job.version, 0, job.tip.prev_hash, job.ntime, job.tip.nbits, 0, prefix, size,
                        None, head, tail, job.merkle_path)
            foreseen |= {rig.build(work, nonce): channel_id for nonce in range(3)}
        rig.ask(dice.choice(rig.channels), dice.choice(LADDER), dice)
        known = len(rig.works)
        rig.wait(31.0)
        assert {work.channel_id for work in rig.works[known:]} == set(prefixes), "now it has come"
        assert not foreseen.keys() & {rig.build(work, nonce) for work in rig.works for nonce in range(3)}


def test_a_group_s_key_pays_each_member_its_own_difficulty_alone():
    """Half of the members are hard when the key comes, and easy when they bring what they found; half the other way."""
    rig = GroupRig()
    extended = [work.channel_id for work in rig.works if work.extranonce_size]
    hard, easy = extended[0], extended[1]

    def target(channel_id, difficulty):
        rate = float(difficulty * 2**32 * POLICY.shares_per_minute / 60)
        rig.tell(UpdateChannel(channel_id, rate, MAX_TARGET.to_bytes(32, "little")))

    target(hard, LADDER[-1]), target(easy, BASE)
    known = len(rig.works)
    rig.offer(2)
    works = {work.channel_id: work for work in rig.works[known:]}
    assert works[hard].job_id == works[easy].job_id and works[easy].target > 12 * works[hard].target
    target(hard, BASE), target(easy, LADDER[-1])
    unpaid = 0
    for nonce in range(700):
        for channel_id in (hard, easy):
            value = rig.header(works[channel_id], nonce)[1]
            if value <= works[easy].target:
                assert rig.submit(works[channel_id], nonce)
                unpaid += value > works[channel_id].target
    assert unpaid > 100 and rig.credits.count(0.0) == unpaid
    assert abs(rig.credited - rig.work_done) <= DEVIATIONS * rig.deviation

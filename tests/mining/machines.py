"""Mining machines whose shares come by chance, in simulated time, before a real Channel and Vardiff."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random

from tests.mining.makers import NTIME, make_channel, make_counters, make_factory, make_template, make_tip
from warppool.events import Now
from warppool.mining.channeljob import ChannelJob, credit
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Reject, Weight
from warppool.mining.vardiff import Vardiff

STEP_S = 0.1
JOB_EVERY_S = 30.0
LINE_SHARES_S = 5000
"""What a line carries in a second; a machine that finds more drops them."""


@dataclass(frozen=True)
class Phase:
    """For so many seconds a machine makes so many hashes a second; a line that stalls delivers every `stall_s` only."""

    seconds: float
    hash_rate: float
    stall_s: float = 0.0


@dataclass
class Settling:
    """What became of one phase: when the target left the band for the last time, and the changes until then."""

    hash_rate: float
    seconds: float = 0.0
    changes: int = 0
    later_changes: int = 0
    is_settled: bool = False


@dataclass
class Outcome:
    settlings: list[Settling] = field(default_factory=list)
    accepted: int = 0
    rejected: list[Reject] = field(default_factory=list)
    credited: float = 0.0
    variance: float = 0.0           # of the credit, as the shares came
    expected: float = 0.0           # difficulty that the hashes are worth
    wakes: int = 0
    asks: int = 0


class Machine:
    """Mines in small steps. `lag_s` lies between the machine and the pool in either direction.

    A hasty machine follows a new target on the job that it has, as some V2 firmware does; others with their next job.
    """

    def __init__(self, policy: DifficultyPolicy, *, declared: float = 0.0, seed: int, lag_s: float, is_hasty: bool,
                 nbits: int, band: float) -> None:
        self.random = Random(seed)
        self.policy, self.lag_s, self.is_hasty, self.band = policy, lag_s, is_hasty, band
        self.tip = make_tip(nbits=nbits)
        self.network = self.tip.target
        self.channel = make_channel()
        self.vardiff = Vardiff(policy, policy.wanted_at_open(declared), 0.0, is_declared=declared > 0)
        self.channel.vardiff = self.vardiff
        self.channel.set_target(self.vardiff.granted(self.channel.max_target, self.network))
        self.factory, self.counters, self.now = make_factory(), make_counters(), 0.0
        self.outcome = Outcome()
        self.mailed: deque[tuple[float, ChannelJob, int]] = deque()         # on the way to the machine
        self.shares: deque[tuple[float, ChannelJob, int]] = deque()         # on the way to the pool
        self.next_job_at = 0.0
        self.give_job()
        _, self.job, self.target = self.mailed.popleft()

    def run(self, phases: list[Phase]) -> Outcome:
        for phase in phases:
            settling = Settling(phase.hash_rate)
            self.outcome.settlings.append(settling)
            self.settling, self.phase, self.began = settling, phase, self.now
            self.changes = 0
            self.look(is_change=False)
            for _ in range(round(phase.seconds / STEP_S)):
                self.mine()
                self.now += STEP_S
                self.serve()
            settling.is_settled = self.is_in_band()
            settling.later_changes = self.changes - settling.changes
        return self.outcome

    # --- the machine --------------------------------------------------------------------------------------------------

    def mine(self) -> None:
        while self.mailed and self.mailed[0][0] <= self.now:
            _, job, target = self.mailed.popleft()
            if job is not self.job or self.is_hasty:
                self.job, self.target = job, target
        rate = self.phase.hash_rate * self.target / 2**256
        self.outcome.expected += self.phase.hash_rate * STEP_S / 2**32
        if not rate:
            return
        at = self.random.expovariate(rate)
        room = LINE_SHARES_S * STEP_S
        while at < STEP_S and room > 0:
            room -= 1
            arrives = self.now + at + self.lag_s
            if self.phase.stall_s:
                arrives = (arrives // self.phase.stall_s + 1) * self.phase.stall_s
            self.shares.append((arrives, self.job, self.random.randrange(self.target + 1)))
            at += self.random.expovariate(rate)

    # --- the pool -----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        is_due = False
        while self.shares and self.shares[0][0] <= self.now:
            _, job, value = self.shares.popleft()
            is_due |= self.judge(job, value)
        if is_due:
            self.outcome.asks += 1
            self.ask()
        if self.now >= self.vardiff.wakes_at:
            self.outcome.wakes += 1
            self.ask()
        if self.now >= self.next_job_at:
            self.give_job()

    def judge(self, job: ChannelJob, value: int) -> bool:
        is_block = value <= self.network
        weight = Weight(self.random.randbytes(32), value, is_block)
        reject = self.channel.judge(weight, job, min_ntime=NTIME, ntime=NTIME, version=job.job.version,
                                    mask=0, now=Now(self.now, 1.0 * NTIME))
        if reject is not None:
            self.outcome.rejected.append(reject)
            return False
        worth = credit(weight, job)
        self.outcome.accepted += 1
        self.outcome.credited += worth
        self.outcome.variance += worth ** 2
        return self.vardiff.shared(value)

    def ask(self) -> None:
        wanted = self.vardiff.wanted(self.channel.max_target, self.network, self.now)
        if wanted is None:
            return
        self.channel.set_target(wanted[0])
        if self.is_hasty:                       # the new target comes first, and the job once more right behind it
            self.mailed.append((self.now + self.lag_s, self.mailed[-1][1] if self.mailed else self.job, wanted[0]))
        self.give_again()
        self.look(is_change=True)

    def give_job(self) -> None:
        self.next_job_at = self.now + JOB_EVERY_S
        self.current = self.factory.make(make_template(self.tip), now=float(NTIME))
        job, _ = self.channel.offer(self.current, self.counters)
        self.mailed.append((self.now + self.lag_s, job, self.channel.target))

    def give_again(self) -> None:
        job, _ = self.channel.offer_alone(self.current, self.counters)
        self.mailed.append((self.now + self.lag_s, job, self.channel.target))

    # --- the judge of it all ------------------------------------------------------------------------------------------

    def is_in_band(self) -> bool:
        """The share rate under the channel's target is near the wanted one, or as near as the bounds let it be."""
        ratio = self.phase.hash_rate * self.channel.target / 2**256 / self.policy.shares_per_second
        target = self.channel.target
        if ratio < 1 / self.band:
            return target == self.policy.granted(2**256 - 1, self.channel.max_target, self.network)
        return ratio <= self.band or target == self.policy.granted(1, self.channel.max_target, self.network)

    def look(self, is_change: bool) -> None:
        self.changes += is_change
        if is_change and (not self.is_in_band() or not self.was_in_band):
            self.settling.seconds = self.now - self.began
            self.settling.changes = self.changes
        self.was_in_band = self.is_in_band()

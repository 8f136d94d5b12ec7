"""Channels: one machine's (or one farm's) share of the work, in V1 and V2 alike
(docs/decisions.rst#decision-assignment).

On a standard channel the extranonce is the prefix alone (`extranonce_size` 0), so that the pool computes a merkle root
for each assignment. What judges and credits a share stands on the assignment that the share names. So nothing has to be
kept in step with the channel.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from warppool.bitcoin.target import MAX_TARGET
from warppool.errors import LocalProtocolError
from warppool.events import Now
from warppool.mining.assignment import MAX_KEY, Assignment, Keys
from warppool.mining.channeljob import MAX_JOBS_PER_TIP, ChannelJob
from warppool.mining.counter import COUNTERS, CoinbaseCounters
from warppool.mining.difficulty import difficulty_number, whole_below
from warppool.mining.group import Membership
from warppool.mining.job import Job
from warppool.mining.payee import Payee
from warppool.mining.share import Reject, Weight
from warppool.mining.template import Tip
from warppool.mining.throttle import GRACE_S

if TYPE_CHECKING:
    from warppool.mining.throttle import Throttle
    from warppool.mining.vardiff import Vardiff

MAX_NTIME_AHEAD_S = 7200
"""How far a header time may be ahead of our clock: the consensus rule that nodes apply."""

MAX_SEEN = 1 << 18
"""Shares remembered on one channel. At 12 a minute no machine gets there in two weeks; past it, it is a flood."""

MAX_EASINGS = 64
"""Changes to an easier target that are remembered apart, for shares on keys from before them."""


class Channel:
    """One channel: who mines on it, where that machine searches, under which target, and what was assigned to it.

    `payee` is whom its coinbase pays, and stays while the channel has jobs. `target` and `max_target` are ints;
    `extranonce_size` counts the rollable bytes; `keys` is the connection's on V2 and the channel's own on V1. A channel
    is owned by one worker. A share is remembered with the key that it names, as long as that key can be found. So no
    share counts twice, whatever the tip does.
    """

    __slots__ = ("_easings", "_falls", "_newest_job_id", "accepted", "accepted_at", "began_at", "channel_id",
                 "difficulty", "extranonce_prefix", "extranonce_size", "fixed_target", "is_due", "is_open",
                 "is_proven", "jobs", "keys", "max_target", "membership", "old_jobs", "payee", "policy_version",
                 "remembered", "target", "throttle", "tip", "user", "vardiff")

    def __init__(self, channel_id: int, user: str, extranonce_prefix: bytes, extranonce_size: int, target: int,
                 max_target: int, keys: Keys, payee: Payee | None) -> None:
        self.channel_id = channel_id
        self.user = user
        self.extranonce_prefix = extranonce_prefix
        self.extranonce_size = extranonce_size
        self.max_target = max_target
        self.keys = keys
        self.payee = payee                              # None: nobody is paid here yet, so it gets no job
        self.is_proven = payee is not None and not payee.script     # its own outputs are proved, or it has none
        self.is_open = True                             # its machine may have jobs
        self.began_at = 0.0                             # monotonic seconds of its first work
        self.accepted = 0                               # shares, in its whole life
        self.accepted_at = 0.0                          # monotonic seconds of the last one
        self.vardiff: Vardiff | None = None             # None: its difficulty is fixed ...
        self.fixed_target = target                      # ... to this, before any bounds
        self.throttle: Throttle | None = None           # None: its shares are not bounded
        self.is_due = False                             # its target is reviewed with its next job
        self.membership: Membership | None = None       # None: all that it gets is its own
        self.policy_version = 0                         # of the policy under which its target was granted
        self.target = target
        self.difficulty = difficulty_number(target)
        self.tip: Tip | None = None
        self.jobs: dict[int, ChannelJob] = {}           # of this tip, by their keys, the oldest first
        self.old_jobs: dict[int, ChannelJob] = {}       # of the tip before: known, and stale
        self.remembered = 0                             # accepted shares that its keys remember
        self._newest_job_id: int | None = None          # of the jobs that it had as they went to all
        self._falls: list[tuple[float, int, int]] | None = None     # by the throttle: when due, first key after, target
        self._easings: list[tuple[int, int]] | None = None      # (first key after it, target), as the targets fall

    def set_payee(self, payee: Payee) -> None:
        """Whom the coinbases of later jobs pay. With a script that is not proved yet, the first of them is."""
        before = self.payee
        if before is None or before.script != payee.script:
            self.is_proven = not payee.script
        self.payee = payee

    def successor(self, target: int) -> Channel:
        """A new channel in this one's search space, for another account: of what was assigned here, and of the shares
        that came, it knows nothing.

        What this channel has had of the job of all, and on which tip, it does know: its machine must not get work again
        that a machine here has hashed, since in pplns two accounts can have one and the same coinbase.
        """
        channel = Channel(self.channel_id, "", self.extranonce_prefix, self.extranonce_size, target, MAX_TARGET,
                          self.keys, None)
        channel.tip = self.tip
        channel._newest_job_id = self._newest_job_id
        return channel

    def set_target(self, target: int) -> None:
        """The target of what is assigned from now on.

        An easier target counts for shares on older keys too, since a machine may follow it in the midst of a job.
        """
        membership = self.membership
        if target > self.target and (self.jobs or self.old_jobs or membership is not None):
            easings = self._easings = self._easings or []
            while easings and easings[-1][1] <= target:
                easings.pop()                           # the keys before that easing are held to `target` now
            easings.append((self.keys.next, target))
            if len(easings) > MAX_EASINGS:
                (_, easiest), (key, _) = easings[:2]    # a few keys more are held to the easiest, for which they get 0
                easings[:2] = [(key, easiest)]
        self.target = target
        self.difficulty = difficulty_number(target)
        if membership is not None:
            membership.set_target(self.keys.next, target)

    def flood(self, target: int, now: float) -> None:
        """Too many shares came: after GRACE_S the keys from before take no share that is easier than `target`.

        `now` is monotonic seconds.
        """
        self._falls = [*(self._falls or ()), (now + GRACE_S, self.keys.next, target)]

    @property
    def group_id(self) -> int:
        """The wire's id of its group; 0 for none."""
        return self.membership.group.group_id if self.membership is not None else 0

    @property
    def ceiling(self) -> int:
        """The easiest target that the throttle leaves to the channel."""
        return self.throttle.ceiling if self.throttle is not None else MAX_TARGET

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds: when vardiff or throttle are to be asked without a share or a job."""
        vardiff, throttle = self.vardiff, self.throttle
        return math.inf if self.is_due else min(vardiff.wakes_at if vardiff is not None else math.inf,
                                                throttle.wakes_at if throttle is not None else math.inf)

    def review_flood(self, now: float) -> bool:
        """Ask the throttle; True if its ceiling has changed, so that the target is to be granted anew."""
        before = self.ceiling
        if self.throttle is None or not self.throttle.review(self.target, now):
            return False
        if self.ceiling < before:
            self.flood(whole_below(self.ceiling), now)
        if self.vardiff is not None:
            self.vardiff.ceiling = self.ceiling
        return True

    # -- assignments ---------------------------------------------------------------------------------------------

    def offer(self, job: Job, counters: CoinbaseCounters) -> tuple[ChannelJob, bool]:
        """Assign `job`, which goes to all: (the channel's job, whether the tip moved).

        A channel uses the counter of all once, for a job newer than those that the channel has had. A job that it gets
        a second time, as after a resume, or late, has a counter of the channel's own.
        """
        has_moved = job.tip is not self.tip and job.tip != self.tip
        if has_moved:
            self.move(job.tip)
        counter = job.counter if self._is_newer(job) and not job.is_known else counters.take()
        return self._assign(job, counter), has_moved

    def offer_alone(self, job: Job, counters: CoinbaseCounters) -> tuple[ChannelJob, bool]:
        """Assign `job`, which others may have had before: (the channel's job, whether the tip moved).

        The counter is the channel's own. The counter of all is known by now: a machine could have hashed with that one
        before it asked for this channel, or for this difficulty.
        """
        has_moved = job.tip is not self.tip and job.tip != self.tip
        if has_moved:
            self.move(job.tip)
        self._is_newer(job)
        return self._assign(job, counters.take()), has_moved

    def _is_newer(self, job: Job) -> bool:
        """True if the channel has had neither this job nor a later one. From now on the channel has had this job."""
        newest = self._newest_job_id
        if newest is not None and not 0 < (job.job_id - newest) % COUNTERS < COUNTERS // 2:
            return False
        self._newest_job_id = job.job_id
        return True

    def move(self, tip: Tip) -> None:
        """Build on another tip. The keys of the tip before are kept, so that their shares are called stale. When that
        tip comes back, as where two blocks compete, its keys are good again, with the shares that they remember. Keys
        of earlier eras of both are kept, too: a block that is found on one of them is as good as any.
        """
        left, self.tip = self.tip, tip
        older, self.old_jobs = self.old_jobs, self.jobs
        before = next(iter(older.values())).job.tip if older else None
        # as before == tip, which is a call: this runs for all channels at every tip
        if (before is not None and before.prev_hash == tip.prev_hash and before.nbits == tip.nbits
                and before.era == tip.era):
            self.jobs = older
            return
        self.jobs = {}
        if tip.era and left is not None:
            kept = {key: mine for key, mine in older.items()
                    if mine.job.tip.prev_hash in (left.prev_hash, tip.prev_hash)}
            older = {key: mine for key, mine in older.items() if key not in kept}
            self.old_jobs = kept = kept | self.old_jobs
            while len(kept) > MAX_JOBS_PER_TIP:
                self._drop_first(kept)
        if self.remembered:
            self.remembered -= sum([mine.remembered for mine in older.values()])

    def _assign(self, job: Job, counter: int) -> ChannelJob:
        if len(self.jobs) >= MAX_JOBS_PER_TIP:
            self._drop_first(self.jobs)
        keys = self.keys
        key = keys.next
        keys.next = key + 1 if key < MAX_KEY else 1     # without a call: this runs for all at every tip
        # as Assignment(...), which costs three times as much
        assignment = tuple.__new__(Assignment, (key, counter, self.target, job.ntime, self.channel_id))
        payee = self.payee
        if payee is None:
            raise LocalProtocolError(f"a job for channel {self.channel_id}, which has no payee")
        mine = ChannelJob(job, assignment, self.extranonce_prefix, self.difficulty, self.extranonce_size == 0, payee)
        self.jobs[key] = mine
        return mine

    def find(self, key: int) -> ChannelJob | None:
        """What was assigned under that key, on this tip or on the one before."""
        mine = self.jobs.get(key) or self.old_jobs.get(key)
        if mine is not None or self.membership is None:
            return mine
        mine, is_old = self.membership.find(key)
        if mine is not None:
            jobs = self.old_jobs if is_old else self.jobs
            if len(jobs) >= MAX_JOBS_PER_TIP:
                self._drop_first(jobs)
            jobs[key] = mine
        return mine

    def _drop_first(self, jobs: dict[int, ChannelJob]) -> None:
        """Forget the first key of `jobs`, the oldest of the channel's own, and its shares with it."""
        key = next(iter(jobs))
        self.remembered -= jobs.pop(key).remembered
        if self.membership is not None:
            self.membership.forget(key)

    # -- shares --------------------------------------------------------------------------------------------------

    def judge(self, weight: Weight, mine: ChannelJob, *, min_ntime: int, ntime: int, version: int, mask: int, now: Now,
              is_old_sequence: bool = False) -> Reject | None:
        """Why the share is refused; None for an accepted one, which is remembered.

        The order of the questions is that of docs/sv2-wire.rst#share-checks. `min_ntime` is the job's where the job has
        one of its own, else the tip's. `mask` has the version bits that the session granted. `is_old_sequence` is what
        the sequence rule of the Sv2 session says.
        """
        job, assignment = mine.job, mine.assignment
        if job.tip is not self.tip and job.tip != self.tip:
            return Reject.STALE
        if ntime < min_ntime or ntime > job.tip.max_ntime or (
                ntime > assignment.ntime + MAX_NTIME_AHEAD_S and ntime > int(now.unix) + MAX_NTIME_AHEAD_S):
            return Reject.NTIME_OUT_OF_RANGE
        mask &= job.version_mask
        if (version ^ job.version) & ~mask:
            return Reject.BAD_VERSION_BITS if mask else Reject.VERSION_ROLLING_NOT_ALLOWED
        if weight.value > assignment.target and weight.value > self._easiest(assignment) and not weight.is_block:
            return Reject.DIFFICULTY_TOO_LOW
        if self._falls is not None and weight.value > self._allowed(assignment, now.monotonic) and not weight.is_block:
            return Reject.DIFFICULTY_TOO_LOW
        if is_old_sequence or not mine.see(weight.share_hash):
            return Reject.DUPLICATE
        self.remembered += 1
        return None

    def _easiest(self, assignment: Assignment) -> int:
        """The easiest target that the channel got after this assignment; 0 where it got none that is easier."""
        easings = self._easings
        if easings is None:
            return 0
        at = bisect_right(easings, (assignment.key, MAX_TARGET))
        return easings[at][1] if at < len(easings) else 0

    def _allowed(self, assignment: Assignment, now: float) -> int:
        """The easiest target that the throttle leaves to shares on keys from before it made the channel harder."""
        falls = self._falls or []
        while len(falls) > 1 and falls[1][0] <= now:
            del falls[0]                                # the newest that is due counts for all older keys
        due_at, first_key, target = falls[0]
        return target if due_at <= now and assignment.key < first_key else MAX_TARGET

    def forget(self, mine: ChannelJob, share_hash: bytes) -> None:
        """The share could not be recorded: it may be sent again."""
        before = mine.remembered
        mine.forget(share_hash)
        if self.find(mine.assignment.key) is mine:
            self.remembered -= before - mine.remembered

    def trim(self, most: int) -> None:
        """Forget the oldest keys, until those that are left remember at most `most` shares.

        A key goes with its shares: what comes for it later is for an unknown job, so nothing can count twice.
        """
        for jobs in (self.old_jobs, self.jobs):
            while self.remembered > most and jobs:
                self._drop_first(jobs)

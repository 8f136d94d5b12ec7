"""Channels: one machine's (or one farm's) share of the work, in V1 and V2 alike
(docs/decisions.rst#decision-assignment).

On a standard channel the extranonce is the prefix alone (`extranonce_size` 0), so that the pool computes a merkle root
for each assignment. What judges and credits a share stands on the assignment that the share names. So nothing has to be
kept in step with the channel.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from hashlib import sha256
from typing import TYPE_CHECKING

from warppool.bitcoin.coinbase import restore_witness
from warppool.bitcoin.header import pack_checked
from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Now
from warppool.mining.assignment import MAX_KEY, Assignment, Keys
from warppool.mining.counter import COUNTER_SIZE, COUNTERS, CoinbaseCounters
from warppool.mining.difficulty import difficulty_number, whole_below
from warppool.mining.job import Job
from warppool.mining.share import Reject, Weight
from warppool.mining.template import Tip
from warppool.mining.throttle import GRACE_S

if TYPE_CHECKING:
    from warppool.mining.throttle import Throttle
    from warppool.mining.vardiff import Vardiff

MAX_NTIME_AHEAD_S = 7200
"""How far a header time may be ahead of our clock: the consensus rule that nodes apply."""

MAX_JOBS_PER_TIP = 256
"""Assignments kept of one tip, the oldest dropped first: at one every 10 s, more than 40 minutes of work."""

MAX_SEEN = 1 << 18
"""Shares remembered on one channel. At 12 a minute no machine gets there in two weeks; past it, it is a flood."""

MAX_EASINGS = 64
"""Changes to an easier target that are remembered apart, for shares on keys from before them."""

_FEW = 8
"""So many hashes are kept in a list, a fourth of the memory of a set. At 12 shares a minute a key gets six."""


class ChannelJob:
    """A job as it was assigned to one channel. Nothing of it changes but the shares that it remembers."""

    __slots__ = ("_blocks", "_halves", "_last_root", "_seen", "assignment", "difficulty", "extranonce_prefix", "job",
                 "merkle_root")

    def __init__(self, job: Job, assignment: Assignment, extranonce_prefix: bytes, difficulty: float,
                 is_standard: bool) -> None:
        self.job = job
        self.assignment = assignment
        self.extranonce_prefix = extranonce_prefix
        self.difficulty = difficulty            # that of `assignment.target`
        self._halves: tuple[int, bytes, bytes] | None = None    # of an extended one, from its first share on
        self._last_root: tuple[bytes, bytes] | None = None      # of an extended one: extranonce, and its merkle root
        self._seen: list[bytes] | set[bytes] | None = None      # accepted share hashes
        self._blocks: set[bytes] | None = None          # block hashes
        self.merkle_root: bytes | None = None           # of a standard one: 32 bytes, header order
        if is_standard:
            self.merkle_root = self._root(b"")
            self._halves = self._last_root = None

    @property
    def target(self) -> int:
        """What a share is held to, and credited for."""
        return self.assignment.target

    @property
    def ntime(self) -> int:
        """The header time (Unix seconds) that the channel was told to start from."""
        return self.assignment.ntime

    @property
    def remembered(self) -> int:
        """How many accepted shares are remembered."""
        return len(self._seen) if self._seen is not None else 0

    def coinbase(self, extranonce: bytes) -> bytes:
        """The stripped coinbase with `extranonce` (the rollable part) in it."""
        _, head, tail = self._halves_for(len(extranonce))
        return b"".join((head, extranonce, tail))

    def coinbase_tx(self, extranonce: bytes) -> bytes:
        """The coinbase as it goes into a block: with marker, flag and witness where the template commits to one."""
        stripped = self.coinbase(extranonce)
        return restore_witness(stripped) if self.job.template.has_witness else stripped

    def header(self, extranonce: bytes, version: int, ntime: int, nonce: int) -> bytes:
        """The 80-byte header that a share stands for."""
        root = self.merkle_root
        if root is None:
            last = self._last_root
            # A slow machine goes through the nonces of one extranonce.
            root = last[1] if last is not None and last[0] == extranonce else self._root(extranonce)
        tip = self.job.tip
        return pack_checked(version, tip.prev_hash, root, ntime, tip.nbits, nonce)

    def _root(self, extranonce: bytes) -> bytes:
        """The merkle root with `extranonce`: half of what a share costs, so nothing is called but hashlib."""
        halves = self._halves
        if halves is None or halves[0] != len(extranonce):
            halves = self._halves = self._halves_for(len(extranonce))
        root = sha256(sha256(b"".join((halves[1], extranonce, halves[2]))).digest()).digest()
        for sibling in self.job.template.merkle_path:           # `fold_merkle_path`
            root = sha256(sha256(root + sibling).digest()).digest()
        self._last_root = extranonce, root
        return root

    def _halves_for(self, size: int) -> tuple[int, bytes, bytes]:
        """`size`, and the coinbase before and after a rollable extranonce of so many bytes."""
        prefix = self.extranonce_prefix
        head, tail = self.job.coinbase_halves(len(prefix) + size)
        counter = self.assignment.counter
        if counter != self.job.counter:     # the job's halves hold the counter of all: this is a channel's own
            head = head[:-COUNTER_SIZE] + counter.to_bytes(COUNTER_SIZE, "big")
        return size, head + prefix, tail

    def is_new_block(self, share_hash: bytes) -> bool:
        """True once for each block hash: the block is to be submitted, whatever becomes of its share."""
        if self._blocks is None:
            self._blocks = set()
        elif share_hash in self._blocks:
            return False
        self._blocks.add(share_hash)
        return True

    def see(self, share_hash: bytes) -> bool:
        """Remember an accepted share; False if it was accepted before.

        No other key has to be asked: the header of a share belongs to one key.
        """
        seen = self._seen
        if seen is None:
            self._seen = [share_hash]
        elif share_hash in seen:
            return False
        elif isinstance(seen, set):
            seen.add(share_hash)
        elif len(seen) < _FEW:
            seen.append(share_hash)
        else:
            self._seen = {*seen, share_hash}
        return True

    def forget(self, share_hash: bytes) -> None:
        """The share could not be recorded: it may be sent again."""
        if self._seen is not None and share_hash in self._seen:
            self._seen.remove(share_hash)


class Channel:
    """One channel: who mines on it, where that machine searches, under which target, and what was assigned to it.

    `target` and `max_target` are ints; `extranonce_size` counts the rollable bytes; `keys` is the connection's on V2
    and the channel's own on V1. A channel is owned by one worker. A share is remembered with the key that it names, as
    long as that key can be found. So no share counts twice, whatever the tip does.
    """

    __slots__ = ("_easings", "_falls", "_newest_job_id", "accepted", "accepted_at", "began_at", "channel_id",
                 "difficulty", "extranonce_prefix", "extranonce_size", "fixed_target", "is_open", "jobs", "keys",
                 "max_target", "old_jobs", "policy_version", "remembered", "target", "throttle", "tip", "user",
                 "vardiff")

    def __init__(self, channel_id: int, user: str, extranonce_prefix: bytes, extranonce_size: int, target: int,
                 max_target: int, keys: Keys) -> None:
        self.channel_id = channel_id
        self.user = user
        self.extranonce_prefix = extranonce_prefix
        self.extranonce_size = extranonce_size
        self.max_target = max_target
        self.keys = keys
        self.is_open = True                             # its machine may have jobs
        self.began_at = 0.0                             # monotonic seconds of its first work
        self.accepted = 0                               # shares, in its whole life
        self.accepted_at = 0.0                          # monotonic seconds of the last one
        self.vardiff: Vardiff | None = None             # None: its difficulty is fixed ...
        self.fixed_target = target                      # ... to this, before any bounds
        self.throttle: Throttle | None = None           # None: its shares are not bounded
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

    def set_target(self, target: int) -> None:
        """The target of what is assigned from now on.

        An easier target counts for shares on older keys too, since a machine may follow it in the midst of a job.
        """
        if target > self.target and (self.jobs or self.old_jobs):
            easings = self._easings = self._easings or []
            while easings and easings[-1][1] <= target:
                easings.pop()                           # the keys before that easing are held to `target` now
            easings.append((self.keys.next, target))
            if len(easings) > MAX_EASINGS:
                (_, easiest), (key, _) = easings[:2]    # a few keys more are held to the easiest, for which they get 0
                easings[:2] = [(key, easiest)]
        self.target = target
        self.difficulty = difficulty_number(target)

    def flood(self, target: int, now: float) -> None:
        """Too many shares came: after GRACE_S the keys from before take no share that is easier than `target`.

        `now` is monotonic seconds.
        """
        self._falls = [*(self._falls or ()), (now + GRACE_S, self.keys.next, target)]

    @property
    def ceiling(self) -> int:
        """The easiest target that the throttle leaves to the channel."""
        return self.throttle.ceiling if self.throttle is not None else MAX_TARGET

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds: when vardiff or throttle are to be asked without a share."""
        return min(self.vardiff.wakes_at if self.vardiff is not None else math.inf,
                   self.throttle.wakes_at if self.throttle is not None else math.inf)

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
        a second time, as after a resume, has a counter of the channel's own.
        """
        has_moved = job.tip is not self.tip and job.tip != self.tip
        if has_moved:
            self._move(job.tip)
        counter = job.counter if self._is_newer(job) else counters.take()
        return self._assign(job, counter), has_moved

    def offer_alone(self, job: Job, counters: CoinbaseCounters) -> tuple[ChannelJob, bool]:
        """Assign `job`, which others may have had before: (the channel's job, whether the tip moved).

        The counter is the channel's own. The counter of all is known by now: a machine could have hashed with that one
        before it asked for this channel, or for this difficulty.
        """
        has_moved = job.tip is not self.tip and job.tip != self.tip
        if has_moved:
            self._move(job.tip)
        self._is_newer(job)
        return self._assign(job, counters.take()), has_moved

    def _is_newer(self, job: Job) -> bool:
        """True if the channel has had neither this job nor a later one. From now on the channel has had this job."""
        newest = self._newest_job_id
        if newest is not None and not 0 < (job.job_id - newest) % COUNTERS < COUNTERS // 2:
            return False
        self._newest_job_id = job.job_id
        return True

    def _move(self, tip: Tip) -> None:
        """Build on another tip. The keys of the tip before are kept, so that their shares are called stale. When that
        tip comes back, as where two blocks compete, its keys are good again, with the shares that they remember.
        """
        self.tip = tip
        older, self.old_jobs = self.old_jobs, self.jobs
        before = next(iter(older.values())).job.tip if older else None
        if before is not None and before.prev_hash == tip.prev_hash and before.nbits == tip.nbits:
            self.jobs = older
            return
        self.jobs = {}
        if self.remembered:
            self.remembered -= sum([mine.remembered for mine in older.values()])

    def _assign(self, job: Job, counter: int) -> ChannelJob:
        if len(self.jobs) >= MAX_JOBS_PER_TIP:          # keys count up, so the first one in the dict is the oldest
            self.remembered -= self.jobs.pop(next(iter(self.jobs))).remembered
        keys = self.keys
        key = keys.next
        keys.next = key + 1 if key < MAX_KEY else 1     # without a call: this runs for all at every tip
        # as Assignment(...), which costs three times as much
        assignment = tuple.__new__(Assignment, (key, counter, self.target, job.ntime, self.channel_id))
        mine = ChannelJob(job, assignment, self.extranonce_prefix, self.difficulty, self.extranonce_size == 0)
        self.jobs[key] = mine
        return mine

    def find(self, key: int) -> ChannelJob | None:
        """What was assigned under that key, on this tip or on the one before."""
        return self.jobs.get(key) or self.old_jobs.get(key)

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
                self.remembered -= jobs.pop(next(iter(jobs))).remembered


def credit(weight: Weight, mine: ChannelJob) -> float:
    """The difficulty that an accepted share counts for: that of its key if the hash meets the key's target, else 0.

    A hash that meets only an easier target of later, or the network's, is paid for already. Of so many hashes one meets
    the key's target, and that one is credited for all of them. To credit the others too would pay their work twice.
    """
    return mine.difficulty if weight.value <= mine.assignment.target else 0.0

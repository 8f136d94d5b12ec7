"""Groups: channels of one connection that get their jobs together, under one key (docs/decisions.rst#decision-groups).

All members have extranonces of one size and one payee, so one coinbase serves them all. Each has a prefix of its own,
so no two of them can have one header. Bar and credit of a share belong to its key *and* its member: a member is held to
the target that it had when the key was assigned, and a key from before it joined is no key of it.

A job costs the same however many members there are: what a member has of it is made with the member's first share.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from warppool.mining.assignment import MAX_KEY, Assignment, Keys
from warppool.mining.channeljob import MAX_JOBS_PER_TIP, ChannelJob
from warppool.mining.difficulty import difficulty_number
from warppool.mining.job import Job
from warppool.mining.payee import Payee
from warppool.mining.template import Tip

GROUP_IDS = 1 << 16
"""Groups have their numbers on the wire from here on, and channels have theirs below."""

PAYEE_IDS = 1 << 6
"""From the number of one group to that of the next one of its size; sizes of extranonces are below."""


class GroupJob(NamedTuple):
    """A job was assigned to all members of a group; with `is_new_tip` it builds on another tip than the one before."""

    group: Group
    job: Job
    key: int                    # 1..MAX_KEY
    counter: int                # U32, the coinbase counter
    is_new_tip: bool


class Group:
    """The channels of a connection that have `extranonce_size` rollable bytes and one payee; `keys` are the
    connection's, `group_id` is its number on the wire.

    `members` is how many channels are in it; `newest_key` is the last one that was assigned here, 0 for none. Jobs of
    two tips are kept, as channels keep theirs, in all their eras.
    """

    __slots__ = ("_jobs", "_keys", "_old_jobs", "_tip", "extranonce_size", "group_id", "members", "newest_key",
                 "payee")

    def __init__(self, group_id: int, extranonce_size: int, payee: Payee, keys: Keys) -> None:
        self.group_id = group_id
        self.extranonce_size = extranonce_size
        self.payee = payee
        self.members = 0
        self.newest_key = 0
        self._keys = keys
        self._tip: Tip | None = None
        self._jobs: dict[int, tuple[Job, int]] = {}     # by their keys, the oldest first; with their counters
        self._old_jobs: dict[int, tuple[Job, int]] = {}

    @property
    def oldest_key(self) -> int:
        """The first one that is known here, or the next one where none is."""
        return min([next(iter(jobs)) for jobs in (self._jobs, self._old_jobs) if jobs], default=self._keys.next)

    def move(self, tip: Tip) -> bool:
        """Build on `tip`, as all members do that have a job: True if it is another one than before."""
        if tip is self._tip or tip == self._tip:
            return False
        left, self._tip = self._tip, tip
        older, self._old_jobs = self._old_jobs, self._jobs
        before = next(iter(older.values()))[0].tip if older else None
        self._jobs = older if before == tip else {}
        if tip.era and left is not None and before != tip:
            kept = {key: found for key, found in older.items()
                    if found[0].tip.prev_hash in (left.prev_hash, tip.prev_hash)}
            self._old_jobs = kept = kept | self._old_jobs
            while len(kept) > MAX_JOBS_PER_TIP:
                del kept[next(iter(kept))]
        return True

    def assign(self, job: Job, counter: int) -> GroupJob:
        """Assign `job` to all members, with a coinbase counter that nobody can know yet."""
        is_new_tip = self.move(job.tip)
        if len(self._jobs) >= MAX_JOBS_PER_TIP:
            del self._jobs[next(iter(self._jobs))]
        self.newest_key = key = self._keys.next
        self._keys.next = key + 1 if key < MAX_KEY else 1
        self._jobs[key] = job, counter
        return GroupJob(self, job, key, counter, is_new_tip)

    def find(self, key: int) -> tuple[tuple[Job, int] | None, bool]:
        """The job and the counter that were assigned under `key`, and whether that was on the tip before."""
        found = self._jobs.get(key)
        return (found, False) if found is not None else (self._old_jobs.get(key), True)


class Membership:
    """The part of a channel in `group`: which of its keys are the channel's, and which target the channel had at each.

    `prefix` is the channel's, and `next_key` the first key that may be its own.
    """

    __slots__ = ("_first_keys", "_forgotten", "_prefix", "_targets", "group")

    def __init__(self, group: Group, prefix: bytes, next_key: int, target: int) -> None:
        self.group = group
        self._prefix = prefix
        self._first_keys = [next_key]           # from each of these on ...
        self._targets = [target]                # ... it has had this target
        self._forgotten = 0                     # up to this key the channel knows only what it holds itself

    def set_target(self, next_key: int, target: int) -> None:
        """The target of keys from `next_key` on."""
        first_keys, targets = self._first_keys, self._targets
        if first_keys[-1] > self.group.newest_key:
            targets[-1] = target                # no key has had the last one
            return
        first_keys.append(next_key)
        targets.append(target)
        oldest = self.group.oldest_key
        while len(first_keys) > 1 and first_keys[1] <= oldest:
            del first_keys[0], targets[0]

    def forget(self, key: int) -> None:
        """The channel has forgotten `key` and its shares: that key, and those before it, are not to be found again."""
        self._forgotten = max(self._forgotten, key)

    def find(self, key: int) -> tuple[ChannelJob | None, bool]:
        """What the channel has of the group's `key`, and whether that is on the tip before; None where the key is not
        its own. The channel holds it from now on, and asks no second time.
        """
        found, is_old = self.group.find(key)
        at = bisect_right(self._first_keys, key) - 1
        if found is None or at < 0 or key <= self._forgotten:
            return None, False
        job, counter = found
        target = self._targets[at]
        assignment = Assignment(key, counter, target, job.ntime, self.group.group_id)
        return ChannelJob(job, assignment, self._prefix, difficulty_number(target), self.group.extranonce_size == 0,
                          self.group.payee), is_old

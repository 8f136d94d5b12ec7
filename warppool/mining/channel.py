"""Channels: one machine's (or one farm's) share of the work, in V1 and V2 alike (architecture.md §4.2-4.5).

A standard channel is one whose extranonce is its prefix alone (`extranonce_size` 0): it computes a merkle root for each
job. What judges a share stands on the channel's job, so nothing has to be kept in step with it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from warppool.bitcoin.coinbase import restore_witness
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.mining.difficulty import difficulty_number
from warppool.mining.job import Job
from warppool.mining.share import Reject, Weight
from warppool.mining.template import Tip

if TYPE_CHECKING:
    from warppool.mining.vardiff import Vardiff

MAX_NTIME_AHEAD_S = 7200
"""How far a header time may be ahead of our clock: the consensus rule that nodes apply."""

MAX_JOBS_PER_TIP = 256
"""Jobs kept of one tip, the oldest dropped first: at one every 10 s, more than 40 minutes of work."""

MAX_SEEN = 1 << 18
"""Shares remembered on one tip. At 12 a minute no machine gets there in two weeks; past it, it is a flood."""

_NONE: frozenset[bytes] = frozenset()
"""Stands for an empty set until there is something to remember: thousands of channels idle."""


class ChannelJob:
    """A job as one channel has it: the prefix and the target it was given out with, which never change.

    `easiest` is the easiest target it may have been mined under up to the last change: a V2 machine follows a change in
    the midst of a job. `ntime` (Unix seconds) is the header time that the channel was told to start from.
    """

    __slots__ = ("_last_root", "difficulty", "easiest", "extranonce_prefix", "job", "merkle_root", "ntime", "target")

    def __init__(self, job: Job, extranonce_prefix: bytes, target: int, difficulty: float, merkle_root: bytes | None,
                 ntime: int) -> None:
        self.job = job
        self.ntime = ntime
        self.extranonce_prefix = extranonce_prefix
        self.target = self.easiest = target
        self.difficulty = difficulty
        self.merkle_root = merkle_root          # 32 bytes, header order; None on an extended channel
        self._last_root: tuple[bytes, bytes] | None = None      # of an extended one: extranonce, and its merkle root

    def coinbase(self, extranonce: bytes) -> bytes:
        """The stripped coinbase with `extranonce` (the rollable part) in it."""
        prefix = self.extranonce_prefix
        head, tail = self.job.coinbase_halves(len(prefix) + len(extranonce))
        return b"".join((head, prefix, extranonce, tail))

    def coinbase_tx(self, extranonce: bytes) -> bytes:
        """The coinbase as it goes into a block: with marker, flag and witness where the template commits to one."""
        stripped = self.coinbase(extranonce)
        return restore_witness(stripped) if self.job.template.has_witness else stripped

    def header(self, extranonce: bytes, version: int, ntime: int, nonce: int) -> bytes:
        """The 80-byte header that a share stands for."""
        job = self.job
        root = self.merkle_root
        if root is None:
            root = self._root_with(extranonce)
        tip = job.tip
        return pack_header(version, tip.prev_hash, root, ntime, tip.nbits, nonce)

    def _root_with(self, extranonce: bytes) -> bytes:
        """The merkle root: half of what a share costs, unless the one before had the same extranonce, as where a slow
        machine goes through the nonces.
        """
        last = self._last_root
        if last is not None and last[0] == extranonce:
            return last[1]
        txid = sha256(sha256(self.coinbase(extranonce)).digest()).digest()
        root = fold_merkle_path(txid, self.job.template.merkle_path)
        self._last_root = extranonce, root
        return root


class Channel:
    """One channel: who mines on it, where it searches, under which target, and which shares it has had.

    `target` and `max_target` are ints; `extranonce_size` counts the rollable bytes. Owned by one worker.
    """

    __slots__ = ("_blocks", "_old_blocks", "channel_id", "difficulty", "extranonce_prefix", "extranonce_size", "jobs",
                 "max_target", "old_jobs", "seen", "target", "tip", "user", "vardiff")

    def __init__(self, channel_id: int, user: str, extranonce_prefix: bytes, extranonce_size: int, target: int,
                 max_target: int) -> None:
        self.channel_id = channel_id
        self.user = user
        self.extranonce_prefix = extranonce_prefix
        self.extranonce_size = extranonce_size
        self.max_target = max_target
        self.vardiff: Vardiff | None = None             # None: its difficulty is fixed
        self.target = target
        self.difficulty = difficulty_number(target)
        self.tip: Tip | None = None
        self.jobs: dict[int, ChannelJob] = {}           # of this tip
        self.old_jobs: dict[int, ChannelJob] = {}       # of the tip before: known, and stale
        self.seen: set[bytes] | frozenset[bytes] = _NONE            # accepted share hashes on this tip
        self._blocks: set[bytes] | frozenset[bytes] = _NONE         # block hashes on this tip
        self._old_blocks: set[bytes] | frozenset[bytes] = _NONE     # and on the one before

    def set_target(self, target: int) -> None:
        """The target of jobs to come, and the bar for shares on older jobs where it is the easier one.

        Where it gets harder, shares that were mined under the last one may still be on their way.
        """
        for job in self.jobs.values():
            if job.easiest < self.target:
                job.easiest = self.target
        self.target = target
        self.difficulty = difficulty_number(target)

    def offer(self, job: Job) -> tuple[ChannelJob, bool]:
        """Take `job` on: (the channel's job, whether the tip moved). With a new tip all is forgotten but the jobs of
        the last one, which are kept to be called stale.
        """
        has_moved = job.tip is not self.tip and job.tip != self.tip
        if has_moved:
            self.tip = job.tip
            self.old_jobs, self.jobs = self.jobs, {}
            self._old_blocks, self._blocks = self._blocks, _NONE
            self.seen = _NONE
        return self.offer_under(job.job_id, job, job.ntime), has_moved

    def offer_under(self, key: int, job: Job, ntime: int) -> ChannelJob:
        """Take on `job`, of the tip that is mined on, under a key of the session's own and with a header time of its
        own: it is given out once more, since the target has changed.
        """
        if len(self.jobs) >= MAX_JOBS_PER_TIP:
            del self.jobs[next(iter(self.jobs))]
        mine = ChannelJob(job, self.extranonce_prefix, self.target, self.difficulty, self._merkle_root(job), ntime)
        self.jobs[key] = mine
        return mine

    def find(self, key: int) -> ChannelJob | None:
        """The job of that id, or key, of this tip or of the one before."""
        return self.jobs.get(key) or self.old_jobs.get(key)

    def _merkle_root(self, job: Job) -> bytes | None:
        if self.extranonce_size:
            return None
        prefix = self.extranonce_prefix
        head, tail = job.coinbase_halves(len(prefix))
        txid = sha256(sha256(b"".join((head, prefix, tail))).digest()).digest()
        return fold_merkle_path(txid, job.template.merkle_path)

    def is_new_block(self, share_hash: bytes) -> bool:
        """True once for each block hash: the block is to be submitted, whatever becomes of its share."""
        if share_hash in self._blocks or share_hash in self._old_blocks:
            return False
        self._blocks = _with(self._blocks, share_hash)
        return True

    def judge(self, weight: Weight, job: ChannelJob, *, min_ntime: int, ntime: int, version: int, now: float,
              is_old_sequence: bool = False) -> Reject | None:
        """Why the share is refused, or None, and then it is remembered; asked in the order of architecture.md §4.5.

        `now` is in Unix seconds. `min_ntime` is the job's where it has one of its own, else the tip's.
        `is_old_sequence` is the word of the Sv2 session, whose rule it is.
        """
        if job.job.tip is not self.tip and job.job.tip != self.tip:
            return Reject.STALE
        if ntime < min_ntime or ntime > now + MAX_NTIME_AHEAD_S or ntime > job.job.tip.max_ntime:
            return Reject.NTIME_OUT_OF_RANGE
        mask = job.job.version_mask
        if (version ^ job.job.version) & ~mask:
            return Reject.BAD_VERSION_BITS if mask else Reject.VERSION_ROLLING_NOT_ALLOWED
        if weight.value > job.easiest and weight.value > self.target and not weight.is_block:
            return Reject.DIFFICULTY_TOO_LOW
        if is_old_sequence or weight.share_hash in self.seen:
            return Reject.DUPLICATE
        self.seen = _with(self.seen, weight.share_hash)
        return None

    def forget(self, share_hash: bytes) -> None:
        """The share could not be recorded: it may be sent again."""
        if isinstance(self.seen, set):
            self.seen.discard(share_hash)

    @property
    def is_flooded(self) -> bool:
        """True once more shares came on one tip than are remembered: the connection should be closed."""
        return len(self.seen) >= MAX_SEEN

    def credit(self, weight: Weight, job: ChannelJob) -> float:
        """The difficulty that an accepted share counts for: the job's if it meets that, else the easier one it met."""
        if weight.value <= job.target:
            return job.difficulty
        easier = max(job.easiest, self.target)
        if weight.value <= easier:
            return self.difficulty if easier == self.target else difficulty_number(easier)
        return difficulty_number(job.job.tip.target)    # a block above a target that the miner asked for


def _with(hashes: set[bytes] | frozenset[bytes], share_hash: bytes) -> set[bytes]:
    if isinstance(hashes, frozenset):
        return {share_hash}
    hashes.add(share_hash)
    return hashes

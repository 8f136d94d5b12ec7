"""What a channel has of a job: its own coinbase and header, what a share of it is held to, and which shares came.

On a standard channel the extranonce is the prefix alone, so the pool computes a merkle root for each assignment.
"""

from __future__ import annotations

from hashlib import sha256

from warppool.bitcoin.coinbase import restore_witness
from warppool.bitcoin.header import pack_checked
from warppool.mining.assignment import Assignment
from warppool.mining.counter import COUNTER_SIZE
from warppool.mining.job import Job
from warppool.mining.payee import POOL, Payee
from warppool.mining.share import Weight

MAX_JOBS_PER_TIP = 256
"""Assignments kept of one tip, the oldest dropped first: at one every 10 s, more than 40 minutes of work."""

_FEW = 8
"""So many hashes are kept in a list, a fourth of the memory of a set. At 12 shares a minute a key gets six."""


class ChannelJob:
    """A job as it was assigned to one channel. Nothing of it changes but the shares that it remembers."""

    __slots__ = ("_blocks", "_halves", "_last_root", "_seen", "assignment", "difficulty", "extranonce_prefix", "job",
                 "merkle_root", "payee")

    def __init__(self, job: Job, assignment: Assignment, extranonce_prefix: bytes, difficulty: float,
                 is_standard: bool, payee: Payee = POOL) -> None:
        self.job = job
        self.payee = payee                      # for good: job and payee say what its coinbase pays
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
        head, tail = self.job.coinbase_halves(len(prefix) + size, self.payee)
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


def credit(weight: Weight, mine: ChannelJob) -> float:
    """The difficulty that an accepted share counts for: that of its key if the hash meets the key's target, else 0.

    A hash that meets only an easier target of later, or the network's, is paid for already. Of so many hashes one meets
    the key's target, and that one is credited for all of them. To credit the others too would pay their work twice.
    """
    return mine.difficulty if weight.value <= mine.assignment.target else 0.0

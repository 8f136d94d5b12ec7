"""What an Sv2 miner hashes: how the jobs and the tips of one channel become work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_checked
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.errors import RemoteProtocolError
from warppool.sv2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash

MAX_FUTURE_JOBS = 16
"""Future jobs kept for a channel, the oldest dropped first (what the reference implementation's clients keep)."""

MAX_EXTRANONCE_SIZE = 32

MAX_COINBASE_SIZE = 16_384
"""Bytes of a job's coinbase, some 450 outputs. Machines lose the connection over much less; a pool that sends more
wants to fill our memory and theirs."""

_COUNT_AT = 4           # of the count of inputs in a stripped coinbase, which is 1; else of the witness marker, 0

MAX_MERKLE_PATH = 32
"""Levels of a job's merkle path: no block has transactions for half of them."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job that may be hashed now, as `sv1.client.Work` is in V1.

    `merkle_root` is there on a standard channel, the coinbase on an extended one.
    """

    channel_id: int
    job_id: int
    version: int
    version_mask: int                   # bits that may be rolled; 0 where the job forbids it
    prev_hash: bytes                    # 32 bytes, header order
    min_ntime: int                      # Unix seconds
    nbits: int
    target: int
    extranonce_prefix: bytes
    extranonce_size: int                # rollable bytes; 0 on a standard channel
    merkle_root: bytes | None
    coinbase_tx_prefix: bytes = b""
    coinbase_tx_suffix: bytes = b""
    merkle_path: tuple[bytes, ...] = ()

    def header(self, extranonce: bytes, version: int, ntime: int, nonce: int) -> bytes:
        """The 80-byte header of one try; `extranonce` has `extranonce_size` bytes."""
        root = self.merkle_root
        if root is None:
            # Every share of a translator comes by here, so nothing is called but hashlib.
            coinbase = b"".join((self.coinbase_tx_prefix, self.extranonce_prefix, extranonce, self.coinbase_tx_suffix))
            root = sha256(sha256(coinbase).digest()).digest()
            for sibling in self.merkle_path:        # `fold_merkle_path`
                root = sha256(sha256(root + sibling).digest()).digest()
        return pack_checked(version, self.prev_hash, root, ntime, self.nbits, nonce)


def check_size(m: NewExtendedMiningJob, extranonce_size: int) -> None:
    """RemoteProtocolError for a job that is too large to be passed on, with a full extranonce of so many bytes, and for
    a coinbase in segwit form, whose hash would be the wtxid: no header of it is a share (BIP141; Sv2 §3.7.1).
    """
    if m.coinbase_tx_prefix[_COUNT_AT:_COUNT_AT + 1] == b"\x00" < m.coinbase_tx_prefix[_COUNT_AT + 1:_COUNT_AT + 2]:
        raise RemoteProtocolError("a job whose coinbase has a witness marker, which nobody can mine")
    size = len(m.coinbase_tx_prefix) + extranonce_size + len(m.coinbase_tx_suffix)
    if size > MAX_COINBASE_SIZE:
        raise RemoteProtocolError(f"a job with a coinbase of {size} bytes, {MAX_COINBASE_SIZE} are passed on")
    if len(m.merkle_path) > MAX_MERKLE_PATH:
        raise RemoteProtocolError(f"a job with a merkle path of {len(m.merkle_path)} levels, past {MAX_MERKLE_PATH}")


class ClientChannel:
    """A miner's side of one channel. `sequence` is the number of its next share; `version_mask` has the version bits
    that the dialect lets a miner roll. A standard channel has an `extranonce_size` of 0.

    Its steps raise RemoteProtocolError for what a pool must not send.
    """

    __slots__ = ("_future", "_tip", "_version_mask", "channel_id", "extranonce_prefix", "extranonce_size", "sequence",
                 "target")

    def __init__(self, channel_id: int, extranonce_prefix: bytes, extranonce_size: int, target: int,
                 version_mask: int) -> None:
        self.channel_id = channel_id
        self.extranonce_prefix = extranonce_prefix
        self.extranonce_size = extranonce_size
        self.target = target
        self.sequence = 0
        self._version_mask = version_mask
        # Future jobs by their ids, each with the extranonce prefix of its arrival.
        self._future: dict[int, tuple[NewMiningJob | NewExtendedMiningJob, bytes]] = {}
        self._tip: SetNewPrevHash | None = None

    @property
    def full_size(self) -> int:
        """Bytes of the full extranonce: the prefix, and what is rolled."""
        return len(self.extranonce_prefix) + self.extranonce_size

    @property
    def has_tip(self) -> bool:
        """A job that is no future job can be hashed."""
        return self._tip is not None

    def take_job(self, m: NewMiningJob | NewExtendedMiningJob) -> Work | None:
        """A job of this channel alone: the work that it is, or None for a future one, which waits for its tip."""
        if isinstance(m, NewMiningJob) != (self.extranonce_size == 0):
            raise RemoteProtocolError(f"{type(m).__name__} on a channel of the other kind")
        if isinstance(m, NewExtendedMiningJob):
            check_size(m, self.full_size)
        if m.min_ntime is not None:
            return self.begin(m, m.min_ntime)
        self.hold(m)
        return None

    def begin(self, m: NewMiningJob | NewExtendedMiningJob, min_ntime: int) -> Work:
        """The work of a job, of the channel's own or of its group, that is to be hashed at once."""
        if self._tip is None:
            raise RemoteProtocolError(f"job {m.job_id} is to be hashed now, but no SetNewPrevHash came before it")
        return self._work(m, self.extranonce_prefix, self._tip, min_ntime)

    def holds(self, job_id: int) -> bool:
        """A future job of that id came for this channel alone, or before it left a group."""
        return job_id in self._future

    def hold(self, m: NewMiningJob | NewExtendedMiningJob) -> None:
        """Keep a future job, with the prefix of this moment; one that is kept already keeps its own."""
        if m.job_id not in self._future or self._future[m.job_id][0] is not m:
            self._future[m.job_id] = m, self.extranonce_prefix
        if len(self._future) > MAX_FUTURE_JOBS:
            del self._future[next(iter(self._future))]

    def take_tip(self, m: SetNewPrevHash, of_group: NewExtendedMiningJob | None = None) -> Work:
        """The tip moved: the work of the future job that it names; `of_group` is the one of its group by that id, if
        there is one. A SetTarget since that job came counts for it.
        """
        job = self._future.get(m.job_id)
        if of_group is not None and (job is None or job[0] is not of_group):
            job = of_group, self.extranonce_prefix
        if job is None:
            raise RemoteProtocolError(f"SetNewPrevHash names job {m.job_id}, which is no future job of the channel")
        self._future.clear()
        self._tip = m
        return self._work(*job, m, m.min_ntime)

    def take_prefix(self, prefix: bytes) -> None:
        """Another extranonce prefix for jobs to come; those that are here keep theirs."""
        if len(prefix) + self.extranonce_size > MAX_EXTRANONCE_SIZE:
            raise RemoteProtocolError(f"an extranonce prefix of {len(prefix)} bytes leaves no room")
        self.extranonce_prefix = prefix

    def _work(self, m: NewMiningJob | NewExtendedMiningJob, prefix: bytes, tip: SetNewPrevHash,
              min_ntime: int) -> Work:
        bare = Work(
            channel_id=self.channel_id, job_id=m.job_id, version=m.version, version_mask=self._version_mask,
            prev_hash=tip.prev_hash, min_ntime=min_ntime, nbits=tip.nbits, target=self.target,
            extranonce_prefix=prefix, extranonce_size=self.extranonce_size, merkle_root=None)
        if isinstance(m, NewMiningJob):
            return replace(bare, merkle_root=m.merkle_root)
        version_mask = bare.version_mask if m.version_rolling_allowed else 0
        if not self.extranonce_size:            # a standard channel, by its group: nothing of the extranonce is rolled
            coinbase = b"".join((m.coinbase_tx_prefix, prefix, m.coinbase_tx_suffix))
            root = fold_merkle_path(double_sha256(coinbase), m.merkle_path)
            return replace(bare, version_mask=version_mask, merkle_root=root)
        return replace(bare, version_mask=version_mask, coinbase_tx_prefix=m.coinbase_tx_prefix,
                       coinbase_tx_suffix=m.coinbase_tx_suffix, merkle_path=m.merkle_path)

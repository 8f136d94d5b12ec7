"""What an Sv2 miner hashes: how the jobs and the tips of one channel become work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

from warppool.bitcoin.header import pack_checked
from warppool.errors import RemoteProtocolError
from warppool.sv2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash

MAX_FUTURE_JOBS = 16
"""Future jobs kept for a channel, the oldest dropped first (what the reference implementation's clients keep)."""

MAX_EXTRANONCE_SIZE = 32

MAX_COINBASE_SIZE = 16_384
"""Bytes of a job's coinbase, some 450 outputs. Machines lose the connection over much less; a pool that sends more
wants to fill our memory and theirs."""

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


class ClientChannel:
    """A miner's side of one channel. `sequence` is the number of its next share; `version_mask` has the version bits
    that the dialect lets a miner roll.

    Its steps raise RemoteProtocolError for what a pool must not send.
    """

    __slots__ = ("_future", "_tip", "_version_mask", "extranonce_prefix", "extranonce_size", "sequence", "target")

    def __init__(self, extranonce_prefix: bytes, extranonce_size: int, target: int, version_mask: int) -> None:
        self.extranonce_prefix = extranonce_prefix
        self.extranonce_size = extranonce_size
        self.target = target
        self.sequence = 0
        self._version_mask = version_mask
        # Future jobs by their ids, each with the extranonce prefix of its arrival.
        self._future: dict[int, tuple[NewMiningJob | NewExtendedMiningJob, bytes]] = {}
        self._tip: SetNewPrevHash | None = None

    def take_job(self, m: NewMiningJob | NewExtendedMiningJob) -> Work | None:
        """A job has come: the work that it is, or None for a future one, which waits for its tip."""
        if isinstance(m, NewMiningJob) != (self.extranonce_size == 0):
            raise RemoteProtocolError(f"{type(m).__name__} on a channel of the other kind")
        if isinstance(m, NewExtendedMiningJob):
            self._check_size(m)
        if m.min_ntime is not None:
            if self._tip is None:
                raise RemoteProtocolError(f"job {m.job_id} is to be hashed now, but no SetNewPrevHash came before it")
            return self._work(m, self.extranonce_prefix, self._tip, m.min_ntime)
        self._future[m.job_id] = m, self.extranonce_prefix
        if len(self._future) > MAX_FUTURE_JOBS:
            del self._future[next(iter(self._future))]
        return None

    def take_tip(self, m: SetNewPrevHash) -> Work:
        """The tip moved: the work of the future job that it names. A SetTarget since that job came counts for it."""
        job = self._future.get(m.job_id)
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

    def _check_size(self, m: NewExtendedMiningJob) -> None:
        size = (len(m.coinbase_tx_prefix) + len(self.extranonce_prefix) + self.extranonce_size
                + len(m.coinbase_tx_suffix))
        if size > MAX_COINBASE_SIZE:
            raise RemoteProtocolError(f"a job with a coinbase of {size} bytes, {MAX_COINBASE_SIZE} are passed on")
        if len(m.merkle_path) > MAX_MERKLE_PATH:
            raise RemoteProtocolError(
                f"a job with a merkle path of {len(m.merkle_path)} levels, past {MAX_MERKLE_PATH}")

    def _work(self, m: NewMiningJob | NewExtendedMiningJob, prefix: bytes, tip: SetNewPrevHash,
              min_ntime: int) -> Work:
        bare = Work(
            channel_id=m.channel_id, job_id=m.job_id, version=m.version, version_mask=self._version_mask,
            prev_hash=tip.prev_hash, min_ntime=min_ntime, nbits=tip.nbits, target=self.target,
            extranonce_prefix=prefix, extranonce_size=self.extranonce_size, merkle_root=None)
        if isinstance(m, NewMiningJob):
            return replace(bare, merkle_root=m.merkle_root)
        return replace(bare, version_mask=bare.version_mask if m.version_rolling_allowed else 0,
                       coinbase_tx_prefix=m.coinbase_tx_prefix, coinbase_tx_suffix=m.coinbase_tx_suffix,
                       merkle_path=m.merkle_path)

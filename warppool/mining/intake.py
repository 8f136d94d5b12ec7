"""Shares of one connection between their header and their verdict, in V1 and V2 alike.

Block first (architecture.md §4.5): wherever a header can be built it is weighed, and only then is anything else asked.
The session says what it knows of a share and gets back a ruling; what it answers, and when, is its protocol's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from warppool.events import BlockFound, Now, ShareAccepted, ShareSubmitted
from warppool.mining.channel import Channel, ChannelJob, credit
from warppool.mining.share import Reject, Weight

T = TypeVar("T")

_NO_BLOCK = -1
"""A network target that no hash meets."""


class Submitted(NamedTuple, Generic[T]):
    """A readable share. `ticket` is the session's own: whatever it needs to answer.

    `mask` has the version bits that the session granted. `fault` is what the session knew before the header was weighed
    and `is_old_sequence` what its sequence rule says; neither keeps a block from being one.
    """

    ticket: T
    channel: Channel
    job: ChannelJob
    user: str
    extranonce: bytes
    version: int
    mask: int
    ntime: int
    min_ntime: int
    header: bytes
    fault: Reject | None = None
    is_old_sequence: bool = False


class Ruling(NamedTuple, Generic[T]):
    """What became of a share: refused with a reason, or accepted; and, whatever it was, a block or none.

    The accepted share of a block is in `block` too, since it may be booked only after the block is safe.
    """

    ticket: T
    share: Submitted[T]
    reject: Reject | None
    accepted: ShareAccepted | None
    block: BlockFound | None


class Intake(Generic[T]):
    """Holds a connection's shares from `submit` to `judged`, in their order, and numbers the accepted ones."""

    __slots__ = ("_conn_id", "_due", "_next_id", "_protocol", "_submitted")

    def __init__(self, conn_id: int, protocol: str) -> None:
        self._conn_id = conn_id
        self._protocol = protocol
        self._next_id = 1
        self._due: list[Channel] | None = None                  # whose vardiff is to be asked
        self._submitted: deque[Submitted[T]] | None = None      # made with the first share: thousands of miners idle

    def __len__(self) -> int:
        """Shares that wait for their weight."""
        return len(self._submitted) if self._submitted else 0

    def submit(self, share: Submitted[T]) -> ShareSubmitted:
        """Hold `share` until its weight comes back."""
        if self._submitted is None:
            self._submitted = deque()
        self._submitted.append(share)
        tip = share.job.job.tip
        # Past the border of testnet4's 20-minute rule the header's nbits is wrong: whatever its hash, it is no block.
        return ShareSubmitted(self._conn_id, share.header, tip.target if share.ntime <= tip.max_ntime else _NO_BLOCK)

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Ruling[T]]:
        """Rule on the shares submitted first, one for each weight."""
        submitted = self._submitted
        assert submitted is not None and len(weights) <= len(submitted), "weights that nobody asked for"
        return [self._rule(submitted.popleft(), weight, now) for weight in weights]

    def take_due(self) -> list[Channel] | None:
        """The channels whose vardiff is to be asked after the shares that were judged; once."""
        due = self._due
        if due is not None:
            self._due = None
        return due

    def _rule(self, share: Submitted[T], weight: Weight, now: Now) -> Ruling[T]:
        channel, job = share.channel, share.job
        is_new_block = weight.is_block and job.is_new_block(weight.share_hash)
        reject = share.fault or channel.judge(
            weight, job, min_ntime=share.min_ntime, ntime=share.ntime, version=share.version, mask=share.mask, now=now,
            is_old_sequence=share.is_old_sequence)
        accepted = self._accept(share, weight, now) if reject is None else None
        block = self._block(share, weight, accepted) if is_new_block else None
        return Ruling(share.ticket, share, reject, accepted, block)

    def _accept(self, share: Submitted[T], weight: Weight, now: Now) -> ShareAccepted:
        share_id, self._next_id = self._next_id, self._next_id + 1
        channel, job = share.channel, share.job.job
        channel.accepted += 1
        channel.accepted_at = now.monotonic
        vardiff = channel.vardiff
        is_due = vardiff is not None and vardiff.shared(weight.value)
        credited = credit(weight, share.job)
        if channel.throttle is not None:
            is_due |= channel.throttle.shared(credited)
        if is_due:
            self._due = [*(self._due or ()), channel]
        return ShareAccepted(self._conn_id, share_id, now.unix, self._protocol, channel.channel_id, share.user,
                             credited, job.job_id, job.tip.height, weight.share_hash)

    def _block(self, share: Submitted[T], weight: Weight, accepted: ShareAccepted | None) -> BlockFound:
        job = share.job.job
        return BlockFound(
            conn_id=self._conn_id, template=job.template, height=job.tip.height, header=share.header,
            coinbase_tx=share.job.coinbase_tx(share.extranonce), block_hash=weight.share_hash, user=share.user,
            share=accepted)

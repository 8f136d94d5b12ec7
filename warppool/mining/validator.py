"""The share validator of one connection: a share from its submit to the record that it is acknowledged for.

V1 and V2 have the same rules for shares, so the rules stand here, once:

    block first     wherever a header can be built it is weighed, and only then is anything else asked
                    (docs/decisions.rst#decision-block-first)
    recorded        an accepted share is acknowledged when the books have it (docs/decisions.rst#decision-recorded)

A session makes a `Submission` of what its machine said, and encodes what the validator says of that. When a machine
hears of a verdict, and in which order, is the business of its protocol.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Generic, TypeVar

from warppool.events import BlockFound, Close, Now, ShareAccepted, ShareRefused, ShareSubmitted
from warppool.mining.channel import MAX_SEEN, Channel
from warppool.mining.channeljob import ChannelJob, credit
from warppool.mining.share import Reject, Weight

S = TypeVar("S", bound="Submission")

_NO_BLOCK = -1
"""A network target that no hash meets."""

_NONE: dict[int, Any] = {}
"""Stands for the dicts of a validator that has had no share: thousands of connections idle. Nobody writes to it."""


class Submission:
    """A readable share on a known job. Each protocol adds what its answer needs.

    `mask` has the version bits that the session granted. `fault` is what the session knew before the header was weighed
    and `is_old_sequence` what its sequence rule says; neither keeps a block from being one. The validator sets
    `reject`, or `accepted` where the share counts, and `block` for a new block, whatever became of the share.
    """

    __slots__ = ("accepted", "block", "channel", "extranonce", "fault", "header", "is_old_sequence", "job", "mask",
                 "min_ntime", "ntime", "reject", "user", "version")

    def __init__(self, channel: Channel, job: ChannelJob, user: str, extranonce: bytes, version: int, mask: int,
                 ntime: int, min_ntime: int, header: bytes, fault: Reject | None = None,
                 is_old_sequence: bool = False) -> None:
        self.channel = channel
        self.job = job
        self.user = user
        self.extranonce = extranonce
        self.version = version
        self.mask = mask
        self.ntime = ntime
        self.min_ntime = min_ntime              # the job's where the protocol tells it, else the tip's
        self.header = header
        self.fault = fault
        self.is_old_sequence = is_old_sequence
        self.reject: Reject | None = None
        self.accepted: ShareAccepted | None = None
        self.block: BlockFound | None = None


class ShareValidator(Generic[S]):
    """Holds the shares of one connection in their order, judges them, and numbers the accepted ones.

    `in_flight` counts the shares whose weight or record is still awaited. `due` has the channels whose vardiff or
    throttle is to be asked after the shares that were judged; who asks them sets `due` to None. `flood` is a Close once
    a channel has had more shares than can be remembered.
    """

    __slots__ = ("_conn_id", "_given_up", "_next_id", "_protocol", "_submitted", "_unrecorded", "due", "flood",
                 "in_flight")

    def __init__(self, conn_id: int, protocol: str) -> None:
        self._conn_id = conn_id
        self._protocol = protocol
        self._next_id = 1
        self._submitted: deque[S] | None = None         # made with the first share, as the dicts are
        self._unrecorded: dict[int, S] = _NONE          # accepted, by their share_id
        self._given_up: dict[int, S] = _NONE            # refused, and perhaps in the books
        self.in_flight = 0
        self.due: list[Channel] | None = None
        self.flood: Close | None = None

    @property
    def unanswered(self) -> int:
        """Where nothing but shares waits for an answer: those in flight."""
        return self.in_flight

    # -- from the submit to the verdict --------------------------------------------------------------------------

    def submit(self, share: S) -> ShareSubmitted:
        """Hold `share` until its weight comes back."""
        if self._submitted is None:
            self._submitted = deque()
        self._submitted.append(share)
        self.in_flight += 1
        tip = share.job.job.tip
        # Past the border of testnet4's 20-minute rule the header's nbits is wrong: whatever its hash, it is no block.
        return ShareSubmitted(self._conn_id, share.header, tip.target if share.ntime <= tip.max_ntime else _NO_BLOCK)

    def judged(self, weights: Sequence[Weight], now: Now) -> list[S]:
        """Judge the shares submitted first, one for each weight, and return them in their order."""
        submitted = self._submitted
        assert submitted is not None and len(weights) <= len(submitted), "weights that nobody asked for"
        shares = []
        for weight in weights:
            share = submitted.popleft()
            channel, job = share.channel, share.job
            is_new_block = weight.is_block and job.is_new_block(weight.share_hash)
            share.reject = share.fault or channel.judge(
                weight, job, min_ntime=share.min_ntime, ntime=share.ntime, version=share.version, mask=share.mask,
                now=now, is_old_sequence=share.is_old_sequence)
            if share.reject is None:
                self._accept(share, weight, now)
            else:
                self.in_flight -= 1
            if is_new_block:
                self._find_block(share, weight)
            shares.append(share)
        return shares

    def _accept(self, share: S, weight: Weight, now: Now) -> None:
        """The share counts, for the channel and for its vardiff; it waits for its record now."""
        share_id, self._next_id = self._next_id, self._next_id + 1
        channel, job = share.channel, share.job.job
        channel.accepted += 1
        channel.accepted_at = now.monotonic
        vardiff, throttle = channel.vardiff, channel.throttle
        is_due = vardiff is not None and vardiff.shared(weight.value)
        credited = credit(weight, share.job)
        if throttle is not None:
            is_due |= throttle.shared(credited)
        if is_due:
            self.due = [*(self.due or ()), channel]
        if channel.remembered >= MAX_SEEN:
            self.flood = Close(self._conn_id, f"{MAX_SEEN} shares at a time: its difficulty is far too low", True)
        share.accepted = ShareAccepted(self._conn_id, share_id, now.unix, self._protocol, channel.channel_id,
                                       share.user, credited, job.job_id, job.tip.height, weight.share_hash,
                                       share.job.payee.account)
        if self._unrecorded is _NONE:
            self._unrecorded = {}
        self._unrecorded[share_id] = share

    def _find_block(self, share: S, weight: Weight) -> None:
        job = share.job.job
        share.block = BlockFound(
            conn_id=self._conn_id, template=job.template, height=job.tip.height, header=share.header,
            coinbase_tx=share.job.coinbase_tx(share.extranonce), block_hash=weight.share_hash, user=share.user,
            share=share.accepted, payee=share.job.payee, terms=job.rule.terms(share.job.payee))

    def refused(self, user: str, reject: Reject) -> ShareRefused:
        """What the books hear of a refused share: a stranger may name whom he likes, and is not to fill them."""
        return ShareRefused(self._conn_id, "" if reject is Reject.UNAUTHORIZED else user, reject.sv2_code)

    # -- from the verdict to the record --------------------------------------------------------------------------

    def recorded(self, ids: Sequence[int]) -> list[S]:
        """These shares are in the books: return those that are to be acknowledged."""
        shares = []
        for share_id in ids:
            share = self._unrecorded.pop(share_id, None)
            if share is not None:
                shares.append(share)
        self.in_flight -= len(shares)
        return shares

    def given_up(self, ids: Sequence[int]) -> list[S]:
        """These shares may be in the books or not, so that they must not be sent again: return those to be refused."""
        shares = self.recorded(ids)
        for share in shares:
            share.reject = Reject.NOT_RECORDED
            if self._given_up is _NONE:
                self._given_up = {}
            self._given_up[_id_of(share)] = share
        return shares

    def not_recorded(self, ids: Sequence[int]) -> list[S]:
        """These shares will never be in the books, so that they may be sent again: return those to be refused, which
        are all that were not given up before.
        """
        shares = self.given_up(ids)
        for share_id in ids:
            share = self._given_up.pop(share_id, None)
            if share is not None and share.accepted is not None:
                share.channel.forget(share.job, share.accepted.share_hash)
        return shares

    def let_go(self) -> None:
        """The channel is another session's from now on: what was given up here can never touch it again."""
        self._given_up = _NONE


def weigh_all(shares: Iterable[tuple[int, bytes, int]]) -> tuple[Weight, ...]:
    """`weigh` for a batch of `ShareSubmitted` (connection, header, network target), in its order.

    There is no call for each one, since nearly every share comes this way.
    """
    weights = []
    for _, header, network_target in shares:
        share_hash = sha256(sha256(header).digest()).digest()
        value = int.from_bytes(share_hash, "little")
        weights.append(Weight(share_hash, value, value <= network_target))
    return tuple(weights)


def _id_of(share: Submission) -> int:
    assert share.accepted is not None, "a share waits for its record that was not accepted"
    return share.accepted.share_id

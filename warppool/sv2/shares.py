"""Shares of one Sv2 connection: from a submit message to its header, and from its ruling and record to the answer.

Acknowledged means recorded (architecture.md §4.6): an accepted share waits for its record, and a channel's
acknowledgements never pass a lower number that still waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from warppool.events import Close, Event, Now, ShareRefused
from warppool.mining.channel import MAX_SEEN, Channel, ChannelJob
from warppool.mining.intake import Intake, Ruling, Submitted
from warppool.mining.share import Reject, Weight
from warppool.sv2.codec import layout_of
from warppool.sv2.messages.mining import (
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from warppool.sv2.profile import Profile
from warppool.sv2.types import Message


class Frames(NamedTuple):
    """Frames that are encoded already, to be sent as they are."""

    data: bytes


_success = layout_of(SubmitSharesSuccess).make

Step = Message | Frames | Event
"""What a step of the session leads to: a message or frames to send, or an event for the worker."""


class _Waiting(NamedTuple):
    """An accepted share between its verdict and its record."""

    share_id: int
    sequence: int
    difficulty: float
    share_hash: bytes
    user: str
    mine: ChannelJob


class _Ticket(NamedTuple):
    """Whom to answer for a share, under which number."""

    channel: ServerChannel
    sequence: int


class ServerChannel:
    """A mining channel and what Sv2 adds to it: the sequence rule and the acknowledgements still owed."""

    __slots__ = ("channel", "highest_sequence", "is_open", "recorded", "waiting")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.highest_sequence = -1                          # none yet: the first share may carry any number, 0 too
        self.is_open = True
        self.waiting: deque[_Waiting] | None = None         # in the order of their sequence numbers
        self.recorded: set[int] = set()                     # committed, but behind one that is not

    def is_old(self, sequence: int) -> bool:
        """The `warp` rule: a number not above the highest received is a duplicate; gaps are allowed."""
        if sequence <= self.highest_sequence:
            return True
        self.highest_sequence = sequence
        return False

    def await_record(self, share: _Waiting) -> None:
        """An accepted share whose record is awaited; its number is above all before it."""
        if self.waiting is None:
            self.waiting = deque()
        self.waiting.append(share)

    def give_up(self, share_id: int) -> _Waiting:
        """Take back a share that is not recorded; whether it leaves the seen-set is the caller's."""
        assert self.waiting is not None, "a share was given up that never waited"
        share = next(waiting for waiting in self.waiting if waiting.share_id == share_id)
        self.waiting.remove(share)
        return share

    def acknowledge(self) -> SubmitSharesSuccess | None:
        """One Success for all that is recorded up to the first share that is not."""
        waiting, recorded = self.waiting, self.recorded
        last, count, total = 0, 0, 0.0
        while waiting and waiting[0].share_id in recorded:
            share = waiting.popleft()
            recorded.discard(share.share_id)
            last, count, total = share.sequence, count + 1, total + share.difficulty
        if not count:
            return None
        return _success(self.channel.channel_id, last, count, int(total))


class Shares:
    """The shares of one connection that wait for something: first for their weight, then for their record."""

    __slots__ = ("_checks_sequence", "_conn_id", "_given_up", "_intake", "_mask", "_unrecorded")

    def __init__(self, conn_id: int, profile: Profile) -> None:
        self._conn_id = conn_id
        self._checks_sequence = profile.checks_sequence
        self._mask = profile.version_mask
        self._intake: Intake[_Ticket] = Intake(conn_id, "sv2")
        self._unrecorded: dict[int, ServerChannel] = {}         # share_id to the channel that owes the answer
        self._given_up: dict[int, tuple[Channel, ChannelJob, bytes]] = {}   # refused, and perhaps in the books: hashes

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return len(self._unrecorded) + len(self._intake)

    def submit(self, channel: ServerChannel | None, m: SubmitSharesStandard | SubmitSharesExtended,
               extranonce: bytes, user: str | None = None) -> list[Step]:
        """Build the header if channel, job and extranonce length allow one; else the answer is clear already.

        `user` is whose share it is, where that is not the channel's own name.
        """
        if channel is None:
            return self._refuse("", m.channel_id, m.sequence_number, Reject.INVALID_CHANNEL)
        mine = channel.channel
        if user is None:
            user = mine.user
        is_old = channel.is_old(m.sequence_number) and self._checks_sequence
        job = mine.find(m.job_id)
        if job is None:
            return self._refuse(user, m.channel_id, m.sequence_number, Reject.INVALID_JOB)
        if len(extranonce) != mine.extranonce_size:
            return self._refuse(user, m.channel_id, m.sequence_number, Reject.BAD_EXTRANONCE_SIZE)
        header = job.header(extranonce, m.version, m.ntime, m.nonce)
        return [self._intake.submit(Submitted(
            _Ticket(channel, m.sequence_number), mine, job, user, extranonce, m.version, self._mask, m.ntime,
            job.ntime, header, None, is_old))]

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first, in their order."""
        steps: list[Step] = []
        for ruling in self._intake.judged(weights, now):
            self._answer(ruling, steps)
        return steps

    def take_due(self) -> list[Channel] | None:
        """The channels whose vardiff is to be asked after what was judged; once."""
        return self._intake.take_due()

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books: one Success for each channel that has news."""
        touched: dict[ServerChannel, None] = {}
        for share_id in ids:
            channel = self._unrecorded.pop(share_id, None)
            if channel is not None:
                channel.recorded.add(share_id)
                touched[channel] = None
        return self._acknowledge(touched)

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books: they are refused, if they were not yet, and may be sent again."""
        steps = self.given_up(ids)
        for share_id in ids:
            if share_id in self._given_up:
                channel, mine, share_hash = self._given_up.pop(share_id)
                channel.forget(mine, share_hash)
        return steps

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same, so that they must not be sent again."""
        steps: list[Step] = []
        touched: dict[ServerChannel, None] = {}
        for share_id in ids:
            channel = self._unrecorded.pop(share_id, None)
            if channel is None:
                continue
            share = channel.give_up(share_id)
            self._given_up[share_id] = channel.channel, share.mine, share.share_hash
            touched[channel] = None
            channel_id = channel.channel.channel_id
            steps += self._refuse(share.user, channel_id, share.sequence, Reject.NOT_RECORDED, channel.is_open)
        return steps + self._acknowledge(touched)

    def _answer(self, ruling: Ruling[_Ticket], steps: list[Step]) -> None:
        """Block before verdict; a refusal is answered at once, an accepted share when it is recorded."""
        channel, sequence = ruling.ticket
        accepted = ruling.accepted
        if accepted is not None:
            channel.await_record(_Waiting(accepted.share_id, sequence, accepted.difficulty, accepted.share_hash,
                                          accepted.user, ruling.share.job))
            self._unrecorded[accepted.share_id] = channel
        if ruling.block is not None:
            steps.append(ruling.block)
        elif accepted is not None:
            steps.append(accepted)
        mine = channel.channel
        if ruling.reject is not None:
            steps += self._refuse(ruling.share.user, mine.channel_id, sequence, ruling.reject, channel.is_open)
        elif mine.is_flooded:
            steps.append(Close(self._conn_id, f"{MAX_SEEN} shares at a time: its difficulty is far too low", True))

    def _refuse(self, user: str, channel_id: int, sequence: int, reject: Reject, is_heard: bool = True) -> list[Step]:
        refused = ShareRefused(self._conn_id, user, reject.sv2_code)
        if not is_heard:
            return [refused]
        return [SubmitSharesError(channel_id=channel_id, sequence_number=sequence, error_code=reject.sv2_code), refused]

    def _acknowledge(self, channels: Iterable[ServerChannel]) -> list[Step]:
        answers = [(channel, channel.acknowledge()) for channel in channels]
        return [answer for channel, answer in answers if answer is not None and channel.is_open]

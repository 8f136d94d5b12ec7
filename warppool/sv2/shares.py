"""Shares of one Sv2 connection: from a submit message to its header, and from verdict and record to the answers.

Acknowledged means recorded (docs/decisions.rst#decision-recorded): an accepted share waits for its record, and the
acknowledgements of a channel never pass a lower number that still waits. How a share is judged stands in
`mining/validator.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from warppool.events import Now
from warppool.mining.channel import Channel
from warppool.mining.share import Reject, Weight
from warppool.mining.validator import ShareValidator, Submission
from warppool.sv2.jobs import Step
from warppool.sv2.messages.mining import (
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from warppool.sv2.profile import Profile


class Share(Submission):
    """V2's submission, as `sv1.shares.Share` is V1's, with what its answer names.

    All three fields are set right after it is made.
    """

    __slots__ = ("is_recorded", "on", "sequence")

    on: ServerChannel
    sequence: int
    is_recorded: bool


class ServerChannel:
    """A mining channel and what Sv2 adds to it: the sequence rule and the acknowledgements still owed."""

    __slots__ = ("channel", "highest_sequence", "waiting")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.highest_sequence = -1                          # none yet: the first share may carry any number, 0 too
        self.waiting: deque[Share] | None = None            # accepted, in the order of their sequence numbers


class ShareSession(ABC):
    """The part of a session that takes shares and answers them.

    `profile` is the dialect; a session asks it for what differs and never for its name. `validator.in_flight` counts
    the shares whose weight or record is still awaited.
    """

    __slots__ = ("_channels", "answers", "profile", "validator")

    def __init__(self, conn_id: int, profile: Profile) -> None:
        self.profile = profile
        self.answers = self.validator = ShareValidator[Share](conn_id, "sv2")
        self._channels: dict[int, ServerChannel] = {}

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return self.validator.in_flight

    def take(self, m: SubmitSharesStandard | SubmitSharesExtended, user: str | None = None) -> list[Step]:
        """Build the header if channel, job and extranonce length allow one; else the answer is clear already.

        `user` is whose share it is, where that is not the channel's own name.
        """
        extranonce = m.extranonce if isinstance(m, SubmitSharesExtended) else b""
        channel, sequence = self._channels.get(m.channel_id), m.sequence_number
        if channel is None:
            return self._refuse_unknown(m.channel_id, sequence)
        mine = channel.channel
        if user is None:
            user = mine.user
        # The `warp` rule: a number not above the highest received is a duplicate; gaps are allowed.
        is_old = sequence <= channel.highest_sequence and self.profile.checks_sequence
        channel.highest_sequence = max(channel.highest_sequence, sequence)
        job = mine.jobs.get(m.job_id) or mine.find(m.job_id)
        if job is None:
            return self._refuse(user, m.channel_id, sequence, Reject.INVALID_JOB)
        if len(extranonce) != mine.extranonce_size:
            return self._refuse(user, m.channel_id, sequence, Reject.BAD_EXTRANONCE_SIZE)
        share = Share(mine, job, user, extranonce, m.version, self.profile.version_mask, m.ntime, job.assignment.ntime,
                      job.header(extranonce, m.version, m.ntime, m.nonce), None, is_old)
        share.on, share.sequence, share.is_recorded = channel, sequence, False
        return [self.validator.submit(share)]

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first, in their order: block before verdict, a refusal is answered at
        once, an accepted share when it is recorded. Difficulty comes last.
        """
        steps: list[Step] = []
        for share in self.validator.judged(weights, now):
            event = share.block or share.accepted           # the accepted share of a block is in the block
            if event is not None:
                steps.append(event)
            channel = share.on
            if share.reject is not None:
                steps += self._refuse_share(share, share.reject)
            elif channel.waiting is None:
                channel.waiting = deque((share,))
            else:
                channel.waiting.append(share)
        if self.validator.flood is not None:
            steps.append(self.validator.flood)
        if self.validator.due is not None:
            self._review_due(now, steps)
        return steps

    @abstractmethod
    def _review_due(self, now: Now, steps: list[Step]) -> None:
        """Review the channels of `validator.due`, and add what follows."""

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books: one Success for each channel that has news."""
        touched: dict[ServerChannel, None] = {}
        for share in self.validator.recorded(ids):
            share.is_recorded = True
            touched[share.on] = None
        steps: list[Step] = []
        for channel in touched:
            _acknowledge(channel, steps)
        return steps

    def not_recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares will never be in the books: they are refused, if they were not yet, and may be sent again."""
        return self._take_back(self.validator.not_recorded(ids))

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same, so that they must not be sent again."""
        return self._take_back(self.validator.given_up(ids))

    def _take_back(self, shares: Sequence[Share]) -> list[Step]:
        """Refuse shares that were accepted; others may have waited for them alone."""
        steps: list[Step] = []
        touched: dict[ServerChannel, None] = {}
        for share in shares:
            assert share.on.waiting is not None, "a share was given up that never waited"
            share.on.waiting.remove(share)
            touched[share.on] = None
            steps += self._refuse_share(share, Reject.NOT_RECORDED)
        for channel in touched:
            _acknowledge(channel, steps)
        return steps

    def _refuse_unknown(self, channel_id: int, sequence: int) -> list[Step]:
        """A share for a channel that is not open."""
        return self._refuse("", channel_id, sequence, Reject.INVALID_CHANNEL)

    def _refuse_share(self, share: Share, reject: Reject) -> list[Step]:
        if not share.channel.is_open:
            return [self.validator.refused(share.user, reject)]
        return self._refuse(share.user, share.channel.channel_id, share.sequence, reject)

    def _refuse(self, user: str, channel_id: int, sequence: int, reject: Reject) -> list[Step]:
        return [SubmitSharesError(channel_id=channel_id, sequence_number=sequence, error_code=reject.sv2_code),
                self.validator.refused(user, reject)]


def _acknowledge(channel: ServerChannel, steps: list[Step]) -> None:
    """One Success for all that is recorded up to the first share that is not, if the channel is open to hear it."""
    waiting = channel.waiting
    last, count, total = 0, 0, 0.0
    while waiting and waiting[0].is_recorded:
        share = waiting.popleft()
        if share.accepted is not None:
            last, count, total = share.sequence, count + 1, total + share.accepted.difficulty
    if count and channel.channel.is_open:
        steps.append(SubmitSharesSuccess(channel.channel.channel_id, last, count, int(total)))

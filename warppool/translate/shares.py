"""Shares of one machine: judged here first, sent upstream if they are worth it, and answered by what the upstream says.

What waits too long for that is answered by our own verdict, which can only be that it is good, and is unconfirmed. A
verdict that comes later still counts, but the machine has had its answer. Block first, as in the pool: a hash that the
network would take goes upstream whatever is wrong with the share, unless it went there before.
"""

from __future__ import annotations

from warppool.events import Event, Happened, Now, ShareAccepted, ShareRefused
from warppool.mining.share import Reject, weigh
from warppool.sv1.answers import Answers, Step
from warppool.sv1.messages import accepted, error
from warppool.sv1.shares import Fields
from warppool.translate.channel import Channel, Sent, Stage
from warppool.translate.counters import Counters
from warppool.translate.jobs import Given, difficulty_of
from warppool.translate.verdicts import LOST, Rejection, rejection_for, rejection_of


class Shares(Answers):
    """The answers of one connection in their order, and what becomes of its shares."""

    __slots__ = ("_conn_id", "_counters", "_next_id", "_timeout_s", "in_flight")

    def __init__(self, conn_id: int, counters: Counters, timeout_s: float) -> None:
        super().__init__()
        self.in_flight = 0                      # shares that the machine has no answer to yet
        self._conn_id = conn_id
        self._counters = counters
        self._timeout_s = timeout_s
        self._next_id = 1

    # -- from the machine ----------------------------------------------------------------------------------------

    def refuse(self, request_id: bytes, user: str, rejection: Rejection) -> list[Step]:
        """A share that never goes upstream."""
        self._counters.refuse(rejection.reason)
        return [*self.answer(error(request_id, rejection.v1_code, rejection.v1_words)),
                ShareRefused(self._conn_id, user, rejection.reason)]

    def submit(self, request_id: bytes, fields: Fields, given: Given, current: Channel | None, mask: int, bar: int,
               fault: Reject | None, user: str, now: Now) -> list[Step]:
        """Judge a share, and send it if it is good.

        `current` is the channel that the machine mines on, `mask` has the version bits that it asked for, `bar` is the
        easiest target that it may believe in, `fault` what is wrong with the share already.
        """
        _, _, extranonce2, ntime, nonce, bits = fields
        channel, work = given.channel, given.work
        booked = "" if fault is Reject.UNAUTHORIZED else user
        if channel is not current or channel.stage is not Stage.OPEN:
            return self.refuse(request_id, booked, LOST if current is None else rejection_of(Reject.STALE))
        if len(extranonce2) != work.extranonce_size:
            extranonce = fitted(extranonce2, work.extranonce_size)
            if extranonce is None:
                return self.refuse(request_id, booked, rejection_of(Reject.BAD_EXTRANONCE_SIZE))
            extranonce2 = extranonce
        version = work.version
        if bits >= 0:
            mask &= work.version_mask
            version = (version & ~mask) | (bits & mask)
            if not mask or bits & ~mask:
                fault = fault or (Reject.BAD_VERSION_BITS if mask else Reject.VERSION_ROLLING_NOT_ALLOWED)
        weight = weigh(work.header(extranonce2, version, ntime, nonce), given.network_target)
        reject = None if weight.is_block else _judge(given, fault, ntime, weight.value, bar)
        if reject is None and weight.share_hash in channel.seen:
            reject = Reject.DUPLICATE
        if reject is not None:
            return self.refuse(request_id, booked, rejection_of(reject))
        difficulty = given.difficulty if weight.value <= work.target else difficulty_of(max(bar, work.target))
        sent = Sent(request_id, user, given, difficulty, weight.share_hash, now.monotonic)
        self.hold(sent)
        self.in_flight += 1
        self._counters.send()
        channel.submit(given, extranonce2, version, ntime, nonce, sent)
        if weight.is_block:
            return [Happened(self._conn_id, "info", "block.sent", (
                ("upstream", channel.uplink.upstream.config.name), ("height", given.height), ("user", user),
                ("hash", weight.share_hash[::-1])))]
        return []

    # -- from the upstream ---------------------------------------------------------------------------------------

    def accepted(self, channel: Channel, last_sequence: int, now: Now) -> list[Step]:
        """All shares of `channel` up to this one are good, but for those that were refused."""
        steps: list[Step] = []
        if channel.unconfirmed:
            for sent in channel.take_late(last_sequence):
                self._counters.accept(is_late=True)
                steps += [self._book(channel, sent, now), self._was_late(sent, "accepted", now)]
        for sent in channel.take_accepted(last_sequence):
            self._counters.accept(is_late=False)
            self.in_flight -= 1
            sent.line = accepted(sent.request_id)
            steps.append(self._book(channel, sent, now))
        self.send(steps)
        return steps

    def rejected(self, channel: Channel, sequence: int, code: str, now: Now) -> list[Step]:
        """One share is refused."""
        sent, is_late = channel.take_rejected(sequence)
        if sent is None:
            return []
        rejection = rejection_for(code)
        if rejection.reason == Reject.NOT_RECORDED.sv2_code and isinstance(channel.seen, set):
            channel.seen.discard(sent.share_hash)           # it may be sent again
        self._counters.reject(rejection.reason, is_late)
        steps: list[Step] = [ShareRefused(self._conn_id, sent.user, rejection.reason)]
        if rejection.reason != code:
            steps.append(Happened(self._conn_id, "debug", "verdict.unknown", (("code", code),)))
        if is_late:
            return [*steps, self._was_late(sent, rejection.reason, now)]
        self.in_flight -= 1
        sent.line = error(sent.request_id, rejection.v1_code, rejection.v1_words)
        self.send(steps)
        return steps

    def expire(self, channel: Channel, now: Now) -> list[Step]:
        """Answer what has waited for too long."""
        return self._give_up(channel.take_overdue(now.monotonic, self._timeout_s), "no verdict in time")

    def lose(self, channel: Channel) -> list[Step]:
        """No verdict can come any more."""
        return self._give_up(channel.take_all(), "upstream lost")

    def _give_up(self, given_up: list[Sent], reason: str) -> list[Step]:
        """Our own verdict stands in the place of the upstream's: it was found good before it was sent."""
        steps: list[Step] = []
        for sent in given_up:
            self._counters.give_up()
            self.in_flight -= 1
            sent.line = accepted(sent.request_id)
            steps.append(Happened(self._conn_id, "debug", "share.unconfirmed", (
                ("user", sent.user), ("reason", reason))))
        self.send(steps)
        return steps

    def _book(self, channel: Channel, sent: Sent, now: Now) -> Event:
        share_id, self._next_id = self._next_id, self._next_id + 1
        return ShareAccepted(self._conn_id, share_id, now.unix, "sv1", channel.channel_id, sent.user, sent.difficulty,
                             sent.job_id, sent.height, sent.share_hash)

    def _was_late(self, sent: Sent, verdict: str, now: Now) -> Event:
        return Happened(self._conn_id, "info", "verdict.received", (
            ("verdict", verdict), ("user", sent.user), ("late", round(now.monotonic - sent.at, 3))))


def _judge(given: Given, fault: Reject | None, ntime: int, value: int, bar: int) -> Reject | None:
    """Why the upstream would refuse the share, as far as we know it. Its clock decides what lies too far ahead."""
    if fault is not None and fault is Reject.UNAUTHORIZED:
        return fault
    if given.is_stale:
        return Reject.STALE
    if ntime < given.work.min_ntime:
        return Reject.NTIME_OUT_OF_RANGE
    if fault is not None:
        return fault
    if value > given.work.target and value > bar:
        return Reject.DIFFICULTY_TOO_LOW
    return None


def fitted(extranonce2: bytes, size: int) -> bytes | None:
    """`extranonce2` in `size` bytes, None if it cannot be.

    Some firmware prints fewer digits than it hashed, or more: zeros in front come and go, and the hash will tell.
    """
    excess = len(extranonce2) - size
    if excess == 0:
        return extranonce2
    if excess < 0:
        return bytes(-excess) + extranonce2
    return extranonce2[excess:] if not any(extranonce2[:excess]) else None

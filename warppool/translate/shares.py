"""Shares of one machine: judged here first, sent upstream if they are worth it, and answered by what the upstream says.

What waits too long for that is answered by our own verdict, which can only be that it is good, and is unconfirmed; so
is at once every share for an upstream that acknowledges in batches (`promptness.py`). A verdict that comes later still
counts, but the machine has had its answer. A share that is good for the machine, and above the target that its job has
upstream, is answered "accepted" and not sent: filtered. Block first, as in the pool: a hash that the network would take
goes upstream whatever is wrong with the share, unless it went there before.
"""

from __future__ import annotations

from warppool.events import Event, Happened, Now, ShareAccepted, ShareRefused
from warppool.mining.idle import patience_s
from warppool.mining.share import Reject, weigh
from warppool.sv1.answers import Answers, Step
from warppool.sv1.messages import accepted, error
from warppool.sv1.shares import Fields
from warppool.translate.channel import Channel, Stage
from warppool.translate.context import TranslatorContext
from warppool.translate.jobs import EXTRANONCE2_SIZES, MachineJob, space_of
from warppool.translate.sent import Sent
from warppool.translate.verdicts import LOST, Rejection, rejection_for, rejection_of


class ShareForwarder(Answers):
    """The answers of one connection in their order, and what becomes of its shares."""

    __slots__ = ("_conn_id", "_context", "_counters", "_next_id", "_timeout_s", "good", "good_at", "in_flight")

    def __init__(self, conn_id: int, context: TranslatorContext) -> None:
        super().__init__()
        self.good = 0                           # shares that were good by our own verdict ...
        self.good_at = 0.0                      # ... and when the last one was, in monotonic seconds
        self.in_flight = 0                      # shares that the machine has no answer to yet
        self._conn_id = conn_id
        self._context = context
        self._counters = context.counters
        self._timeout_s = context.times.verdict_timeout_s
        self._next_id = 1

    def idle_by(self, since: float, idle_timeout_s: float) -> float:
        """When a machine that works since `since` is idle, unless another of its shares is good before."""
        if not self.good or self.good_at <= since:
            return since + idle_timeout_s
        return self.good_at + patience_s(idle_timeout_s, self.good, self.good_at - since)

    # -- from the machine ----------------------------------------------------------------------------------------

    def refuse(self, request_id: bytes, user: str, rejection: Rejection) -> list[Step]:
        """A share that never goes upstream."""
        self._counters.refuse(rejection.reason)
        return [*self.answer(error(request_id, rejection.v1_code, rejection.v1_words)),
                ShareRefused(self._conn_id, user, rejection.reason)]

    def submit(self, request_id: bytes, fields: Fields, job: MachineJob, current: Channel | None, mask: int, bar: int,
               fault: Reject | None, user: str, now: Now) -> list[Step]:
        """Judge a share, and send it if it is good.

        `current` is the channel that the machine mines on, `mask` has the version bits that it asked for, `bar` is the
        easiest target that it may believe in, `fault` what is wrong with the share already.
        """
        _, _, extranonce2, ntime, nonce, bits = fields
        channel, work = job.channel, job.work
        booked = "" if fault is Reject.UNAUTHORIZED else user
        if channel is not current or channel.stage is not Stage.OPEN:
            return self.refuse(request_id, booked, LOST if current is None else rejection_of(Reject.STALE))
        extranonce = _rolled(extranonce2, work.extranonce_size)
        if extranonce is None:
            return self.refuse(request_id, booked, rejection_of(Reject.BAD_EXTRANONCE_SIZE))
        version = work.version
        if bits >= 0:
            mask &= work.version_mask
            version = (version & ~mask) | (bits & mask)
            if not mask or bits & ~mask:
                fault = fault or (Reject.BAD_VERSION_BITS if mask else Reject.VERSION_ROLLING_NOT_ALLOWED)
        weight = weigh(work.header(extranonce, version, ntime, nonce), job.network_target)
        reject = None if weight.is_block else _judge(job, fault, ntime, weight.value, bar)
        if reject is None and channel.sent.seen is not None and weight.share_hash in channel.sent.seen:
            reject = Reject.DUPLICATE
        if reject is not None:
            return self.refuse(request_id, booked, rejection_of(reject))
        self.good, self.good_at = self.good + 1, now.monotonic
        is_worth_it = weight.value <= work.target
        if not is_worth_it and not weight.is_block:
            channel.sent.remember(weight.share_hash)
            self._counters.filter()
            return self.answer(accepted(request_id))
        is_answered = channel.uplink.upstream.promptness.is_batching
        sent = Sent(request_id, user, work.job_id, job.height, job.difficulty if is_worth_it else 0.0,
                    weight.share_hash, now.monotonic, is_answered)
        steps = self._answer_at_once(channel, request_id) if is_answered else self._await(sent)
        tlvs = channel.tlvs.get(user)
        if tlvs is None:
            tlvs = self._tlvs(channel, user, fault)
        sequence = channel.uplink.submit(work, extranonce, version, ntime, nonce, tlvs)
        channel.sent.add(sequence, sent)
        if weight.is_block:
            steps.append(channel.uplink.upstream.say(
                self._conn_id, "info", "block.sent", now, ("height", job.height), ("user", user),
                ("hash", weight.share_hash[::-1])))
        return steps

    def _await(self, sent: Sent) -> list[Step]:
        """The upstream has the word."""
        self.hold(sent)
        self.in_flight += 1
        self._counters.send()
        return []

    def _answer_at_once(self, channel: Channel, request_id: bytes) -> list[Step]:
        """The upstream acknowledges in batches: our own verdict, also for those that came before that was known."""
        waiting = channel.sent.take_waiting()
        steps = self._give_up(waiting, "the upstream acknowledges in batches") if waiting else []
        self._counters.send_answered()
        return [*steps, *self.answer(accepted(request_id))]

    def _tlvs(self, channel: Channel, user: str, fault: Reject | None) -> bytes:
        if fault is Reject.UNAUTHORIZED:
            return b""
        tlvs = channel.tlvs_of(user, self._context.identity_of(user))
        if tlvs is None:
            self._counters.unnamed += 1
        return tlvs or b""

    # -- from the upstream ---------------------------------------------------------------------------------------

    def accepted(self, channel: Channel, last_sequence: int, now: Now) -> list[Step]:
        """All shares of `channel` up to this one are good, but for those that were refused."""
        steps: list[Step] = []
        late = channel.sent.take_late(last_sequence)
        taken = channel.sent.take_accepted(last_sequence)
        if late:
            self._heard(channel, late[0], len(late) + len(taken), steps, now)
        elif taken:
            self._heard(channel, taken[0], len(taken), steps, now)
        for sent in late:
            self._counters.accept(is_late=True)
            steps.append(self._book(channel, sent, now))
            if not sent.is_answered:
                steps.append(self._was_late(sent, "accepted", now))
        for sent in taken:
            self._counters.accept(is_late=False)
            self.in_flight -= 1
            sent.line = accepted(sent.request_id)
            steps.append(self._book(channel, sent, now))
        self.send(steps)
        return steps

    def rejected(self, channel: Channel, sequence: int, code: str, now: Now) -> list[Step]:
        """One share is refused."""
        sent, is_late = channel.sent.take_rejected(sequence)
        if sent is None:
            return []
        steps: list[Step] = []
        self._heard(channel, sent, 1, steps, now)
        rejection = rejection_for(code)
        if rejection.reason == Reject.NOT_RECORDED.sv2_code:
            channel.sent.forget(sent.share_hash)                 # it may be sent again
        self._counters.reject(rejection.reason, is_late)
        steps.append(ShareRefused(self._conn_id, sent.user, rejection.reason))
        if rejection.reason != code:
            steps.append(Happened(self._conn_id, "debug", "verdict.unknown", (("code", code),)))
        if is_late:                                         # the machine has heard "accepted"
            said = self._was_late(sent, rejection.reason, now)
            return [*steps, channel.uplink.upstream.log.say(self._conn_id, "info", said.name, said.fields, now)]
        self.in_flight -= 1
        sent.line = error(sent.request_id, rejection.v1_code, rejection.v1_words)
        self.send(steps)
        return steps

    def _heard(self, channel: Channel, first: Sent, shares: int, steps: list[Step], now: Now) -> None:
        """The upstream has said its word on so many shares, of which `first` has waited longest."""
        channel.sent.heard()
        upstream = channel.uplink.upstream
        promptness, waited_s = upstream.promptness, now.monotonic - first.at
        if waited_s <= self._timeout_s and promptness.is_prompt:
            return                                          # as nearly always
        if promptness.answered(waited_s, shares, self._timeout_s):
            name = "upstream.batches" if promptness.is_batching else "upstream.prompt"
            steps.append(upstream.say(self._conn_id, "info", name, now))

    def expire(self, channel: Channel, now: Now) -> list[Step]:
        """Answer what has waited for too long."""
        return self._give_up(channel.sent.take_overdue(now.monotonic, self._timeout_s), "no verdict in time")

    def lose(self, channel: Channel) -> list[Step]:
        """No verdict can come any more."""
        return self._give_up(channel.end(), "upstream lost")

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

    def _was_late(self, sent: Sent, verdict: str, now: Now) -> Happened:
        return Happened(self._conn_id, "debug", "verdict.received", (
            ("verdict", verdict), ("user", sent.user), ("late", round(now.monotonic - sent.at, 3))))


def _judge(job: MachineJob, fault: Reject | None, ntime: int, value: int, bar: int) -> Reject | None:
    """Why the upstream would refuse the share, as far as we know it. Its clock decides what lies too far ahead."""
    if fault is not None and fault is Reject.UNAUTHORIZED:
        return fault
    if job.is_stale:
        return Reject.STALE
    if ntime < job.work.min_ntime:
        return Reject.NTIME_OUT_OF_RANGE
    if fault is not None:
        return fault
    if value > job.work.target and value > bar:
        return Reject.DIFFICULTY_TOO_LOW
    return None


def _rolled(extranonce2: bytes, size: int) -> bytes | None:
    """The `size` bytes that the channel rolls, of an extranonce2; None if they cannot be told.

    A machine rolls the last 8 or 4 of them, and the others are zero: `space_of`.
    """
    if len(extranonce2) == size and size in EXTRANONCE2_SIZES:
        return extranonce2
    kept, mine = space_of(b"", size)
    own = fitted(extranonce2, mine)
    return None if own is None else kept + own


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

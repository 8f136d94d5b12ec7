"""Shares of one machine: judged here first, sent upstream if they are worth it, and answered by what the upstream says.

What waits too long for that is answered by our own verdict, which can only be that it is good, and is unconfirmed; so
is at once every share for an upstream that acknowledges in batches (`promptness.py`). A verdict that comes later still
counts, but the machine has had its answer. A share that is good for the machine, and above the target that its job has
upstream, is answered "accepted" and not sent: filtered. Block first, as in the pool: a hash that the network would take
goes upstream whatever is wrong with the share, unless it went there before.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256

from warppool.events import Event, Happened, Now, Send, ShareAccepted, ShareRefused
from warppool.mining.idle import patience_s
from warppool.mining.share import Reject
from warppool.sv1.answers import Answers, Step
from warppool.sv1.messages import ACCEPTED, accepted, error
from warppool.sv1.shares import Fields
from warppool.sv2.frame import with_tlvs
from warppool.translate.channel import Stage, UpstreamChannel
from warppool.translate.failover import Failover
from warppool.translate.jobs import EXTRANONCE2_SIZES, MachineJob, difficulty_of, space_of
from warppool.translate.sent import Sent
from warppool.translate.verdicts import LOST, Rejection, rejection_for, rejection_of

# An enum's member is a function call away on Python 3.11, and every share asks.
_OPEN = Stage.OPEN
_UNAUTHORIZED = Reject.UNAUTHORIZED


class ShareForwarder(Answers):
    """The answers of one connection in their order, and what becomes of its shares."""

    __slots__ = ("_conn_id", "_context", "_counters", "_failover", "_next_id", "good", "good_at", "in_flight")

    def __init__(self, conn_id: int, failover: Failover) -> None:
        super().__init__()
        self.good = 0                           # shares that were good by our own verdict ...
        self.good_at = 0.0                      # ... and when the last one was, in monotonic seconds
        self.in_flight = 0                      # shares that the machine has no answer to yet
        self._conn_id = conn_id
        self._failover = failover
        self._context = failover.context        # as it was when the machine came
        self._counters = failover.context.counters
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

    def submit(self, request_id: bytes, fields: Fields, job: MachineJob, current: UpstreamChannel | None, mask: int,
               easiest: int, fault: Reject | None, user: str, now: Now) -> list[Step]:
        """Judge a share, and send it if it is good.

        `current` is the channel that the machine mines on, `mask` has the version bits that it asked for, `easiest` is
        the easiest target that it may believe in, `fault` what is wrong with the share already. Nearly every share
        comes here and is good, so little is called for one.
        """
        _, _, extranonce, ntime, nonce, bits = fields
        channel, work = job.channel, job.work
        booked = "" if fault is _UNAUTHORIZED else user
        if channel is not current or channel.stage is not _OPEN:
            return self.refuse(request_id, booked, LOST if current is None else rejection_of(Reject.STALE))
        if len(extranonce) != work.extranonce_size or len(extranonce) not in EXTRANONCE2_SIZES:
            rolled = _rolled(extranonce, work.extranonce_size)
            if rolled is None:
                return self.refuse(request_id, booked, rejection_of(Reject.BAD_EXTRANONCE_SIZE))
            extranonce = rolled
        version = work.version
        if bits >= 0:
            mask &= work.version_mask
            version = (version & ~mask) | (bits & mask)
            if not mask or bits & ~mask:
                fault = fault or (Reject.BAD_VERSION_BITS if mask else Reject.VERSION_ROLLING_NOT_ALLOWED)
        share_hash = sha256(sha256(work.header(extranonce, version, ntime, nonce)).digest()).digest()
        value = int.from_bytes(share_hash, "little")
        is_block = value <= job.network_target
        reject = None
        if not is_block and (fault is not None or value > work.target or ntime < work.min_ntime
                             or job.tip != channel.tip):
            reject = _judge(job, fault, ntime, value, easiest)
        if reject is None and channel.sent.seen is not None and share_hash in channel.sent.seen:
            reject = Reject.DUPLICATE
        if reject is not None:
            return self.refuse(request_id, booked, rejection_of(reject))
        self.good, self.good_at = self.good + 1, now.monotonic
        if value > work.target and not is_block:
            return self._filter(channel, request_id, share_hash)
        sent = Sent(request_id, user, work.job_id, job.height, job.difficulty if value <= work.target else 0.0,
                    share_hash, now.monotonic)
        tlvs = channel.tlvs.get(user) if channel.uplink.names_workers else b""
        if tlvs is None:
            tlvs = self._tlvs(channel, user, fault)
        frame = channel.uplink.frame_share(
            work.channel_id, channel.sent.next_sequence, work.job_id, nonce, ntime, version, extranonce)
        steps = self._send(channel, sent, with_tlvs(frame, tlvs) if tlvs else frame)
        return steps if not is_block else [*steps, *self._sent_block(channel, job, sent, now)]

    def _filter(self, channel: UpstreamChannel, request_id: bytes, share_hash: bytes) -> list[Step]:
        """A share that is good for the machine and worth nothing upstream."""
        channel.sent.remember(share_hash)
        self._counters.filter()
        return self.answer(accepted(request_id))

    def _send(self, channel: UpstreamChannel, sent: Sent, frame: bytes) -> list[Step]:
        """The share goes upstream, which has the word; where it acknowledges in batches, our own verdict is the answer,
        also to those shares that came before that was known.
        """
        uplink, counters = channel.uplink, self._counters
        send = Send(uplink.conn_id, frame)
        counters.received += 1
        if uplink.upstream.promptness.is_batching:
            counters.unconfirmed += 1
            waiting = channel.sent.take_waiting()
            steps = self._give_up(waiting, "the upstream acknowledges in batches") if waiting else []
            sent.is_answered = True
            channel.sent.add(sent)
            return [send, *steps, *self.answer(accepted(sent.request_id))]
        counters.pending += 1
        self.in_flight += 1
        channel.sent.add(sent)
        if self._answers is None:
            self._answers = deque()
        self._answers.append(sent)                  # `hold`, without a call for each share
        self.unanswered += 1
        return [send]

    def _sent_block(self, channel: UpstreamChannel, job: MachineJob, sent: Sent, now: Now) -> list[Event]:
        """A block, as the upstream's job has it: for the log; and for the books, unless such jobs make too many."""
        upstream = channel.uplink.upstream
        said: list[Event] = [upstream.say(self._conn_id, "info", "block.sent", now, ("height", job.height),
                                          ("user", sent.user), ("hash", sent.share_hash[::-1]))]
        if upstream.log.may_count_block(now):
            said.append(Happened(self._conn_id, "debug", "block.counted", (
                ("hash", sent.share_hash), ("height", job.height), ("user", sent.user),
                ("difficulty", difficulty_of(job.network_target)))))
        return said

    def _tlvs(self, channel: UpstreamChannel, user: str, fault: Reject | None) -> bytes:
        if fault is Reject.UNAUTHORIZED:
            return b""
        tlvs = channel.tlvs_of(user, self._context.identity_of(user))
        if tlvs is None:
            self._counters.unnamed += 1
        return tlvs or b""

    # -- from the upstream ---------------------------------------------------------------------------------------

    def accepted(self, channel: UpstreamChannel, last_sequence: int, now: Now) -> list[Step]:
        """All shares of `channel` up to this one are good, but for those that were refused."""
        steps: list[Step] = []
        waiting, counters, answers = channel.sent, self._counters, self._answers
        late = waiting.take_late(last_sequence) if waiting.unconfirmed else None
        taken = waiting.take_accepted(last_sequence)
        if late:
            self._accept_late(channel, late, len(taken), steps, now)
        elif taken and (now.monotonic - taken[0].at > self._failover.times.verdict_timeout_s
                        or not channel.uplink.upstream.promptness.is_prompt):
            self._learn(channel, taken[0], len(taken), steps, now)
        for sent in taken:
            counters.pending -= 1
            counters.accepted += 1
            self.in_flight -= 1
            steps.append(ShareAccepted(self._conn_id, self._next_id, now.unix, "sv1", channel.channel_id, sent.user,
                                       sent.difficulty, sent.job_id, sent.height, sent.share_hash))
            self._next_id += 1
            sent.line = sent.request_id and ACCEPTED % sent.request_id
            if answers and answers[0] is sent and sent.line:        # the machine's oldest request, as nearly always
                answers.popleft()
                self.unanswered -= 1
                steps.append(sent.line)
        if answers:
            self.send(steps)
        return steps

    def _accept_late(self, channel: UpstreamChannel, late: list[Sent], others: int, steps: list[Step],
                     now: Now) -> None:
        """Shares that our own verdict had answered, and so many others that it had not."""
        self._learn(channel, late[0], len(late) + others, steps, now)
        for sent in late:
            self._counters.accept_late()
            steps.append(ShareAccepted(self._conn_id, self._next_id, now.unix, "sv1", channel.channel_id, sent.user,
                                       sent.difficulty, sent.job_id, sent.height, sent.share_hash))
            self._next_id += 1
            if not sent.is_answered:
                steps.append(self._was_late(sent, "accepted", now))

    def rejected(self, channel: UpstreamChannel, sequence: int, code: str, now: Now) -> list[Step]:
        """One share is refused."""
        sent, is_late = channel.sent.take_rejected(sequence)
        if sent is None:
            return []
        steps: list[Step] = []
        self._learn(channel, sent, 1, steps, now)
        rejection = rejection_for(code)
        if rejection.reason == Reject.NOT_RECORDED.sv2_code:
            channel.sent.forget(sent.share_hash)            # it may be sent again
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

    def _learn(self, channel: UpstreamChannel, first: Sent, shares: int, steps: list[Step], now: Now) -> None:
        """The upstream has said its word on so many shares, of which `first` has waited longest: is it batching?"""
        upstream = channel.uplink.upstream
        promptness, timeout_s = upstream.promptness, self._failover.times.verdict_timeout_s
        waited_s = now.monotonic - first.at
        if waited_s <= timeout_s and promptness.is_prompt:
            return
        if promptness.answered(waited_s, shares, timeout_s):
            name = "upstream.batches" if promptness.is_batching else "upstream.prompt"
            steps.append(upstream.say(self._conn_id, "info", name, now))

    def expire(self, channel: UpstreamChannel, now: Now) -> list[Step]:
        """Answer what has waited for too long."""
        overdue = channel.sent.take_overdue(now.monotonic, self._failover.times.verdict_timeout_s)
        return self._give_up(overdue, "no verdict in time")

    def settle(self, channel: UpstreamChannel) -> list[Step]:
        """The machine must go: it gets the answers to its last shares now, by our own verdict."""
        return self._give_up(channel.sent.take_waiting(), "the machine must go")

    def lose(self, channel: UpstreamChannel) -> list[Step]:
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

    def _was_late(self, sent: Sent, verdict: str, now: Now) -> Happened:
        return Happened(self._conn_id, "debug", "verdict.received", (
            ("verdict", verdict), ("user", sent.user), ("late", round(now.monotonic - sent.at, 3))))


def _judge(job: MachineJob, fault: Reject | None, ntime: int, value: int, easiest: int) -> Reject | None:
    """Why the upstream would refuse the share, as far as we know it. Its clock decides what lies too far ahead."""
    if fault is _UNAUTHORIZED:
        return fault
    if job.tip != job.channel.tip:
        return Reject.STALE
    if ntime < job.work.min_ntime:
        return Reject.NTIME_OUT_OF_RANGE
    if fault is not None:
        return fault
    if value > job.work.target and value > easiest:
        return Reject.DIFFICULTY_TOO_LOW
    return None


def _rolled(extranonce2: bytes, size: int) -> bytes | None:
    """The `size` bytes that the channel rolls, of an unusual extranonce2; None if they cannot be told.

    A machine rolls the last 8 or 4 of them, and the others are zero: `space_of`.
    """
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

"""Shares of one channel that went upstream and wait for a verdict, and the hashes that must not go there twice.

A share waits in `pending`, in the order of the sequence numbers, until the upstream's verdict comes or our patience
ends. After that our own verdict has been given, and the share waits in `unconfirmed`: a late verdict still counts.
"""

from __future__ import annotations

import math

from warppool.sv1.answers import Ticket

MAX_UNCONFIRMED = 4096
"""Shares of one channel whose late verdict is still awaited; of those before them none is remembered."""

MAX_SEEN = 1 << 14
"""Hashes of one channel and tip that are remembered, so that none goes upstream twice; of those before them the
upstream is the judge. A pool whose target is far too easy, and whose tip never moves, must not fill our memory. Where
the pool's profile bounds the shares of a tip, it is that bound, and the machine of a full channel needs another."""

MUTE_SHARES, MUTE_SHARES_S, MUTE_S = 100, 60.0, 600.0
"""An upstream has failed that has left so many shares of a channel, and so many seconds, without a word; or the seconds
of the last number, however few shares it were. Batches of ten are usual; a machine finds a share every few seconds."""

LAST_ANSWER_S = 2.0
"""Time for the answer to the last of those shares: a batch may have just so many."""

FULL = -math.inf
"""In the place of the time at which the upstream has failed: the machine must go, since it has sent too many shares."""


class Sent(Ticket):
    """A share that went upstream, and its place among the answers."""

    __slots__ = ("at", "difficulty", "height", "is_answered", "job_id", "share_hash", "user")

    def __init__(self, request_id: bytes, user: str, job_id: int, height: int, difficulty: float, share_hash: bytes,
                 at: float) -> None:
        self.request_id = request_id
        self.line = None
        self.is_answered = False                # by our own verdict, as soon as the share came
        self.user = user
        self.job_id = job_id                    # the upstream's
        self.height = height
        self.difficulty = difficulty
        self.share_hash = share_hash
        self.at = at                            # monotonic seconds


class SentShares:
    """Owned by one channel; times are monotonic seconds. `bound` is that of the profile on the shares of a tip."""

    __slots__ = ("_bound", "_max_seen", "fails_at", "first_sent_at", "next_sequence", "pending", "seen", "unanswered",
                 "unconfirmed")

    def __init__(self, bound: int | None = None) -> None:
        self._bound = bound
        self._max_seen = bound or MAX_SEEN
        self.next_sequence = 0                  # of the next share
        self.pending: dict[int, Sent] = {}      # by sequence number, in its order
        self.first_sent_at = math.inf           # when the oldest of those was sent; `inf` for none
        self.unconfirmed: dict[int, Sent] | None = None         # those that have their answer from us
        self.unanswered = 0                     # shares since the upstream's last word on any
        self.fails_at = math.inf                # when the upstream has failed, unless a word comes; or FULL
        self.seen: dict[bytes, None] | None = None              # hashes sent on this tip, or filtered, in their order

    def add(self, sent: Sent) -> None:
        """A share goes out under the next number; the upstream has the word on it, unless it has its answer from us."""
        sequence = self.next_sequence
        self.next_sequence += 1
        if sent.is_answered:
            self._await_late(sequence, sent)
        else:
            if not self.pending:
                self.first_sent_at = sent.at
            self.pending[sequence] = sent
        self.unanswered += 1
        if self.unanswered == 1:
            self.fails_at = sent.at + MUTE_S
        elif self.unanswered == MUTE_SHARES:
            first_at = self.fails_at - MUTE_S
            self.fails_at = min(self.fails_at, max(first_at + MUTE_SHARES_S, sent.at + LAST_ANSWER_S))
        if self.seen is None:
            self.seen = {sent.share_hash: None}
        elif len(self.seen) < self._max_seen:
            self.seen[sent.share_hash] = None
        else:
            self.remember(sent.share_hash)
            if self.is_full:
                self.fails_at = FULL

    def begin_tip(self) -> None:
        """Hashes of the tip before are stale, so none of them is remembered."""
        if self.is_full:
            self.fails_at = math.inf
        self.seen = None

    @property
    def is_full(self) -> bool:
        """As many shares of this tip went out as the pool bears of one channel."""
        return self._bound is not None and self.seen is not None and len(self.seen) >= self._bound

    def remember(self, share_hash: bytes) -> None:
        """The hash is a duplicate from now on."""
        if self.seen is None:
            self.seen = {}
        elif len(self.seen) >= self._max_seen:
            del self.seen[next(iter(self.seen))]
        self.seen[share_hash] = None

    def forget(self, share_hash: bytes) -> None:
        """The hash may be sent again."""
        if self.seen is not None:
            self.seen.pop(share_hash, None)

    # -- the upstream's word -------------------------------------------------------------------------------------

    def take_accepted(self, last_sequence: int) -> list[Sent]:
        """The shares up to `last_sequence` that wait, all of which the upstream took."""
        pending = self.pending
        taken: list[Sent] = []
        for sequence, sent in pending.items():
            if sequence > last_sequence:
                break
            taken.append(sent)
        if not taken:
            return taken
        if len(taken) == len(pending):
            pending.clear()
        else:
            for _ in taken:
                del pending[next(iter(pending))]
        self.first_sent_at = next(iter(pending.values())).at if pending else math.inf
        self.unanswered = 0
        if self.fails_at != FULL:
            self.fails_at = math.inf
        return taken

    def take_late(self, last_sequence: int) -> list[Sent]:
        """Those whose time was over before."""
        taken: list[Sent] = []
        waiting = self.unconfirmed or {}
        for sequence, sent in waiting.items():
            if sequence > last_sequence:
                break
            taken.append(sent)
        for _ in taken:
            del waiting[next(iter(waiting))]
        if taken:
            self.unanswered = 0
            if self.fails_at != FULL:
                self.fails_at = math.inf
        return taken

    def awaits(self, sequence: int) -> bool:
        """A verdict on the share of that number is still awaited."""
        return sequence in self.pending or (self.unconfirmed is not None and sequence in self.unconfirmed)

    def take_rejected(self, sequence: int) -> tuple[Sent | None, bool]:
        """The share of that number, if its verdict is awaited; True if it is late."""
        sent = self.pending.pop(sequence, None)
        is_late = sent is None
        if is_late and self.unconfirmed:
            sent = self.unconfirmed.pop(sequence, None)
        if sent is not None:
            self.unanswered = 0
            if self.fails_at != FULL:
                self.fails_at = math.inf
            self._reckon()
        return sent, is_late

    def _reckon(self) -> None:
        self.first_sent_at = next(iter(self.pending.values())).at if self.pending else math.inf

    # -- no word of the upstream ---------------------------------------------------------------------------------

    def take_overdue(self, now: float, timeout_s: float) -> list[Sent]:
        """The shares that have waited for `timeout_s` at monotonic `now`; a verdict on them is late from now on."""
        overdue: list[Sent] = []
        if self.first_sent_at + timeout_s > now:
            return overdue
        for sequence, sent in self.pending.items():
            if sent.at + timeout_s > now:
                break
            self._await_late(sequence, sent)
            overdue.append(sent)
        for _ in overdue:
            del self.pending[next(iter(self.pending))]
        self._reckon()
        return overdue

    def take_waiting(self) -> list[Sent]:
        """All shares that wait, whose verdict is late from now on."""
        return self.take_overdue(math.inf, 0.0)

    def take_all(self) -> list[Sent]:
        """The shares that waited, where no verdict can come any more."""
        lost = list(self.pending.values())
        self.pending.clear()
        self.unconfirmed = None
        self.first_sent_at = self.fails_at = math.inf
        return lost

    def _await_late(self, sequence: int, sent: Sent) -> None:
        if self.unconfirmed is None:
            self.unconfirmed = {}
        self.unconfirmed[sequence] = sent
        if len(self.unconfirmed) > MAX_UNCONFIRMED:
            del self.unconfirmed[next(iter(self.unconfirmed))]

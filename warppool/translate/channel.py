"""A machine's channel at an upstream: where it searches, under which target, and its shares that wait for a verdict.

The machine's session asks and judges, the connection to the upstream (`uplink.py`) carries. Channel, prefix, jobs and
everything unanswered die with that connection.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import TYPE_CHECKING

from warppool.sv1.answers import Ticket
from warppool.sv2.messages.mining import UpdateChannel
from warppool.sv2.tlv import worker_tlv
from warppool.sv2.workers import named
from warppool.translate.jobs import Given
from warppool.translate.pace import Pace

if TYPE_CHECKING:
    from warppool.translate.connection import TranslatedConnection
    from warppool.translate.uplink import Uplink

MIN_EXTRANONCE_SIZE = 4
"""Bytes that a machine needs to roll: rentals take no fewer."""

MAX_UNCONFIRMED = 4096
"""Shares of one channel whose late verdict is still awaited; of those before them none is remembered."""

MAX_SEEN = 1 << 14
"""Hashes of one channel and tip that are remembered, so that none goes upstream twice; of those before them the
upstream is the judge. A pool whose target is far too easy, and whose tip never moves, must not fill our memory."""

MAX_NAMES = 1000
"""Workers of one machine whose TLV is remembered: as many as may authorize on one connection."""

MUTE_SHARES, MUTE_SHARES_S, MUTE_S = 100, 60.0, 600.0
"""An upstream has failed that has left so many shares of a channel, and so many seconds, without a word; or the seconds
of the last number, however few shares it were. Batches of ten are usual; a machine finds a share every few seconds."""

LAST_ANSWER_S = 2.0
"""Time for the answer to the last of those shares: a batch may have just so many."""

UPDATES_AT_ONCE, UPDATE_EVERY_S = 4, 1.0
"""How often an upstream hears of another wish of the machine: about once a second, says the specification."""

TIPS_AT_ONCE, TIP_EVERY_S = 64, 0.1
"""Tips that a channel may see at once, and how fast more may come. The embedded chain makes five a second; a pool with
more than this wants to keep us busy, since each goes to the machine without delay."""


class Stage(Enum):
    """How far a channel has come."""

    JOINED = auto()         # the connection is not set up, or the machine has not said its name
    ASKED = auto()
    OPEN = auto()
    OVER = auto()


class Sent(Ticket):
    """A share that went upstream, and its place among the answers."""

    __slots__ = ("at", "difficulty", "height", "is_answered", "job_id", "share_hash", "user")

    def __init__(self, request_id: bytes, user: str, given: Given, difficulty: float, share_hash: bytes,
                 at: float, is_answered: bool) -> None:
        super().__init__(request_id)
        self.is_answered = is_answered          # by our own verdict, as soon as it came
        self.user = user
        self.job_id = given.work.job_id
        self.height = given.height
        self.difficulty = difficulty
        self.share_hash = share_hash
        self.at = at                            # monotonic seconds


class Channel:
    """One extended channel of `owner` on `uplink`; `tip` counts the tips that it has mined on."""

    __slots__ = ("_tips", "_updates", "channel_id", "extranonce_prefix", "extranonce_size",
                 "fails_at", "has_worked", "identity", "is_named", "is_retired", "max_target", "owner", "pending",
                 "seen", "stage", "target", "tip", "tlvs", "unanswered", "unconfirmed", "uplink")

    def __init__(self, owner: TranslatedConnection, uplink: Uplink) -> None:
        self.owner = owner
        self.uplink = uplink
        self.stage = Stage.JOINED
        self.identity = ""                      # under which it is opened
        self.max_target = 0                     # the last that the upstream was told
        self.has_worked = False                 # it got a job
        self.is_named = False                   # opened under the machine's own name
        self.is_retired = False                 # the machine no longer mines on it
        self.channel_id = 0
        self.extranonce_prefix = b""
        self.extranonce_size = 0
        self.target = 1
        self.tip = 0
        self.pending: dict[int, Sent] = {}      # by sequence number, in its order
        self.unconfirmed: dict[int, Sent] | None = None         # those that have their answer from us
        self.unanswered = 0                     # shares since the upstream's last word on any
        self.fails_at = math.inf                # monotonic seconds, unless a word comes
        self.seen: dict[bytes, None] | None = None              # hashes sent on this tip, or filtered, in their order
        self.tlvs: dict[str, bytes] = {}        # by worker: what `tlvs_of` found
        self._tips = Pace(TIPS_AT_ONCE, TIP_EVERY_S)
        self._updates = Pace(UPDATES_AT_ONCE, UPDATE_EVERY_S)

    @property
    def is_over(self) -> bool:
        """Nothing comes of it any more."""
        return self.stage is Stage.OVER

    # -- out -----------------------------------------------------------------------------------------------------

    def ask(self, identity: str, max_target: int, *, is_named: bool) -> None:
        """Ask for the channel."""
        self.stage = Stage.ASKED
        self.identity = identity
        self.is_named = is_named
        self.max_target = max_target
        self.uplink.ask(self, identity, max_target, MIN_EXTRANONCE_SIZE)

    def bound(self, max_target: int, now: float) -> float:
        """Tell the upstream the easiest target that the machine takes, if that is news to it.

        When to ask again, where the machine changes its mind too often (monotonic seconds); else `inf`.
        """
        if self.stage is Stage.OPEN and max_target != self.max_target:
            if not self._updates.take(now):
                return self._updates.next_at(now)
            self.max_target = max_target
            self.uplink.queue(UpdateChannel(channel_id=self.channel_id, nominal_hash_rate=0.0,
                                            maximum_target=max_target.to_bytes(32, "little")))
        return math.inf

    def submit(self, given: Given, extranonce: bytes, version: int, ntime: int, nonce: int, sent: Sent,
               tlvs: bytes) -> None:
        """Send a share; it waits for its verdict from now on."""
        sequence = self.uplink.submit(given.work, extranonce, version, ntime, nonce, tlvs)
        if sent.is_answered:
            self._await_late(sequence, sent)
        else:
            self.pending[sequence] = sent
        self.remember(sent.share_hash)
        self.unanswered += 1
        if self.unanswered == 1:
            self.fails_at = sent.at + MUTE_S
        elif self.unanswered == MUTE_SHARES:
            first_at = self.fails_at - MUTE_S
            self.fails_at = min(self.fails_at, max(first_at + MUTE_SHARES_S, sent.at + LAST_ANSWER_S))

    def tlvs_of(self, name: str) -> bytes | None:
        """What names the worker `name` behind a share, b"" where the channel's own name does; None where it is no name.

        Of what the upstream would be told of it in an open, the part behind the first dot goes into the TLV, or all of
        it where there is no dot: the user is the channel's.
        """
        if not self.uplink.names_workers:
            return b""
        tlvs = self._name(self.uplink.identity_of(name))
        if tlvs is not None:
            if len(self.tlvs) >= MAX_NAMES:
                self.tlvs.clear()
            self.tlvs[name] = tlvs
        return tlvs

    def _name(self, identity: str) -> bytes | None:
        if identity == self.identity:
            return b""
        worker = (identity.partition(".")[2] or identity).encode("utf-8", "surrogateescape")
        name = named(self.identity, worker)             # as the pool will read it
        return None if name is None else b"" if name == self.identity else worker_tlv(worker)

    # -- what was sent -------------------------------------------------------------------------------------------

    def remember(self, share_hash: bytes) -> None:
        """It is a duplicate from now on."""
        if self.seen is None:
            self.seen = {}
        elif len(self.seen) >= MAX_SEEN:
            del self.seen[next(iter(self.seen))]
        self.seen[share_hash] = None

    def forget(self, share_hash: bytes) -> None:
        """It may be sent again."""
        if self.seen is not None:
            self.seen.pop(share_hash, None)

    # -- in ------------------------------------------------------------------------------------------------------

    def move_tip(self, now: float) -> bool:
        """What was mined before is stale; False where tips come faster than any chain makes them."""
        self.tip += 1
        self.seen = None
        return self._tips.take(now)

    def take_accepted(self, last_sequence: int) -> list[Sent]:
        """The shares up to `last_sequence` that wait, all of which the upstream took."""
        return _take(self.pending, last_sequence)

    def take_late(self, last_sequence: int) -> list[Sent]:
        """Those whose time was over before."""
        return _take(self.unconfirmed, last_sequence) if self.unconfirmed else []

    def awaits(self, sequence: int) -> bool:
        """A verdict on the share of that number is still awaited."""
        return sequence in self.pending or (self.unconfirmed is not None and sequence in self.unconfirmed)

    def take_rejected(self, sequence: int) -> tuple[Sent | None, bool]:
        """The share of that number, if its verdict is awaited; True if it is late."""
        sent = self.pending.pop(sequence, None)
        if sent is None and self.unconfirmed:
            return self.unconfirmed.pop(sequence, None), True
        return sent, False

    def take_overdue(self, now: float, timeout_s: float) -> list[Sent]:
        """The shares that have waited for `timeout_s` at monotonic `now`; a verdict on them is late from now on."""
        overdue: list[Sent] = []
        for sequence, sent in self.pending.items():
            if sent.at + timeout_s > now:
                break
            self._await_late(sequence, sent)
            overdue.append(sent)
        for _ in overdue:
            del self.pending[next(iter(self.pending))]
        return overdue

    def take_waiting(self) -> list[Sent]:
        """All shares that wait, whose verdict is late from now on."""
        return self.take_overdue(math.inf, 0.0)

    def _await_late(self, sequence: int, sent: Sent) -> None:
        if self.unconfirmed is None:
            self.unconfirmed = {}
        self.unconfirmed[sequence] = sent
        if len(self.unconfirmed) > MAX_UNCONFIRMED:
            del self.unconfirmed[next(iter(self.unconfirmed))]

    def take_all(self) -> list[Sent]:
        """The shares that no verdict can come for any more."""
        self.stage = Stage.OVER
        self.unconfirmed = None
        self.fails_at = math.inf
        lost = list(self.pending.values())
        self.pending.clear()
        return lost

    @property
    def first_sent_at(self) -> float:
        """Monotonic seconds of the oldest share that waits; `inf` for none."""
        return next(iter(self.pending.values())).at if self.pending else math.inf


def _take(waiting: dict[int, Sent], last_sequence: int) -> list[Sent]:
    taken: list[Sent] = []
    for sequence, sent in waiting.items():
        if sequence > last_sequence:
            break
        taken.append(sent)
    for _ in taken:
        del waiting[next(iter(waiting))]
    return taken

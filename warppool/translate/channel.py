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
from warppool.translate.jobs import Given

if TYPE_CHECKING:
    from warppool.translate.connection import TranslatedConnection
    from warppool.translate.uplink import Uplink

MIN_EXTRANONCE_SIZE = 4
"""Bytes that a machine needs to roll: rentals take no fewer."""

MAX_UNCONFIRMED = 4096
"""Shares of one channel whose late verdict is still awaited; of those before them none is remembered."""

_NONE: frozenset[bytes] = frozenset()


class Stage(Enum):
    """How far a channel has come."""

    JOINED = auto()         # the connection is not set up, or the machine has not said its name
    ASKED = auto()
    OPEN = auto()
    OVER = auto()


class Sent(Ticket):
    """A share that went upstream, and its place among the answers."""

    __slots__ = ("at", "difficulty", "height", "job_id", "share_hash", "user")

    def __init__(self, request_id: bytes, user: str, given: Given, difficulty: float, share_hash: bytes,
                 at: float) -> None:
        super().__init__(request_id)
        self.user = user
        self.job_id = given.work.job_id
        self.height = given.height
        self.difficulty = difficulty
        self.share_hash = share_hash
        self.at = at                            # monotonic seconds


class Channel:
    """One extended channel of `owner` on `uplink`; `tip` counts the tips that it has mined on."""

    __slots__ = ("channel_id", "extranonce_prefix", "extranonce_size", "is_named", "is_retired", "owner", "pending",
                 "seen", "stage", "target", "tip", "unconfirmed", "uplink")

    def __init__(self, owner: TranslatedConnection, uplink: Uplink) -> None:
        self.owner = owner
        self.uplink = uplink
        self.stage = Stage.JOINED
        self.is_named = False                   # opened under the machine's own name
        self.is_retired = False                 # the machine no longer mines on it
        self.channel_id = 0
        self.extranonce_prefix = b""
        self.extranonce_size = 0
        self.target = 1
        self.tip = 0
        self.seen: set[bytes] | frozenset[bytes] = _NONE        # hashes sent on this tip
        self.pending: dict[int, Sent] = {}      # by sequence number, in its order
        self.unconfirmed: dict[int, Sent] | None = None         # those whose time is over

    @property
    def is_over(self) -> bool:
        """Nothing comes of it any more."""
        return self.stage is Stage.OVER

    # -- out -----------------------------------------------------------------------------------------------------

    def ask(self, identity: str, max_target: int, *, is_named: bool) -> None:
        """Ask for the channel."""
        self.stage = Stage.ASKED
        self.is_named = is_named
        self.uplink.ask(self, identity, max_target, MIN_EXTRANONCE_SIZE)

    def update(self, max_target: int) -> None:
        """The machine wants another bound."""
        self.uplink.queue(UpdateChannel(channel_id=self.channel_id, nominal_hash_rate=0.0,
                                        maximum_target=max_target.to_bytes(32, "little")))

    def submit(self, given: Given, extranonce: bytes, version: int, ntime: int, nonce: int, sent: Sent) -> None:
        """Send a share; it waits for its verdict from now on."""
        sequence = self.uplink.submit(given.work, extranonce, version, ntime, nonce)
        self.pending[sequence] = sent
        if isinstance(self.seen, frozenset):
            self.seen = set()
        self.seen.add(sent.share_hash)

    # -- in ------------------------------------------------------------------------------------------------------

    def move_tip(self) -> None:
        """What was mined before is stale."""
        self.tip += 1
        self.seen = _NONE

    def take_accepted(self, last_sequence: int) -> list[Sent]:
        """The shares up to `last_sequence` that wait, all of which the upstream took."""
        return _take(self.pending, last_sequence)

    def take_late(self, last_sequence: int) -> list[Sent]:
        """Those whose time was over before."""
        return _take(self.unconfirmed, last_sequence) if self.unconfirmed else []

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
            if self.unconfirmed is None:
                self.unconfirmed = {}
            self.unconfirmed[sequence] = sent
            overdue.append(sent)
        for _ in overdue:
            del self.pending[next(iter(self.pending))]
        while self.unconfirmed and len(self.unconfirmed) > MAX_UNCONFIRMED:
            del self.unconfirmed[next(iter(self.unconfirmed))]
        return overdue

    def take_all(self) -> list[Sent]:
        """The shares that no verdict can come for any more."""
        self.stage = Stage.OVER
        self.unconfirmed = None
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

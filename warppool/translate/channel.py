"""A machine's channel at an upstream: how far it has come, where it searches, and its shares that wait for a verdict.

The machine's session asks and judges, the connection to the upstream (`uplink.Uplink`) carries. A channel's stage moves
by the methods under "moves" alone, and each of them names the stages that it leaves. UpstreamChannel, prefix, jobs and
everything unanswered die with the connection that carries them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from warppool.errors import LocalProtocolError, RemoteProtocolError
from warppool.events import Event, Now, Send
from warppool.sv2.client import ChannelOpened
from warppool.sv2.messages.mining import UpdateChannel
from warppool.sv2.tlv import worker_tlv
from warppool.sv2.types import Message
from warppool.sv2.work import Work
from warppool.sv2.workers import named
from warppool.translate.pace import Pace
from warppool.translate.sent import Sent, SentShares
from warppool.translate.upstream import Unfit, Upstream, network_target_of
from warppool.translate.wish import Wish

MIN_EXTRANONCE_SIZE = 4
"""Bytes that a machine needs to roll: rentals take no fewer."""

MAX_NAMES = 1000
"""Workers of one machine whose TLV is remembered: as many as may authorize on one connection."""

UPDATES_AT_ONCE, UPDATE_EVERY_S = 4, 1.0
"""How often an upstream hears of another easiest target of the machine: about once a second, says the specification."""

TIPS_AT_ONCE, TIP_EVERY_S = 64, 0.1
"""Tips that a channel may see at once, and how fast more may come. The embedded chain makes five a second; a pool with
more than this wants to keep us busy, since each goes to the machine without delay."""


class Stage(Enum):
    """How far a channel has come."""

    JOINED = auto()         # the connection is not set up, or the machine has not said its name
    ASKED = auto()          # the pool was asked to open it
    OPEN = auto()           # the machine mines on it, or will as soon as there is work
    RETIRED = auto()        # the machine has left it, and the last verdicts are awaited
    OVER = auto()           # nothing comes of it any more


class ChannelUplink(Protocol):
    """The connection that carries a channel, as the machine of the channel sees it."""

    upstream: Upstream
    conn_id: int
    is_up: bool                     # it was set up, whether or not it is over
    is_unfit: bool                  # it ended because of what the pool does to those who mine on it
    names_workers: bool             # shares may bear the names of their workers
    frame_share: Callable[..., bytes]           # the frame of a SubmitSharesExtended, from its values in wire order

    @property
    def is_leaving(self) -> bool:
        """The pool asked to connect anew: machines go as soon as they have another connection."""

    def ask(self, channel: UpstreamChannel, identity: str, wish: Wish, min_extranonce_size: int) -> Send:
        """Ask the pool for `channel`."""

    def send(self, message: Message) -> Send:
        """What puts `message` on the wire."""

    def retire(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The machine no longer mines on `channel`: it goes as soon as its last shares are answered or given up."""

    def fail(self, reason: str, now: Now, *, is_unfit: bool = False) -> list[Event]:
        """The pool does not do its part."""


class ChannelOwner(Protocol):
    """The machine of a channel, as the connection sees it: it hears what the pool says of the channel.

    What comes back are events for the worker, the lines for the machine among them.
    """

    def ready(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The connection is set up."""

    def granted(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The channel is open."""

    def refused(self, channel: UpstreamChannel, code: str, now: Now) -> list[Event]:
        """The pool does not open it."""

    def give(self, channel: UpstreamChannel, work: Work, now: Now, *, is_new_tip: bool) -> list[Event]:
        """New work."""

    def accepted(self, channel: UpstreamChannel, last_sequence: int, now: Now) -> list[Event]:
        """The pool took all shares up to this one that it did not refuse."""

    def rejected(self, channel: UpstreamChannel, sequence: int, code: str, now: Now) -> list[Event]:
        """The pool refused this share, whose verdict was awaited."""

    def expire(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """Answer what a channel that is retired has left for too long."""

    def lost(self, channel: UpstreamChannel, now: Now) -> list[Event]:
        """The channel is gone, with all that waits for it."""

    def move(self, channel: UpstreamChannel, reason: str, now: Now, *, may_close: bool = True) -> list[Event]:
        """The channel is to be left for another upstream, or for another connection to this one.

        Not `may_close`: by a machine that can take another extranonce; the others stay.
        """


class UpstreamChannel:
    """One extended channel of `owner` on `uplink`; `tip` counts the tips that it has mined on."""

    __slots__ = ("_tips", "_updates", "channel_id", "extranonce_prefix", "extranonce_size", "identity", "is_named",
                 "owner", "sent", "stage", "target", "tip", "tlvs", "uplink", "wish")

    def __init__(self, owner: ChannelOwner, uplink: ChannelUplink) -> None:
        self.owner = owner
        self.uplink = uplink
        self.stage = Stage.JOINED
        self.identity = ""                      # under which it is opened
        self.is_named = False                   # opened under the machine's own name
        self.wish = Wish(0, 0.0)                # the last that the upstream was told
        self.channel_id = 0
        self.extranonce_prefix = b""
        self.extranonce_size = 0
        self.target = 1
        self.tip = 0                            # 0: it has had no work
        self.sent = SentShares(uplink.upstream.config.profile.max_shares_per_tip)
        self.tlvs: dict[str, bytes] = {}        # by worker: what `tlvs_of` found
        self._tips = Pace(TIPS_AT_ONCE, TIP_EVERY_S)
        self._updates = Pace(UPDATES_AT_ONCE, UPDATE_EVERY_S)

    @property
    def is_over(self) -> bool:
        """Nothing comes of it any more."""
        return self.stage is Stage.OVER

    # -- moves ---------------------------------------------------------------------------------------------------

    def ask(self, identity: str, wish: Wish, *, is_named: bool) -> Send:
        """Ask the pool for the channel."""
        self._leave(Stage.JOINED, Stage.ASKED)
        self.identity = identity
        self.is_named = is_named
        self.wish = wish
        return self.uplink.ask(self, identity, wish, MIN_EXTRANONCE_SIZE)

    def await_name(self) -> None:
        """The pool refused the name: the channel may be asked for under another."""
        self._leave(Stage.ASKED, Stage.JOINED)

    def open(self, opened: ChannelOpened, work_by: float) -> None:
        """The pool has granted the channel, and has to give work by then (monotonic seconds)."""
        self._leave(Stage.ASKED, Stage.OPEN)
        self.channel_id = opened.channel_id
        self.extranonce_prefix, self.extranonce_size = opened.extranonce_prefix, opened.extranonce_size
        self.target = opened.target
        self.sent.fails_at = work_by

    def retire(self) -> None:
        """The machine has left, and verdicts are awaited."""
        self._leave(Stage.OPEN, Stage.RETIRED)

    def end(self) -> list[Sent]:
        """The channel is over, from any stage; the shares that no verdict can come for any more."""
        self.stage = Stage.OVER
        return self.sent.take_all()

    def _leave(self, expected: Stage, following: Stage) -> None:
        if self.stage is not expected:
            raise LocalProtocolError(f"a channel cannot become {following.name}: it is {self.stage.name}")
        self.stage = following

    # -- out -----------------------------------------------------------------------------------------------------

    def bound(self, wish: Wish, now: float) -> tuple[list[Event], float]:
        """Tell the upstream what the machine wishes, if that is news to it.

        And when to ask again, where the machine changes its mind too often (monotonic seconds); else `inf`.
        """
        if self.stage is not Stage.OPEN or wish == self.wish:
            return [], math.inf
        if not self._updates.take(now):
            return [], self._updates.next_at(now)
        self.wish = wish
        return [self.uplink.send(UpdateChannel(
            channel_id=self.channel_id, nominal_hash_rate=wish.hash_rate_hps,
            maximum_target=wish.max_target.to_bytes(32, "little")))], math.inf

    def tlvs_of(self, name: str, identity: str) -> bytes | None:
        """What names the worker `name` behind a share, b"" where the channel's own name does; None where it is no name.

        Of `identity`, which is what the upstream would be told of the worker in an open, the part behind the first dot
        goes into the TLV, or all of it where there is no dot: the user is the channel's.
        """
        if not self.uplink.names_workers:
            return b""
        tlvs = self._name(identity)
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

    # -- in ------------------------------------------------------------------------------------------------------

    def take_work(self, work: Work, now: float, channels: int, *, is_new_tip: bool) -> None:
        """The pool gave work, on a connection with so many channels; with a new tip, all that came before is stale.

        RemoteProtocolError for work that no machine could mine, `Unfit` for work that would drive machines away.
        """
        upstream, newest = self.uplink.upstream, self.uplink.upstream.newest
        try:
            newest.network_target = network_target_of(work.nbits)
        except ValueError as exc:
            raise RemoteProtocolError(f"a job with unreadable nbits: {exc}") from exc
        if work.target == 0:
            raise RemoteProtocolError("a job with a target of 0")
        if self.tip and self.extranonce_prefix != work.extranonce_prefix and not (
                upstream.changes_extranonce(now, channels)):
            raise Unfit("it changes extranonces all the time, for which machines must connect anew")
        self.extranonce_prefix = work.extranonce_prefix
        if not self.tip:
            self.sent.fails_at = math.inf
        if is_new_tip:
            self.tip += 1
            self.sent.begin_tip()
            if not self._tips.take(now):
                raise Unfit("its tips come faster than any chain makes them")
        newest.work, newest.at = work, now

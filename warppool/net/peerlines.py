"""What a worker's connections have to say for the journal: with the peer's address, clipped, and bounded."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final

from warppool.events import Close, Happened
from warppool.mining.identity import MAX_AGENT
from warppool.net.clients import Client
from warppool.net.loglimit import LogLimit
from warppool.say import MAX_TEXT, clip, say
from warppool.stats.items import (
    NOTIFY,
    BlockSent,
    HandshakeOver,
    MachineCame,
    MachineGone,
    MachineItem,
    PeerDropped,
    Took,
)
from warppool.stats.traffic import FAULT

log = logging.getLogger("warppool.net.worker")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR,
           "critical": logging.CRITICAL}
MAX_REASON = 256
"""Characters of a reason or a meaning, which is mostly ours but may quote a peer."""

_CLOSED: Final = "miner.closed"
_BLOCK: Final = "block.counted"
_REOPENED: Final = "miner.reopened"
_TOLD: Final = frozenset({"miner.opened", "miner.resumed", "miner.named", _REOPENED, _CLOSED, _BLOCK})
"""Lines about machines that begin or end to have work, or whose name is known now, and about blocks of a translator's.
"""

_LONG = frozenset(("reason", "meaning"))

_UNBOUNDED = ("block.", "verdict.")
"""Lines about blocks are said whatever comes: work went into each of them."""


class PeerLines:
    """Owned by one worker; `limit` is shared by all of them. `tell` takes what thread `stats` hears of."""

    def __init__(self, limit: LogLimit, tell: Callable[[MachineItem | Took], None] | None = None) -> None:
        self.limit = limit
        self._tell = tell
        self._bits: dict[str, int] = {}         # of each kind of line, in `Client.said`

    def notified(self, seconds: float) -> None:
        """All here have the job of a new tip, so many seconds after it was handed out."""
        if self._tell is not None:
            self._tell(Took(NOTIFY, (seconds,)))

    def happened(self, event: Happened, client: Client | None, now: float) -> None:
        """What a session says; `now` is monotonic."""
        if client is not None and event.name in _TOLD:
            self._tell_of(event, client, now)
        level = _LEVELS[event.level]
        if not log.isEnabledFor(level):
            return
        fields: dict[str, object] = {"conn": event.conn_id}
        if client is not None and level > logging.DEBUG:
            if not client.is_upstream and level < logging.ERROR and not event.name.startswith(_UNBOUNDED) and (
                    not self._allows(event.name, client, now)):
                return
            fields["peer"] = client.peer
        for name, value in event.fields:
            most = MAX_REASON if name in _LONG else MAX_TEXT
            fields[name] = clip(value, most) if isinstance(value, str) else value
        say(log, level, event.name, **fields)

    def _tell_of(self, event: Happened, client: Client, now: float) -> None:
        """A machine has work, or has it no more, or has found a block for an upstream."""
        fields: dict[str, Any] = dict(event.fields)
        if event.name == _BLOCK:
            self._say(BlockSent(fields["hash"], fields["height"], fields["user"], time.time(), fields["difficulty"]))
            return
        channel, name = fields.get("channel"), fields.get("user")
        if not isinstance(channel, int):
            return
        if event.name == _CLOSED:
            for number in event.channels or (channel,):
                self._say(MachineGone(event.conn_id, number, time.time()))
            return
        agent = str(fields.get("agent", ""))[:MAX_AGENT]        # kept for a week, and in every list of machines
        if not name:
            return                              # it gets no work before it has said one
        if client.came_at == math.inf:
            client.came_at, client.name, client.agent = now, str(name), agent
        if event.name == _REOPENED:
            self._say(MachineGone(event.conn_id, None, time.time()))        # its channel before this one is lost
        self._say(MachineCame(event.conn_id, channel, str(name), agent, client.kind, time.time(),
                              str(fields.get("kind", ""))))

    def look_at_handshake(self, client: Client, *, is_over: bool = False) -> None:
        """Its transport has news, or `is_over`: count its handshake once."""
        is_done = bool(getattr(client.transport, "is_established", False))
        if client.is_shaking and (is_done or is_over):
            client.is_shaking = False
            if not client.is_upstream:
                self._say(HandshakeOver(client.kind, is_done))

    def _say(self, item: MachineItem) -> None:
        if self._tell is not None:
            self._tell(item)

    def parted(self, client: Client) -> None:
        """A connection is closed: its machines have work no more."""
        self.look_at_handshake(client, is_over=True)
        if client.came_at < math.inf:
            self._say(MachineGone(client.connection.conn_id, None, time.time()))

    def gone(self, client: Client, accepted: int, refused: int, now: float) -> None:
        """Nothing of a connection with machines is in flight any more; the line says what they did since they came."""
        if self.limit.allows("miner.gone", client.peer, True, now):
            say(log, logging.INFO, "miner.gone", conn=client.connection.conn_id, peer=client.peer,
                user=clip(client.name), agent=clip(client.agent), seconds=round(now - client.came_at),
                accepted=accepted, refused=refused, reason=clip(client.end, MAX_REASON))

    def closed(self, close: Close, client: Client, now: float) -> None:
        """We close a connection. Where machines had work on it, `miner.gone` will say why."""
        if close.is_peers_fault and not client.is_upstream:
            self._say(PeerDropped(FAULT))
        if not close.is_peers_fault or client.came_at < math.inf:
            say(log, logging.DEBUG, "conn.closed", conn=close.conn_id, peer=client.peer, reason=close.reason)
        elif client.is_upstream or self._allows("conn.closed", client, now):
            say(log, logging.INFO, "conn.closed", conn=close.conn_id, peer=client.peer, reason=close.reason)

    def may_say_failure(self, peer: str, now: float) -> bool:
        """Whether the traceback of a bug that was met on behalf of a connection may be said; else it is counted."""
        return self.limit.allows("conn.failed", peer, True, now)

    def _allows(self, kind: str, client: Client, now: float) -> bool:
        bit = self._bits.get(kind)
        if bit is None:
            bit = self._bits[kind] = 1 << len(self._bits)
        is_first = not client.said & bit
        client.said |= bit
        return self.limit.allows(kind, client.peer, is_first, now)

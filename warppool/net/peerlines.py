"""What a worker's connections have to say for the journal: with the peer's address, clipped, and bounded."""

from __future__ import annotations

import logging

from warppool.events import Close, Happened
from warppool.net.clients import Client
from warppool.net.loglimit import LogLimit
from warppool.say import MAX_TEXT, clip, say

log = logging.getLogger("warppool.net.worker")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR,
           "critical": logging.CRITICAL}
MAX_REASON = 256
"""Characters of a reason or a meaning, which is mostly ours but may quote a peer."""

_LONG = frozenset(("reason", "meaning"))

_UNBOUNDED = ("block.", "verdict.")
"""Lines about blocks are said whatever comes: work went into each of them."""


class PeerLines:
    """Owned by one worker; `limit` is shared by all of them."""

    def __init__(self, limit: LogLimit) -> None:
        self.limit = limit
        self._bits: dict[str, int] = {}         # of each kind of line, in `Client.said`

    def happened(self, event: Happened, client: Client | None, now: float) -> None:
        """What a session says; `now` is monotonic."""
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

    def closed(self, close: Close, client: Client, now: float) -> None:
        """We close a connection."""
        if not close.is_peers_fault:
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

"""The steps of a worker's connections, and what follows from them: this is gathered until the wake-up ends.

What a connection has to say is kept as plaintext until then, whoever's step said it, and sealed at one stroke.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from warppool.events import (
    BlockFound,
    Close,
    Dial,
    Event,
    HandOver,
    Happened,
    Held,
    Holds,
    Now,
    Nudge,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.net.clients import Client
from warppool.net.counts import Counts
from warppool.net.deadlines import Deadlines
from warppool.net.dials import Dials
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import Output, ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.turns import Turns
from warppool.say import clip, say
from warppool.transport import SHUT, Sealed

# An enum's member is a function call away on Python 3.11, and every share asks.
_TURN = Held.TURN

log = logging.getLogger("warppool.net.worker")

MUTE_S = 60.0
"""The longest that a closed connection waits for its shares in flight: the ledger's patience ends after 10 s."""

MIN_TICK_S = 0.01
"""The least time between two ticks of one connection, so that one that wants a past time cannot spin the thread."""


class ClientSteps:
    """What a worker holds of its connections; used by that worker's thread alone.

    `found` takes a block at once; all else waits until the worker's wake-up ends.
    """

    def __init__(self, mailbox: Mailbox[ReactorItem], found: Callable[[BlockFound], None], dials: Dials,
                 lines: PeerLines) -> None:
        self._mailbox = mailbox
        self._found = found
        self._dials = dials
        self._lines = lines
        self._now = Now(time.monotonic(), time.time())             # of this wake-up
        self._clients: dict[int, Client] = {}
        self._deadlines = Deadlines()
        self._turns = Turns()
        self._counts = Counts()
        self._is_draining = False
        # gathered, until the wake-up ends:
        self._submitted: list[ShareSubmitted] = []          # ... or until the batch that is out comes back
        self._accepted: list[ShareAccepted] = []
        self._speaking: list[Client] = []                   # those that have something to be sealed
        self._sends: list[tuple[int, Sealed]] = []
        self._closes: list[int] = []
        self._consumed: list[tuple[int, int]] = []          # (conn_id, bytes from the wire)
        self._rooms: dict[int, int] = {}                    # by conn_id: how many bytes may wait for its peer
        self._announced: list[tuple[int, str]] = []         # (conn_id, address in its PROXY header)
        self._nudged: dict[int, None] = {}                  # a set that keeps its order

    def _guard_client(self, act: Callable[..., None], client: Client, *args: Any) -> None:
        """The place for the unforeseen of one connection: that one is closed, the others do not notice."""
        try:
            act(client, *args)
        except Exception:
            self._blame(client)

    def _blame(self, client: Client) -> None:
        """Close a connection whose step met the unforeseen; called where the exception is caught."""
        if self._lines.may_say_failure(client.peer, self._now.monotonic):
            log.exception("event=conn.failed conn=%d peer=%s", client.connection.conn_id, client.peer)
        if not client.is_mute:
            client.end = "a fault of ours"
            self._close(client)
            self._mute(client)

    def _step(self, client: Client, step: Callable[..., list[Event]], *args: Any) -> None:
        """Take one step of a connection and gather what follows from it; its Close, as all that is rare, comes last."""
        connection = client.connection
        rare: list[Event] = []
        for event in step(*args, self._now):
            if isinstance(event, ShareSubmitted):       # these three come with every share, and need no call
                self._submitted.append(event)
            elif isinstance(event, ShareAccepted):
                self._accepted.append(event)
            elif isinstance(event, Send) and event.conn_id == connection.conn_id:
                if client.unsealed is None:
                    client.unsealed = [event.data]
                    self._speaking.append(client)
                else:
                    client.unsealed.append(event.data)
            else:
                rare.append(event)
        if rare:
            self._gather(rare)
        if connection.wakes_at < client.due and not client.is_mute:
            self._schedule(client, connection.wakes_at)
        if connection.held is _TURN:
            self._turns.queue(client)

    def _schedule(self, client: Client, due: float) -> None:
        client.due = due
        self._deadlines.enter(due, client.connection.conn_id)

    def _come_due(self, client: Client) -> None:
        """The entry of this connection has come, though its deadline may have moved on."""
        connection, now = client.connection, self._now.monotonic
        if client.is_mute:
            say(log, logging.WARNING, "conn.abandoned", conn=connection.conn_id, in_flight=connection.in_flight)
            self._forget(client)
            return
        client.due = -math.inf                  # so that the step enters nothing
        if client.transport.wakes_at <= now:
            client.transport.tick(now)
            self._attend(client)
            connection = client.connection      # a transport that decides may have brought another
        if connection.wakes_at <= now and not client.is_mute:
            self._step(client, connection.tick)
        if not client.is_mute:
            client.due = math.inf
            wakes_at = min(connection.wakes_at, client.transport.wakes_at)
            if wakes_at < math.inf:
                self._schedule(client, max(wakes_at, now + MIN_TICK_S))

    def _gather(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, ShareSubmitted):
                self._submitted.append(event)
            elif isinstance(event, Send):
                self._say(event)
            elif isinstance(event, ShareAccepted):
                self._accepted.append(event)
            elif isinstance(event, BlockFound):
                self._find_block(event)
            elif isinstance(event, ShareRefused):
                self._counts.refuse(event, self._now)
                say(log, logging.DEBUG, "share.refused", conn=event.conn_id, user=clip(event.user), reason=event.reason)
            elif isinstance(event, Happened):
                self._lines.happened(event, self._clients.get(event.conn_id), self._now.monotonic)
            elif isinstance(event, Nudge):
                self._nudged[event.conn_id] = None
            elif isinstance(event, Holds):
                self._note_holders(event)
            elif isinstance(event, HandOver):
                self._hand_over(event)
            elif isinstance(event, Dial):
                if not self._is_draining:
                    self._dials.ask(event, self._now.monotonic)
            else:
                self._hang_up(event)

    def _note_holders(self, holds: Holds) -> None:
        """More channels, more bytes that may wait for the peer."""
        client = self._clients.get(holds.conn_id)
        if client is not None and not client.is_mute:
            client.holders = holds.holders
            limits = client.connection.limits
            self._rooms[holds.conn_id] = limits.unsent + limits.unsent_each * holds.holders + holds.extra

    def _find_block(self, block: BlockFound) -> None:
        self._found(block)                      # before anything that waits for the end of the wake-up
        self._counts.find_block()
        if block.share is not None:
            self._counts.news.append(block.share)

    def _hang_up(self, close: Close) -> None:
        client = self._clients.get(close.conn_id)
        if client is None or client.is_mute:
            return
        self._lines.closed(close, client, self._now.monotonic)
        client.end = close.reason
        self._close(client)
        self._mute(client)

    def _close(self, client: Client) -> None:
        """Close the socket of a connection behind all that it has said."""
        if not client.is_closing:
            client.is_closing = True
            self._speak(client)
            self._closes.append(client.connection.conn_id)

    def _mute(self, client: Client) -> None:
        """The connection is closed; shares in flight, of which one may be a block, are still judged and recorded."""
        client.is_mute = True
        client.waiting = None
        self._lines.parted(client)
        if not client.is_closing:
            client.transport = SHUT             # shares in flight may keep the client for a while: give memory back
        self._schedule(client, self._now.monotonic + MUTE_S)
        self._guard_client(self._end, client)

    def _end(self, client: Client) -> None:
        self._step(client, client.connection.closed)
        self._forget_if_done(client)

    def _forget_if_done(self, client: Client) -> None:
        if client.connection.in_flight == 0:
            self._forget(client)
            if self._deadlines.has_waste(len(self._clients)):
                self._deadlines.renew((client.due, conn_id) for conn_id, client in self._clients.items()
                                      if client.due < math.inf)

    def _forget(self, client: Client) -> None:
        """Nothing of it is in flight any more: now it is known what its machines have done."""
        conn_id, counts = client.connection.conn_id, self._counts
        if self._clients.pop(conn_id, None) is not None and client.came_at < math.inf:
            counts.add_up()
            self._lines.gone(client, counts.accepted_of[conn_id], counts.refused_of[conn_id], self._now.monotonic)
        counts.accepted_of.pop(conn_id, None)
        counts.refused_of.pop(conn_id, None)

    # --- out ----------------------------------------------------------------------------------------------------------

    def _say(self, send: Send) -> None:
        """Keep what is said to a peer, by whatever step, until it is sealed."""
        client = self._clients.get(send.conn_id)
        if client is None:
            return
        if client.unsealed is None:
            client.unsealed = [send.data]
            self._speaking.append(client)
        else:
            client.unsealed.append(send.data)

    def _speak(self, client: Client) -> None:
        """Have a transport asked for what it has to say itself."""
        if client.unsealed is None:
            client.unsealed = []
            self._speaking.append(client)

    def _emit(self) -> None:
        """Seal what each connection has to say, and tell the reactor everything of this wake-up."""
        while self._speaking:                   # more than once where a transport fails at this
            speaking, self._speaking = self._speaking, []
            for client in speaking:
                try:
                    self._seal(client)
                except Exception:
                    self._blame(client)
        if self._sends or self._closes or self._consumed or self._rooms or self._announced:
            output = Output(tuple(self._sends), tuple(self._closes), tuple(self._consumed), tuple(self._rooms.items()),
                            tuple(self._announced))
            self._sends, self._closes, self._consumed, self._rooms, self._announced = [], [], [], {}, []
            self._mailbox.post(output)

    def _seal(self, client: Client) -> None:
        parts, client.unsealed, transport = client.unsealed or (), None, client.transport
        try:
            data = transport.seal(parts[0] if len(parts) == 1 else b"".join(parts))
            if client.is_closing:
                data = Sealed(data + transport.shut())
                client.transport = SHUT
        except Exception:
            client.transport = SHUT             # it is not to be asked again
            raise
        if data:
            self._sends.append((client.connection.conn_id, data))
        if transport.end is not None and not (client.is_mute or client.is_parting or client.is_leaving):
            self._attend(client)

    def _attend(self, client: Client) -> None:
        """Do what a transport wants beside passing plaintext on."""
        raise NotImplementedError

    def _hand_over(self, hand_over: HandOver) -> None:
        """Another connection serves the peer from now on."""
        raise NotImplementedError

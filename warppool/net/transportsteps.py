"""How connections begin, and what stands between their sockets and their sessions (`warppool.transport`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

from warppool.events import BlockFound, Close, HandOver, Held, Now, OutgoingConnection
from warppool.net.clients import Client, Stack, UpstreamClient
from warppool.net.dials import Dials
from warppool.net.inbox import Connected, ConnectFailed, Opened
from warppool.net.joboffers import OUT_OF_WORK, JobOffers
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.say import say
from warppool.transport import SHUT, Recognised, TransportEnd

# An enum's member is a function call away on Python 3.11.
_TURN = Held.TURN

log = logging.getLogger("warppool.net.worker")

Connect: TypeAlias = Callable[[Opened, Now], Stack]
"""Makes what serves a socket that was accepted."""


class TransportSteps(JobOffers):
    """`connect` makes transport and connection of a socket that was accepted, by the listener's kind."""

    let_past: frozenset[str] = frozenset()
    """Kinds of listeners whose connections are taken though there is no work: `connect` is told of that."""

    def __init__(self, mailbox: Mailbox[ReactorItem], found: Callable[[BlockFound], None], dials: Dials,
                 lines: PeerLines, connect: Connect) -> None:
        super().__init__(mailbox, found, dials, lines)
        self._connect = connect

    # --- connections come ---------------------------------------------------------------------------------------------

    def _open(self, opened: Opened) -> None:
        if self._is_draining:
            return
        if self._is_out_of_work:
            if opened.listener not in self.let_past:        # let in just before the reactor heard of it
                self._closes.append(opened.conn_id)
                return
            opened = opened._replace(is_out_of_work=True)
        say(log, logging.DEBUG, "conn.opened", conn=opened.conn_id, listener=opened.listener, peer=opened.peer)
        try:
            stack = self._connect(opened, self._now)
        except Exception:
            if self._lines.may_say_failure(opened.peer, self._now.monotonic):
                log.exception("event=conn.failed conn=%d peer=%s", opened.conn_id, opened.peer)
            self._closes.append(opened.conn_id)
            return
        client = self._clients[opened.conn_id] = Client(stack, opened.peer, opened.listener)
        self._begin(client)

    def _begin(self, client: Client) -> None:
        """A connection is there: it has deadlines, and is offered the latest job."""
        wakes_at = min(client.connection.wakes_at, client.transport.wakes_at)
        if wakes_at < client.due:
            self._schedule(client, wakes_at)
        if self._latest is not None:
            self._guard_client(self._step, client, client.connection.offer, self._latest)

    def _open_upstream(self, connected: Connected) -> None:
        upstream = self._dials.take(connected.dial_id)
        if upstream is None:                                # a drain has given it up
            self._closes.append(connected.conn_id)
            return
        say(log, logging.DEBUG, "conn.dialled", conn=connected.conn_id, peer=connected.peer)
        upstream.conn_id = connected.conn_id
        client = self._clients[connected.conn_id] = UpstreamClient(SHUT, upstream, connected.peer)
        self._guard_client(self._begin_upstream, client, upstream)

    def _begin_upstream(self, client: Client, upstream: OutgoingConnection) -> None:
        client.transport = upstream.transport(self._now)
        self._step(client, upstream.opened, upstream.conn_id, client.peer)
        self._attend(client)                                # act one of the handshake is to go out

    def _fail_dial(self, failed: ConnectFailed) -> None:
        upstream = self._dials.take(failed.dial_id)
        if upstream is None:                                # a drain has given it up
            return
        say(log, logging.DEBUG, "dial.failed", worker=self._dials.worker, dial=failed.dial_id, reason=failed.reason)
        try:
            self._gather(upstream.failed(failed.reason, self._now))
        except Exception:
            log.exception("event=dial.broken worker=%d dial=%d", self._dials.worker, failed.dial_id)

    # --- transports ---------------------------------------------------------------------------------------------------

    def _take_in(self, client: Client, data: bytes) -> None:
        """Bytes from the wire: what they mean goes to the connection, and what else comes of them is done."""
        transport, connection = client.transport, client.connection
        plaintext = transport.open(data, self._now.monotonic)
        if plaintext or connection.held:
            self._step(client, connection.receive, plaintext)
        if transport.has_news:
            self._attend(client)

    def _attend(self, client: Client) -> None:
        """Do what a transport wants beside passing plaintext on."""
        transport = client.transport
        if client.is_mute:
            return
        self._speak(client)
        if client.is_shaking:
            self._lines.look_at_handshake(client)
        if transport.wakes_at < client.due:
            self._schedule(client, transport.wakes_at)
        if transport.recognised is not None:
            self._connect_anew(client, transport.recognised)
        elif transport.end is not None:
            self._end_by_transport(client, transport.end)

    def _connect_anew(self, client: Client, found: Recognised) -> None:
        """It is known by now how a socket is to be served that was accepted some time ago."""
        conn_id = client.connection.conn_id
        client.peer = found.peer or client.peer
        if found.announced is not None:
            self._announced.append((conn_id, found.announced))
        if self._is_out_of_work and found.kind not in self.let_past:
            self._hang_up(Close(conn_id, OUT_OF_WORK))
            return
        begin = self._now if found.since is None else self._now._replace(monotonic=found.since)
        client.kind = found.kind
        client.transport, client.connection = self._connect(
            Opened(conn_id, found.kind, client.peer, is_out_of_work=self._is_out_of_work), begin)
        client.is_shaking = hasattr(client.transport, "is_established")
        client.owes_job = False                             # `_begin` offers it
        self._begin(client)
        if found.received and not client.is_mute:
            self._take_in(client, found.received)

    def _hand_over(self, hand_over: HandOver) -> None:
        """The transport stays, and so does all that was received."""
        client = self._clients.get(hand_over.conn_id)
        if client is None or client.is_mute:
            return
        client.connection = hand_over.connection
        client.owes_job = False                             # `_begin` offers it
        self._begin(client)
        self._guard_client(self._step, client, client.connection.receive, b"")

    def _end_by_transport(self, client: Client, end: TransportEnd) -> None:
        """A transport takes in nothing more. What came before, and is held, is gone through for shares."""
        conn_id, connection = client.connection.conn_id, client.connection
        client.waiting = None
        if isinstance(client, UpstreamClient):
            self._gather(client.upstream.broken(end, self._now))
            self._hang_up(Close(conn_id, end.reason))       # if that has not
        elif not end.is_peers_fault:
            client.is_parting = True
            self._part(client)
        elif connection.held and not client.is_leaving:
            self._lines.closed(Close(conn_id, end.reason, True), client, self._now.monotonic)
            client.end = end.reason
            self._close(client)
            self._leave(client)
        elif not client.is_leaving:
            self._hang_up(Close(conn_id, end.reason, True))

    # --- connections go -----------------------------------------------------------------------------------------------

    def _leave(self, client: Client) -> None:
        """Nothing can be sent any more, and the connection still holds messages: shares among them are taken."""
        client.is_leaving = True
        client.is_full = False
        client.connection.abandon()
        if client.connection.held <= _TURN:
            self._turns.leave(client)

    def _part(self, client: Client) -> None:
        """Close a connection whose peer sends no more, once all that it asked is answered."""
        connection = client.connection
        if connection.in_flight == 0 and not connection.held and client.waiting is None:
            # then bytes that it holds are the front of what never came whole
            self._close(client)
            client.end = "closed by the peer"
            say(log, logging.DEBUG, "conn.gone", conn=connection.conn_id, peer=client.peer, reason=client.end)
            self._mute(client)

    def _end_if_done(self, client: Client) -> None:
        """A connection whose peer is gone, or sends no more, ends once all that it sent is through."""
        if not client.is_mute and not client.connection.held and client.waiting is None:
            if client.is_leaving:
                self._mute(client)
            elif client.is_parting:
                self._part(client)


"""How a worker serves its connections in turns, and the way of a share: weighed, judged, booked, and answered.

What a connection is given, what waits, and when a connection ends stands here too.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from warppool.events import BlockFound, Event, Held, ShareAccepted, ShareSubmitted
from warppool.mining.share import Weight
from warppool.mining.validator import weigh_all
from warppool.net.clients import Client
from warppool.net.counts import ADD_UP_AT
from warppool.net.dials import Dials
from warppool.net.hasher import EXECUTOR_MIN_BATCH, Hasher
from warppool.net.inbox import GivenUp, NotRecorded, Recorded
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.transportsteps import Connect, TransportSteps
from warppool.net.turns import LITTLE
from warppool.say import clip, say

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_TURN = Held.TURN

log = logging.getLogger("warppool.net.worker")

REPORT_AT = 16 * 1024
"""Consumed bytes of a connection that the reactor is told of together. Well under its UNREAD_LIMIT, so that a
connection at that limit always has a report to come; a share has 50 bytes, so hardly any wake-up has one."""

MAX_UNDER_WAY = 256
"""Shares that one worker may have under way, from their weighing to their record, before the ring's connections wait:
what the ledger thinks enough for a commit. All of it takes some 15 ms, which is what a neighbour's share waits for."""

LEFT_BEHIND = 1 << 20
"""Bytes of a connection whose peer is gone that are looked through in one turn: all of them."""

MAX_GIVEN_UP = 50_000
"""Shares given up whose second answer is remembered as such. Beyond, it would be counted twice, which only lets the
worker take shares a little earlier than it should."""


class Serving(TransportSteps):
    """`turns.Turns` says whose turn it is; this gives it to them.

    `hasher` weighs larger batches and answers to `inbox`; `record` takes the accepted shares of one wake-up.
    """

    def __init__(self, mailbox: Mailbox[ReactorItem], found: Callable[[BlockFound], None], dials: Dials,
                 lines: PeerLines, connect: Connect, hasher: Hasher, inbox: queue.Queue[Any],
                 record: Callable[[tuple[ShareAccepted, ...]], None], *, awaits_records: bool) -> None:
        super().__init__(mailbox, found, dials, lines, connect)
        self._hasher = hasher
        self._inbox = inbox
        self._record = record
        self._awaits_records = awaits_records               # a translator's books answer nobody
        self._given_up: set[tuple[int, int]] = set()        # (conn_id, share_id), and their record may come yet
        self._weighing: tuple[ShareSubmitted, ...] = ()     # the batch that the executor has
        self._unrecorded = 0                                # accepted shares whose record is awaited

    def _receive(self, client: Client, data: bytes) -> None:
        """Give a connection what came for it, or keep that for the connection's part of a later turn."""
        connection, turns = client.connection, self._turns
        if client.is_queued or client.is_full or client.turn == turns.number or connection.held or (
                len(data) > connection.limits.bytes_per_turn or time.monotonic() > turns.ends_at):
            is_little = len(data) <= LITTLE and client.waiting is None and not connection.held
            client.hold(data)
            if is_little:
                turns.line_up(client)
            elif connection.held <= _TURN:              # else it waits for more than its turn
                turns.queue(client)
        else:
            client.turn = turns.number
            if self._offers:
                self._offer_first(client)
            transport = client.transport
            plaintext = transport.open(data, self._now.monotonic)       # `_take_in`, for what comes with every share
            if plaintext:
                self._step(client, connection.receive, plaintext)
            if transport.has_news:
                self._attend(client)
            if client.unreported >= REPORT_AT:
                self._report(client)

    def _report(self, client: Client) -> None:
        """Tell the reactor how much no longer waits here."""
        consumed = client.unreported - client.unread
        if consumed >= REPORT_AT:
            client.unreported -= consumed
            self._consumed.append((client.connection.conn_id, consumed))

    def _go_round(self) -> None:
        """Serve those who came too late in the last turn, and then those who have more to do than a turn allows, unless
        too many shares are under way.

        A drain takes nothing more from machines. Upstreams still have their turns, since shares wait for their word.
        """
        for client in self._turns.line():
            self._guard_client(self._serve, client, LITTLE)
        if self._is_jammed:
            return
        for client in self._turns.left():
            self._guard_client(self._serve, client, LEFT_BEHIND)
        if self._is_jammed:
            return
        for client in self._turns.round():
            # What is left of one whose peer is gone are shares.
            self._guard_client(self._serve, client,
                               LEFT_BEHIND if client.is_leaving else client.connection.limits.bytes_per_turn)
            if self._is_jammed:
                return

    def _serve(self, client: Client, most: int) -> None:
        """Its part of this turn, at most so many bytes, for one that stood in the line or in the ring."""
        connection = client.connection
        if self._is_draining and not client.is_upstream:
            client.waiting = None
            return
        if self._offers:
            self._offer_first(client)
        data = client.take(most)
        if data:
            self._take_in(client, data)
        else:
            self._step(client, connection.receive, b"")         # it goes on with what it held back
        if client.unreported >= REPORT_AT:
            self._report(client)
        if client.waiting is not None and client.connection.held == _NOTHING and not client.is_mute:
            self._turns.queue(client)
        self._end_if_done(client)

    @property
    def _is_jammed(self) -> bool:
        """So many shares are under way that one more would wait long for its record: the ring stands still.

        Shares of those who have nothing waiting are taken all the same, so a neighbour's is among the next.
        """
        return len(self._submitted) + len(self._weighing) + self._unrecorded > MAX_UNDER_WAY

    def _set_full(self, conn_id: int, *, is_full: bool) -> None:
        """The peer does not read what we send; or has read it by now, and gets the job that it has missed."""
        client = self._clients.get(conn_id)
        if client is None or client.is_mute:
            return
        client.is_full = is_full
        if is_full:
            return
        self._offer_first(client, is_late=True)
        if client.waiting is not None or client.connection.held == _TURN:
            self._turns.queue(client)

    def _answer(self, client: Client, step: Callable[..., list[Event]], answers: Sequence[Any]) -> None:
        """Weights or records have come, which makes room for more shares of this connection."""
        self._step(client, step, answers)
        self._go_on(client)

    def _go_on(self, client: Client) -> None:
        """What it waited for may have come: forget it, or let it go on with what it held back."""
        if client.is_mute:
            self._forget_if_done(client)
            return
        if client.unreported >= REPORT_AT:
            self._report(client)
        if client.waiting is not None and client.connection.held <= _TURN:
            self._turns.queue(client)
        if client.is_parting or client.is_leaving:
            self._end_if_done(client)

    def _gone(self, client: Client, reason: str) -> None:
        """Nothing can be sent any more. Whole messages that wait are gone through for shares first, in their turn."""
        connection, client.end = client.connection, reason
        say(log, logging.DEBUG, "conn.gone", conn=connection.conn_id, peer=client.peer, reason=reason)
        if (client.waiting is None and not connection.held) or self._is_draining:
            self._mute(client)
            return
        self._leave(client)

    def _heed_nudges(self) -> None:
        """Turn to those whom the step of another one has left something; what that leaves for others waits a turn."""
        nudged, self._nudged = self._nudged, {}
        for conn_id in nudged:
            client = self._clients.get(conn_id)
            if client is not None:
                self._guard_client(self._heed, client)

    def _heed(self, client: Client) -> None:
        if not client.is_mute:
            self._step(client, client.connection.tick)
        self._go_on(client)

    # --- the way of a share -------------------------------------------------------------------------------------------

    def _tell_neighbours(self) -> None:
        """Weigh and judge what was submitted, then tell the neighbours."""
        if self._nudged:
            self._heed_nudges()
        while self._submitted and not self._weighing:
            batch, self._submitted = self._submitted, []
            if len(batch) >= EXECUTOR_MIN_BATCH:
                self._weighing = tuple(batch)
                self._hasher.submit(self._weighing, self._inbox)
            else:
                self._judge(batch, weigh_all(batch))
        if self._accepted:
            self._book()
        self._emit()

    def _take_weights(self, weights: Sequence[Weight]) -> None:
        """The batch that was out is weighed; if the executor has failed, it is weighed here."""
        batch, self._weighing = self._weighing, ()
        self._judge(batch, weights if len(weights) == len(batch) else weigh_all(batch))

    def _judge(self, batch: Sequence[ShareSubmitted], weights: Sequence[Weight]) -> None:
        """Hand every connection its weights, those with a block first."""
        by_connection: dict[int, list[Weight]] = {}
        with_block: dict[int, list[Weight]] = {}
        for share, weight in zip(batch, weights, strict=True):
            own = by_connection.get(share.conn_id)
            if own is None:
                own = by_connection[share.conn_id] = []
            own.append(weight)
            if weight.is_block:
                with_block[share.conn_id] = own
        for conn_id, own in (with_block | by_connection).items():       # in the order of the left one, then the rest
            client = self._clients.get(conn_id)
            if client is not None:
                try:
                    self._answer(client, client.connection.judged, own)
                except Exception:
                    self._blame(client)

    def _book(self) -> None:
        shares, self._accepted = tuple(self._accepted), []
        counts = self._counts
        counts.news += shares
        if len(counts.news) >= ADD_UP_AT:
            counts.add_up()
        if log.isEnabledFor(logging.DEBUG):
            for share in shares:
                say(log, logging.DEBUG, "share.accepted", conn=share.conn_id, channel=share.channel_id,
                    user=clip(share.user), difficulty=share.difficulty)
        if self._awaits_records:
            self._unrecorded += len(shares)
        self._record(shares)

    def _first_answers(self, ids: Sequence[tuple[int, int]], kind: type[Recorded | NotRecorded | GivenUp]) -> int:
        """How many of `ids` had no answer before: one that is given up may get a second, or never."""
        if kind is not GivenUp:
            again = self._given_up.intersection(ids)
            self._given_up -= again
            return len(ids) - len(again)
        if len(self._given_up) > MAX_GIVEN_UP:
            self._given_up.clear()
        self._given_up.update(ids)
        return len(ids)

    def _answer_records(self, ids: Sequence[tuple[int, int]], kind: type[Recorded | NotRecorded | GivenUp]) -> None:
        by_connection: dict[int, list[int]] = {}
        for conn_id, share_id in ids:
            by_connection.setdefault(conn_id, []).append(share_id)
        answered = len(ids)
        if kind is GivenUp or self._given_up:
            answered = self._first_answers(ids, kind)
        self._unrecorded = max(0, self._unrecorded - answered)          # shares of blocks were not counted
        for conn_id, share_ids in by_connection.items():
            client = self._clients.get(conn_id)
            if client is not None:
                connection = client.connection
                step = (connection.recorded if kind is Recorded else connection.not_recorded if kind is NotRecorded
                        else connection.given_up)
                try:
                    self._answer(client, step, share_ids)
                except Exception:
                    self._blame(client)

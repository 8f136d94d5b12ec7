"""A worker: one thread that owns its connections' sessions for their whole life (style.md §6).

Whatever comes in through the inbox is a step of some connection; what the steps return is gathered over one wake-up and
then told in one item to each neighbour: shares to be weighed, accepted ones to the books, bytes to the reactor.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from warppool.events import (
    BlockFound,
    Close,
    Connection,
    Dial,
    Event,
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
from warppool.mining.job import Job
from warppool.mining.share import Weight
from warppool.net.clients import Client, UpstreamClient
from warppool.net.counts import Counts
from warppool.net.deadlines import Deadlines
from warppool.net.dials import STOPPING, Dials
from warppool.net.hasher import EXECUTOR_MIN_BATCH, Hasher, weigh_all
from warppool.net.inbox import (
    Ask,
    Connected,
    ConnectFailed,
    Drain,
    Emptied,
    Ended,
    FromReactor,
    FromWorker,
    Full,
    GivenUp,
    Gone,
    JobReady,
    NotRecorded,
    NoWork,
    Opened,
    Part,
    Received,
    Recorded,
    Weighed,
    WorkerStats,
)
from warppool.net.loglimit import LogLimit
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import Outgoing, ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.resolver import Connect
from warppool.net.turns import LITTLE, Turns
from warppool.say import clip, say
from warppool.threads import STOP

# An enum's member is a function call away on Python 3.11, and every share asks.
_NOTHING = Held.NOTHING
_TURN = Held.TURN

log = logging.getLogger(__name__)

OUT_OF_WORK = "no node gives work"
"""Why mining connections are closed, in words for the log."""

OFFER_SLICE = 128
"""Connections whose new job goes out together: the first miner need not wait until the last one's job is sealed."""

REPORT_AT = 16 * 1024
"""Consumed bytes of a connection that the reactor is told of together. Well under its UNREAD_LIMIT, so that a
connection at that limit always has a report to come; a share has 50 bytes, so hardly any wake-up has one."""

MAX_UNDER_WAY = 256
"""Shares that one worker may have under way, from their weighing to their record, before the ring's connections wait:
what the ledger thinks enough for a commit. All of it takes some 15 ms, which is what a neighbour's share waits for."""

LEFT_BEHIND = 1 << 20
"""Bytes of a connection whose peer is gone that are looked through in one turn: all of them."""

MUTE_S = 60.0
"""The longest that a closed connection waits for its shares in flight: the ledger's patience ends after 10 s."""

MAX_WAIT_S = 5.0
"""The longest sleep, so that `beat` shows a living thread."""

MIN_TICK_S = 0.01
"""The least time between two ticks of one connection, so that one that wants a past time cannot spin the thread."""


class Worker:
    """Serves the connections that the reactor gives it; `run` is the body of its thread.

    `connect` makes the connection of one that was accepted. Of what leaves, `record` takes the accepted shares of one
    wake-up, to be answered with `Recorded` or `NotRecorded`; `refused` takes counts (user, reason, Unix time of the
    minute, count); `found` takes a block, whose share is answered in the same way; `dial` takes what is to be dialled,
    to be answered with `Connected` or `ConnectFailed` (None where no session dials). `hear` takes the
    messages of other workers' sessions (None where sessions send none). All of them are called on this thread and must
    not block. `beat` is the monotonic time of the last wake-up.
    """

    def __init__(self, index: int, inbox: queue.Queue[Any], mailbox: Mailbox[ReactorItem], hasher: Hasher,
                 connect: Callable[[Opened, Now], Connection], *,
                 record: Callable[[tuple[ShareAccepted, ...]], None],
                 refused: Callable[[tuple[tuple[str, str, int, int], ...]], None],
                 found: Callable[[BlockFound], None],
                 dial: Callable[[Connect], None] | None = None,
                 hear: Callable[[Any, Now], Sequence[Event]] | None = None,
                 log_limit: LogLimit | None = None, awaits_records: bool = True) -> None:
        self.index = index
        self.beat = time.monotonic()
        self._inbox = inbox
        self._mailbox = mailbox
        self._hasher = hasher
        self._connect = connect
        self._record = record
        self._refused = refused
        self._found = found
        self._hear = hear
        self._dials = Dials(index, dial)
        self._now = Now(self.beat, time.time())             # of this wake-up
        self._clients: dict[int, Client] = {}
        self._latest: Job | None = None                     # the job that a new connection starts with
        self._is_out_of_work = False                        # ... until the next job, there is nothing to start with
        self._deadlines = Deadlines()
        self._turns = Turns()
        self._lines = PeerLines(log_limit or LogLimit())
        self._offers: deque[Client] = deque()               # who is yet to be offered the latest job
        self._awaits_records = awaits_records               # a translator's books answer nobody
        self._unrecorded = 0                                # accepted shares whose record is awaited
        self._counts = Counts()
        self._weighing: tuple[ShareSubmitted, ...] = ()     # the batch that the executor has
        self._is_draining = False
        # gathered, until the wake-up ends:
        self._submitted: list[ShareSubmitted] = []          # ... or until the batch that is out comes back
        self._accepted: list[ShareAccepted] = []
        self._outgoing = Outgoing()
        self._nudged: dict[int, None] = {}                  # a set that keeps its order
        self._asks: list[queue.SimpleQueue[WorkerStats]] = []
        self._drains: list[queue.SimpleQueue[int]] = []     # ... or until nothing is in flight

    def run(self) -> None:
        """Turn until STOP."""
        while self._turn():
            pass

    # --- one wake-up --------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Handle what is there; False after STOP."""
        items = self._next_items()
        self._now = Now(time.monotonic(), time.time())
        self.beat = self._now.monotonic
        self._turns.begin(self.beat)
        is_stopped = False
        for item in items:
            if item is STOP:
                is_stopped = True
                break
            self._guard(self._handle, item)
        if self._offers:
            self._guard(self._go_on_offering)
        if self._turns.has_line or (self._turns.has_more and not self._is_jammed):
            self._guard(self._go_round)
        self._guard(self._tick)
        self._guard(self._settle)
        self._guard(self._reply, is_stopped)
        self._turns.rest(self._mailbox)
        return not is_stopped

    def _next_items(self) -> list[Any]:
        """All that waits in the inbox, in order; nothing if a deadline comes first."""
        first_due = min(self._deadlines.first, self._counts.refusals_due, self._lines.limit.due)
        if self._nudged or self._offers or self._turns.has_line or (self._turns.has_more and not self._is_jammed):
            first_due = -math.inf
        try:
            items = [self._inbox.get(timeout=min(MAX_WAIT_S, max(0.0, first_due - time.monotonic())))]
        except queue.Empty:
            return []
        for _ in range(self._inbox.qsize()):                # nobody else takes from it
            items.append(self._inbox.get_nowait())
        return items

    def _guard(self, step: Callable[..., None], *args: Any) -> None:
        """The place for the unforeseen that no connection is to blame for: the thread goes on."""
        try:
            step(*args)
        except Exception:
            log.exception("event=worker.failed worker=%d step=%s", self.index, step.__name__)

    def _handle(self, item: Any) -> None:
        match item:
            case FromReactor(parts):
                for part in parts:
                    self._handle_part(part)
            case Recorded(ids):
                self._answer_records(ids, Recorded)
            case Weighed(weights):
                batch, self._weighing = self._weighing, ()
                self._judge(batch, weights if len(weights) == len(batch) else weigh_all(batch))
            case JobReady(job):
                self._offer(job)
            case NoWork():
                self._send_away()
            case NotRecorded(ids) | GivenUp(ids):
                self._answer_records(ids, type(item))
            case Ask(reply):
                self._asks.append(reply)
            case ConnectFailed():
                self._fail_dial(item)
            case FromWorker(message):
                assert self._hear is not None, "a message from a worker, and nobody to hear it"
                self._gather(self._hear(message, self._now))
            case Dial():
                self._gather((item,))
            case Drain(reply):
                self._is_draining = True
                self._drains.append(reply)
                for dial_id in self._dials.pending:
                    self._fail_dial(ConnectFailed(dial_id, STOPPING))
            case _:
                raise TypeError(f"no item of a worker's inbox: {item!r}")

    def _handle_part(self, part: Part) -> None:
        if isinstance(part, Received):
            client = self._clients.get(part.conn_id)
            if client is not None and not client.is_mute and (not self._is_draining or client.is_upstream):
                client.unreported += len(part.data)
                self._guard_client(self._receive, client, part.data)
        elif isinstance(part, Opened):
            self._open(part)
        elif isinstance(part, Gone):
            client = self._clients.get(part.conn_id)
            if client is not None and not client.is_mute:
                self._guard_client(self._gone, client, part.reason)
        elif isinstance(part, Ended):
            client = self._clients.get(part.conn_id)
            if client is not None and not client.is_mute:
                client.is_parting = True
                self._guard_client(self._part, client)
        elif isinstance(part, Connected):
            self._open_upstream(part)
        elif isinstance(part, Full):
            self._set_full(part.conn_id, is_full=True)
        elif isinstance(part, Emptied):
            self._set_full(part.conn_id, is_full=False)
        else:
            self._fail_dial(part)

    # --- steps of connections -----------------------------------------------------------------------------------------

    def _guard_client(self, act: Callable[..., None], client: Client, *args: Any) -> None:
        """The place for the unforeseen of one connection: that one is closed, the others do not notice."""
        try:
            act(client, *args)
        except Exception:
            conn_id = client.connection.conn_id
            if self._lines.may_say_failure(client.peer, self._now.monotonic):
                log.exception("event=conn.failed conn=%d peer=%s", conn_id, client.peer)
            if not client.is_mute:
                self._outgoing.close(conn_id)
                self._mute(client)

    def _step(self, client: Client, step: Callable[..., list[Event]], *args: Any) -> None:
        """Take one step of a connection and gather what follows from it."""
        self._gather(step(*args, self._now))
        connection = client.connection
        if connection.wakes_at < client.due and not client.is_mute:
            self._schedule(client, connection.wakes_at)
        if connection.held is _TURN:
            self._turns.queue(client)

    def _open(self, opened: Opened) -> None:
        if self._is_draining:
            return
        if self._is_out_of_work:                            # let in just before the reactor heard of it
            self._outgoing.close(opened.conn_id)
            return
        say(log, logging.DEBUG, "conn.opened", conn=opened.conn_id, listener=opened.listener, peer=opened.peer)
        try:
            connection = self._connect(opened, self._now)
        except Exception:
            if self._lines.may_say_failure(opened.peer, self._now.monotonic):
                log.exception("event=conn.failed conn=%d peer=%s", opened.conn_id, opened.peer)
            self._outgoing.close(opened.conn_id)
            return
        client = self._clients[opened.conn_id] = Client(connection, opened.peer)
        if connection.wakes_at < math.inf:
            self._schedule(client, connection.wakes_at)
        if self._latest is not None:
            self._guard_client(self._step, client, connection.offer, self._latest)

    def _open_upstream(self, connected: Connected) -> None:
        upstream = self._dials.take(connected.dial_id)
        if upstream is None:                                # a drain has given it up
            self._outgoing.close(connected.conn_id)
            return
        say(log, logging.DEBUG, "conn.dialled", conn=connected.conn_id, peer=connected.peer)
        upstream.conn_id = connected.conn_id
        client = self._clients[connected.conn_id] = UpstreamClient(upstream, connected.peer)
        self._guard_client(self._step, client, upstream.opened, connected.conn_id, connected.peer)

    def _fail_dial(self, failed: ConnectFailed) -> None:
        upstream = self._dials.take(failed.dial_id)
        if upstream is None:                                # a drain has given it up
            return
        say(log, logging.DEBUG, "dial.failed", worker=self.index, dial=failed.dial_id, reason=failed.reason)
        try:
            self._gather(upstream.failed(failed.reason, self._now))
        except Exception:
            log.exception("event=dial.broken worker=%d dial=%d", self.index, failed.dial_id)

    def _receive(self, client: Client, data: bytes) -> None:
        """Give a connection what came for it, or keep that for the connection's part of a later turn."""
        connection, turns = client.connection, self._turns
        if client.is_queued or client.is_full or client.turn == turns.number or connection.held or (
                len(data) > connection.limits.bytes_per_turn or turns.is_late()):
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
            self._step(client, connection.receive, data)
            if client.unreported >= REPORT_AT:
                self._report(client)

    def _feed(self, client: Client, data: bytes) -> None:
        """Give a connection bytes, or with none let it go on with what it held back."""
        self._step(client, client.connection.receive, data)
        if client.unreported >= REPORT_AT:
            self._report(client)

    def _report(self, client: Client) -> None:
        """Tell the reactor how much no longer waits here."""
        consumed = client.unreported - client.unread
        if consumed >= REPORT_AT:
            client.unreported -= consumed
            self._outgoing.report(client.connection.conn_id, consumed)

    def _go_round(self) -> None:
        """Serve those who came too late in the last turn, and then those who have more to do than a turn allows, unless
        too many shares are under way.

        A drain takes nothing more from machines. Upstreams still have their turns, since shares wait for their word.
        """
        for client in self._turns.line():
            self._guard_client(self._serve, client, LITTLE)
        if self._is_jammed:
            return
        for client in self._turns.round():
            # Of what one left behind that is gone, most is passed over.
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
        self._feed(client, client.take(most))
        if client.waiting is not None and connection.held == _NOTHING and not client.is_mute:
            self._turns.queue(client)
        self._end_if_done(client)

    @property
    def _is_jammed(self) -> bool:
        """So many shares are under way that one more would wait long for its record: the ring stands still.

        Shares of those who have nothing waiting are taken all the same, so a neighbour's is among the next.
        """
        return len(self._submitted) + len(self._weighing) + self._unrecorded > MAX_UNDER_WAY

    def _end_if_done(self, client: Client) -> None:
        """A connection whose peer is gone, or sends no more, ends once all that it sent is through."""
        if not client.is_mute and not client.connection.held and client.waiting is None:
            if client.is_leaving:
                self._mute(client)
            elif client.is_parting:
                self._part(client)

    def _set_full(self, conn_id: int, *, is_full: bool) -> None:
        """The peer does not read what we send; or has read it by now, and gets the job that it has missed."""
        client = self._clients.get(conn_id)
        if client is None or client.is_mute:
            return
        client.is_full = is_full
        if is_full:
            return
        self._offer_first(client)
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

    def _part(self, client: Client) -> None:
        """Close a connection whose peer sends no more, once all that it asked is answered."""
        connection = client.connection
        if connection.in_flight == 0 and not connection.held and client.waiting is None:
            # then bytes that it holds are the front of what never came whole
            self._outgoing.close(connection.conn_id)
            say(log, logging.DEBUG, "conn.gone", conn=connection.conn_id, peer=client.peer,
                reason="closed by the peer")
            self._mute(client)

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

    def _answer_records(self, ids: Iterable[tuple[int, int]], kind: type[Recorded | NotRecorded | GivenUp]) -> None:
        by_connection: dict[int, list[int]] = {}
        for conn_id, share_id in ids:
            by_connection.setdefault(conn_id, []).append(share_id)
            self._unrecorded -= 1
        self._unrecorded = max(0, self._unrecorded)         # shares of blocks were not counted
        for conn_id, share_ids in by_connection.items():
            client = self._clients.get(conn_id)
            if client is not None:
                connection = client.connection
                step = (connection.recorded if kind is Recorded else connection.not_recorded if kind is NotRecorded
                        else connection.given_up)
                self._guard_client(self._answer, client, step, share_ids)

    def _send_away(self) -> None:
        """There is no work: close what was accepted. Shares in flight are still judged, since one may be a block."""
        self._is_out_of_work = True
        for client in list(self._clients.values()):
            if not client.is_upstream:
                self._guard_client(self._dismiss, client)

    def _dismiss(self, client: Client) -> None:
        self._hang_up(Close(client.connection.conn_id, OUT_OF_WORK))

    def _offer(self, job: Job) -> None:
        """A new job for all. Those who hold few channels first: one stranger may hold as many as a thousand others."""
        self._latest = job
        self._is_out_of_work = False
        if not self._is_draining:
            for client in self._clients.values():
                client.owes_job = True
            self._offers = deque(sorted(self._clients.values(), key=_holders))
            self._go_on_offering()

    def _go_on_offering(self) -> None:
        """Offer the latest job to those who have not had it yet, for as long as the turn lasts."""
        job, offers, count = self._latest, self._offers, 0
        if job is None or self._is_draining:
            offers.clear()
        while offers and not (count and self._turns.is_late()):
            if self._offer_first(offers.popleft()):
                count += 1
                if count % OFFER_SLICE == 0:
                    self._emit()

    def _offer_first(self, client: Client) -> bool:
        """Offer the latest job to a client that has not had it; True if that was so.

        It comes before anything that the client has to say. The peer may know the job from another connection, and
        have hashed with it already: that must not decide which difficulty it gets for this job.
        """
        if not client.owes_job or client.is_full or client.is_mute or client.is_parting or client.is_leaving:
            return False
        client.owes_job = False
        self._guard_client(self._step, client, client.connection.offer, self._latest)
        return True

    def _gone(self, client: Client, reason: str) -> None:
        """Nothing can be sent any more. Whole messages that wait are gone through for shares first, in their turn."""
        connection = client.connection
        say(log, logging.DEBUG, "conn.gone", conn=connection.conn_id, peer=client.peer, reason=reason)
        if (client.waiting is None and not connection.held) or self._is_draining:
            self._mute(client)
            return
        client.is_leaving = True
        client.is_full = False
        connection.abandon()
        if connection.held <= _TURN:
            self._turns.queue(client)

    def _mute(self, client: Client) -> None:
        """The connection is closed; shares in flight, of which one may be a block, are still judged and recorded."""
        client.is_mute = True
        client.waiting = None
        self._schedule(client, self._now.monotonic + MUTE_S)
        self._guard_client(self._end, client)

    def _end(self, client: Client) -> None:
        self._step(client, client.connection.closed)
        self._forget_if_done(client)

    def _forget_if_done(self, client: Client) -> None:
        if client.connection.in_flight == 0:
            self._clients.pop(client.connection.conn_id, None)
            if self._deadlines.has_waste(len(self._clients)):
                self._deadlines.renew((client.due, conn_id) for conn_id, client in self._clients.items()
                                      if client.due < math.inf)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _schedule(self, client: Client, due: float) -> None:
        client.due = due
        self._deadlines.enter(due, client.connection.conn_id)

    def _tick(self) -> None:
        now = self._now.monotonic
        for due, conn_id in self._deadlines.take(now):
            client = self._clients.get(conn_id)
            if client is not None and client.due == due:
                self._guard_client(self._come_due, client)
        self._lines.limit.flush(now)
        if now >= self._counts.refusals_due:
            self._refused(self._counts.take_refusals())

    def _come_due(self, client: Client) -> None:
        """The entry of this connection has come, though its deadline may have moved on."""
        connection, now = client.connection, self._now.monotonic
        if client.is_mute:
            say(log, logging.WARNING, "conn.abandoned", conn=connection.conn_id, in_flight=connection.in_flight)
            del self._clients[connection.conn_id]
            return
        client.due = -math.inf                  # so that the step enters nothing
        if connection.wakes_at <= now:
            self._step(client, connection.tick)
        if not client.is_mute:
            client.due = math.inf
            if connection.wakes_at < math.inf:
                self._schedule(client, max(connection.wakes_at, now + MIN_TICK_S))

    # --- what follows -------------------------------------------------------------------------------------------------

    def _gather(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, ShareSubmitted):
                self._submitted.append(event)
            elif isinstance(event, Send):
                self._outgoing.send(event)
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
            self._outgoing.allow(holds.conn_id, limits.unsent + limits.unsent_each * holds.holders + holds.extra)

    def _find_block(self, block: BlockFound) -> None:
        self._found(block)                      # before anything that waits for the end of the wake-up
        self._counts.find_block()
        if block.share is not None:
            self._counts.accept((block.share,))

    def _hang_up(self, close: Close) -> None:
        client = self._clients.get(close.conn_id)
        if client is None or client.is_mute:
            return
        self._lines.closed(close, client, self._now.monotonic)
        self._outgoing.close(close.conn_id)
        self._mute(client)

    def _settle(self) -> None:
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
                self._guard_client(self._answer, client, client.connection.judged, own)

    def _book(self) -> None:
        shares, self._accepted = tuple(self._accepted), []
        self._counts.accept(shares)
        if log.isEnabledFor(logging.DEBUG):
            for share in shares:
                say(log, logging.DEBUG, "share.accepted", conn=share.conn_id, channel=share.channel_id,
                    user=clip(share.user), difficulty=share.difficulty)
        if self._awaits_records:
            self._unrecorded += len(shares)
        self._record(shares)

    def _emit(self) -> None:
        output = self._outgoing.take()
        if output is not None:
            self._mailbox.post(output)

    def _reply(self, is_stopped: bool) -> None:
        """Answer those who asked, now that all that came before is told."""
        for ask in self._asks:
            upstreams = sum(client.is_upstream for client in self._clients.values())
            machines = sum(client.connection.machines for client in self._clients.values() if not client.is_mute)
            ask.put(self._counts.stats(self.index, len(self._clients) - upstreams, upstreams, machines))
        self._asks.clear()
        if (self._is_draining or is_stopped) and self._counts.refusals_due < math.inf:
            self._refused(self._counts.take_refusals())
        if self._drains and not self._is_in_flight():
            for drain in self._drains:
                drain.put(self.index)
            self._drains.clear()

    def _is_in_flight(self) -> bool:
        return bool(self._weighing) or any(client.connection.in_flight for client in self._clients.values())


def _holders(client: Client) -> int:
    return client.holders

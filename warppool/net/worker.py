"""A worker: one thread that owns its connections' sessions for their whole life (style.md §6).

Whatever comes in through the inbox is a step of some connection; what the steps return is gathered over one wake-up and
then told in one item to each neighbour: shares to be weighed, accepted ones to the books, bytes to the reactor.

The worker's parts are classes, each built on the one before: `clientsteps` (the steps of connections and what follows),
`joboffers` (new jobs), `transportsteps` (how connections begin, and their transports), `serving` (turns), `sharesteps`
(weighed, judged, booked). Here are inbox and clock.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from warppool.events import BlockFound, Dial, Event, Now, ShareAccepted
from warppool.loop import Reconfigure, prompt
from warppool.net import resolver
from warppool.net.dials import STOPPING, Dials
from warppool.net.hasher import Hasher
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
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.sharesteps import ShareSteps
from warppool.net.transportsteps import Connect
from warppool.threads import STOP

log = logging.getLogger(__name__)

MAX_WAIT_S = 5.0
"""The longest sleep, so that `beat` shows a living thread."""


class Worker(ShareSteps):
    """Serves the connections that the reactor gives it; `run` is the body of its thread.

    All callables are called on this thread and must not block. `connect` makes transport and connection of a socket
    that was accepted. `record` takes the accepted shares of one wake-up, to be answered with `Recorded` or
    `NotRecorded`; `found` takes a block, whose share is answered in the same way. `refused` takes counts (user, reason,
    Unix time of the minute, count). `dial` takes what is to be dialled, to be answered with `Connected` or
    `ConnectFailed` (None where no session dials). `hear` takes the messages of other workers' sessions (None where
    sessions send none). `reconfigure` takes another configuration. `beat` is the monotonic time of the last wake-up.
    """

    def __init__(self, index: int, inbox: queue.Queue[Any], mailbox: Mailbox[ReactorItem], hasher: Hasher,
                 connect: Connect, *,
                 record: Callable[[tuple[ShareAccepted, ...]], None],
                 refused: Callable[[tuple[tuple[str, str, int, int], ...]], None],
                 found: Callable[[BlockFound], None],
                 dial: Callable[[resolver.Connect], None] | None = None,
                 hear: Callable[[Any, Now], Sequence[Event]] | None = None,
                 reconfigure: Callable[[Any, Now], Sequence[Event]] | None = None,
                 log_limit: LogLimit | None = None, awaits_records: bool = True) -> None:
        super().__init__(mailbox, found, Dials(index, dial), PeerLines(log_limit or LogLimit()), connect, hasher, inbox,
                         record, awaits_records=awaits_records)
        self.index = index
        self.name = f"worker-{index}"
        self.limits = prompt()
        self._refused = refused
        self._hear = hear
        self._reconfigure = reconfigure
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
                self._take_weights(weights)
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
            case Reconfigure(value):
                assert self._reconfigure is not None, "a configuration, and nobody to take it"
                self._gather(self._reconfigure(value, self._now))
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

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._now.monotonic
        for due, conn_id in self._deadlines.take(now):
            client = self._clients.get(conn_id)
            if client is not None and client.due == due:
                self._guard_client(self._come_due, client)
        self._lines.limit.flush(now)
        if now >= self._counts.refusals_due:
            self._refused(self._counts.take_refusals())

    # --- what others ask ----------------------------------------------------------------------------------------------

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


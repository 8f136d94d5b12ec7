"""A worker: one thread that owns its connections' sessions for their whole life (docs/threads.rst#owners).

Whatever comes in through the inbox is a step of some connection; what the steps return is gathered over one wake-up and
then told in one item to each neighbour: shares to be weighed, accepted ones to the books, bytes to the reactor.

The worker's parts are classes, each built on the one before: `clientsteps` (the steps of connections and what follows),
`joboffers` (new jobs), `transportsteps` (how connections begin, and their transports), `serving` (turns, and the way of
a share). Here are inbox and clock.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from warppool.events import BlockFound, Dial, Event, Now, ShareAccepted
from warppool.loop import Loop
from warppool.net import resolver
from warppool.net.dials import STOPPING, Dials
from warppool.net.hasher import Hasher
from warppool.net.haste import HASTE
from warppool.net.inbox import (
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
    RarePart,
    Received,
    Recorded,
    Weighed,
    WorkerItem,
)
from warppool.net.loglimit import LogLimit
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.reports import WorkerReport
from warppool.net.serving import Serving
from warppool.net.transportsteps import Connect
from warppool.net.turns import LEAST_SERVED
from warppool.stats.items import MachineItem, Took

log = logging.getLogger(__name__)

def _nothing() -> None:
    """For sessions that have nothing to report."""


class Worker(Serving, Loop[WorkerItem]):
    """Serves the connections that the reactor gives it.

    All callables are called on this thread and must not block. `connect` makes transport and connection of a socket
    that was accepted. `record` takes the accepted shares of one wake-up, to be answered with `Recorded` or
    `NotRecorded`; `found` takes a block, whose share is answered in the same way. `refused` takes counts (user, reason,
    Unix time of the minute, count). `dial` takes what is to be dialled, to be answered with `Connected` or
    `ConnectFailed` (None where no session dials). `hear` takes the messages of other workers' sessions (None where
    sessions send none). `reconfigure` takes another configuration. `sessions` gives what the sessions here report of
    themselves, a frozen value. `tell` hears of machines that come and go, of their blocks, and how soon all had the job
    of a new tip.
    """

    def __init__(self, index: int, inbox: queue.Queue[Any], mailbox: Mailbox[ReactorItem], hasher: Hasher,
                 connect: Connect, *,
                 record: Callable[[tuple[ShareAccepted, ...]], None],
                 refused: Callable[[tuple[tuple[str, str, int, int], ...]], None],
                 found: Callable[[BlockFound], None],
                 dial: Callable[[resolver.Connect], None] | None = None,
                 hear: Callable[[Any, Now], Sequence[Event]] | None = None,
                 reconfigure: Callable[[Any, Now], Sequence[Event]] | None = None,
                 sessions: Callable[[], object] = _nothing,
                 log_limit: LogLimit | None = None,
                 tell: Callable[[MachineItem | Took], None] | None = None, awaits_records: bool = True,
                 let_past: frozenset[str] = frozenset()) -> None:
        super().__init__(mailbox, found, Dials(index, dial), PeerLines(log_limit or LogLimit(), tell), connect,
                         hasher, inbox, record, awaits_records=awaits_records)
        Loop.__init__(self, f"worker-{index}", inbox)
        self.index = index
        self.let_past = let_past
        self._refused = refused
        self._hear = hear
        self._take_configuration = reconfigure
        self._sessions = sessions
        self._drains: list[queue.SimpleQueue[int]] = []     # ... or until nothing is in flight

    # --- one wake-up --------------------------------------------------------------------------------------------------

    def turn(self, items: list[WorkerItem]) -> float:
        """Handle what is there, and what is due.

        In one piece: every share needs two turns, one on its way up and one for its record, and on cold caches each
        call costs several times what it costs in a loop.
        """
        now, turns = self.beat, self._turns
        self._now = Now(now, time.time())
        turns.number += 1
        turns.ends_at = now + turns.length_s
        if not turns.waiting:
            turns.rested = now                              # the worker has just slept
        for item in items:
            try:
                if isinstance(item, FromReactor):
                    self._take_parts(item.items)
                elif isinstance(item, Recorded):
                    self._answer_records(item.ids, Recorded)
                else:
                    self._handle(item)
            except Exception:                               # that no connection is to blame for
                self.say_fault("_handle")
        if self._offers:
            self.guard(self._go_on_offering)
        if turns.waiting and (turns.has_line or not self._is_jammed):
            self.guard(self._go_round)
        if now >= min(self._deadlines.first, self._counts.refusals_due, self._lines.limit.due):
            self.guard(self._tick)
        try:
            self._tell_neighbours()
        except Exception:
            self.say_fault("_tell_neighbours")
        if self._is_draining or self.is_stopping:
            self.guard(self._wind_up)
        after = time.monotonic()
        if turns.waiting or after > turns.ends_at or after > HASTE.until:
            turns.rest(self._mailbox)
        if self._nudged or self._offers or (turns.waiting and (turns.has_line or not self._is_jammed)):
            return -math.inf
        return min(self._deadlines.first, self._counts.refusals_due, self._lines.limit.due)

    def _take_parts(self, parts: Sequence[Part]) -> None:
        """What the reactor has for this worker; nearly always bytes of machines."""
        for part in parts:
            if not isinstance(part, Received):
                self._handle_part(part)
                continue
            client = self._clients.get(part.conn_id)
            if client is not None and not client.is_mute and (not self._is_draining or client.is_upstream):
                client.unreported += len(part.data)
                try:
                    self._receive(client, part.data)
                except Exception:
                    self._blame(client)

    def _handle(self, item: WorkerItem) -> None:
        """What comes seldom."""
        match item:
            case Weighed(weights):
                self._take_weights(weights)
            case JobReady(job, tip_at):
                self._offer(job, tip_at)
            case NoWork():
                self._send_away()
            case NotRecorded(ids) | GivenUp(ids):
                self._answer_records(ids, type(item))
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

    def _handle_part(self, part: RarePart) -> None:
        if isinstance(part, Opened):
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
        """Thousands of connections may be due at once, as when the newest job has waited for all: what is left when the
        turn is over comes in the next ones.
        """
        now, count = self._now.monotonic, 0
        while count < LEAST_SERVED or not self._turns.is_late():
            entry = self._deadlines.pop(now)
            if entry is None:
                break
            count += 1
            due, conn_id = entry
            client = self._clients.get(conn_id)
            if client is not None and client.due == due:
                self._guard_client(self._come_due, client)
        self._lines.limit.flush(now)
        if now >= self._counts.refusals_due:
            self._refused(self._counts.take_refusals())

    def reconfigure(self, value: object) -> None:
        """Another configuration for the sessions here."""
        assert self._take_configuration is not None, "a configuration, and nobody to take it"
        self._now = Now(self.beat, time.time())
        self._gather(self._take_configuration(value, self._now))

    # --- what others ask ----------------------------------------------------------------------------------------------

    def report(self) -> WorkerReport:
        """What was counted, and who is here."""
        clients = self._clients.values()
        upstreams = sum(client.is_upstream for client in clients)
        return self._counts.report(
            self.vitals(), self.index, connections=len(clients) - upstreams, upstreams=upstreams,
            machines=sum(client.connection.machines for client in clients if not client.is_mute),
            sessions=self._sessions())

    def _wind_up(self) -> None:
        """The end is near: no count of refusals waits any more, and who drains hears when nothing is in flight."""
        if self._counts.refusals_due < math.inf:
            self._refused(self._counts.take_refusals())
        if self._drains and not self._is_in_flight():
            for drain in self._drains:
                drain.put(self.index)
            self._drains.clear()

    def _is_in_flight(self) -> bool:
        return bool(self._weighing) or any(client.connection.in_flight for client in self._clients.values())


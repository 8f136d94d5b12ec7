"""A session that owns two connections of one worker: what comes in lines below goes out above, and back.

`Downstream` was accepted; it dials as soon as it is there and holds lines back while more than `max_unanswered` of them
wait for the upstream's word. `Above` is its `events.OutgoingConnection`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from warppool.events import Close, Dial, Event, Held, Now, Nudge, Send
from warppool.limits import UPSTREAM
from warppool.mining.share import Weight
from warppool.transport import PLAIN, Transport, TransportEnd


class _Face:
    """What both connections of a relay have no use for."""

    limits = UPSTREAM

    def __init__(self, conn_id: int) -> None:
        self.conn_id = conn_id
        self.wakes_at = math.inf
        self.calls: list[str] = []
        self._held = b""

    @property
    def in_flight(self) -> int:
        return 0

    @property
    def held(self) -> Held:
        return Held.NOTHING

    def abandon(self) -> None:
        raise AssertionError("its peer is gone before all was taken")

    @property
    def machines(self) -> int:
        return 1

    @property
    def backlog(self) -> int:
        return len(self._held)

    def offer(self, job: object, now: Now) -> list[Event]:
        return []

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        raise AssertionError("no share was submitted")

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        raise AssertionError("no share was accepted")

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        raise AssertionError("no share was accepted")

    def tick(self, now: Now) -> list[Event]:
        return []


class Downstream(_Face):
    """The accepted one; what the other leaves it to say it says in its `tick`."""

    def __init__(self, conn_id: int, host: str, port: int, now: Now, max_unanswered: int = 1024) -> None:
        super().__init__(conn_id)
        self.above = Above(self)
        self.is_open = True
        self.unanswered = 0
        self.to_say: list[Event] = []
        self.wakes_at = now.monotonic
        self._host, self._port = host, port
        self._has_dialled = False
        self._max_unanswered = max_unanswered

    @property
    def in_flight(self) -> int:
        return self.unanswered

    @property
    def held(self) -> Held:
        if b"\n" not in self._held:
            return Held.NOTHING
        return Held.TURN if self.above.conn_id and self.unanswered < self._max_unanswered else Held.ANSWERS

    def abandon(self) -> None:
        self._held = b""

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self._held += data
        lines: list[bytes] = []
        while self.above.conn_id and b"\n" in self._held and self.unanswered < self._max_unanswered:
            line, _, self._held = self._held.partition(b"\n")
            self.unanswered += 1
            lines.append(line + b"\n")
        return [Send(self.above.conn_id, b"".join(lines))] if lines else []

    def tick(self, now: Now) -> list[Event]:
        self.wakes_at = math.inf
        events, self.to_say = self.to_say, []
        if not self._has_dialled:
            self._has_dialled = True
            events.append(Dial(self.conn_id, self._host, self._port, self.above))
        return events

    def closed(self, now: Now) -> list[Event]:
        self.is_open = False
        if self.unanswered or not self.above.conn_id:
            return []                           # the last word is the upstream's
        return [Close(self.above.conn_id, "no longer needed")]


class Above(_Face):
    """The dialled one; `threads` are those that have touched it."""

    def __init__(self, below: Downstream) -> None:
        super().__init__(0)
        self.below = below
        self.threads: set[str] = set()

    def transport(self, now: Now) -> Transport:
        return PLAIN

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        raise AssertionError("a plain transport does not break")

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        self._note(f"opened {peer}")
        self.conn_id = conn_id
        return self._leave(now) if self.below.is_open else [Close(conn_id, "nobody needs it")]

    def failed(self, reason: str, now: Now) -> list[Event]:
        self._note(f"failed {reason}")
        return self._leave(now, Send(self.below.conn_id, b"failed: %s\n" % reason.encode()),
                           Close(self.below.conn_id, "no upstream"))

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self._note("receive")
        self.below.unanswered -= data.count(b"\n")
        events = self._leave(now, Send(self.below.conn_id, data))
        if not self.below.is_open and not self.below.unanswered:
            events.append(Close(self.conn_id, "no longer needed"))
        return events

    def closed(self, now: Now) -> list[Event]:
        self._note("closed")
        self.below.unanswered = 0
        return self._leave(now, Send(self.below.conn_id, b"lost\n"), Close(self.below.conn_id, "upstream lost"))

    def _leave(self, now: Now, *events: Event) -> list[Event]:
        """Let the other one say it."""
        self.below.to_say += events
        self.below.wakes_at = now.monotonic
        return [Nudge(self.below.conn_id)]

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)

"""A small protocol for the tests of the shell: one command a line, behind the face of `events.Connection`.

`echo X` is answered `X`; `share N` is weighed, recorded and answered `ok N`; `block N` is a share that is a block;
`bad N` is weighed and refused, `no N`; `send N` sends N bytes; `quit` answers `bye` and closes; `wake S` wants a tick
in S seconds, which sends `tick`; `boom` raises; `late N` is a share whose judging raises; anything else closes, and it
is the peer's fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from warppool.events import (
    BlockFound,
    Close,
    Event,
    Happened,
    Held,
    Now,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.limits import V1
from warppool.mining.share import Weight
from warppool.mining.template import Template, Tip

ALL = 2**256 - 1
TEMPLATE = Template(
    template_id=1, tip=Tip(bytes(32), 0x207FFFFF, ALL, 0, 1), version=0x20000000, coinbase_tx_version=2,
    coinbase_prefix=b"\x51", coinbase_tx_input_sequence=0xFFFFFFFF, coinbase_tx_value_remaining=0,
    coinbase_tx_outputs_count=0, coinbase_tx_outputs=b"", coinbase_tx_locktime=0, merkle_path=(), transactions=(),
    source="node-0")


class LineConnection:
    """Holds back what comes while `max_unanswered` shares are unanswered, and what is more than a turn's work."""

    limits = replace(V1, bytes_per_turn=1 << 20, work_per_turn=1 << 20)
    stays_without_work = False

    def __init__(self, conn_id: int, max_unanswered: int = 1024) -> None:
        self.conn_id = conn_id
        self.wakes_at = math.inf
        self.calls: list[tuple[str, object]] = []
        self._max_unanswered = max_unanswered
        self._held = b""
        self._weighing: list[tuple[str, int]] = []
        self._recording: set[int] = set()
        self.is_abandoned = False

    @property
    def held(self) -> Held:
        if b"\n" not in self._held:
            return Held.NOTHING
        return Held.ANSWERS if self.in_flight >= self._max_unanswered else Held.TURN

    def abandon(self) -> None:
        self.is_abandoned = True

    @property
    def in_flight(self) -> int:
        return len(self._weighing) + len(self._recording)

    @property
    def machines(self) -> int:
        return 1

    @property
    def backlog(self) -> int:
        return len(self._held)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self.calls.append(("receive", len(data)))
        self._held += data
        events: list[Event] = []
        work = self.limits.work_per_turn
        while b"\n" in self._held and self.in_flight < self._max_unanswered and work > 0:
            line, _, self._held = self._held.partition(b"\n")
            word, _, rest = line.decode("utf-8", "surrogateescape").partition(" ")
            if self.is_abandoned and word not in ("share", "block", "bad"):
                continue
            work -= 1
            events += self._obey(word, rest, now)
            if events and isinstance(events[-1], Close):
                break
        return events

    def _obey(self, word: str, rest: str, now: Now) -> list[Event]:
        match word:
            case "echo":
                return [Send(self.conn_id, rest.encode() + b"\n")]
            case "share" | "block" | "bad" | "late":
                self._weighing.append((word, int(rest)))
                header = int(rest).to_bytes(80, "little")
                return [ShareSubmitted(self.conn_id, header, ALL if word == "block" else 0)]
            case "send":
                return [Send(self.conn_id, b"x" * int(rest))]
            case "quit":
                return [Send(self.conn_id, b"bye\n"), Close(self.conn_id, "asked to")]
            case "wake":
                self.wakes_at = now.monotonic + float(rest)
                return []
            case "boom":
                raise RuntimeError("a bug of this connection")
        return [Close(self.conn_id, f"no such command: {word}", is_peers_fault=True)]

    def offer(self, job: object, now: Now) -> list[Event]:
        return [Send(self.conn_id, f"job {job}\n".encode())]

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Event]:
        self.calls.append(("judged", len(weights)))
        events: list[Event] = []
        for weight in weights:
            word, number = self._weighing.pop(0)
            share = ShareAccepted(self.conn_id, number, now.unix, "lines", 1, f"user-{self.conn_id}", 1.0, 1, 1,
                                  weight.share_hash)
            if word == "bad":
                events += [ShareRefused(self.conn_id, share.user, "invalid-share"),
                           Send(self.conn_id, b"no %d\n" % number)]
                continue
            if word == "late":
                raise RuntimeError("a bug in judging")
            self._recording.add(number)
            if weight.is_block:
                events += [Send(self.conn_id, b"found %d\n" % number),
                           BlockFound(self.conn_id, TEMPLATE, 1, bytes(80), b"", weight.share_hash, share.user, share)]
            else:
                events.append(share)
        return events

    def recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        self.calls.append(("recorded", tuple(ids)))
        self._recording.difference_update(ids)
        return [Send(self.conn_id, b"".join(b"ok %d\n" % number for number in ids))]

    def not_recorded(self, ids: Sequence[int], now: Now) -> list[Event]:
        self.calls.append(("not_recorded", tuple(ids)))
        self._recording.difference_update(ids)
        return [Send(self.conn_id, b"".join(b"lost %d\n" % number for number in ids))]

    def given_up(self, ids: Sequence[int], now: Now) -> list[Event]:
        self.calls.append(("given_up", tuple(ids)))
        self._recording.difference_update(ids)
        return [Send(self.conn_id, b"".join(b"given up %d\n" % number for number in ids))]

    def tick(self, now: Now) -> list[Event]:
        self.wakes_at = math.inf
        return [Send(self.conn_id, b"tick\n")]

    def closed(self, now: Now) -> list[Event]:
        self._held = b""
        self.calls.append(("closed", None))
        return [Happened(self.conn_id, "debug", "line.ended", (("in_flight", self.in_flight),))]

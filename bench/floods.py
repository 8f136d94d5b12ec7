"""What a stranger's flood does to a neighbour: 100 connections of each kind of flood, against `warppool run`.

    python -m bench.floods                          # every flood, five pairs of 12 s quiet and 12 s flood: half an hour
    python -m bench.floods --flood subscribe        # one of them
    python -m bench.floods --seconds 6 --pairs 2    # shorter
    python -m bench.floods --quick                  # all of them, seconds each: does it work at all?

prints one JSON line a flood, with a verdict for each bound; bench/README.rst says what each figure means. The neighbour
is a V1 machine that sends a share at a time; the strangers are a process of their own with the lowest priority
(`bench/strangers.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.server import PYTHON, BenchFailed, Server
from bench.strangers import CONNECTIONS, FLOODS
from warppool.sv1.resume import MAX_KEPT_SHARES

PAIRS = 5
SIDE_S = 12.0               # of a pair, quiet and flood alike: 60 s of flood in sum
GONE_S = 30.0               # after each flood: then the strangers' objects must be gone
SHARE_EVERY_S = 0.02
PATIENCE_S = 60.0
LEAST_P99_MS = 250.0        # below it three times the quiet answer is no matter
MOST_ANSWER_MS = 2000.0
MOST_LINES = 200
MOST_RSS_RATIO = 1.05
KEPT_BY_DESIGN = ("kept_sessions", "kept_shares")       # for ten minutes, and bounded; not among what is left


class Neighbour:
    """A machine with work, which waits for the answer to each share."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self._job = ""
        self._number = 0
        self._ask(1, "mining.subscribe", "neighbour/1")
        self._ask(2, "mining.authorize", "neighbour.rig", "x")
        while not self._job:
            self._line()

    def answer_ms(self) -> float:
        """Send a share and wait until it is accepted."""
        self._number += 1
        began = time.perf_counter()
        answer = self._ask(1000 + self._number, "mining.submit", "neighbour.rig", self._job, f"{self._number:016x}",
                           f"{int(time.time()):08x}", f"{self._number:08x}")
        taken = (time.perf_counter() - began) * 1e3
        if answer.get("result") is not True and answer["error"][0] != 21:       # stale: the tip moved meanwhile
            raise BenchFailed(f"a share of the neighbour was refused: {answer['error']}")
        return taken

    def _ask(self, number: int, method: str, *params: str) -> dict[str, Any]:
        self._sock.sendall(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        while (line := self._line()).get("id") != number:
            pass
        return line

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._held:
            data = self._sock.recv(65536)
            if not data:
                raise BenchFailed("the pool has closed the neighbour's connection")
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        if said.get("method") == "mining.notify":
            self._job = said["params"][0]
        return said

    def close(self) -> None:
        self._sock.close()


def answers(neighbour: Neighbour, seconds: float) -> list[float]:
    """The times of all answers in so many seconds, in order of size."""
    until = time.monotonic() + seconds
    found = []
    while time.monotonic() < until or not found:
        found.append(neighbour.answer_ms())
        time.sleep(SHARE_EVERY_S)
    return sorted(found)


def p99(ordered: Sequence[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


@contextmanager
def strangers(server: Server, flood: str, seconds: float, connections: int) -> Iterator[subprocess.Popen[str]]:
    """The flood, for so long."""
    sv2_port, v1_port = server.ports
    command = [*PYTHON, "bench.strangers", "--flood", flood, "--v1-port", str(v1_port), "--v2-port", str(sv2_port),
               "--key", server.public_key.hex(), "--seconds", str(seconds), "--connections", str(connections)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def counted(server: Server, file: Path) -> dict[str, int]:
    """What the pool holds of connections now."""
    file.unlink(missing_ok=True)
    os.kill(server.pid, signal.SIGUSR2)
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists():
        if time.monotonic() > deadline:
            raise BenchFailed("the pool does not count")
        time.sleep(0.05)
    found: dict[str, int] = json.loads(file.read_text())
    return found


def measure(flood: str, seconds: float, pairs: int, gone_s: float, connections: int) -> dict[str, Any]:
    """The figures of one flood, on a pool of its own."""
    with TemporaryDirectory(prefix="warppool-floods-") as folder:
        file = Path(folder) / "counts"
        words = {"WARPPOOL__STRATUM__LISTEN": '["127.0.0.1:0"]',
                 "BENCH_COUNTS": str(file)}
        command = ("env", *(f"{name}={value}" for name, value in words.items()), *PYTHON, "bench.counting")
        with Server(command=command) as server:
            neighbour = Neighbour(server.ports[1])
            try:
                return _measure(server, neighbour, file, flood, seconds, pairs, gone_s, connections)
            finally:
                neighbour.close()


def _measure(server: Server, neighbour: Neighbour, file: Path, flood: str, seconds: float, pairs: int, gone_s: float,
             connections: int) -> dict[str, Any]:
    answers(neighbour, 1.0)
    before = counted(server, file)
    pair = _Pairs(server, neighbour, file, before)
    for _ in range(pairs):
        pair.measure(flood, seconds, gone_s, connections)
    return pair.figures() | {"seconds": seconds, "connections": connections}


class _Pairs:
    """The pairs of quiet and flood on one pool, and what they have shown so far."""

    def __init__(self, server: Server, neighbour: Neighbour, file: Path, before: dict[str, int]) -> None:
        self._server = server
        self._neighbour = neighbour
        self._file = file
        self._before = before
        self._quiets: list[float] = []          # p99 of each, ms
        self._floods: list[float] = []
        self._worst = 0.0
        self._lines = 0                         # that all floods had more than all quiets
        self._rss: list[float] = []             # MiB after each flood
        self._gone_s: list[float] = []
        self._left: dict[str, int] = {}         # the worst of all floods
        self._kept: dict[str, int] = {}
        self._sent = 0
        self._strangers = 0

    def measure(self, flood: str, seconds: float, gone_s: float, connections: int) -> None:
        """Quiet, flood, and then until nothing is left."""
        said = self._server.lines()
        self._quiets.append(p99(answers(self._neighbour, seconds)))
        began = self._server.lines()
        with strangers(self._server, flood, seconds, connections) as process:
            found = answers(self._neighbour, seconds)
            rss = self._server.rss_kib()
            assert process.stdout is not None
            self._sent += json.loads(process.stdout.readline())["sent"]
        over_at = time.monotonic()
        self._strangers += connections
        self._floods.append(p99(found))
        self._worst = max(self._worst, found[-1])
        self._lines += self._server.lines() - began - (began - said)
        while True:
            more = {name: count - self._before[name] for name, count in counted(self._server, self._file).items()
                    if count > self._before[name]}
            self._kept = {name: more.pop(name, 0) for name in KEPT_BY_DESIGN}
            waited = time.monotonic() - over_at
            if not more or waited >= gone_s:
                break
            answers(self._neighbour, 1.0)
        self._gone_s.append(waited)
        self._rss.append(max(rss, self._server.rss_kib()) / 1024)       # shares that were left behind come to it
        self._left = {name: max(more.get(name, 0), self._left.get(name, 0)) for name in {**more, **self._left}}

    def figures(self) -> dict[str, Any]:
        """What was found, and whether each bound holds."""
        quiet, flooded = statistics.median(self._quiets), statistics.median(self._floods)
        ratio = round(self._rss[1] / self._rss[0], 3) if len(self._rss) > 1 else None
        holds = {
            "p99": flooded <= max(3 * quiet, LEAST_P99_MS),
            "worst": self._worst <= MOST_ANSWER_MS,
            "lines": self._lines <= MOST_LINES,
            "left": not self._left,
            "kept": (self._kept["kept_sessions"] <= self._strangers
                     and self._kept["kept_shares"] <= self._kept["kept_sessions"] * MAX_KEPT_SHARES),
            "rss": ratio is None or ratio <= MOST_RSS_RATIO,
        }
        return {
            "pairs": len(self._quiets), "sent_mib": round(self._sent / 2**20, 1),
            "quiet_p99_ms": round(quiet, 1), "flood_p99_ms": round(flooded, 1), "worst_ms": round(self._worst, 1),
            "pairs_p99_ms": [(round(q), round(f)) for q, f in zip(self._quiets, self._floods, strict=True)],
            "lines": self._lines, "gone_s": round(max(self._gone_s), 1), "left": self._left, "kept": self._kept,
            "rss_mib": [round(rss, 1) for rss in self._rss], "rss_ratio": ratio,
            "holds": holds, "is_well": all(holds.values()),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 1 if a flood did more than it may."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="bench.floods", description=__doc__.partition("\n")[0])
    parser.add_argument("--flood", action="append", choices=FLOODS, default=[], help="repeatable")
    parser.add_argument("--seconds", type=float, default=SIDE_S,
                        help="of each quiet and of each flood [%(default)s]")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of quiet and flood [%(default)s]")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="of the stranger [%(default)s]")
    parser.add_argument("--gone", type=float, default=GONE_S, metavar="SECONDS",
                        help="until the stranger's objects are counted [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="2 s of each, one pair; figures mean little")
    args = parser.parse_args(arguments)
    seconds, pairs, gone_s = (2.0, 1, 10.0) if args.quick else (args.seconds, args.pairs, args.gone)
    is_well = True
    for flood in args.flood or FLOODS:
        try:
            figures = measure(flood, seconds, pairs, gone_s, args.connections)
        except BenchFailed as exc:
            print(f"bench.floods: {flood}: {exc}", file=sys.stderr)
            is_well = False
            continue
        is_well &= figures["is_well"]
        print(json.dumps({"bench": "floods", "flood": flood, **figures}), flush=True)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())

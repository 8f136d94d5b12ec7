"""What the web costs: an answer of a large pool, a request, and what a storm on it does to machines.

    python -m bench.web

prints one JSON line a case; bench/README.rst says what each figure means. It needs the extra `web`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from bench.command import Chosen, choose, machine_ns, print_lines
from bench.floods import Neighbour, p99
from bench.server import PYTHON, BenchFailed, Server
from bench.webbooks import AT, FARM, WebPool
from warppool.ledger.opening import open_reader
from warppool.page.about import About
from warppool.stats.snapshot import StatsSnapshot
from warppool.web import apiv1, dropins, healthroute, metrics
from warppool.web.app import WebApp
from warppool.web.books import WebBooks
from warppool.web.pages import Pages
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebViews

WORKERS = 10_000
USER = f"bc1q{7:038x}"
MOST_CPU_MS = 50.0
ROUNDS = 7                      # of each answer in a run
MOMENTS = 100                   # more than answers of the books are kept

DESCRIPTORS = 2_000             # open in the pool under storm
NEIGHBOURS = 100
SHARE_EVERY_S = 0.01
PAIRS = 5
QUIET_S, STORM_S = 6.0, 20.0
MOST_RATIO = 3.0
PATIENCE_S = 60.0


# --- an answer --------------------------------------------------------------------------------------------------------

TARGETS = {
    "pool": "/api/v1/pool", "users": "/api/v1/users?limit=100", "workers": "/api/v1/workers?limit=100",
    "blocks": "/api/v1/blocks?limit=100", "history": "/api/v1/history",
    "history-of-user": f"/api/v1/history?user={USER}", "history-of-farm": f"/api/v1/history?user={FARM}",
    "workers-of-farm": f"/api/v1/users/{FARM}/workers?limit=100", "page": "/", "page-of-user": f"/user/{USER}",
    "page-of-farm": f"/user/{FARM}", "page-of-worker": f"/user/{USER}/{quote(USER)}.rig0", "metrics": "/metrics",
    "metrics-of-users": "/metrics", "public-pool-info": "/api/info", "public-pool-client": f"/api/client/{FARM}",
    "ckpool-pool": "/pool/pool.status", "ckpool-user": f"/users/{FARM}",
}


class LargeWeb:
    """The application on a large made-up pool. A new snapshot is there before each request, so nothing is at hand."""

    def __init__(self, folder: Path, workers: int) -> None:
        pool = WebPool(workers)
        pool.write_books(folder / "shares.db")
        self._stats = pool.snapshot()
        self._number = 0
        opened = partial(open_reader, "sqlite:///shares.db", folder)
        pages = Pages(About("pool.example", "The finder is paid."))
        table = RouteTable((*apiv1.ROUTES, *dropins.ROUTES, *healthroute.ROUTES, *metrics.ROUTES, *pages.routes()))
        self._apps = {
            has_series: WebApp(table, WebViews(self._newest, WebSettings(user_metrics=has_series), WebBooks(opened)),
                               frozenset({"localhost"}), monotonic=lambda: 10.0 * self._number)
            for has_series in (False, True)}

    def _newest(self) -> StatsSnapshot:
        """Each of another slot of ten minutes, so that the books are asked each time."""
        return replace(self._stats, number=self._number, at=AT - 600.0 * (self._number % MOMENTS))

    def cost(self, name: str) -> tuple[float, int]:
        """CPU of this thread in ms, and the bytes of the answer."""
        app, sizes = self._apps[name == "metrics-of-users"], []
        environ = {"REQUEST_METHOD": "GET", "REQUEST_URI": TARGETS[name], "HTTP_HOST": "localhost",
                   "HTTP_ACCEPT": "text/html" if name.startswith("page") else "*/*"}
        self._number += 1

        def start(status: str, headers: list[tuple[str, str]]) -> None:
            if not status.startswith("200"):
                raise BenchFailed(f"{TARGETS[name]}: {status}")

        began = time.thread_time()
        sizes = [len(part) for part in app(environ, start)]
        return (time.thread_time() - began) * 1e3, sum(sizes)


class AnswerCase(NamedTuple):
    """The cost of one answer."""

    name: str
    wanted: dict[str, float]

    def lines(self, chosen: Chosen, web: LargeWeb) -> Iterator[dict[str, Any]]:
        """One."""
        costs = [web.cost(self.name.removeprefix("answer-")) for _ in range(chosen.runs * ROUNDS)]
        found = [cpu for cpu, _ in costs]
        yield {"cpu_ms": round(statistics.median(found), 2), "worst_ms": round(max(found), 2), "bytes": costs[-1][1],
               "runs": len(costs)}


# --- a storm ----------------------------------------------------------------------------------------------------------

class StormCase(NamedTuple):
    """What a storm of a kind does to machines, on a pool of its own with 2,000 descriptors open."""

    name: str
    wanted: dict[str, float]

    def lines(self, chosen: Chosen, web: object) -> Iterator[dict[str, Any]]:
        """One."""
        descriptors = max(100, round(DESCRIPTORS * chosen.scale))
        words = ('WARPPOOL__STRATUM__LISTEN=["127.0.0.1:0"]', 'WARPPOOL__WEB__LISTEN=["127.0.0.1:0"]')
        with ExitStack() as closing:
            server = closing.enter_context(Server(command=("env", *words, *PYTHON)))
            for _ in range(descriptors - len(os.listdir(f"/proc/{server.pid}/fd"))):
                closing.callback(_idle_machine(server.ports[1]).close)
            neighbours = [Neighbour(server.ports[1]) for _ in range(max(2, round(NEIGHBOURS * chosen.scale)))]
            for neighbour in neighbours:
                closing.callback(neighbour.close)
            yield _Storm(server, neighbours, self.name.removeprefix("storm-")).figures(chosen.scale) | {
                "neighbours": len(neighbours)}


class _Storm:
    """Quiet and storm, one after the other."""

    def __init__(self, server: Server, neighbours: list[Neighbour], kind: str) -> None:
        self._server = server
        self._turn = cycle(neighbours)
        self._kind = kind
        self._port = web_port(server)

    def figures(self, scale: float) -> dict[str, Any]:
        """What was found, and whether each bound holds."""
        server, quiet_s, storm_s = self._server, max(1.0, QUIET_S * scale), max(2.0, STORM_S * scale)
        pairs = 1 if scale < 1 or self._kind == "drip" else PAIRS
        self._answers(1.0)
        fds, before, quiets, storms, worst = len(os.listdir(f"/proc/{server.pid}/fd")), server.rss_kib(), [], [], 0.0
        spent, requests, statuses, rss = 0.0, 0, Counter[str](), list[float]()
        for _ in range(pairs):
            cpu = server.cpu_s()
            quiets.append(p99(self._answers(quiet_s)))
            rss.append(server.rss_kib() / 1024)
            quiet_cpu = (server.cpu_s() - cpu) / quiet_s
            cpu = server.cpu_s()
            with subprocess.Popen([*PYTHON, "bench.webstorm", "--port", str(self._port), "--seconds", str(storm_s),
                                   "--kind", self._kind], stdout=subprocess.PIPE, text=True,
                                  cwd=Path(__file__).parents[1]) as process:
                found = self._answers(storm_s)
                assert process.stdout is not None
                told = json.loads(process.stdout.readline())
            spent += server.cpu_s() - cpu - quiet_cpu * storm_s
            storms.append(p99(found))
            worst = max(worst, found[-1])
            rss.append(server.rss_kib() / 1024)
            requests += sum(told["answers"].values())
            statuses.update(told["answers"])
        quiet, stormed = statistics.median(quiets), statistics.median(storms)
        each = {} if self._kind == "drip" else {"cpu_ms_per_request": round(1e3 * spent / max(1, requests), 3)}
        return {"descriptors": fds, "pairs": pairs, "requests": requests, "answers": dict(sorted(statuses.items())),
                "quiet_p99_ms": round(quiet, 2), "storm_p99_ms": round(stormed, 2), "worst_ms": round(worst, 1),
                "ratio": round(stormed / quiet, 2), **each, "cpu_cores": round(spent / (pairs * storm_s), 3),
                "rss_before_mib": round(before / 1024, 1), "rss_mib": [round(size, 1) for size in rss],
                "complaints": len(server.complaints())}

    def _answers(self, seconds: float) -> list[float]:
        """How long each share of that time waited for its answer, ms, in order of size."""
        until, found = time.monotonic() + seconds, []
        while time.monotonic() < until:
            found.append(next(self._turn).answer_ms())
            time.sleep(SHARE_EVERY_S)
        return sorted(found)


def web_port(server: Server) -> int:
    """Where its web listens, as its log says."""
    for line in server.log_lines():
        if "event=listener.opened" in line and "kind=web" in line:
            return int(line.rpartition(":")[2].strip('"'))
    raise BenchFailed("the pool has no web: is the extra installed?")


def _idle_machine(port: int) -> socket.socket:
    """A machine that has work, and says nothing more."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    sock.sendall(b'{"id":1,"method":"mining.subscribe","params":["idle/1"]}\n'
                 b'{"id":2,"method":"mining.authorize","params":["idle.rig","x"]}\n')
    heard = b""
    while b"mining.notify" not in heard.partition(b'"id":2')[2]:
        heard += sock.recv(65_536)
    return sock


CASES: list[AnswerCase | StormCase] = [
    *(AnswerCase(f"answer-{name}", {} if FARM in target else {"cpu_ms": MOST_CPU_MS})
      for name, target in TARGETS.items()),
    StormCase("storm-ask", {"ratio": MOST_RATIO}), StormCase("storm-drip", {"ratio": MOST_RATIO}),
]


def _lines(cases: list[AnswerCase | StormCase], chosen: Chosen) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="warppool-web-") as folder:
        web = None
        if any(isinstance(case, AnswerCase) for case in cases):
            web = LargeWeb(Path(folder), max(200, round(WORKERS * chosen.scale)))
        for case in cases:
            for figures in case.lines(chosen, web):
                yield {"case": case.name, **figures, "sha256d_ns": round(machine_ns(), 1), "wanted": case.wanted}


def main() -> int:
    """Run what the command line says; 1 if a case failed."""
    assert __doc__ is not None
    cases, chosen = choose("bench.web", __doc__, CASES)
    return print_lines("web", _lines(cases, chosen))


if __name__ == "__main__":
    sys.exit(main())

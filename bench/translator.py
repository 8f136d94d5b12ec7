"""What the translator costs a farm: shares, set-ups and memory, of `warppool translate` in front of `warppool run`.

    python -m bench.translator                      # every case, three runs each: some minutes
    python -m bench.translator --case accepted      # those whose names begin so
    python -m bench.translator --quick              # all of them, small and once: does it work at all?

prints one JSON line a case, each figure the median of the runs; bench/README.rst says what each means. CPU and memory
are the translator's alone; the pool behind it, its node and the machines (bench/v1load.c) are processes of their own. A
case fails unless every share was accepted, stands in the pool's books and in the translator's.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.server import PYTHON, TICK_S, BenchFailed, Server, wait_until_ready
from bench.v1 import SETTLE_S, WARM_UP_S, Case, Figures, Loader, run_cases
from warppool.addresses import PoolUrl

MODES = ("connection", "channels")
BOOKS_PATIENCE_S = 10.0

CONFIG = """
[stratum]
listen = ["127.0.0.1:0"]
[translator]
mode = "{mode}"
data_dir = "translator"
[[upstream]]
url = "{url}"
user_identity = "bench.unnamed"
"""


class Translated(Server):
    """A pool with a translator before it; `port`, `pid` and all figures are the translator's."""

    def __init__(self, mode: str, command: Sequence[str] = PYTHON) -> None:
        super().__init__()
        self._mode = mode
        self._translator_command = command
        self._translator_closing = ExitStack()

    def __enter__(self) -> Translated:
        with ExitStack() as stack:
            super().__enter__()
            stack.callback(super().__exit__, None, None, None)
            self.pool_pid = self.pid
            config = self._folder / "translator.toml"
            url = PoolUrl("127.0.0.1", self.port, self.public_key)
            config.write_text(CONFIG.format(mode=self._mode, url=url))
            self._pool_log, self._log = self._log, self._folder / "translator.log"
            self._pool = self._start(stack, [*self._translator_command, "warppool", "translate", "-c", str(config)])
            self.pid = self._pool.pid
            self.port = wait_until_ready(self._pool, self._log)[-1]
            self._translator_closing = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._translator_closing.close()

    def pool_cpu_s(self) -> float:
        """CPU seconds of the pool behind it so far."""
        fields = Path(f"/proc/{self.pool_pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    def translator_booked(self) -> int:
        """Rows in the translator's own ledger."""
        path = self._folder / "translator" / "shares.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
            return int(books.execute("SELECT count(*) FROM shares").fetchone()[0])

    def complaints(self) -> list[str]:
        """Lines of both logs that nobody should see."""
        return [line for path in (self._pool_log, self._log) for line in path.read_text().splitlines()
                if " ERROR " in line or " CRITICAL " in line or " WARNING " in line]


def check(server: Translated, found: dict[str, Any]) -> None:
    """Every share was accepted and is in both books, and no log has a complaint."""
    for name in ("rejected", "unmatched", "lost"):
        if found[name]:
            raise BenchFailed(f"of {found['answers']:.0f} answers, {name}: {found[name]:.0f} {found['reject_codes']}")
    deadline = time.monotonic() + BOOKS_PATIENCE_S
    while (booked := server.translator_booked()) != server.shares_booked():     # no answer waits for the translator's
        if time.monotonic() > deadline:
            raise BenchFailed(f"{booked} shares are in the translator's books, {server.shares_booked()} in the pool's")
        time.sleep(0.05)
    if booked < found["accepted"] or not booked:
        raise BenchFailed(f"{found['accepted']:.0f} shares were accepted, {booked} are in the books")
    check_log(server)


def check_log(server: Translated) -> None:
    """No log has a complaint."""
    if complaints := server.complaints():
        raise BenchFailed(f"a log complains: {complaints[0]}")


def accepted(mode: str, in_flight: int, **options: object) -> Callable[[Loader, float], Figures]:
    """Shares of 100 machines, so many in flight on each."""

    def measure(loader: Loader, scale: float) -> Figures:
        with Translated(mode) as server:
            before_s = server.pool_cpu_s()
            found = loader.load(server, "submit", 100, window=in_flight, warmup=WARM_UP_S * scale, duration=5 * scale,
                                **options)
            pool_s = server.pool_cpu_s() - before_s
            check(server, found)
            booked = server.shares_booked()
        return {"shares": found["accepted"], "cpu_us_per_share": found["srv_cpu_us_per_submit"],
                "pool_cpu_us_per_share": pool_s / booked * 1e6, "shares_per_s": found["accepted_per_s"],
                "p50_ms": found["lat_p50_us"] / 1e3, "p99_ms": found["lat_p99_us"] / 1e3,
                "max_ms": found["lat_max_us"] / 1e3}

    return measure


def memory_idle(mode: str, connections: int) -> Callable[[Loader, float], Figures]:
    """What a machine with work holds in the translator, its connection to the upstream included."""

    def measure(loader: Loader, scale: float) -> Figures:
        count = round(connections * scale)
        with Translated(mode) as server:
            loader.load(server, "idle", 100, rounds=0, settle=SETTLE_S * scale)     # what the first ones cost is ours
            found = loader.load(server, "idle", count, settle=SETTLE_S * scale, rounds=0)
            check_log(server)
        return {"connections": count, "kib_per_connection": found["rss_per_conn_kb"]}

    return measure


def set_up(mode: str) -> Callable[[Loader, float], Figures]:
    """Connect, subscribe, authorize, first notify, and away again: 64 machines at a time.

    They wait for each answer, so each takes the 250 ms in which a machine may say its name.
    """

    def measure(loader: Loader, scale: float) -> Figures:
        with Translated(mode) as server:
            found = loader.load(server, "churn", 64, duration=max(1.0, 5 * scale))
            check_log(server)
        return {"connections": found["done"], "cpu_us_per_setup": found["srv_cpu_us_per_setup"],
                "setups_per_s": found["setups_per_s"]}

    return measure


CASES = [case for mode in MODES for case in (
    Case(f"accepted-100x8-{mode}", accepted(mode, 8), {"cpu_us_per_share": 90}),
    Case(f"accepted-100x1-{mode}", accepted(mode, 1), {"cpu_us_per_share": 90}),
    Case(f"paced-500-{mode}", accepted(mode, 8, rate=500)),
    Case(f"set-up-{mode}", set_up(mode)),
    Case(f"memory-idle-1000-{mode}", memory_idle(mode, 1_000)),
)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("translator", __doc__, CASES, arguments)


if __name__ == "__main__":
    sys.exit(main())

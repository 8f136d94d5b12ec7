"""What the pool costs its V1 machines: shares, set-ups, new tips and memory, of `warppool run` under a load that is C.

    python -m bench.v1                      # every case, three runs each: some minutes
    python -m bench.v1 --case accepted      # those whose names begin so
    python -m bench.v1 --quick              # all of them, small and once: does it work at all?

prints one JSON line a case, each figure the median of the runs; bench/README.rst says what each means. The load comes
from bench/v1load.c, which loads any V1 pool alike; it is compiled with gcc at every start. A case fails unless every
share was accepted and booked.
"""

from __future__ import annotations

import json
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.command import choose, print_medians
from bench.node import TRANSACTIONS
from bench.server import PYTHON, BenchFailed, Server
from warppool.commands.democert import self_signed

Figures = dict[str, float]

SOURCE = Path(__file__).with_name("v1load.c")
COMPILE = ("gcc", "-O2", "-Wall", "-Wextra", "-Werror")
WARM_UP_S = 1.0             # of shares before the clock starts
SETTLE_S = 3.0              # until a pool that has set many connections up is at rest
TIPS = 3                    # new tips in one run, of which the median counts
PATIENCE_S = 60.0
SOURCE_ADDRESSES = 8        # of 127.0.0.0/8, so that ports do not run out
TRIGGER = "tip"

EVERY_HASH_COUNTS = {
    "WARPPOOL__STRATUM__SV2_LISTEN": "[]",
    "WARPPOOL__DIFFICULTY__START": "1e-10",
    "WARPPOOL__DIFFICULTY__MIN": "1e-10",
    "WARPPOOL__DIFFICULTY__MAX": "1e-10",
}


@dataclass(frozen=True)
class Case:
    """One line of output: `measure` makes the figures of one run, and `wanted` are the bounds set for them."""

    name: str
    measure: Callable[[Loader, float], Figures]     # takes the scale: 1.0, or less for a quick run
    wanted: Figures = field(default_factory=dict)


class Loader:
    """The compiled load generator."""

    def __init__(self, folder: Path) -> None:
        if shutil.which(COMPILE[0]) is None:
            raise BenchFailed(f"{SOURCE.name} needs {COMPILE[0]}")
        self._program = folder / "v1load"
        subprocess.run([*COMPILE, "-o", self._program, SOURCE, "-lm"], check=True)

    def load(self, server: Server, mode: str, connections: int, **options: object) -> dict[str, Any]:
        """Load the pool in this mode and return what the generator says; a new tip at the node each time it asks."""
        words = [str(self._program), "--mode", mode, "--port", str(server.port), "--pid", str(server.pid),
                 "--conns", str(connections), "--src-ips", str(min(SOURCE_ADDRESSES, connections))]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            complaints = []
            for line in process.stderr:
                if line.strip() == TRIGGER:
                    server.move_tip()
                else:
                    complaints.append(line.strip())
            said = process.stdout.read()
        if process.returncode or complaints:
            raise BenchFailed(f"v1load: {'; '.join(complaints) or said or process.returncode}")
        found: dict[str, Any] = json.loads(said)
        if found["ended"] or (mode != "churn" and found["ready"] != connections):
            raise BenchFailed(f"{found['ready']} of {connections} connections were ready, {found['ended']} ended")
        return found


def run_cases(bench: str, doc: str, cases: Sequence[Case], arguments: Sequence[str] | None) -> int:
    """Run what the command line of `bench` says; 1 if a case failed."""
    chosen, (runs, scale) = choose(f"bench.{bench}", doc, cases, arguments)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    try:
        with TemporaryDirectory(prefix="warppool-bench-") as folder:
            loader = Loader(Path(folder))
            for case in chosen:
                print_medians(bench, case, [case.measure(loader, scale) for _ in range(runs)])
    except (BenchFailed, subprocess.SubprocessError) as exc:
        print(f"bench.{bench}: {exc}", file=sys.stderr)
        return 1
    return 0


def v1_server(transactions: int = TRANSACTIONS, **environment: str) -> Server:
    """A pool that serves V1 alone, plain unless `environment` says otherwise."""
    words = {"WARPPOOL__STRATUM__LISTEN": '["127.0.0.1:0"]', **EVERY_HASH_COUNTS, **environment}
    return Server(transactions, command=("env", *(f"{name}={value}" for name, value in words.items()), *PYTHON))


def check(server: Server, found: dict[str, Any]) -> None:
    """Every share was accepted and is in the books, and the log has no complaint."""
    for name in ("rejected", "unmatched", "lost"):
        if found[name]:
            raise BenchFailed(f"of {found['answers']:.0f} answers, {name}: {found[name]:.0f} {found['reject_codes']}")
    booked = server.shares_booked()
    if booked < found["accepted"] or not booked:
        raise BenchFailed(f"{found['accepted']:.0f} shares were accepted, {booked} are in the books")
    check_log(server)


def check_log(server: Server) -> None:
    """The log has no complaint."""
    if complaints := server.complaints():
        raise BenchFailed(f"the pool complains: {complaints[0]}")


def accepted(in_flight: int, same_extranonce2: int = 1, **options: object) -> Callable[[Loader, float], Figures]:
    """Shares of 100 connections, so many in flight on each; `same_extranonce2` shares differ in their nonce alone."""

    def measure(loader: Loader, scale: float) -> Figures:
        with v1_server() as server:
            found = loader.load(server, "submit", 100, window=in_flight, en2_every=same_extranonce2,
                                warmup=WARM_UP_S * scale, duration=5 * scale, **options)
            check(server, found)
        return {"shares": found["accepted"], "cpu_us_per_share": found["srv_cpu_us_per_submit"],
                "shares_per_s": found["accepted_per_s"], "p50_ms": found["lat_p50_us"] / 1e3,
                "p99_ms": found["lat_p99_us"] / 1e3, "max_ms": found["lat_max_us"] / 1e3,
                "other_cpu_cores": found["other_cpu_cores"]}

    return measure


def memory_idle(connections: int) -> Callable[[Loader, float], Figures]:
    """What a connection with work holds, with its first job, and with those of three new tips."""

    def measure(loader: Loader, scale: float) -> Figures:
        count = round(connections * scale)
        with v1_server() as server:
            loader.load(server, "idle", 100, rounds=0, settle=SETTLE_S * scale)     # what the first ones cost is ours
            found = loader.load(server, "idle", count, settle=SETTLE_S * scale, rounds=TIPS,
                                trigger=f"echo {TRIGGER}")
            check_log(server)
        return {"connections": count, "kib_per_connection": found["rss_per_conn_kb"],
                "kib_per_connection_after_tips": (found["srv_rss_after_kb"] - found["srv_rss0_kb"]) / count}

    return measure


def new_tip(connections: int) -> Callable[[Loader, float], Figures]:
    """From the first machine that has the job of a new tip to the last, as the kernel received it."""

    def measure(loader: Loader, scale: float) -> Figures:
        count = max(2, round(connections * scale))
        with v1_server() as server:
            found = loader.load(server, "idle", count, settle=SETTLE_S * scale, rounds=TIPS, kernel_ts=True,
                                trigger=f"echo {TRIGGER}")
            check_log(server)
        if any(each["got"] != count for each in found["fanout"]):
            raise BenchFailed(f"a tip did not reach all {count} machines: {found['fanout']}")
        medians = {name: statistics.median(each[name] for each in found["fanout"]) for name in
                   ("spread_ms", "srv_cpu_ms", "first_ms")}
        return {"connections": count, "first_to_last_ms": medians["spread_ms"],
                "cpu_ms_with_template": medians["srv_cpu_ms"], "tip_to_first_ms": medians["first_ms"]}

    return measure


def set_up(loader: Loader, scale: float) -> Figures:
    """Connect, subscribe, authorize, first notify, and away again: 64 machines at a time."""
    with v1_server() as server:
        found = loader.load(server, "churn", 64, duration=5 * scale)
        check_log(server)
    return {"connections": found["done"], "cpu_us_per_setup": found["srv_cpu_us_per_setup"],
            "setups_per_s": found["setups_per_s"], "p99_ms": found["setup_p99_ms"]}


def memory_idle_tls(connections: int) -> Callable[[Loader, float], Figures]:
    """The same as `memory_idle` over TLS 1.3, by clients of Python's own."""

    def measure(loader: Loader, scale: float) -> Figures:
        count = round(connections * scale)
        with ExitStack() as closing:
            certificate, key = self_signed().write(Path(closing.enter_context(TemporaryDirectory())))
            server = closing.enter_context(v1_server(
                WARPPOOL__STRATUM__LISTEN="[]", WARPPOOL__STRATUM__TLS_LISTEN='["127.0.0.1:0"]',
                WARPPOOL__STRATUM__TLS_CERT=str(certificate), WARPPOOL__STRATUM__TLS_KEY=str(key)))
            context = ssl.create_default_context(cafile=str(certificate))
            for number in range(20):                        # what the first ones cost is the pool's
                closing.enter_context(tls_machine(context, server.port, number))
            time.sleep(SETTLE_S * scale)
            before_kib, before_s = server.rss_kib(), server.cpu_s()
            for number in range(count):
                closing.enter_context(tls_machine(context, server.port, number))
            cpu_s = server.cpu_s() - before_s
            time.sleep(SETTLE_S * scale)
            idle_kib = server.rss_kib() - before_kib
            check_log(server)
        return {"connections": count, "kib_per_connection": idle_kib / count, "cpu_us_per_setup": cpu_s / count * 1e6}

    return measure


def tls_machine(context: ssl.SSLContext, port: int, number: int) -> ssl.SSLSocket:
    """A machine with its first job."""
    machine = context.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE_S),
                                  server_hostname="localhost")
    machine.sendall(b'{"id":1,"method":"mining.subscribe","params":["bench"]}\n'
                    b'{"id":2,"method":"mining.authorize","params":["worker.%d","x"]}\n' % number)
    came = b""
    while b'"mining.notify","params"' not in came or not came.endswith(b"\n"):
        data = machine.recv(65_536)
        if not data:
            raise BenchFailed("the pool hung up")
        came += data
    return machine


CASES = [
    Case("accepted-100x8", accepted(8), {"cpu_us_per_share": 30}),
    Case("accepted-100x1", accepted(1), {"cpu_us_per_share": 36}),
    Case("accepted-100x8-same-extranonce2", accepted(8, 64)),
    Case("accepted-100x1-same-extranonce2", accepted(1, 64)),
    Case("paced-1000", accepted(8, rate=1_000), {"cpu_us_per_share": 110, "p99_ms": 10}),
    Case("set-up", set_up, {"setups_per_s": 3_000}),
    Case("memory-idle-10000", memory_idle(10_000), {"kib_per_connection": 6}),
    Case("memory-idle-2000-tls", memory_idle_tls(2_000)),
    *(Case(f"tip-{connections}", new_tip(connections), {"first_to_last_ms": bound})
      for connections, bound in ((1_000, 15), (5_000, 60), (10_000, 130))),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("v1", __doc__, CASES, arguments)


if __name__ == "__main__":
    sys.exit(main())

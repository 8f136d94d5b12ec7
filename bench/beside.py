"""A share on this pool and on SRI's `pool_sv2`, side by side: the same node, the same miners, one after the other.

    python -m bench.beside

prints one JSON line a case. It needs the program that `tests/peers/get_sri` builds, which gets its templates from
`warppool template-provider`. SRI's pool acknowledges in batches and keeps no books, so each case is measured of this
pool twice: with books that survive a power cut, as they are, and with `ledger.durability = "none"`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.command import Figures, run_cases
from bench.miners import Crowd
from bench.pool import check
from bench.provider import WithProvider
from bench.server import PYTHON, TICK_S, BenchFailed
from tests.peers.sri import AUTHORITY, POOL, SriPool, program
from warppool.authority import parse_authority_key
from warppool.bitcoin.target import MAX_TARGET
from warppool.sv2.profile import SPEC, Profile

MINERS = 100
WARM_UP = 20                    # shares of each miner before the clock starts: two batches
EVERY_HASH = {"shares_per_minute": 60_000.0}        # of SRI's pool, for machines of RATE
RATE = 0.5                      # hashes a second that each miner declares: every hash is a share then
TWICE = 2.0                     # what a share may cost here, where it costs 1 there
NO_BOOKS = ("env", "WARPPOOL__LEDGER__DURABILITY=none", *PYTHON)


class Foreign(NamedTuple):
    """SRI's pool as the miners see it, and its process."""

    profile: Profile
    pin: bytes
    port: int
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds so far, user and system, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S


@dataclass(frozen=True)
class Case:
    """One line of output: shares in flight of each miner, how many it sends, and how many SRI acknowledges at once."""

    name: str
    in_flight: int
    shares_each: int
    batch: int
    wanted: Figures = field(default_factory=dict)


@contextmanager
def sri_pool(server: WithProvider, batch: int) -> Iterator[Foreign]:
    """SRI's pool on the provider of `server`."""
    with TemporaryDirectory(prefix="warppool-bench-") as folder:
        sri = SriPool(Path(folder), server.provider_port, server.provider_key, share_batch_size=batch, **EVERY_HASH)
        with sri:
            process = sri._process
            assert process is not None
            yield Foreign(SPEC, parse_authority_key(AUTHORITY), sri.port, process.pid)


def cost(pool: WithProvider | Foreign, case: Case, each: int) -> tuple[float, float]:
    """CPU in microseconds a share, and shares a second, of `each` shares of each miner."""
    with Crowd(pool, MINERS, rate=RATE) as crowd:
        if any(miner.work is None or miner.work.target < MAX_TARGET >> 1 for miner in crowd.miners):
            raise BenchFailed("not every hash is a share")
        in_flight = max(case.in_flight, case.batch)
        crowd.seal(WARM_UP)
        crowd.drive(in_flight)
        crowd.seal(each)
        before = pool.cpu_s()
        wall_s = crowd.drive(in_flight)
        cpu_s = pool.cpu_s() - before
    shares = each * MINERS
    return cpu_s / shares * 1e6, shares / wall_s


def measure(case: Case, scale: float) -> Figures:
    """All three, one after the other."""
    if not os.access(program(POOL), os.X_OK):
        raise BenchFailed(f"{program(POOL)} is missing: tests/peers/get_sri builds it")
    each = max(case.batch, case.in_flight, round(case.shares_each * scale)) // case.batch * case.batch
    figures: Figures = {}
    commands: Mapping[str, tuple[str, ...]] = {"": PYTHON, "no_books_": NO_BOOKS}
    for name, command in commands.items():
        with ExitStack() as closing:
            server = closing.enter_context(WithProvider(command=command, profile=SPEC))
            figures[f"{name}cpu_us_per_share"], figures[f"{name}shares_per_s"] = cost(server, case, each)
            if not name:                        # without durability the books follow later
                check(server, (WARM_UP + each) * MINERS)
                sri = closing.enter_context(sri_pool(server, case.batch))
                figures["sri_cpu_us_per_share"], figures["sri_shares_per_s"] = cost(sri, case, each)
    figures["ratio"] = figures["cpu_us_per_share"] / figures["sri_cpu_us_per_share"]
    return figures


CASES = [
    Case("accepted-100x8-tens", 8, 400, 10, {"ratio": TWICE}),
    Case("accepted-100x8-each", 8, 400, 1),
    Case("accepted-100x1-each", 1, 200, 1),
]


def main() -> int:
    """Run what the command line says; 1 if a case failed."""
    return run_cases("beside", __doc__, CASES, lambda case, scale, _: measure(case, scale))


if __name__ == "__main__":
    sys.exit(main())

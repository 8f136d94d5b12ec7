"""What the benches of whole programs have in common: their command line, their runs, and the JSON line of a case."""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from bench.server import BenchFailed

Figures = dict[str, float]

RUNS = 3
QUICK_SCALE = 0.04
"""How small a quick run is: it shows that a case works, and its figures mean little."""


class Named(Protocol):
    """A case: its name, and the figures that are wanted of it."""

    @property
    def name(self) -> str: ...
    @property
    def wanted(self) -> Mapping[str, float]: ...


C = TypeVar("C", bound=Named)


class Chosen(NamedTuple):
    """How often each case is to be run, and how large."""

    runs: int
    scale: float


def choose(prog: str, doc: str, cases: Sequence[C], arguments: Sequence[str] | None = None) -> tuple[list[C], Chosen]:
    """Read the command line of the bench `prog`, whose module says `doc`; it ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog=prog, description=doc.partition("\n")[0])
    parser.add_argument("--case", action="append", default=[], metavar="NAME",
                        help="or how its name begins; repeatable")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each case [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="one small run of each, whose figures mean little")
    args = parser.parse_args(arguments)
    chosen = [case for case in cases if not args.case or case.name.startswith(tuple(args.case))]
    if not chosen:
        parser.error(f"no such case; there are {', '.join(case.name for case in cases)}")
    return chosen, Chosen(1, QUICK_SCALE) if args.quick else Chosen(args.runs, 1.0)


def print_medians(bench: str, case: Named, found: Sequence[Mapping[str, float]]) -> None:
    """One JSON line: each figure of the case, the median of its runs."""
    medians = {name: round(statistics.median(figures[name] for figures in found), 2) for name in found[0]}
    print(json.dumps({"bench": bench, "case": case.name, **medians, "wanted": case.wanted, "runs": len(found)}),
          flush=True)


def print_lines(bench: str, lines: Iterable[Mapping[str, object]]) -> int:
    """Print each line as JSON, as soon as it is made; the status of the program, 1 if a case failed."""
    try:
        for line in lines:
            print(json.dumps({"bench": bench, **line}), flush=True)
    except BenchFailed as exc:
        print(f"bench.{bench}: {exc}", file=sys.stderr)
        return 1
    return 0


def machine_ns() -> float:
    """What the hash of a header costs on this machine now: with busy neighbours all CPU times grow as this does."""
    header = bytes(80)
    times = timeit.repeat(lambda: sha256(sha256(header).digest()).digest(), number=200, repeat=50)
    return statistics.median(times) / 200 * 1e9


def rss() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def run_cases(bench: str, doc: str, cases: Sequence[C], measure: Callable[[C, float, int], Figures]) -> int:
    """Run what the command line says, and print a line a case; the status of the program, 1 if a case failed.

    `measure(case, scale, number)` makes the figures of run `number`, from 0.
    """
    chosen, (runs, scale) = choose(f"bench.{bench}", doc, cases)
    gc.disable()                                # between runs only, not within one
    try:
        for case in chosen:
            found = []
            for number in range(runs):
                gc.collect()
                found.append(measure(case, scale, number) | {"sha256d_ns": machine_ns()})
            print_medians(bench, case, found)
    except BenchFailed as exc:
        print(f"bench.{bench}: {exc}", file=sys.stderr)
        return 1
    return 0

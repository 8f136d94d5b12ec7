"""What one lone share goes through on its way up and its verdict on the way back: calls and files of the package.

    python -m bench.trips

prints one JSON line a case of `bench.turns`: `calls` are calls of Python functions that the package defines, `files`
are its modules that were entered by one of them. One machine sends one share and nothing else happens, so the figures
do not depend on the machine that runs them, and two trees can be compared by them on the noisiest one. Only the worker
is counted, not the reactor, the ledger or the machine; in the cases of the translator, its worker and not the pool's.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import warppool
from bench.command import print_lines
from bench.server import BenchFailed
from bench.turns import CASES, Direct, LoneWorker, Translated, set_up
from warppool.net.inbox import Received

PACKAGE = os.path.dirname(os.path.abspath(warppool.__file__)) + os.sep
WARM_UP = 3                 # shares before the one that is counted: caches are filled and the course is the usual one


class Trip:
    """Counts what a worker calls while it has a turn."""

    def __init__(self, worker: LoneWorker) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self._turn = worker.turn
        worker.turn = self._count       # type: ignore[method-assign]

    def _count(self, item: object) -> list[tuple[int, bytes]]:
        sys.setprofile(self._note)
        try:
            return self._turn(item)
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls[frame.f_code.co_filename[len(PACKAGE):], frame.f_code.co_qualname] += 1


def trip_of(world: Direct | Translated) -> Counter[tuple[str, str]]:
    """How often a lone share calls which function of which file; BenchFailed if it is not accepted."""
    set_up(world)
    conn_id, machine = next(iter(world.machines.items()))
    for number in range(1, WARM_UP + 1):
        world.deliver([Received(conn_id, machine.share(number))])
    share = Received(conn_id, machine.share(WARM_UP + 1))
    trip = Trip(world.measured)
    world.deliver([share])
    if machine.accepted != WARM_UP + 1:
        raise BenchFailed("a share was not accepted")
    return trip.calls


def lines(shows_functions: bool) -> Iterator[Mapping[str, object]]:
    """A line a case; each function is printed below it where they are to be shown."""
    for case, build in CASES.items():
        calls = trip_of(build())
        yield {"case": case, "calls": calls.total(), "files": len({file for file, _ in calls})}
        if shows_functions:
            for (file, name), count in sorted(calls.items()):
                print(f"    {count:3} {file} {name}")


def main() -> int:
    """Every case, one line each; with the argument `--functions`, each function below it."""
    return print_lines("trips", lines("--functions" in sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())

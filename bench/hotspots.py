"""Where the pool spends its time under load.

    python -m bench.hotspots                            # 100 miners with 1 share in flight: CPU of each thread
    python -m bench.hotspots --in-flight 8 --calls      # and the functions of each, by cProfile
    python -m bench.hotspots --rate 1000                # so many shares a second instead
    python -m bench.hotspots --spec                     # in the published profile

`--calls` needs CPython 3.11: the cProfile of later ones looks at all threads at once, and at one profile.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.miners import Crowd
from bench.pool import WARM_UP
from bench.server import TICK_S, Server
from warppool.sv2.profile import SPEC, WARP

MINERS = 100
LINES = 25                  # functions told of each thread
INSIDE = "--inside"         # how this module runs the daemon: --inside FOLDER warppool run ...


class Spent(NamedTuple):
    """What a thread has used up."""

    user_s: float
    system_s: float
    switches: int           # it gave the CPU up: a wait, or the interpreter's lock


def threads_of(pid: int) -> dict[int, Spent]:
    """Each thread of a process by its id."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):           # it has ended
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            switches = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.MULTILINE)
            assert switches is not None
            found[int(task.name)] = Spent(int(fields[11]) * TICK_S, int(fields[12]) * TICK_S, int(switches[1]))
    return found


def profile_threads(folder: Path) -> None:
    """From now on each thread leaves a profile and its name, under its id, in `folder` when it ends."""
    run = threading.Thread.run

    def run_profiled(thread: threading.Thread) -> None:
        profile = cProfile.Profile()
        try:
            profile.runcall(run, thread)
        finally:
            profile.dump_stats(folder / f"{thread.native_id}.{thread.name}.profile")

    threading.Thread.run = run_profiled             # type: ignore[method-assign, assignment]


def run_inside(folder: Path, arguments: list[str]) -> int:
    """The daemon's own process: note the names of its threads, or profile them."""
    from warppool.commands.cli import main as warppool

    if (folder / "calls").exists():
        profile_threads(folder)
    else:
        note_names(folder)
    return warppool(arguments)


def note_names(folder: Path) -> None:
    """From now on each thread leaves its name, under its id, in `folder`: the kernel knows only `python`."""
    run: Callable[[threading.Thread], None] = threading.Thread.run

    def run_noted(thread: threading.Thread) -> None:
        (folder / f"{thread.native_id}.{thread.name}.name").touch()
        run(thread)

    threading.Thread.run = run_noted                # type: ignore[method-assign, assignment]


def tell_threads(folder: Path, before: dict[int, Spent], after: dict[int, Spent], shares: int) -> None:
    """CPU of each thread, by share."""
    names = {int(path.name.split(".")[0]): path.name.split(".")[1] for path in folder.glob("*.name")}
    print(f"{'thread':<12}{'user us':>9}{'system us':>11}{'switches':>10}   a share")
    for task, spent in after.items():
        user, system, switches = (now - then for now, then in zip(spent, before.get(task, Spent(0, 0, 0)), strict=True))
        print(f"{names.get(task, 'main'):<12}{user / shares * 1e6:9.1f}{system / shares * 1e6:11.1f}"
              f"{switches / shares:10.2f}")


def tell_calls(folder: Path) -> None:
    """The functions of each thread that cost most, start and set-up included."""
    for path in sorted(folder.glob("*.profile"), key=lambda path: path.stat().st_size):
        print(f"\n--- {path.name.split('.')[1]}")
        pstats.Stats(str(path)).strip_dirs().sort_stats("tottime").print_stats(LINES)


def main() -> int:
    """Run the load and tell."""
    if sys.argv[1:2] == [INSIDE]:
        return run_inside(Path(sys.argv[2]), sys.argv[4:])
    parser = argparse.ArgumentParser(prog="bench.hotspots", description=__doc__.partition("\n")[0])
    parser.add_argument("--in-flight", type=int, default=1, help="shares of each miner [%(default)s]")
    parser.add_argument("--rate", type=float, default=0.0, help="shares a second instead of as fast as it goes")
    parser.add_argument("--shares", type=int, default=20_000, help="in all [%(default)s]")
    parser.add_argument("--spec", action="store_true", help="the published profile instead of warp")
    parser.add_argument("--calls", action="store_true", help="profile the functions too")
    args = parser.parse_args()
    if args.calls and sys.version_info >= (3, 12):
        parser.error("--calls needs CPython 3.11")
    with TemporaryDirectory(prefix="warppool-bench-") as name:
        folder = Path(name)
        if args.calls:
            (folder / "calls").touch()
        command = [sys.executable, "-m", "bench.hotspots", INSIDE, name]
        with Server(command=command, profile=SPEC if args.spec else WARP) as server:
            with Crowd(server, MINERS) as crowd:
                crowd.seal(WARM_UP)
                crowd.drive(args.in_flight)
                crowd.seal(args.shares // MINERS + 1)
                before = threads_of(server.pid)
                if args.rate:
                    crowd.pace(args.rate, args.shares)
                else:
                    crowd.drive(args.in_flight)
                after = threads_of(server.pid)
            if not args.calls:
                tell_threads(folder, before, after, args.shares)
        if args.calls:
            tell_calls(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

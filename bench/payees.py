"""What payees cost: a new tip to thousands of connections with as many payees, a share, and a connection at rest.

    python -m bench.payees

prints one JSON line a case. One thread plays everybody, as in `bench.turns`: times are the worker's alone, and the
least of many. What is compared runs side by side in one process, in turns, so neighbours of the machine make both
dearer. `tip` compares as many payees as connections with one payee of all; `share` compares modes with mode `pool`, and
in mode `pplns` size classes; `idle` is the RSS of a process of its own for each mode, at rest with its first job.
"""

from __future__ import annotations

import gc
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.command import choose, print_lines, rss
from bench.modes import AGENTS, POOL, PPLNS, SOLO, Mode, user
from bench.server import BenchFailed
from bench.sides import Side
from bench.turns import MACHINES, SPEC_SIDE, USER, WARP_SIDE, Direct, make_factory, make_job, round_ns, set_up
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE
from warppool.net.inbox import JobReady
from warppool.sv1.jobs import ENCODING, encoder
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.profile import SPEC, WARP

A_THOUSAND = 1_000
TIPS = 12
ROUNDS = 60
IDLE = 2_000                # connections
MOST_RATIO = 1.5            # of a tip with many payees in one with one
MOST_IDLE_KIB = 0.5         # a connection, more than in mode pool

SIDES: dict[str, Side | None] = {"v1": None, "warp": WARP_SIDE, "spec": SPEC_SIDE}
MODES = {mode.name: mode for mode in (POOL, SOLO, PPLNS)}
ENCODERS = {ENCODING: encoder(COMMON_EXTRANONCE_SIZE - 4), WARP.name: lambda job: EncodedJob(WARP, job),
            SPEC.name: lambda job: EncodedJob(SPEC, job)}


class Case(NamedTuple):
    """A measure of `side`; `size` counts connections, or rounds."""

    name: str
    side: str
    size: int
    measure: Callable[[str, int], dict[str, float]]
    wanted: dict[str, float]


def _one(number: int) -> str:
    return user(1)


def _pool_user(number: int) -> str:
    return USER


def _users_of(mode: Mode) -> Callable[[int], str]:
    return _pool_user if mode is POOL else user


def tip(side: str, connections: int) -> dict[str, float]:
    """A new tip to so many connections: in mode pool, in solo with one payee and with as many, and in pplns."""
    kinds = {"pool": (POOL, _pool_user), "one": (SOLO, _one), "many": (SOLO, user), "pplns": (PPLNS, user)}
    worlds = {kind: (Direct(SIDES[side], mode, users, machines=connections), make_factory(ENCODERS, mode), mode)
              for kind, (mode, users) in kinds.items()}
    for world, _, _ in worlds.values():
        set_up(world)
    least = dict.fromkeys(worlds, math.inf)
    for _ in range(TIPS if connections >= A_THOUSAND else 2):
        gc.collect()
        for kind, (world, factory, mode) in worlds.items():
            job = make_job(factory, mode)
            world.measured.spent_ns = 0
            sends = world.measured.turn(JobReady(job))
            least[kind] = min(least[kind], world.measured.spent_ns)
            for conn_id, data in sends:
                world.machines[conn_id].hear(data)
            if len({conn_id for conn_id, _ in sends}) != connections:
                raise BenchFailed(f"{kind}: {len(sends)} of {connections} machines heard of the tip")
    return {**{f"{kind}_ms": round(ns / 1e6, 3) for kind, ns in least.items()},
            "ratio": round(least["many"] / least["one"], 3), "pool_ratio": round(least["many"] / least["pool"], 3),
            "pplns_ratio": round(least["pplns"] / least["pool"], 3)}


def share(side: str, rounds: int) -> dict[str, float]:
    """A share in each mode, and in pplns for each size class: microseconds, and bytes of the coinbase."""
    worlds = {"pool": Direct(SIDES[side], POOL), "solo": Direct(SIDES[side], SOLO, user)}
    worlds |= {f"pplns_{room}": Direct(SIDES[side], PPLNS, user, agent) for room, agent in AGENTS.items()}
    least = dict.fromkeys(worlds, math.inf)
    for world in worlds.values():
        set_up(world)
    for number in range(1, rounds + 1):
        for kind, world in worlds.items():
            least[kind] = min(least[kind], round_ns(world, number))
    for kind, world in worlds.items():
        if any(machine.accepted != rounds for machine in world.machines.values()):
            raise BenchFailed(f"{kind}: not every share was accepted")
    return {**{f"{kind}_us": round(ns / MACHINES / 1e3, 2) for kind, ns in least.items()},
            "solo_ratio": round(least["solo"] / least["pool"], 3)}


def idle(side: str, connections: int) -> dict[str, float]:
    """RSS of a connection at rest in each mode, in KiB."""
    found = {}
    for mode in MODES:
        done = subprocess.run([sys.executable, "-m", "bench.payees", "--hold", side, mode, str(connections)],
                              capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
        if done.returncode:
            raise BenchFailed(done.stderr.strip()[-300:])
        found[mode] = float(done.stdout)
    return {**{f"{mode}_kib": round(kib, 2) for mode, kib in found.items()},
            **{f"more_{mode}_kib": round(found[mode] - found["pool"], 2) for mode in ("solo", "pplns")}}


def hold(side: str, mode: str, connections: int) -> float:
    """KiB of a connection of this process: what the second half of them took, so that no page that was free counts.

    A machine's own end lives until it has its first job, so that the pool's end alone is measured.
    """
    world = Direct(SIDES[side], MODES[mode], machines=0)
    before = 0.0
    for number in range(1, 2 * connections + 1):
        if number == connections + 1:
            before = _rss_kib()
        world.machines = Direct.machine(SIDES[side], number, _users_of(MODES[mode]), "bench")
        set_up(world)
    return (_rss_kib() - before) / connections


def _rss_kib() -> float:
    gc.collect()
    return rss() / 1024


CASES = [
    *[Case(f"tip-{size}-{side}", side, size, tip, {"ratio": MOST_RATIO}) for side in SIDES for size in (1_000, 5_000)],
    *[Case(f"share-{side}", side, ROUNDS, share, {}) for side in SIDES],
    *[Case(f"idle-{side}", side, IDLE, idle, {"more_solo_kib": MOST_IDLE_KIB, "more_pplns_kib": MOST_IDLE_KIB})
      for side in SIDES],
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Every case, one line each; 1 if a machine was not served."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["--hold"]:
        print(hold(given[1], given[2], int(given[3])))
        return 0
    chosen, (_, scale) = choose("bench.payees", __doc__ or "", CASES, given)
    return print_lines("payees", (
        {"case": case.name, **case.measure(case.side, max(2, round(case.size * scale))), "wanted": case.wanted}
        for case in chosen))


if __name__ == "__main__":
    sys.exit(main())

"""Pictures of the page for the manual: `python -m tests.page.pictures docs/pictures` makes them anew, in Chromium.

Machines, names and numbers are made up, and the same each time.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tests.peers.chromium import browser
from tests.web.asking import serving
from warppool.page.about import About
from warppool.page.markup import path
from warppool.page.view import ConnectUrl
from warppool.stats.snapshot import (
    BOUNDS,
    BlockStats,
    Histogram,
    NodeStats,
    OutputStats,
    PayoutStats,
    Rates,
    RoundStats,
    ShareTally,
    StatsSnapshot,
    UserStats,
    WorkerStats,
    WorkStats,
)
from warppool.web.app import WebApp
from warppool.web.books import HistoryPoint
from warppool.web.pages import Pages
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebView

AT: Final = 1_795_858_000.0
DIFFICULTY: Final = 142_300_000_000_000.0
HASHES: Final = 2**48 / 0xFFFF
ADDRESSES: Final = ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
                    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0")        # of BIP173 and BIP350
"""Addresses that everybody knows, of the papers that define them."""

MACHINES: Final = (
    (f"{ADDRESSES[0]}.cellar", 212e12, "v2", "translator/1.2", 0.0),
    (f"{ADDRESSES[0]}.attic", 110e12, "v1-tls", "S19j", 0.0),
    (f"{ADDRESSES[1]}.garage", 98e12, "v1", "M30S", 0.0), ("workshop.left", 13.4e12, "v1", "S9", 0.0),
    ("workshop.right", 13.1e12, "v1", "S9", 0.0), (f"{ADDRESSES[0]}.desk", 1.21e12, "v1", "bitaxe/BM1370/v2.9.0", 0.0),
    ("school.lab", 1.18e12, "v1", "bitaxe/BM1370/v2.9.0", 0.0),
    ("school.hall", 0.52e12, "v1", "bitaxe/BM1366/v2.4.1", 0.0),
    ("library.window", 0.000_078e12, "v1", "NerdMinerV2", 0.0), ("workshop.old", 3.1e12, "v1", "S7", 5_400.0),
)
"""Name, hash rate, protocol, program, and for how many seconds it has been away."""

ABOUT: Final = About(
    "Hill pool", "Everybody who has worked is paid: each block divides its reward by the work of the last 2 network "
    "difficulties, in the block itself, less 1\u00a0% for the operator.",
    (ConnectUrl("Stratum V1", "stratum+tcp://pool.example:3333"),
     ConnectUrl("Stratum V1 over TLS", "stratum+tls://pool.example:3334"),
     ConnectUrl("Stratum V2", "stratum2+tcp://pool.example:34254/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72")))


def _tally(hps: float, away_s: float = 0.0, best: float = 0.0) -> ShareTally:
    """Of somebody whose rate is about the same all the time."""
    now = 0.0 if away_s else 1.0
    rates = Rates(*(hps * part for part in (now * 1.03, now * 0.98, now * 1.01, now * 1.0, 0.97, 0.96, 0.9)))
    work = hps * 86_400 * 9 / HASHES
    accepted = 9 * 86_400 // 6 + int(hps / 1e11)
    return ShareTally(rates, accepted, accepted // 400, work, 4 * accepted, 4 * work, work, best or work / 3,
                      best or work * 5, AT - away_s - 4)


def _worker(name: str, hps: float, protocol: str, agent: str, away_s: float) -> WorkerStats:
    tally = _tally(hps, away_s)
    return WorkerStats(name, name.partition(".")[0], tally, int(not away_s), False, agent, protocol, AT - 9 * 86_400,
                       AT - away_s if away_s else 0.0, (("stale-share", tally.refused - 3), ("duplicate-share", 3)))


def snapshot() -> StatsSnapshot:
    """A pool of a few people."""
    workers = tuple(_worker(*machine) for machine in MACHINES)
    users = []
    for name in dict.fromkeys(worker.user for worker in workers):
        own = tuple(worker for worker in workers if worker.user == name)
        hps = sum(worker.tally.rates.h1 for worker in own)
        users.append(UserStats(name, _tally(hps), own, sum(worker.machines for worker in own), AT - 40 * 86_400))
    whole = _tally(sum(worker.tally.rates.h1 for worker in workers), best=4.41e12)
    reward = 314_512_345
    return StatsSnapshot(
        number=9, at=AT, started=AT - 9 * 86_400, version="0", network="main", pool=whole, users=tuple(users),
        workers=workers, machines=9, idle=0, gone=1, connections=(("v1", 7), ("v1-tls", 1), ("v2", 1)),
        refused=(("stale-share", 2_412), ("duplicate-share", 29), ("difficulty-too-low", 12)),
        round=RoundStats(since=AT - 61 * 86_400, difficulty=0.34 * DIFFICULTY, effort=0.34),
        blocks=(BlockStats("00000000000000000001c7e0a1b2c3d4e5f60718293a4b5c6d7e8f9001122334", 916_341, MACHINES[1][0],
                           AT - 61 * 86_400, DIFFICULTY, "settled", 8_784, 0.87),
                BlockStats("000000000000000000009f2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f", 888_120, MACHINES[2][0],
                           AT - 254 * 86_400, DIFFICULTY, "settled", 37_005, 1.41)),
        blocks_found=2,
        work=WorkStats(
            has_work=True, height=925_126, node="node-0", template_age_s=12.0, tip_age_s=340.0, value_sat=reward,
            transactions=3_411, network_difficulty=DIFFICULTY, tag="/Hill pool/",
            outputs=(OutputStats(ADDRESSES[0], 231_480_011, True), OutputStats(ADDRESSES[1], 70_102_334, True),
                     OutputStats("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3", 12_930_000),
                     OutputStats("commitment", 0))),
        nodes=(NodeStats("node-0", "up", is_mined=True), NodeStats("node-1", "up")),
        payout=PayoutStats(
            is_shared=True, window_percent=71.0, accounts=3, payable_sat=1_204_000, is_paying=True, total_weight=1000,
            weights=((ADDRESSES[1], 223), (ADDRESSES[0], 736)), balances=((ADDRESSES[0], 1_190_000),)),
        tip_to_notify=Histogram(BOUNDS, (0, 3, 90) + (0,) * 11),
        share_to_answer=Histogram(BOUNDS, (0, 0, 100) + (0,) * 11),
        commit=Histogram(BOUNDS, (0, 0, 0, 100) + (0,) * 10),
        users_by_name=MappingProxyType({user.name: user for user in users}),
        workers_by_name=MappingProxyType({worker.name: worker for worker in workers}))


class Books:
    """In the place of the books: rates that go up and down a little, the same each time."""

    def __init__(self, stats: StatsSnapshot) -> None:
        self._stats = stats

    def history(self, at: float, resolution: int, slots: int, name: str | None = None) -> list[HistoryPoint]:
        """As `WebBooks` has it."""
        found: Any = self._stats if name is None else self._stats.workers_by_name.get(name or "")
        if name is not None and found is None:
            found = self._stats.users_by_name[name]
        tally = self._stats.pool if name is None else found.tally
        last = int(at) // resolution - 1
        return [HistoryPoint(slot * resolution, _wave(slot) * tally.rates.d1, 100, 1.0, 1.0)
                for slot in range(last - slots + 1, last + 1)]


def _wave(slot: int) -> float:
    dip = 0.45 if 70 <= slot % 144 < 78 else 0.0
    return 1.0 + 0.05 * math.sin(slot / 9) + 0.04 * math.sin(slot * 1.7) + 0.03 * math.cos(slot * 2.9) - dip


class Picture(NamedTuple):
    """A page, and how it is looked at; `height` 0 is the whole of it."""

    name: str
    path: str
    width: int
    height: int
    theme: str


USER: Final = path("user", ADDRESSES[0])
PICTURES: Final = (
    Picture("pool", "/", 1280, 1110, "light"), Picture("pool-dark", "/", 1280, 1110, "dark"),
    Picture("miner", USER, 1280, 966, "light"), Picture("phone", "/", 390, 844, "dark"),
)
"""Those of the manual."""

ALL: Final = tuple(
    Picture(f"{name}-{width}-{theme}", place, width, 0, theme)
    for name, place in (("pool", "/"), ("user", USER), ("worker", path("user", ADDRESSES[0], MACHINES[0][0])))
    for width in (1280, 768, 390) for theme in ("light", "dark"))
"""Every page in every width and theme, whole, for who changes the style."""


def make(folder: Path, pictures: tuple[Picture, ...]) -> None:
    """Write them as PNG."""
    stats = snapshot()
    view = WebView(stats, WebSettings(), Books(stats))      # type: ignore[arg-type]
    app = WebApp(RouteTable(Pages(ABOUT).routes()), lambda: view, frozenset({"127.0.0.1"}))
    with tempfile.TemporaryDirectory() as profile, serving(app) as (_, (host, port)), browser(Path(profile)) as window:
        for picture in pictures:
            window.show(picture.width, picture.height or 900, picture.theme)
            window.open(f"http://{host}:{port}{picture.path}")
            if not picture.height:
                window.show(picture.width, window.run("return document.documentElement.scrollHeight"), picture.theme)
            window.wait_for("document.querySelectorAll('.plot canvas').length === 1")
            (folder / f"{picture.name}.png").write_bytes(window.picture())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the pictures of the manual.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every page in every width and theme instead, whole")
    options = parser.parse_args()
    make(options.folder, ALL if options.all else PICTURES)

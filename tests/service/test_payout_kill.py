"""`kill -9` of a pool that shares its rewards, at each point of a block's way and at random ones under load.

Whatever the moment: every job that went out has its snapshot in the books, no entry is there twice, what is held for
users is what the coinbases left to be held, and in the end the books say of each block what the chain says.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.node.chainblocks import OP_TRUE, mine, raw
from tests.service.faultpoints import FaultyPool, Pools
from tests.service.load import Load, LoadMiner
from tests.service.process import write_config
from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.transaction import outputs_of
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutitems import PayoutBlock
from warppool.node.kernel import Kernel
from warppool.node.regtest import make_template
from warppool.noise.primitives import public_key
from warppool.payout.distribution import distribute
from warppool.payout.moves import Purse
from warppool.payout.settlement import SETTLED_AT
from warppool.payout.snapshot import Snapshot
from warppool.sv2.work import Work

SECRET = bytes(range(1, 33))
KILLS = 20
STANDS = ("found", "settled")
MOMENTS_S = (0.0, 0.5)                  # after the load began, and in every other turn after a block was booked
MIN_PAYOUT_SAT = 100_000_000

USERS = tuple(address_of(b"\x00\x14" + bytes([number]) * 20, "regtest") for number in range(16))
"""More than an extended channel's coinbase has room for: some are left unpaid by each block of one."""


@pytest.fixture
def load() -> Iterator[Load]:
    load = Load()
    yield load
    load.close()


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    pools = Pools()
    yield pools
    pools.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    pytest.importorskip("pbk")
    return write_config(
        tmp_path, secret=SECRET, node={"source": "regtest"},
        pool={"payout": "pplns", "fee_percent": 1.5, "min_payout_sat": MIN_PAYOUT_SAT, "window": 200,
              "window_rampup": False})


class CalmMiner(LoadMiner):
    """Submits one block on each tip, and one of the four becomes the next tip."""

    _mined_on = b""

    def _fill(self, work: Work) -> None:
        """A share of before may not be answered yet, and a bad share is no block: then the tip's block is to come."""
        if work.prev_hash != self._mined_on and not self.unanswered:
            known = len(self.blocks)
            super()._fill(work)
            if len(self.blocks) > known:
                self._mined_on = work.prev_hash


class Auditor:
    """Looks at the books after each kill; `jobs` are the snapshots of all jobs that went out."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.jobs: set[str] = set()
        self.has_debits = False
        self._held: dict[bytes, int] = {}

    def hear(self, pool: FaultyPool) -> None:
        self.jobs.update(job["snapshot"] for job in pool.events("fault.job") if job["snapshot"])

    def look(self) -> Counter[str]:
        """Check the books as they are; how many blocks are in which state."""
        with open_reader("sqlite:///shares.db", self._data_dir) as reader:
            assert self.jobs <= {each.hex() for each in reader.snapshot_ids()}
            blocks = reader.payout_blocks()
            entries = list(reader.entries())
            moved = Counter[bytes]()
            for entry in entries:
                moved[entry.block] += entry.sat
                self.has_debits |= entry.turn == 0 and entry.kind == Purse.PAYABLE
            for position in blocks:
                held = self._held_by(reader, position.block) if position.state in STANDS else 0
                assert moved[position.block.hash] == held, position
            assert len({each[:4] for each in entries}) == len(entries)
            sums = reader.entry_sums()
            assert sum(sat for _, _, sat in sums) == sum(moved.values())
            assert all(sat >= 0 for _, _, sat in sums)
        return Counter(position.state for position in blocks)

    def _held_by(self, reader: Reader, block: PayoutBlock) -> int:
        """What a block's coinbase leaves to be held for users, worked out from its bytes and its snapshot."""
        if not block.snapshot_id:
            return 0                        # it pays one account, as solo does
        if block.hash not in self._held:
            body = reader.snapshot(block.snapshot_id)
            assert body is not None
            due = distribute(Snapshot.of_blob(body), block.value, block.room, block.pays_balances)
            outputs = outputs_of(block.coinbase)
            assert outputs[:len(due.outputs)] == due.outputs and sum(sat for sat, _ in outputs) == block.value
            self._held[block.hash] = due.remainder_sat - due.division.fee_sat - due.division.payout_fair_sat
        return self._held[block.hash]


def miners(port: int, turn: int, *, are_calm: bool = True) -> Iterator[LoadMiner]:
    """A standard channel and three extended ones, of other accounts in each turn."""
    kind_of_miner, in_flight = (CalmMiner, 1) if are_calm else (LoadMiner, 4)
    for number, kind in enumerate(("standard", "extended", "extended", "extended")):
        user = f"{USERS[(3 * turn + number) % len(USERS)]}.rig"
        yield kind_of_miner(port, public_key(SECRET), user, kind, in_flight, os.urandom(32))


def await_balances(pool: FaultyPool) -> None:
    """Wait for a job that may pay balances."""
    pool.wait_for("fault.job", lambda job: job["pays"] == "1")


def bury(pools: Pools, config: Path) -> None:
    """Let the chain flush what it has, and put a hundred blocks of somebody else on it."""
    with pools.start(config) as pool:
        assert pool.port()
        assert pool.kill(signal.SIGTERM) == 0
    kernel = Kernel(config.parent / "data" / "regtest")
    kernel.open()
    try:
        for number in range(SETTLED_AT):
            template = make_template(number, kernel.tip(), int(time.time()), "elsewhere")
            kernel.submit(raw(mine(template)))
    finally:
        kernel.close()


def check_chain(data_dir: Path) -> None:
    """The books say of each block what the chain says, and know each block of ours that is on it."""
    with open_reader("sqlite:///shares.db", data_dir) as reader:
        standing = {each.block.hash: each.state in STANDS for each in reader.payout_blocks()}
    kernel = Kernel(data_dir / "regtest")
    kernel.open()
    try:
        assert {each: kernel.is_active(each) for each in standing} == standing
        on_chain = map(kernel.block_at, range(1, kernel.tip().height + 1))
        ours = {each for each in on_chain if outputs_of(kernel.coinbase_of(each))[0][1] != OP_TRUE}
    finally:
        kernel.close()
    assert ours == {each for each, stands in standing.items() if stands}


POINTS = (("snapshot_committed", 2), ("job_out", 3), ("found", 5), ("journaled", 4), ("before_entries", 3),
          ("entries_booked", 4), ("handed_over", 1), ("before_settlement", 1), ("settled", 1))


def test_nothing_is_lost_or_booked_twice_whenever_the_pool_is_killed(
        tmp_path: Path, config: Path, load: Load, pools: Pools) -> None:
    auditor, dice, turns = Auditor(tmp_path / "data"), random.Random(5), itertools.count()

    def look(pool: FaultyPool) -> None:
        load.end()
        auditor.hear(pool)
        auditor.look()

    for point, nth in POINTS:
        with pools.start(config, point, nth) as pool:
            if port := pool.port():
                with suppress(ConnectionError):                         # it has died meanwhile
                    load.take(miners(port, next(turns)))
                load.go_on_until(lambda pool=pool: not pool.is_running)
            pool.kill()
        assert pool.events("fault.hit"), "\n".join(pool.lines)
        look(pool)
        if point == "handed_over":
            bury(pools, config)
    for turn in range(KILLS):
        with pools.start(config) as pool:
            if turn % 2:
                await_balances(pool)                                    # the first blocks of this turn pay them
            known = len(pool.events("payout.booked"))
            load.connect(miners(pool.port(), next(turns), are_calm=turn % 10 < 8))
            load.begin()
            if turn % 2:
                load.go_on_until(lambda pool=pool, known=known: len(pool.events("payout.booked")) > known)
            load.go_on(dice.uniform(*MOMENTS_S))
            pool.kill()
        look(pool)
        if turn == KILLS // 2:
            bury(pools, config)
    with pools.start(config) as pool:
        await_balances(pool)                                            # every own block was asked for and looked for
        assert pool.kill(signal.SIGTERM) == 0
    auditor.hear(pool)
    states = auditor.look()
    assert states["settled"] and states["reversed"] and not states[""]
    assert auditor.has_debits, "balances were owed, matured, and were paid"
    check_chain(tmp_path / "data")

"""Mode pplns on the embedded chain, over sockets: what blocks pay, and over restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.manynames import ADDRESSES
from tests.patience import PATIENCE_S, until
from tests.peers.foreign_v1 import Machine
from tests.service.farm import EVERY_HASH
from tests.service.process import ADDRESS as OPERATOR
from tests.service.process import write_config
from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.transaction import outputs_of
from warppool.config.pool import read_config
from warppool.errors import ConfigError
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutitems import PayoutBlock
from warppool.mining.job import Job
from warppool.payout.audit import audit
from warppool.payout.snapshot import Snapshot
from warppool.rewards.export import export_lines
from warppool.service.pool import Pool

ALICE, BOB = ADDRESSES["P2WPKH"], ADDRESSES["P2PKH"]
SUBSIDY = 50 * 10**8
FEE = SUBSIDY * 2 // 100


class SharedMachine(Machine):
    is_replaced = True


class Shared:
    """A running pool that shares rewards, and its books."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.pool = Pool(config)
        self.pool.service.start()
        assert self.pool.service.is_ready.wait(PATIENCE_S)
        (listener,) = self.pool.ports.listeners
        self.port = listener.port

    @property
    def job(self) -> Job:
        job = self.pool.work.latest
        assert job is not None
        return job

    def books(self) -> Reader:
        return open_reader(self.config.ledger.url, self.config.pool.data_dir)

    def blocks(self) -> list[PayoutBlock]:
        with self.books() as reader:
            return [position.block for position in reader.payout_blocks()]

    def paid(self, block: PayoutBlock) -> dict[str, int]:
        return {address_of(script, "regtest"): sat for sat, script in outputs_of(block.coinbase) if sat}

    def parts(self) -> list[float]:
        """What the numbers say that Alice and Bob have in the window."""
        payout = self.pool.numbers.latest().payout
        found = [] if payout is None else [payout.part_of(name) for name in (ALICE, BOB)]
        return [each.part for each in found if each is not None]

    def await_balances(self, tip: bytes) -> None:
        """Until jobs on this tip are by its own snapshot."""
        until(lambda: self.job.tip.prev_hash == tip and self.job.pays_balances)

    def mine(self, machine: Machine) -> PayoutBlock:
        """A block by the newest job, once the tip that it makes is cleared."""
        share = machine.mine_block()
        self.await_balances(share.hash)
        machine.until(lambda: machine.job.tail in self.job.tails.values())
        return next(block for block in self.blocks() if block.hash == share.hash)


@contextmanager
def shared(folder) -> Iterator[Shared]:
    config = read_config(write_config(
        folder, secret=None, node={"source": "regtest"}, difficulty=EVERY_HASH,
        pool={"payout": "pplns", "fee_percent": 2, "window": 1000, "window_rampup": False},
        stratum={"listen": ["127.0.0.1:0"], "sv2_listen": [], "workers": 1}), {})
    world = Shared(config)
    try:
        yield world
    finally:
        world.pool.service.stop()
    assert not world.pool.service.has_failed.is_set()
    assert world.pool.service.threads.alive() == []


def test_a_block_pays_all_who_worked_and_a_restart_goes_on_where_the_books_stand(tmp_path):
    """A share that is a block is in the books a little after its block: the job after the next one knows it surely."""
    with shared(tmp_path) as world:
        with SharedMachine(world.port, f"{ALICE}.1") as alice, SharedMachine(world.port, f"{BOB}.1") as bob:
            first = world.mine(alice.begin())
            assert (first.account, first.snapshot_id, world.paid(first)) == (ALICE, b"", {
                ALICE: SUBSIDY - FEE, OPERATOR: FEE})       # no work was there before
            world.mine(bob.begin())
            world.mine(bob)
            assert world.paid(world.mine(bob)).keys() == {ALICE, BOB, OPERATOR}
            assert [block.finder for block in world.blocks()] == [ALICE, BOB, BOB, BOB]
            status = world.pool.service.status.line()
        assert "window 0 % full" in status
    with shared(tmp_path) as world:
        with world.books() as reader:
            newest = Snapshot.of_blob(reader.newest_snapshot()[1])
        assert dict(newest.weights).keys() == {ALICE, BOB}
        world.await_balances(world.blocks()[-1].hash)
        until(lambda: sum(world.parts()) == pytest.approx(1.0))         # the numbers have them soon
        with SharedMachine(world.port, f"{ALICE}.1") as alice:
            assert world.paid(world.mine(alice.begin())) == {ALICE: 1_225_000_000, BOB: 3_675_000_000, OPERATOR: FEE}
        with world.books() as reader:
            shared_by_weight = [position for position in reader.payout_blocks() if position.block.snapshot_id]
            assert len(shared_by_weight) >= 3
            for position in shared_by_weight:
                assert audit(export_lines(reader, position))
            assert [epoch.mode for epoch in reader.epochs()] == ["pplns"]
            assert len(reader.starts()) == 2


def test_while_the_books_take_nothing_tips_are_mined_on_the_last_snapshot_and_pay_no_balances(tmp_path):
    with shared(tmp_path) as world, SharedMachine(world.port, f"{ALICE}.1") as alice:
        world.mine(alice.begin())
        books = world.config.pool.data_dir / "shares.db"
        with closing(sqlite3.connect(books, PATIENCE_S, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with world.books() as reader:
                before = reader.snapshot_ids()
            share = alice.find(is_block=True)
            alice.send(alice.submission(share))
            until(lambda: world.job.tip.prev_hash == share.hash)
            assert world.job.snapshot_id in before and not world.job.pays_balances
            other.execute("ROLLBACK")
        world.await_balances(share.hash)
        assert world.job.snapshot_id not in before


def test_pplns_without_a_node_that_tells_of_blocks_is_refused(tmp_path):
    path = write_config(tmp_path, secret=None, pool={"payout": "pplns"},
                        stratum={"listen": ["127.0.0.1:0"], "sv2_listen": []},
                        node={"source": "tdp", "url": "stratum2+tcp://127.0.0.1:8442", "insecure": True})
    with pytest.raises(ConfigError, match=r"pool\.payout holds 'pplns'.*rpc"):
        read_config(path, {})

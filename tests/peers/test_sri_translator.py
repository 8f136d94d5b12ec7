"""V1 machines on SRI's translator, which mines on our pool in the published profile; a real bitcoind is the node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.manynames import ADDRESSES
from tests.peers import bitcoind, spec, sri
from tests.peers.bitcoind import Bitcoind, until
from tests.peers.foreign_v1 import Share
from tests.peers.sri import SriProgram, SriTranslator
from tests.peers.sri_machine import SriMachine
from tests.service.process import PoolProcess

pytestmark = pytest.mark.peer

LISTED = 3                  # times that the translator lists the pool
ACKNOWLEDGED = re.compile(r"SubmitSharesSuccess.*?new_submits_accepted_count=(\d+)")


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    bitcoind.skip_unless_installed()
    sri.skip_unless_installed(sri.TRANSLATOR)


@pytest.mark.parametrize("is_aggregate", [False, True], ids=["a-channel-each", "one-channel"])
def test_v1_machines_mine_through_sris_translator_and_our_pool_restarts_under_it(
        tmp_path: Path, is_aggregate: bool) -> None:
    mined: list[Share] = []
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        served = spec.pool_config(tmp_path, node)
        with (serving(served.config) as pool,
              SriTranslator(tmp_path / "translator", [served.as_pool()] * LISTED, is_aggregate=is_aggregate,
                            names_workers=is_aggregate) as translator):
            mined += mine(pool, translator, node)
            until(lambda: acknowledged(translator) == len(mined), sri.PATIENCE_S, translator.last_words)
            pool.terminate()
            assert pool.wait() == 0
            with PoolProcess(served.config) as again:
                mined += mine(again, translator, node)
                until(lambda: acknowledged(translator) == len(mined), sri.PATIENCE_S, translator.last_words)
                again.terminate()
                assert again.wait() == 0
        books = spec.booked(served.config)
        assert max(books.values()) == 1
        assert {display for _, display in books} == {share.display for share in mined}
        workers = {worker for worker, _ in books}
        if is_aggregate:
            assert workers == {"farm.rig1", "farm.rig2"}
        else:
            assert len(workers) >= 2 and all(re.fullmatch(r"farm\.miner\d+", worker) for worker in workers)


@contextmanager
def serving(config: Path) -> Iterator[PoolProcess]:
    """A pool that is ready: SRI's translator tries each of its pools three times, a second apart, and ends."""
    with PoolProcess(config) as pool:
        pool.ready()
        yield pool


def mine(pool: PoolProcess, translator: SriProgram, node: Bitcoind) -> list[Share]:
    """Two blocks of each of two machines, which both come to know of. A share that is no block takes minutes to find.

    The translator tells its machines a target of the size of the network's.
    """
    pool.ready()
    mined = []
    first, second = (when_served(translator, f"alice.rig{number}") for number in (1, 2))
    with first, second:
        for miner in (first, second, first, second):
            mined.append(block := miner.find(is_block=True))
            assert miner.submit(block) == [None]
            for each in (first, second):
                each.await_tip(block.hash)
            pool.wait_for("block.accepted", lambda fields, block=block: fields["hash"] == block.display)
            assert node.best == block.display
    return mined


def when_served(translator: SriProgram, worker: str) -> SriMachine:
    """A machine with work, once there is some; a supervisor starts the translator as often as it ends."""
    machines: list[SriMachine] = []

    def begins() -> bool:
        translator.ensure_running()
        try:
            machine = SriMachine(translator.port, worker)
        except OSError:
            return False
        try:
            machines.append(machine.begin())
        except (AssertionError, OSError):
            machine.close()
            return False
        return True

    until(begins, sri.PATIENCE_S, translator.last_words)
    return machines[0]


def acknowledged(translator: SriProgram) -> int:
    """Shares that the pool acknowledged, as the translator says."""
    return sum(int(found[1]) for line in list(translator.lines) if (found := ACKNOWLEDGED.search(line)))


@pytest.mark.parametrize("user", ["sri/solo/{address}", "{address}"])
def test_sris_translator_that_verifies_payouts_stays_with_our_solo_pool(tmp_path: Path, user: str) -> None:
    """It reads every coinbase, and leaves a pool that does not pay whom it was told to mine for."""
    address = ADDRESSES["P2TR"]
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        served = spec.pool_config(tmp_path, node, payout="solo")
        with (serving(served.config) as pool,
              SriTranslator(tmp_path / "translator", [served.as_pool()], user=user.format(address=address),
                            verifies=True) as translator):
            blocks = mine(pool, translator, node)
            assert any("Payout verification enabled" in line for line in translator.lines)
        for block in blocks:
            outputs = node.call("getblock", block.display, 2)["tx"][0]["vout"]
            assert [output["scriptPubKey"].get("address") for output in outputs] == [address, None]


def test_sris_translator_that_verifies_payouts_leaves_our_pool_where_it_pays_itself(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    with Bitcoind(tmp_path / "node") as node:
        node.generate(2)
        served = spec.pool_config(tmp_path, node)
        with (serving(served.config),
              SriTranslator(tmp_path / "translator", [served.as_pool()], user=ADDRESSES["P2TR"],
                            verifies=True) as translator):
            def is_left() -> bool:
                translator.ensure_running()
                return any("ayout verification" in line and "failed" in line.lower() for line in translator.lines)

            with suppress(OSError), SriMachine(translator.port, "alice.rig1") as machine, suppress(AssertionError):
                machine.begin()
            until(is_left, sri.PATIENCE_S, translator.last_words)

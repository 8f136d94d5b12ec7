"""A pool in mode pplns mines until blocks are settled: exports, balances and claims, as people see them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S, until
from tests.service.test_daemon import KEY
from warppool.addresses import PoolUrl
from warppool.bitcoin.addresstext import address_of
from warppool.commands import payouts
from warppool.commands.cli import main
from warppool.commands.demo import demo_config
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutitems import PayoutBlock
from warppool.miner import cpu
from warppool.miner.cpu import CpuMiner
from warppool.mining import rooms
from warppool.node import regtest
from warppool.payout.moves import PayoutState, Purse
from warppool.payout.settlement import SETTLED_AT
from warppool.rewards.audits import audit_file
from warppool.service.connector import SV1
from warppool.service.pool import Pool

pytest.importorskip("pbk")

USERS = [address_of(b"\x00\x14" + bytes((number,)) * 20, "regtest") for number in (1, 2, 3)]


@pytest.fixture
def small_machines(monkeypatch):
    """All machines hold 255 bytes of a coinbase: two of three users have an output, the third is owed his share."""
    monkeypatch.setattr(rooms, "_FIRMWARE", (rooms._Firmware("", 255),))


@pytest.fixture
def fast_chain(monkeypatch):
    """Templates come as fast as blocks, and answers may take long."""
    monkeypatch.setattr(cpu, "ANSWERS_S", PATIENCE_S)
    monkeypatch.setattr(regtest, "TEMPLATE_EVERY_S", 0.01)
    monkeypatch.setattr(payouts, "ANSWER_S", PATIENCE_S)


@pytest.fixture
def config(tmp_path):
    """A pool's configuration; the same stands in a file for the commands."""
    keys = {"payout": "pplns", "fee_percent": 2, "window": 100, "window_rampup": False}
    config = demo_config(tmp_path, KEY, keys)
    (tmp_path / "warppool.toml").write_text(
        f'[pool]\nnetwork = "regtest"\npayout_address = "{config.pool.payout_address}"\npayout = "pplns"\n'
        f'fee_percent = 2\ndata_dir = "{tmp_path}"\n[[node]]\nsource = "regtest"\n')
    return config


def listed(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    assert main(["payouts", "-c", str(folder / "warppool.toml"), *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def payable(reader: Reader) -> dict[str, int]:
    return {account: sat for account, purse, sat in reader.entry_sums() if purse == Purse.PAYABLE}


def shared_blocks(reader: Reader) -> list[PayoutBlock]:
    """Those that are settled and were shared by weight."""
    return [position.block for position in reader.payout_blocks((PayoutState.SETTLED,)) if position.block.snapshot_id]


def is_settled_so_far(reader: Reader) -> bool:
    """Whether nothing is left to be settled by the blocks that there are."""
    heights = [position.block.height for position in reader.payout_blocks((PayoutState.FOUND,))]
    return min(heights) > max(heights) - SETTLED_AT + 1


@contextmanager
def mining(port: int) -> Iterator[Callable[[], bool]]:
    """One miner for each user; what is given says whether all of them go on."""
    miners = [CpuMiner(PoolUrl("127.0.0.1", port, b""), f"{user}.x") for user in USERS]
    threads = [threading.Thread(target=miner.run) for miner in miners]
    for thread in threads:
        thread.start()
    try:
        yield lambda: all(thread.is_alive() for thread in threads)
    finally:
        for miner in miners:
            miner.stop()
        for thread in threads:
            thread.join(PATIENCE_S)


@pytest.mark.usefixtures("small_machines", "fast_chain")
def test_blocks_are_settled_exported_and_audited_and_a_balance_is_claimed(tmp_path, config, capsys):
    def asked(*words: str) -> int:
        status = main(["payouts", "-c", str(tmp_path / "warppool.toml"), *words])
        capsys.readouterr()
        return status

    pool = Pool(config)
    pool.service.start()
    try:
        assert pool.service.is_ready.wait(PATIENCE_S)
        port, = (listener.port for listener in pool.ports.listeners if listener.kind == SV1)
        with open_reader(config.ledger.url, config.pool.data_dir) as reader:
            account = ""
            while not account or asked("claim", account) != 0:
                known = shared_blocks(reader)
                with mining(port) as is_going:
                    until(lambda known=known: not is_going() or len(shared_blocks(reader)) > len(known))
                    assert is_going()
                until(lambda: is_settled_so_far(reader))
                account = next((each for each, sat in payable(reader).items() if sat), "")      # that no block has paid
            shared = shared_blocks(reader)
        claimed, = (row for row in listed(tmp_path, capsys) if row["what"] == "balance" and row["account"] == account)
        sat = claimed["claimed"]
        assert sat > 0 == claimed["payable"]
        assert asked("paid", account, str(sat), "--txid", "ab" * 32) == 1, "a job of then may still pay it"
        until(lambda: all(audit_file(tmp_path, block.height, block.hash).exists() for block in shared))
    finally:
        pool.service.stop()
    balance, = (row for row in listed(tmp_path, capsys) if row["what"] == "balance" and row["account"] == account)
    assert (balance["payable"], balance["claimed"]) == (0, sat)
    total = listed(tmp_path, capsys)[-1]
    assert total["held"] == total["payable"] + total["maturing"] + total["claimed"] + total["by_hand"] > 0
    for block in shared:
        assert main(["audit", str(audit_file(tmp_path, block.height, block.hash))]) == 0
        assert capsys.readouterr().out.endswith("ok: the coinbase pays exactly this\n")

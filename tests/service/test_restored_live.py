"""`warppool run` on books that were put back from a copy: it says so, and pays balances once it is told to."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S, until
from tests.service.farm import EVERY_HASH
from tests.service.process import PoolProcess, write_config
from tests.service.test_pplns_live import ALICE, SharedMachine
from warppool.commands import payouts
from warppool.commands.cli import main
from warppool.ledger.markfile import FILE_NAME, MarkFile
from warppool.ledger.sqlitereader import SqliteReader

pytest.importorskip("pbk")


def copied(books: Path, copy: Path) -> int:
    """Copy books that are written; the id of their next share."""
    with closing(sqlite3.connect(books)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        return int(target.execute("SELECT next_share_id FROM meta").fetchone()[0])


def is_past(mark: MarkFile, next_id: int) -> bool:
    marked = mark.read()
    return marked is not None and marked.next_share_id > next_id


def test_books_put_back_from_before_a_block_pay_no_balances_until_they_are_confirmed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(payouts, "ANSWER_S", PATIENCE_S)
    config = write_config(tmp_path, secret=None, node={"source": "regtest"}, difficulty=EVERY_HASH,
                          pool={"payout": "pplns", "fee_percent": 2, "window": 1000, "window_rampup": False},
                          stratum={"listen": ["127.0.0.1:0"], "sv2_listen": [], "workers": 1})
    books, copy = tmp_path / "data" / "shares.db", tmp_path / "copy.db"
    with PoolProcess(config) as daemon, SharedMachine(daemon.ready(), f"{ALICE}.1") as machine:
        machine.begin().mine_block()
        next_id = copied(books, copy)
        block = machine.mine_block()
        daemon.wait_for("payout.booked", lambda fields: fields["hash"] == block.display)
        until(lambda: is_past(MarkFile(tmp_path / "data" / FILE_NAME), next_id))
        daemon.kill()
    with PoolProcess(config) as daemon:                     # killed after a block: what is left is no copy
        daemon.ready()
        daemon.terminate()
        assert daemon.wait() == 0
        assert not daemon.events("ledger.restored")

    shutil.copy(copy, books)
    with PoolProcess(config) as daemon:
        daemon.ready()
        assert len(daemon.events("ledger.restored")) == len(daemon.events("payout.unconfirmed")) == 1
        with SqliteReader(books) as reader:
            assert reader.needs_confirmation()
        assert main(["payouts", "-c", str(config), "--confirm-restore"]) == 0
        assert "the restored copy is confirmed" in capsys.readouterr().out
        assert main(["payouts", "-c", str(config), "--confirm-restore"]) == 0
        assert "were confirmed before" in capsys.readouterr().out
        daemon.terminate()
        assert daemon.wait() == 0
    with SqliteReader(books) as reader:
        assert not reader.needs_confirmation()

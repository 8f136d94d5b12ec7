"""`warppool payouts` and `warppool audit`, as an operator and a miner call them."""

from __future__ import annotations

import csv
import io
import json
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from tests.ledger.books import opened
from tests.patience import PATIENCE_S
from tests.payout.exports import HEIGHT, coinbase_of
from tests.payout.makers import POOL
from tests.rewards.world import ALICE, BLOCK, BOB, CAROL, VALUE, claim, mine, some_shares
from warppool import claimfiles
from warppool.commands import payouts as module
from warppool.commands.cli import main
from warppool.ledger.payoutitems import Booking
from warppool.payout.moves import find
from warppool.service.lock import DataDirLock

HASH = BLOCK[::-1].hex()
TXID = "ab" * 32


@pytest.fixture
def books(tmp_path):
    return tmp_path / "data" / "shares.db"


@pytest.fixture
def config(tmp_path):
    """A pool's file, whose folder of data is there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "warppool.toml").write_text(
        f'[pool]\nnetwork = "regtest"\npayout_address = "{POOL}"\npayout = "pplns"\ndata_dir = "data"\n'
        '[[node]]\nsource = "regtest"\n')
    return tmp_path / "warppool.toml"


@pytest.fixture
def payouts(config, capsys):
    """Run the command: (status, the lines of its answer, what went wrong)."""

    def run(*words: str) -> tuple[int, list[str], str]:
        status = main(["payouts", "-c", str(config), *words])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run


def rows(payouts, *words: str) -> list[dict]:
    status, lines, err = payouts(*words)
    assert (status, err) == (0, "")
    return [json.loads(line) for line in lines]


def test_balances_and_blocks_are_listed(payouts, books):
    mined = mine(books, some_shares())
    owed = {change.account: change.fair_sat - change.paid_sat for change in mined.distribution.changes()}
    assert list(owed) == [CAROL] and owed[CAROL] > 0
    listed = rows(payouts)
    assert listed == [
        {"what": "balance", "account": CAROL, "payable": owed[CAROL], "maturing": 0, "claimed": 0},
        {"what": "block", "height": HEIGHT, "hash": HASH, "time": "2026-11-22T10:00:00Z", "state": "settled",
         "mode": "pplns", "finder": ALICE, "value": VALUE, "fee": mined.block.fee},
        {"what": "total", "payable": owed[CAROL], "maturing": 0, "claimed": 0, "by_hand": 0, "held": owed[CAROL]}]


def test_what_is_not_settled_matures(payouts, books):
    mine(books, some_shares(), is_settled=False)
    balance, block, total = rows(payouts)
    assert total["held"] == total["maturing"] == balance["maturing"]
    assert (balance["payable"], balance["maturing"] > 0, block["state"]) == (0, True, "found")


def test_a_claim_is_out_of_what_is_payable_until_it_is_void_and_for_good_when_paid(payouts, books):
    mine(books, some_shares())
    owed = rows(payouts)[0]["payable"]
    claim(books, CAROL, "claim", owed)
    assert rows(payouts)[0] | {"payable": 0, "claimed": owed} == rows(payouts)[0]
    claim(books, CAROL, "void", owed)
    assert (rows(payouts)[0]["payable"], rows(payouts)[0]["claimed"]) == (owed, 0)
    claim(books, CAROL, "claim", owed, number=2)
    claim(books, CAROL, "paid", owed - 7, number=2)
    assert (rows(payouts)[0]["payable"], rows(payouts)[0]["claimed"]) == (7, 0)
    assert rows(payouts)[-1] == {"what": "total", "payable": 7, "maturing": 0, "claimed": 0, "by_hand": owed - 7,
                                 "held": owed}


def test_a_payment_of_a_claim_that_the_books_refused_counts_no_more_than_it_does_for_the_daemon(payouts, books):
    mine(books, some_shares())
    before = rows(payouts)
    claim(books, CAROL, "paid", before[0]["payable"])
    assert rows(payouts) == before


@pytest.mark.parametrize("name", [str(HEIGHT), HASH, HASH.upper()])
def test_of_one_block_everybody_is_listed_with_what_the_coinbase_paid(payouts, books, name):
    mined = mine(books, some_shares(), balances={BOB: 1_234_567})
    block, *parts = rows(payouts, "--block", name)
    assert block["hash"] == HASH
    assert [part["account"] for part in parts] == [ALICE, BOB, POOL, CAROL]
    assert sum(part["paid"] for part in parts) == VALUE
    by_account = {part["account"]: part for part in parts}
    assert by_account[BOB]["balance"] == 1_234_567
    assert by_account[BOB]["paid"] == by_account[BOB]["fair"] + 1_234_567
    assert by_account[POOL]["paid"] == mined.distribution.remainder_sat and "fair" not in by_account[POOL]
    assert by_account[CAROL]["paid"] == 0 < by_account[CAROL]["fair"]


def test_of_one_user_the_balance_and_the_parts(payouts, books):
    mine(books, some_shares())
    balance, part = rows(payouts, "--user", CAROL)
    assert (balance["what"], part["what"], part["account"]) == ("balance", "part", CAROL)
    assert balance["payable"] == part["fair"] - part["paid"]
    assert [part["what"] for part in rows(payouts, "--user", BOB.upper())] == ["part"], "one account in one form"
    assert rows(payouts, "--user", CAROL, "--block", str(HEIGHT)) == [part]


@pytest.mark.parametrize("balances", [{}, {BOB: 1_234_567}])
def test_what_is_held_is_read_from_the_coinbase_and_is_what_all_balances_are(payouts, books, balances):
    mined = mine(books, some_shares(), balances=balances)
    total = rows(payouts)[-1]
    assert total["held"] == total["payable"] + total["maturing"] + total["claimed"] + total["by_hand"]
    assert total["held"] == mined.distribution.remainder_sat - mined.block.fee
    with closing(opened(books)) as writing:         # a coinbase that pays the operator one satoshi more
        outputs = mined.distribution.outputs
        more = coinbase_of((*outputs[:-1], (outputs[-1][0] + 1, outputs[-1][1])))
        block = replace(mined.block, hash=b"\x01" * 32, coinbase=more)
        assert writing.write([], {}, [Booking((block, find(block.hash, ())[1]))]) == []
    assert rows(payouts)[-1]["held"] == 2 * total["held"] + 1


def test_csv_has_all_columns_in_each_line(payouts, books):
    mine(books, some_shares())
    status, lines, _ = payouts("--format", "csv")
    read = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert status == 0 and lines[0].split(",") == list(module.COLUMNS)
    assert [row["what"] for row in read] == ["balance", "block", "total"] and read[1]["value"] == str(VALUE)


@pytest.mark.parametrize(("words", "reason"), [
    (("--block", "7"), "no block 7"), (("--block", "ff" * 32), "no block ff"), (("--block", "tip"), "neither a height"),
    (("--user", "alice"), "'alice'"), (("--export", "1"), "no block 1"),
    (("paid", ALICE, "7", "--txid", "ab"), "64 hex digits"), (("paid", ALICE, "0", "--txid", TXID), "no whole number"),
    (("claim", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "for main, not for regtest"),
])
def test_a_wrong_word_is_said(payouts, books, words, reason):
    mine(books, some_shares())
    status, lines, err = payouts(*words)
    assert (status, lines) == (2, []) and reason in err


def test_a_translator_pays_nobody(tmp_path, capsys):
    (tmp_path / "translator.toml").write_text(
        f'[[upstream]]\nurl = "stratum2+tcp://127.0.0.1:1/{"07" * 32}"\nuser_identity = "x"\n')
    assert main(["payouts", "-c", str(tmp_path / "translator.toml")]) == 2
    assert "is no pool's" in capsys.readouterr().err


# --- what is paid by hand ---------------------------------------------------------------------------------------------

class Daemon(threading.Thread):
    """Answers the one request that comes, as the running daemon would."""

    def __init__(self, folder, is_done: bool) -> None:
        super().__init__()
        self._folder, self._is_done = folder, is_done
        self.asked: list[claimfiles.ClaimRequest] = []
        self.is_wanted = True

    def run(self) -> None:
        while self.is_wanted and not self.asked:
            self.asked = claimfiles.waiting(self._folder)
        for request in self.asked:
            claimfiles.answer(self._folder, request, self._is_done, "so it is")


@pytest.mark.parametrize(("words", "wanted"), [
    (("claim", CAROL), ("claim", CAROL, 0, "")), (("claim", BOB.upper()), ("claim", BOB, 0, "")),
    (("paid", CAROL, "1234", "--txid", TXID), ("paid", CAROL, 1234, TXID)),
])
@pytest.mark.parametrize("is_done", [True, False])
def test_a_request_reaches_the_daemon_and_its_answer_is_printed(payouts, monkeypatch, tmp_path, words, wanted, is_done):
    monkeypatch.setattr(module, "ANSWER_S", PATIENCE_S)
    folder = claimfiles.folder_of(tmp_path / "data")
    folder.mkdir()
    daemon = Daemon(folder, is_done)
    daemon.start()
    try:
        assert payouts(*words) == (0 if is_done else 1, ["so it is"], "")
    finally:
        daemon.is_wanted = False
        daemon.join()
    request, = daemon.asked
    assert (request.kind, request.address, request.sat, request.txid) == wanted
    assert list(folder.iterdir()) == []


def test_a_request_waits_for_a_daemon_that_does_not_run(payouts, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    assert "makes it when it starts" in payouts("claim", CAROL)[2]
    folder = claimfiles.folder_of(tmp_path / "data")
    folder.mkdir()
    status, lines, _ = payouts("claim", CAROL)
    assert status == 0 and "waits for the daemon" in lines[0]
    assert [request.address for request in claimfiles.waiting(folder)] == [CAROL]


def test_a_copy_is_confirmed_for_the_books_that_a_daemon_has_and_for_no_others(payouts, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    folder = claimfiles.folder_of(tmp_path / "data")
    folder.mkdir()
    status, lines, err = payouts("--confirm-restore")
    assert (status, lines) == (1, []) and "start the pool" in err
    assert list(folder.iterdir()) == []
    lock = DataDirLock(tmp_path / "data")
    assert payouts("--confirm-restore")[0] == 0
    lock.release()
    assert [request.kind for request in claimfiles.waiting(folder)] == [claimfiles.CONFIRM]


@pytest.mark.parametrize("words", [("claim", CAROL), ("paid", CAROL, "7", "--txid", TXID)])
def test_a_pool_that_went_back_to_mode_pool_is_asked_nothing(payouts, config, tmp_path, words):
    config.write_text(config.read_text().replace('payout = "pplns"\n', ""))
    folder = claimfiles.folder_of(tmp_path / "data")
    folder.mkdir()
    status, lines, err = payouts(*words)
    assert (status, lines) == (2, []) and 'pool.payout is "pool"' in err
    assert list(folder.iterdir()) == []


# --- the audit --------------------------------------------------------------------------------------------------------

def test_an_export_passes_the_audit_and_a_changed_one_does_not(payouts, books, tmp_path, capsys):
    mined = mine(books, some_shares(), window="9", balances={BOB: 1_234_567})
    status, lines, _ = payouts("--export", HASH)
    file = tmp_path / "block.jsonl"
    file.write_text("\n".join(lines) + "\n")
    assert (status, main(["audit", str(file)])) == (0, 0)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"block {HEIGHT} {HASH}, regtest: {VALUE} sat"
    assert said[-1] == "ok: the coinbase pays exactly this"
    assert any(line.startswith(f"{POOL}: {mined.distribution.remainder_sat} sat are left to it") for line in said)
    assert any(line.startswith(f"{BOB}: ") and "balance 1234567" in line for line in said)
    file.write_text("\n".join([lines[0].replace("1234567", "1234568"), *lines[1:]]) + "\n")
    assert main(["audit", str(file)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and said[0].startswith("differs: ")


@pytest.mark.parametrize("content", [b"", b"\n", b"{}\n", b"\xff\xfe\n", b"[" * 10_000 + b"\n"])
def test_what_is_no_export_differs(tmp_path, capsys, content):
    (tmp_path / "x").write_bytes(content)
    assert main(["audit", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().out.startswith("differs: ")


def test_a_file_that_is_not_there_is_said(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err

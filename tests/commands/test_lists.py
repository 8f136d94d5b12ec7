"""`warppool workers`, `blocks` and `refusals`: the books as a table, as JSON lines and as CSV."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from tests.ledger.books import START, opened, share
from tests.stats.made import ADDRESS, HOSTILE
from warppool.commands import cli
from warppool.commands.lists import REFUSAL_COLUMNS, WORKER_COLUMNS, refusal_rows, worker_rows
from warppool.commands.tables import ago, amount, plain, write_rows
from warppool.ledger.database import Reader
from warppool.ledger.items import BlockRow
from warppool.ledger.rolluprows import WorkerSum
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.weight import weight_of

EVIL = f"={HOSTILE}\udcff.rig"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    with closing(opened(tmp_path / "shares.db")) as books:
        shares = [share(1, user="alice.1", difficulty=2.0), share(2, user="alice.1", difficulty=3.0),
                  share(3, user="alice.2", difficulty=1.0), share(4, user=EVIL, difficulty=7.0)]
        minute = int(START) // 60 * 60
        books.write(shares, {("alice.1", "stale-share", minute): 5, (EVIL, "duplicate-share", minute): 2}, [])
        books.write([], {}, [BlockRow(bytes(31) + b"\x01", 5, "alice.1", START, 1.0)])
    path = tmp_path / "warppool.toml"
    path.write_text(f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "{tmp_path}"\n')
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.main([str(each) for each in arguments]) == 0
    return capsys.readouterr().out


def test_workers_are_listed_with_what_they_did(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in said(capsys, "workers", "-c", config, "--format", "jsonl").splitlines()]
    assert {row["worker"]: (row["user"], row["accepted"], row["difficulty"]) for row in rows} == {
        "alice.1": ("alice", 2, 5.0), "alice.2": ("alice", 1, 1.0), EVIL: (EVIL.partition(".")[0], 1, 7.0)}
    alone = said(capsys, "workers", "-c", config, "--user", "alice.1", "--format", "csv")
    assert [row["worker"] for row in csv.DictReader(io.StringIO(alone))] == ["alice.1"]
    assert said(capsys, "workers", "-c", config, "--user", "nobody", "--format", "jsonl") == ""


def test_the_last_day_is_apart() -> None:
    class Books:
        """The old worker did nothing in the last day."""

        def worker_sums(self, since: float) -> list[WorkerSum]:
            assert since in (0, START - 86_400)
            day = [WorkerSum("new", 1, weight_of(4.0), 4.5)]
            return day if since else [WorkerSum("old.1", 9, weight_of(90.0), 99.0), *day]

    rows = [dict(zip(WORKER_COLUMNS, row, strict=True)) for row in worker_rows(cast(Reader, Books()), START, None)]
    assert [row["worker"] for row in rows] == ["new", "old.1"]
    assert [(row["accepted_1d"], row["difficulty_1d"]) for row in rows] == [(1, 4.0), (0, 0.0)]
    assert rows[0]["hashrate_1d"] == pytest.approx(4 * 2**32 / 86_400, rel=1e-4)


def test_blocks_are_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [json.loads(line) for line in said(capsys, "blocks", "-c", config, "--format", "jsonl").splitlines()]
    assert (row["height"], row["hash"][:4], row["worker"], row["time"], row["outcome"]) == (
        5, "0100", "alice.1", "2026-11-22T10:00:00Z", None)


def test_refusals_are_counted(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    since = "2026-11-22T09:00:00Z"
    text = said(capsys, "refusals", "-c", config, "--since", since, "--format", "jsonl")
    assert [tuple(json.loads(line).values()) for line in text.splitlines()] == [
        ("alice.1", "stale-share", 5), (EVIL, "duplicate-share", 2)]
    with SqliteReader(config.parent / "shares.db") as reader:
        assert list(refusal_rows(reader, START - 3600, "alice")) == [("alice.1", "stale-share", 5)]
    assert cli.main(["refusals", "-c", str(config), "--since", "yesterday"]) == 2


@pytest.mark.parametrize("command", ["workers", "blocks", "refusals"])
def test_a_table_is_plain_whatever_a_name_is(config: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    text = said(capsys, command, "-c", config)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "\n" in text and "\u202e" not in text


def test_a_spreadsheet_finds_no_formula(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "workers", "-c", config, "--format", "csv")
    assert any(row["worker"].startswith("'=") for row in csv.DictReader(io.StringIO(text)))


def test_without_books_it_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "warppool.toml"
    path.write_text(f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "{tmp_path}"\n')
    assert cli.main(["blocks", "-c", str(path)]) == 1
    assert "no such file" in capsys.readouterr().err


def test_a_long_table_is_streamed() -> None:
    out = io.StringIO()
    write_rows(REFUSAL_COLUMNS, ((f"w{number}", "stale-share", number) for number in range(3000)), out, "table")
    lines = out.getvalue().splitlines()
    assert len(lines) == 3001 and lines[0].split() == list(REFUSAL_COLUMNS) and lines[-1].split()[2] == "2999"


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (0.001, "0.001"), (999.94, "999.9"), (999.96, "1k"), (4_567_890.5, "4.568M"), (1e21, "1000E")])
def test_amounts_are_short(value: float, text: str) -> None:
    assert amount(value) == text


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_661, "1 h 1 min"), (93_600, "1 d 2 h")])
def test_time_spans_are_short(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_what_does_not_print_is_escaped() -> None:
    assert plain("a\u202eb\n\udcff\x1b[2J") == "a\\u202eb\\n\\udcff\\x1b[2J"

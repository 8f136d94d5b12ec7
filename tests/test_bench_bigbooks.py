"""The bench of large books works: its lines are JSON, and its books are whole. No times."""

import json
from collections import Counter

from bench import bigbooks
from warppool.ledger.opening import open_reader


def test_it_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bigbooks, "RUNS", 1)
    monkeypatch.setattr(bigbooks, "PAIRS", 2)
    monkeypatch.setattr(bigbooks, "ready", lambda _: None)          # a whole pool
    bigbooks.main(["--shares", "3000", "--workers", "40", "--days", "9", str(tmp_path)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    cases = Counter(line["case"].partition(":")[0] for line in lines)
    assert cases == {"making the books": 1, "a share": 2, "a usual commit": 1, "a commit that ends a slot": 1,
                     "a step of its rows": 1, "answer": 11, "start": 6, "old books": 3}
    assert all(line["rows"] for line in lines if line["case"].startswith("answer: history"))
    assert (lines[-1]["shares"], lines[-1]["is_whole"]) == (3_300, True)


def test_its_books_are_whole(tmp_path):
    books = bigbooks.BigBooks(tmp_path, 3_000, 40, 9)
    books.make(1_800_000_300.0)
    with open_reader(bigbooks.URL, tmp_path) as reader:
        assert reader.totals().shares == 3_300 == sum(each.accepted for each in reader.worker_sums(0))
        assert len(list(reader.shares(user=bigbooks.user_of(2)))) == sum(
            each.accepted for each in reader.worker_sums(0) if each.worker.startswith(bigbooks.user_of(2)))

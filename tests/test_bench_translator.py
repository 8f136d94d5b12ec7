"""The translator's bench works: it runs in both modes, and every share is in both books. No times."""

from __future__ import annotations

import json
import shutil

import pytest

from bench import translator

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="bench/v1load.c needs gcc")


def test_every_share_is_accepted_and_in_both_books(capsys):
    cases = ["accepted-100x8-connection", "accepted-100x1-channels"]
    assert translator.main(["--quick", *(word for case in cases for word in ("--case", case))]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == cases
    assert all(line["shares"] > 0 and line["wanted"] == {"cpu_us_per_share": 90} for line in lines)


def test_books_that_do_not_agree_fail_the_bench(monkeypatch):
    class Server:
        def translator_booked(self):
            return 7

        def shares_booked(self):
            return 8

    monkeypatch.setattr(translator, "BOOKS_PATIENCE_S", 0.0)
    found = {"rejected": 0, "unmatched": 0, "lost": 0, "accepted": 7}
    with pytest.raises(translator.BenchFailed, match="7 shares are in the translator's books, 8 in the pool's"):
        translator.check(Server(), found)


def test_an_unknown_case_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        translator.main(["--case", "nonsense"])
    assert stopped.value.code == 2
    assert "accepted-100x8-connection" in capsys.readouterr().err

"""The bench of a lone share's trip: the same figures each time, and one more call is one more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import trips, turns
from bench.server import BenchFailed
from warppool.net.worker import Worker


def test_every_case_has_the_same_figures_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert trips.main() == 0 and trips.main() == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == [*turns.CASES, *turns.CASES]
    assert lines[:len(turns.CASES)] == lines[len(turns.CASES):]
    assert all(line["calls"] > line["files"] > 5 for line in lines)


def test_one_more_call_of_the_package_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = trips.trip_of(turns.CASES["v1"]())
    turn = Worker.turn

    def turn_with_one_more(self: Worker, items: list[Any]) -> float:
        self._turns.is_late()
        return turn(self, items)

    monkeypatch.setattr(Worker, "turn", turn_with_one_more)
    after = trips.trip_of(turns.CASES["v1"]())
    is_late, usual = ("net/turns.py", "Turns.is_late"), ("net/worker.py", "Worker.turn")
    assert after[is_late] - before[is_late] == before[usual] > 0


def test_a_share_that_is_not_accepted_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    share = turns.Sv1Machine.share
    monkeypatch.setattr(turns.Sv1Machine, "share", lambda self, number: share(self, min(number, 2)))
    with pytest.raises(BenchFailed):
        trips.trip_of(turns.CASES["v1"]())

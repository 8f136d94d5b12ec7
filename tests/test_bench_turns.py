"""The bench of a worker's turns: every case runs, and its shares are all accepted."""

from __future__ import annotations

import json

import pytest

from bench import turns
from bench.server import BenchFailed


def test_every_case_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.main(rounds=2) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == list(turns.CASES)
    assert all({"us_per_share", "root_us", "ratio"} < line.keys() and line["rounds"] == 2 for line in lines)


@pytest.mark.parametrize("case", turns.CASES)
def test_a_share_that_is_not_accepted_fails_the_case(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in (turns.Sv1Machine, turns.Sv2Machine):
        share = machine.share
        monkeypatch.setattr(machine, "share", lambda self, number, share=share: share(self, min(number, 2)))
    with pytest.raises(BenchFailed):
        turns.measure(turns.CASES[case](), 3)

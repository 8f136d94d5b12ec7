"""The bench of the thread `stats` works: its lines are JSON, and there are figures in them. No times."""

import json

from bench import stats


def test_it_runs(monkeypatch, capsys):
    monkeypatch.setattr(stats, "WARM_S", 3)
    monkeypatch.setattr(stats, "BUSY_RATE", 50)
    stats.main(["--workers", "100", "--rate", "10", "--turns", "6"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == ["turns", "busy", "block", "heard", "hand_over"]
    assert all("share_us" in line for line in lines) and lines[0]["wanted"]["mean_ms"] == 15.0

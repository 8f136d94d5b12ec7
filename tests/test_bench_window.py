"""The bench of the window works: its lines are JSON, and its books are whole. No times."""

import json

from bench import window


def test_it_runs(monkeypatch, capsys):
    monkeypatch.setattr(window, "RUNS", 2)
    window.main(["--shares", "50000", "--accounts", "3"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == ["rebuild", "snapshot", "export"]
    assert lines[2]["mb"] > 0

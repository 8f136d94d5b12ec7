"""The bench of the window works: its lines are JSON, and its books are whole. No times."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_it_runs():
    done = subprocess.run([sys.executable, "-m", "bench.window", "--shares", "50000", "--accounts", "3"], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["case"] for line in lines] == ["rebuild", "snapshot", "export"]
    assert lines[2]["mb"] > 0

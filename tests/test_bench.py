"""The bench of the whole pool works: it runs, its lines are JSON, and every share was accepted and booked. No times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bench(*arguments):
    return subprocess.run([sys.executable, "-m", "bench.pool", "--quick", *arguments], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)


def test_every_share_is_accepted_and_every_miner_gets_the_new_tip():
    done = bench("--case", "accepted-100x1", "--case", "tip-1000-mixed")
    assert (done.returncode, done.stderr) == (0, "")
    shares, tip = map(json.loads, done.stdout.splitlines())
    assert (shares["case"], shares["shares"]) == ("accepted-100x1", 800)
    assert (tip["case"], tip["connections"]) == ("tip-1000-mixed", 40)
    assert all(value > 0 for key, value in shares.items() if key.startswith("cpu_us"))


def test_a_share_that_is_not_accepted_fails_the_bench(monkeypatch):
    from bench import miners, pool

    seal = miners.Miner.seal

    def seal_twice(miner, shares):
        seal(miner, shares)
        miner._next_nonce -= 1                  # the last nonce again: a duplicate share

    monkeypatch.setattr(miners.Miner, "seal", seal_twice)
    with pytest.raises(pool.BenchFailed, match="duplicate-share"):
        pool.accepted(in_flight=1, shares_each=2, miners=2, transactions=0)(1.0)


def test_an_unknown_case_is_a_usage_error():
    done = bench("--case", "nonsense")
    assert done.returncode == 2
    assert "accepted-100x8" in done.stderr

"""A miner that found a block rests until the tip is another one, whatever jobs come for the old one."""

from __future__ import annotations

import math
from types import SimpleNamespace

from warppool.addresses import PoolUrl
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import Task

TIP, NEXT = b"\x01" * 32, b"\x02" * 32


def task(prev_hash: bytes, is_new_tip: bool = True) -> Task:
    return Task(SimpleNamespace(prev_hash=prev_hash), 0, 0, is_new_tip)


def test_a_job_that_replaces_all_others_on_the_same_tip_ends_no_rest():
    miner = CpuMiner(PoolUrl("127.0.0.1", 1, b""), "alice")
    miner._rest_until, miner._won_on = math.inf, TIP
    miner._heard(task(TIP))
    miner._heard(task(NEXT, is_new_tip=False))
    assert miner._rest_until == math.inf
    miner._heard(task(NEXT))
    assert miner._rest_until == 0.0

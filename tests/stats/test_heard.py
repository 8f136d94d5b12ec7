"""Sums of shares that wait to be counted."""

from __future__ import annotations

import random

import pytest

from tests.stats.test_standings import share
from warppool.stats.heard import HeardShares, ShareSum, met


def test_a_worker_has_the_sum_of_its_shares_and_the_lowest_of_their_hashes():
    heard = HeardShares()
    heard.take([share("bob", 2.0, at=1.0, best=5.0), share("eve", 1.0, at=1.5)], {"bob", "eve"}, lambda name: None)
    heard.take([share("bob", 3.0, at=2.0, best=9.0), share("bob", 4.0, at=3.0, best=7.0)], {"bob"}, lambda name: None)
    bob = heard.pop("bob")
    assert bob[:2] == (3, 9.0) and bob.at == 3.0 and met(bob.lowest) == pytest.approx(9.0)
    assert heard.pop("eve")[:2] == (1, 1.0) and heard.by_name == {}
    assert (heard.shares, heard.difficulty, heard.at) == (4, 10.0, 3.0)
    heard.begin_anew()
    assert (heard.shares, heard.difficulty, heard.by_protocol) == (0, 0.0, {})


def test_whatever_comes_workers_and_protocols_add_up_to_the_pool():
    chance, heard, met_by = random.Random(12), HeardShares(), []
    for _ in range(50):
        shares = [share(f"u{chance.randrange(5)}", float(chance.randrange(1, 9)))._replace(
            protocol=chance.choice(["sv1", "sv2"])) for _ in range(chance.randrange(6))]
        heard.take(shares, (), lambda name: met_by.append(name) or (name != "u4" or None))
    strangers = heard.shares - sum(heard.pop(name).shares for name in list(heard.by_name))
    assert strangers == met_by.count("u4") > 0 and heard.best == pytest.approx(2.0)
    assert (heard.shares, heard.difficulty) == tuple(map(sum, zip(*heard.by_protocol.values(), strict=True)))
    assert ShareSum._fields == ("shares", "difficulty", "lowest", "at")

"""What the numbers of a translator say of its upstreams, put together from what each worker has met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from warppool.bitcoin.coinbase import height_push
from warppool.service.translatorsources import NO_ANSWER, TranslatorSources
from warppool.stats.health import health_of
from warppool.stats.snapshot import StatsSnapshot
from warppool.sv2.profile import WARP
from warppool.sv2.work import Work
from warppool.translate.upstream import Health, Upstream, UpstreamConfig

REPORT: Any = SimpleNamespace(is_troubled=False, waiting_shares=3, rows=5, commits=2)


@dataclass
class First:
    """Who answered last while no machine was here."""

    answered: str | None = ""

    def word(self) -> str | None:
        return self.answered


def work_at(height: int) -> Work:
    """Work whose coinbase begins with `height`, on a tip of that number."""
    push = height_push(height)
    prefix = bytes(4) + b"\x01" + bytes(36) + bytes([len(push)]) + push
    return Work(1, 7, 0x20000000, 0, bytes([height]) * 32, 0, 0x1D00FFFF, 1, b"", 8, None, prefix)


class World:
    """Two workers, and two upstreams that each knows by an object of its own."""

    def __init__(self, first: First) -> None:
        configs = [UpstreamConfig(name, name, 1, b"", WARP, "a") for name in ("best", "other")]
        self.first = first
        self.workers = [tuple(Upstream(config, rank) for rank, config in enumerate(configs)) for _ in range(2)]
        books: Any = SimpleNamespace(report=lambda: REPORT)
        self.sources = TranslatorSources([partial(tuple, each) for each in self.workers], first, books)

    def states(self, now: float = 100.0) -> list[tuple[str, str, bool]]:
        return [(node.state, node.reason, node.is_mined) for node in self.sources.look(now, 1e9 + now).nodes]

    def health(self, now: float = 100.0) -> str:
        looked = self.sources.look(now, 1e9 + now)
        return health_of(StatsSnapshot(number=1, at=now, started=now, work=looked.work), now).reason

    def give(self, worker: int, upstream: int, height: int, now: float) -> None:
        found = self.workers[worker][upstream]
        found.health, found.alive = Health.UP, 1
        found.newest.work, found.newest.at = work_at(height), now


def test_before_any_machine_the_start_says_who_is_there():
    assert World(First(None)).states() == [("untried", "", False)] * 2
    assert World(First(None)).health() == "no work yet"
    assert World(First("other")).states() == [("untried", "", False), ("up", "", False)]
    assert World(First("other")).health() == "", "who comes gets work"
    assert World(First("")).states() == [("lost", NO_ANSWER, False)] * 2
    assert World(First("")).health() == "no work yet"


def test_an_upstream_is_up_that_is_up_for_any_worker_and_its_newest_work_is_shown():
    world = World(First("best"))
    world.workers[0][0].health = Health.DOWN
    world.give(1, 0, 100, now=90.0)
    looked = world.sources.look(100.0, 1e9)
    assert [(node.state, node.is_mined) for node in looked.nodes] == [("up", True), ("untried", False)]
    assert (looked.work.node, looked.work.height, looked.work.template_age_s, looked.work.tip_age_s) == (
        "best", 100, 10.0, 0.0)
    assert looked.work.network_difficulty == 1.0 and looked.ledger.waiting_shares == 3
    world.give(0, 0, 100, now=101.0)
    assert world.sources.look(103.0, 1e9).work.tip_age_s == 3.0
    assert world.sources.look(103.0, 1e9).work.template_age_s == 2.0
    world.give(0, 0, 101, now=104.0)
    assert world.sources.look(105.0, 1e9).work.tip_age_s == 0.0


def test_where_all_are_lost_there_is_no_work_and_why_is_said():
    world = World(First("best"))
    world.give(0, 0, 100, now=90.0)
    assert world.health() == ""
    for upstreams in world.workers:
        for upstream in upstreams:
            upstream.health, upstream.alive, upstream.log.trouble = Health.DOWN, 0, "the connection is gone"
    world.first.answered = None                     # a machine has found out
    assert world.states() == [("lost", "the connection is gone", False)] * 2
    assert world.health() == "no work", "and it had some"
    world.first.answered = "other"
    assert [state for state, _, _ in world.states()] == ["lost", "up"] and world.health() == ""
    world.first.answered = ""
    assert world.health() == "no work"


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.ANSWERING, Health.UP])
def test_while_one_may_be_there_who_comes_gets_work(health):
    world = World(First("best"))
    world.first.answered = None
    for upstreams in world.workers:
        upstreams[0].health, upstreams[1].health = Health.DOWN, health
    assert world.health() == ""
    assert world.sources.look(1.0, 1e9).work.height == 0, "nobody mines"


def test_a_state_has_its_beginning():
    world = World(First("best"))
    assert [node.since for node in world.sources.look(1.0, 1001.0).nodes] == [1001.0, 1001.0]
    world.workers[0][1].health = Health.DOWN
    assert [node.since for node in world.sources.look(2.0, 1002.0).nodes] == [1001.0, 1002.0]


@pytest.mark.parametrize("nbits", [0, 0x1D000000, 0x1D80FFFF, 0xFFFFFFFF])
def test_an_upstream_without_a_target_costs_no_other_number(nbits):
    world = World(First("best"))
    world.give(0, 0, 100, now=90.0)
    newest = world.workers[0][0].newest
    newest.work = replace(work_at(100), nbits=nbits)
    looked = world.sources.look(100.0, 1e9)
    assert (looked.work.height, looked.work.network_difficulty) == (100, 0.0)

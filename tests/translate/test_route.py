"""The way to an upstream: what each phase allows, and what a channel's stage does."""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace

import pytest

from tests.translate.world import World
from warppool.errors import LocalProtocolError
from warppool.sv2.client import ChannelOpened
from warppool.sv2.profile import WARP
from warppool.translate.channel import Stage, UpstreamChannel
from warppool.translate.route import _TABLE, SEEKS, Route, RouteChange, RoutePhase
from warppool.translate.wish import Wish

OPENED = ChannelOpened(1, 7, 1 << 200, b"\x01\x02", 8)
MOVES = {
    "ask": lambda channel: channel.ask("bob", Wish(1, 0.0), is_named=True),
    "await_name": UpstreamChannel.await_name,
    "open": lambda channel: channel.open(OPENED, math.inf),
    "retire": UpstreamChannel.retire,
}
FROM = {"ask": Stage.JOINED, "await_name": Stage.ASKED, "open": Stage.ASKED, "retire": Stage.OPEN}
TO = {"ask": Stage.ASKED, "await_name": Stage.JOINED, "open": Stage.OPEN, "retire": Stage.RETIRED}


class Carrier:
    """Takes what a channel has to say."""

    upstream = SimpleNamespace(config=SimpleNamespace(profile=WARP))

    def __init__(self):
        self.asked = []

    def ask(self, channel, identity, wish, min_extranonce_size):
        self.asked.append((identity, wish, min_extranonce_size))


@pytest.mark.parametrize(("phase", "change"), list(product(RoutePhase, RouteChange)))
def test_a_route_changes_as_the_table_says_and_not_otherwise(phase, change):
    world = World()
    route = Route(None, world.failover, world.now.monotonic)
    route.phase = phase
    assert route.may(change) is ((phase, change) in _TABLE)
    if route.may(change):
        route._pass(change)
        assert route.phase is _TABLE[phase, change]
    else:
        with pytest.raises(LocalProtocolError, match=f"cannot {change.name} in phase {phase.name}"):
            route._pass(change)
        assert route.phase is phase


def test_every_phase_is_reached_and_left():
    reached, left = set(_TABLE.values()), {phase for phase, _ in _TABLE}
    assert reached == set(RoutePhase)
    assert left == set(RoutePhase) - {RoutePhase.CLOSED}


def test_a_machine_may_go_in_any_phase_and_seeks_where_it_opens_something():
    assert {phase for phase, change in _TABLE if change is RouteChange.CLOSE} == set(RoutePhase) - {RoutePhase.CLOSED}
    assert {phase for phase, change in _TABLE if change is RouteChange.OPEN} == SEEKS


@pytest.mark.parametrize(("stage", "move"), list(product(Stage, MOVES)))
def test_a_channels_stage_moves_by_name(stage, move):
    channel = UpstreamChannel(None, Carrier())
    channel.stage = stage
    if stage is FROM[move]:
        MOVES[move](channel)
        assert channel.stage is TO[move]
    else:
        with pytest.raises(LocalProtocolError, match=f"cannot become {TO[move].name}: it is {stage.name}"):
            MOVES[move](channel)
        assert channel.stage is stage and channel.uplink.asked == []


@pytest.mark.parametrize("stage", list(Stage))
def test_a_channel_ends_in_any_stage(stage):
    channel = UpstreamChannel(None, Carrier())
    channel.stage = stage
    assert channel.end() == [] and channel.stage is Stage.OVER and channel.is_over

"""What is counted at the doors: by words of ours alone, whatever strangers say."""

from __future__ import annotations

from tests.stats.test_standings import World, share
from warppool.stats.items import HandshakeOver, MachineCame, MachineGone, PeerDropped, RefusedShares
from warppool.stats.snapshot import TrafficStats
from warppool.stats.traffic import DROPS, Traffic


def test_shares_are_counted_by_their_protocol_in_whatever_order_they_come():
    world = World()
    world.standings.take_shares([share("bob", 2.0), share("bob", 3.0)._replace(protocol="sv2"), share("eve", 4.0)])
    world.standings.take_shares([share("eve", 1.0)])
    world.turn()
    assert world.standings.traffic.stats({}).shares == (("v1", 3, 7.0), ("v2", 1, 3.0))
    assert world.standings.pool.tally(world.moment).difficulty == 10.0


def test_refusals_are_of_the_protocol_of_their_worker_where_that_is_known():
    world = World()
    world.come("bob", 1, protocol="v1-tls")
    world.standings.take_refused(RefusedShares((("bob", "stale-share", 0, 2), ("<b>", "stale-share", 0, 3))))
    assert world.standings.traffic.stats({}).refused == (("", "stale-share", 3), ("v1", "stale-share", 2))


def test_channels_are_counted_by_type_while_they_are_open():
    world = World()
    for channel, kind in ((1, "standard"), (2, "extended"), (3, "extended"), (4, "v1"), (5, "<script>")):
        world.standings.come(MachineCame(9, channel, "bob", "sv2", "v2", world.now, kind))
    world.standings.go(MachineGone(9, 2, world.now))
    assert world.standings.traffic.stats({}).channels == (("extended", 1), ("standard", 1))
    world.standings.go(MachineGone(9, None, world.now))
    assert world.standings.traffic.stats({}).channels == (("extended", 0), ("standard", 0))


def test_handshakes_and_dropped_connections_are_counted_by_few_words():
    traffic = Traffic()
    for item in (HandshakeOver("sv1-tls", True), HandshakeOver("sv1-tls", False), HandshakeOver("sv2", True),
                 HandshakeOver("sv2-spec, seen", True), HandshakeOver("whatever", False), PeerDropped("fault"),
                 PeerDropped("whatever")):
        traffic.hear(item)
    stats = traffic.stats({"slow": 4, "whatever": 5})
    assert stats.handshakes == (("other", "failed", 1), ("v1-tls", "done", 1), ("v1-tls", "failed", 1),
                                ("v2", "done", 1), ("v2-spec", "done", 1))
    assert dict(stats.dropped) == dict.fromkeys(DROPS, 0) | {"fault": 1, "slow": 4}
    assert traffic.stats({}).shares == (("v1", 0, 0.0), ("v2", 0, 0.0)), "an alert asks whether there are any"
    assert TrafficStats() == TrafficStats((), (), (), (), ())

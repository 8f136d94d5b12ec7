"""`/metrics`, for Prometheus: what the snapshot holds, in base units. This is the one module that imports
prometheus_client.

Counters end in `_total` and begin at 0 with the program; what the books know of all time is a gauge.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from warppool.stats.snapshot import WINDOWS, Histogram, ShareTally, StatsSnapshot, TrafficStats
from warppool.web.answers import HttpAnswer, shown
from warppool.web.requests import Asked
from warppool.web.routes import WebRoute
from warppool.web.view import WebView

MOST_USERS: Final = 1000
"""Users with series of their own, where the operator wants them: those with the most work of seven days. Names are made
by strangers, and Prometheus keeps each for weeks."""


def metrics(asked: Asked, view: WebView) -> HttpAnswer:
    """All of it, as text."""
    return HttpAnswer(exposition(view.stats, user_metrics=view.settings.user_metrics), CONTENT_TYPE_PLAIN_0_0_4)


def exposition(stats: StatsSnapshot, *, user_metrics: bool = False) -> bytes:
    """The snapshot in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast(Any, _Snapshot(stats, user_metrics)))
    return bytes(generate_latest(registry))


class _Snapshot:
    """Hands a snapshot to prometheus_client."""

    def __init__(self, stats: StatsSnapshot, user_metrics: bool) -> None:
        self._stats = stats
        self._user_metrics = user_metrics

    def describe(self) -> Iterator[Metric]:
        """Nothing is promised: the registry lives for one answer."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield from _of_shares(self._stats)
        yield from _of_work(self._stats)
        yield from _of_service(self._stats)
        if self._user_metrics:
            yield from _of_users(self._stats)


def _of_shares(stats: StatsSnapshot) -> Iterator[Metric]:
    shares = CounterMetricFamily("warppool_shares", "Shares since the start, by result.",
                                 labels=("protocol", "result", "reason"))
    credited = CounterMetricFamily("warppool_share_difficulty", "Difficulty credited since the start.",
                                   labels=("protocol",))
    for protocol, count, difficulty in stats.traffic.shares:
        shares.add_metric((shown(protocol), "accepted", ""), count)
        credited.add_metric((shown(protocol),), difficulty)
    for protocol, reason, count in stats.traffic.refused:
        shares.add_metric((shown(protocol), "refused", shown(reason)), count)
    yield shares
    yield credited
    yield _rates("warppool_hashrate_hashes_per_second", "Hash rate of the pool, from credited work.", stats.pool)
    best = GaugeMetricFamily("warppool_best_share_difficulty", "Difficulty of the best share.", labels=("scope",))
    best.add_metric(("round",), stats.pool.best)
    best.add_metric(("ever",), stats.pool.best_ever)
    yield best
    yield GaugeMetricFamily("warppool_round_effort_ratio", "Work since the last own block, in network difficulties.",
                            value=stats.round.effort)


def _of_work(stats: StatsSnapshot) -> Iterator[Metric]:
    work = stats.work
    yield GaugeMetricFamily("warppool_has_work", "Whether there is work for machines.", value=int(work.has_work))
    if work.template_age_s is not None:
        yield GaugeMetricFamily("warppool_template_age_seconds", "Since a node answered with what is mined.",
                                value=work.template_age_s)
    if work.tip_age_s is not None:
        yield GaugeMetricFamily("warppool_tip_age_seconds", "Since the tip of the chain came.", value=work.tip_age_s)
    yield GaugeMetricFamily("warppool_block_height", "Height of the block that is mined.", value=work.height)
    yield GaugeMetricFamily("warppool_network_difficulty", "Difficulty of the network.", value=work.network_difficulty)
    found = GaugeMetricFamily("warppool_blocks", "Own blocks of the newest hundred, by state.", labels=("outcome",))
    for state in BLOCK_STATES:
        found.add_metric((state,), sum(block.state == state for block in stats.blocks))
    yield found
    yield GaugeMetricFamily("warppool_blocks_found", "Own blocks of all time.", value=stats.blocks_found)
    up = GaugeMetricFamily("warppool_node_up", "1: the node answers; 0: it is lost.", labels=("node",))
    behind = GaugeMetricFamily("warppool_node_behind", "1: the node is behind the best tip.", labels=("node",))
    for node in stats.nodes:
        up.add_metric((shown(node.name),), int(node.state != "lost"))
        behind.add_metric((shown(node.name),), int(node.state == "behind"))
    yield up
    yield behind
    asked = HistogramMetricFamily("warppool_node_requests_seconds", "Answers of a node, but to long polls.",
                                  labels=("node",))
    for node in stats.nodes:
        if node.requests.count:
            asked.add_metric((shown(node.name),), _buckets(node.requests), node.requests.total)
    yield asked
    if stats.payout is not None and stats.payout.window_percent is not None:
        yield GaugeMetricFamily("warppool_window_fill_ratio", "How full the window of shares is.",
                                value=stats.payout.window_percent / 100)


def _of_service(stats: StatsSnapshot) -> Iterator[Metric]:
    build = GaugeMetricFamily("warppool_build_info", "Always 1.", labels=("version", "network", "program"))
    build.add_metric((stats.version, stats.network, stats.program), 1)
    yield build
    yield GaugeMetricFamily("warppool_start_time_seconds", "Start of the program, Unix time.", value=stats.started)
    machines = GaugeMetricFamily("warppool_connections", "Machines with work, by protocol.", labels=("protocol",))
    for protocol, count in stats.connections:
        machines.add_metric((protocol,), count)
    yield machines
    yield from _of_doors(stats.traffic)
    yield GaugeMetricFamily("warppool_idle_workers", "Connected, and without an accepted share for a minute.",
                            value=stats.idle)
    yield GaugeMetricFamily("warppool_users", "Users with work in seven days.", value=len(stats.users))
    yield GaugeMetricFamily("warppool_ledger_queue", "Shares that wait for the books.",
                            value=stats.ledger.waiting_shares)
    yield GaugeMetricFamily("warppool_ledger_troubled", "1: the books cannot be written.",
                            value=int(stats.ledger.is_troubled))
    yield _histogram("warppool_tip_to_last_notify_seconds", "From a tip's job to a thread's last machine.",
                     stats.tip_to_notify)
    yield _histogram("warppool_share_answer_seconds", "From the oldest share of a commit to its answer.",
                     stats.share_to_answer)
    yield _histogram("warppool_ledger_commit_seconds", "Commits of the books.", stats.commit)


def _of_doors(traffic: TrafficStats) -> Iterator[Metric]:
    channels = GaugeMetricFamily("warppool_channels", "Open channels of Stratum V2, by type.", labels=("type",))
    for kind, count in traffic.channels:
        channels.add_metric((kind,), count)
    yield channels
    handshakes = CounterMetricFamily("warppool_handshakes", "Handshakes of TLS and Noise, done or failed.",
                                     labels=("protocol", "result"))
    for protocol, result, count in traffic.handshakes:
        handshakes.add_metric((protocol, result), count)
    yield handshakes
    dropped = CounterMetricFamily("warppool_dropped_connections", "Connections that the pool closed, by reason.",
                                  labels=("reason",))
    for reason, count in traffic.dropped:
        dropped.add_metric((reason,), count)
    yield dropped


def _of_users(stats: StatsSnapshot) -> Iterator[Metric]:
    rates = GaugeMetricFamily("warppool_user_hashrate_hashes_per_second", "Hash rate of a user.",
                              labels=("user", "window"))
    shares = CounterMetricFamily("warppool_user_shares", "Shares of a user.", labels=("user", "result"))
    best = GaugeMetricFamily("warppool_user_best_share_difficulty", "Best share of a user.", labels=("user", "scope"))
    for user in islice(stats.users, MOST_USERS):
        name, tally = shown(user.name), user.tally
        rates.add_metric((name, "5m"), tally.rates.m5)
        rates.add_metric((name, "1h"), tally.rates.h1)
        shares.add_metric((name, "accepted"), tally.accepted)
        shares.add_metric((name, "refused"), tally.refused)
        best.add_metric((name, "round"), tally.best)
        best.add_metric((name, "ever"), tally.best_ever)
    yield rates
    yield shares
    yield best


def _rates(name: str, words: str, tally: ShareTally) -> Metric:
    family = GaugeMetricFamily(name, words, labels=("window",))
    for (window, _), rate in zip(WINDOWS, tally.rates, strict=True):
        family.add_metric((window,), rate)
    return family


def _histogram(name: str, words: str, values: Histogram) -> Metric:
    return HistogramMetricFamily(name, words, buckets=_buckets(values), sum_value=values.total)


def _buckets(values: Histogram) -> list[tuple[str, float]]:
    buckets, below = [], 0
    for bound, count in zip((*map(str, values.bounds), "+Inf"), values.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets


BLOCK_STATES: Final = ("found", "accepted", "side", "refused", "settled")

ROUTES: Final = (WebRoute("/metrics", metrics, is_watched=True),)

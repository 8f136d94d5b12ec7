"""`/metrics`: what Prometheus' own parser reads of it, and how much there can be."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot, user
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.metrics import MOST_USERS, exposition


def families(stats: StatsSnapshot, **values: Any) -> dict[str, Any]:
    """By name, as Prometheus reads them."""
    return {family.name: family for family in text_string_to_metric_families(exposition(stats, **values).decode())}


def test_the_numbers_of_the_snapshot_are_read_back() -> None:
    read = families(snapshot())
    samples = {(sample.name, *sorted(sample.labels.items())): sample.value
               for family in read.values() for sample in family.samples}
    assert samples["warppool_hashrate_hashes_per_second", ("window", "1m")] == snapshot().pool.rates.m1
    assert samples["warppool_shares_total", ("protocol", "v1"), ("reason", "stale-share"), ("result", "refused")] == 10
    assert samples["warppool_shares_total", ("protocol", "v2"), ("reason", ""), ("result", "accepted")] == 234
    assert samples["warppool_share_difficulty_total", ("protocol", "v1")] == 2_000_000.5
    assert samples["warppool_channels", ("type", "standard")] == 2
    assert samples["warppool_handshakes_total", ("protocol", "v1-tls"), ("result", "failed")] == 4
    assert samples["warppool_dropped_connections_total", ("reason", "max_per_ip")] == 7
    assert samples["warppool_node_requests_seconds_bucket", ("le", "0.002"), ("node", "node-0")] == 9
    assert samples["warppool_node_requests_seconds_count", ("node", "node-0")] == 10
    assert samples["warppool_node_up", ("node", "node-1")] == 0
    assert samples["warppool_blocks", ("outcome", "settled")] == 1
    assert samples["warppool_share_answer_seconds_bucket", ("le", "+Inf")] == 100
    assert samples["warppool_share_answer_seconds_bucket", ("le", "0.002")] == 10


def test_counters_end_in_total_and_units_are_seconds() -> None:
    for family in families(snapshot(), user_metrics=True).values():
        assert family.name.startswith("warppool_")
        assert family.documentation.endswith(".")
        assert (family.type == "counter") == any(sample.name.endswith("_total") for sample in family.samples)


def test_just_started_there_is_no_age_of_a_template() -> None:
    read = families(StatsSnapshot(number=0, at=AT, started=AT))
    assert "warppool_template_age_seconds" not in read
    assert read["warppool_has_work"].samples[0].value == 0


def test_users_have_series_by_choice_alone_and_not_without_end() -> None:
    assert ADDRESS.encode() not in exposition(snapshot())
    many = snapshot(*(user(f"user{index}") for index in range(MOST_USERS + 50)))
    names = {sample.labels["user"] for sample in families(many, user_metrics=True)["warppool_user_shares"].samples}
    assert len(names) == MOST_USERS


def test_a_hostile_name_stays_a_label() -> None:
    name = f'{HOSTILE}"}} 1\nwarppool_evil 1\n\udcff\\'
    read = families(snapshot(user(name)), user_metrics=True)
    assert "warppool_evil" not in read
    assert {sample.labels["user"] for sample in read["warppool_user_shares"].samples} == {
        name.replace("\udcff", "\ufffd")}

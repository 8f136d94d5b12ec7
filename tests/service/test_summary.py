import math

import pytest

from tests.stats.made import snapshot
from warppool.net.reports import WorkerReport
from warppool.service.summary import HASHES_PER_DIFFICULTY, Summary, fields_of, human_rate


def stats(difficulty=0.0, *, worker=0, refused=(), **changes):
    given = {"connections": 1, "machines": 1, "upstreams": 0, "accepted": 0, "blocks": 0, "best_difficulty": 0.0}
    return WorkerReport("worker", 0.0, 0, worker=worker, difficulty=difficulty, refused=refused, **given | changes)


def test_workers_are_added_up():
    fields = Summary(0.0).fields([
        stats(accepted=3, connections=3, machines=2, refused=(("stale-share", 1), ("duplicate-share", 2)),
              best_difficulty=7.0),
        stats(worker=1, accepted=4, connections=5, machines=5, refused=(("stale-share", 3),), blocks=1,
              best_difficulty=9.0)], 60.0)
    assert (fields["miners"], fields["accepted"], fields["refused"], fields["blocks"]) == (7, 7, 6, 1)
    assert (fields["refused_stale-share"], fields["refused_duplicate-share"], fields["best"]) == (4, 2, 9.0)


def test_the_hash_rate_is_what_the_accepted_difficulty_is_worth_over_its_window():
    summary = Summary(0.0)
    for minute in range(1, 121):                # one unit of difficulty a minute for an hour, then ten
        done = minute if minute <= 60 else 60 + 10 * (minute - 60)
        fields = summary.fields([stats(float(done))], 60.0 * minute)
        if minute == 60:
            assert fields["hashrate_1m"] == fields["hashrate_1h"] == pytest.approx(HASHES_PER_DIFFICULTY / 60)
        if minute == 62:
            assert fields["hashrate_1m"] == pytest.approx(10 * HASHES_PER_DIFFICULTY / 60)
            assert fields["hashrate_5m"] == pytest.approx((2 * 10 + 3) / 5 * HASHES_PER_DIFFICULTY / 60)
    assert fields["hashrate_1h"] == pytest.approx(10 * HASHES_PER_DIFFICULTY / 60)
    assert len(summary._samples) <= 63          # an hour of minutes, and what begins it


def test_numbers_are_never_nan_and_a_young_pool_says_what_it_knows():
    summary = Summary(5.0)
    assert [summary.fields([], 5.0)[f"hashrate_{window}"] for window in ("1m", "5m", "1h")] == [0.0] * 3
    fields = summary.fields([stats(10.0)], 15.0)
    assert fields["hashrate_1m"] == fields["hashrate_1h"] == pytest.approx(HASHES_PER_DIFFICULTY)
    assert all(math.isfinite(value) for value in fields.values())


@pytest.mark.parametrize(("rate", "words"), [
    (0.0, "0.0 H/s"), (999.0, "999.0 H/s"), (12_300_000.0, "12.3 MH/s"), (1e15, "1.0 PH/s"), (5e18, "5.0 EH/s")])
def test_rates_as_people_read_them(rate, words):
    assert human_rate(rate) == words


def test_the_line_of_a_minute_says_what_all_faces_show():
    made = snapshot()
    fields = fields_of(made)
    assert (fields["miners"], fields["accepted"], fields["blocks"]) == (made.machines, made.pool.accepted, 2)
    assert (fields["hashrate_5m"], fields["refused_stale-share"]) == (made.pool.rates.m5, 12)
    assert (fields["best"], fields["effort"]) == (made.pool.best, 0.42)

import pytest

from tests.stats.made import snapshot
from warppool.service.summary import fields_of
from warppool.stats.ratewords import human_rate


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

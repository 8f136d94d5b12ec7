"""The benches of the published profile work: they run, every share is accepted, every channel is told. No times."""

from __future__ import annotations

import json

from bench import dialects, fanout, pool, tips
from warppool.sv2.profile import SPEC


def test_shares_of_the_published_profile_are_accepted_and_booked():
    figures = dialects.accepted(in_flight=2, shares_each=2, miners=2)(SPEC, 1.0)
    assert set(figures) == {"cpu_us_per_share", "shares_per_s"}


def test_every_case_compares_a_figure_that_it_measures():
    names = {"cpu_us_per_share", "cpu_us_per_setup", "cpu_ms_with_template", "kib_per_connection"}
    assert {case.compared for case in dialects.CASES} == names


def test_every_channel_hears_of_a_new_tip_alone_or_in_its_group(capsys):
    assert fanout.main(["--quick", "--case", "fan-out-1000"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["case"] == "fan-out-1000" and line["single_kib"] > line["group_extended_kib"] > 0


def test_a_new_tip_is_timed_from_the_node_to_the_miner(monkeypatch):
    monkeypatch.setattr(tips, "SETTLE_S", 0.0)
    monkeypatch.setattr(pool, "SETTLE_S", 0.0)
    figures = tips.tip_to_last(tips.direct(SPEC), 2)(0.0)
    assert 0 < figures["tip_to_first_ms"] <= figures["tip_to_last_ms"] <= figures["worst_ms"]
    figures = tips.answer_to_send(3)(0.0)
    assert figures["transactions"] == 3 and figures["answer_to_send_ms"] <= figures["worst_ms"]

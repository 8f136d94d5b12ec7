"""The bench of payees works: every machine is served in every mode, and its shares count."""

from __future__ import annotations

import json

import pytest

from bench import payees


@pytest.mark.parametrize("case", ["tip-1000-v1", "tip-1000-spec"])
def test_each_machine_hears_of_the_tip_in_each_mode(case, capsys):
    assert payees.main(["--quick", "--case", case]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["case"] == case and min(figures[f"{kind}_ms"] for kind in ("pool", "one", "many", "pplns")) > 0


def test_each_share_of_each_size_class_counts(capsys):
    assert payees.main(["--quick", "--case", "share-warp"]) == 0
    assert json.loads(capsys.readouterr().out)["pplns_16000_us"] > 0

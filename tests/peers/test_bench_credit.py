"""The bench of credit runs: the honest machine is near its work, and every case has its line."""

from __future__ import annotations

import json

import pytest

from bench import credit
from tests.peers.bitcoind import skip_unless_installed


def test_every_case_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_installed()
    monkeypatch.setattr(credit, "DEVIATIONS", 8.0)          # a few seconds have few shares
    assert credit.main(["--seconds", "4"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == [
        f"{protocol}-{kind}" for protocol in credit.PROTOCOLS for kind in credit.KINDS]
    assert all(line["shares"] and line["hashes"] for line in lines)

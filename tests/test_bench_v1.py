"""The V1 bench works: its load generator compiles, every share was accepted and booked, every machine got the new tip.
No times.
"""

from __future__ import annotations

import json
import shutil

import pytest

from bench import v1

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="bench/v1load.c needs gcc")


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    return v1.Loader(tmp_path_factory.mktemp("v1load"))


def test_every_share_is_accepted_and_every_machine_gets_the_new_tip(capsys):
    assert v1.main(["--quick", "--case", "accepted-100x1", "--case", "tip-1000"]) == 0
    shares, tip = [line for line in map(json.loads, capsys.readouterr().out.splitlines())
                   if line["case"] in ("accepted-100x1", "tip-1000")]
    assert shares["shares"] > 0
    assert tip["connections"] == 40


def test_tls_machines_get_work(loader):
    pytest.importorskip("cryptography", reason="the certificate comes from the extra regtest")
    assert v1.memory_idle_tls(100)(loader, 0.02)["connections"] == 2


def test_a_share_that_is_not_accepted_fails_the_bench(loader):
    with v1.v1_server(0, WARPPOOL__DIFFICULTY__START="1000", WARPPOOL__DIFFICULTY__MIN="1000",
                      WARPPOOL__DIFFICULTY__MAX="1000") as server:
        found = loader.load(server, "submit", 2, window=1, warmup=0, duration=0.1)
        with pytest.raises(v1.BenchFailed, match="Difficulty too low"):
            v1.check(server, found)


def test_a_machine_that_is_turned_away_fails_the_bench(loader):
    with (v1.v1_server(0, WARPPOOL__STRATUM__MAX_PER_IP="1") as server,
          pytest.raises(v1.BenchFailed, match="1 of 3 connections")):
        loader.load(server, "idle", 3, rounds=0, settle=0, src_ips=1, setup_timeout=1)


def test_an_unknown_case_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        v1.main(["--case", "nonsense"])
    assert stopped.value.code == 2
    assert "accepted-100x8" in capsys.readouterr().err

"""The web of a running pool: what a machine has done is read by HTTP, and a page costs no machine anything."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import until
from tests.service.livepool import LivePool, running, v1_config
from tests.web.asking import get
from warppool.addresses import Address
from warppool.config.faceoptions import WebConfig
from warppool.errors import ConfigError
from warppool.net.limits import connection_cap
from warppool.service import web

EASY = {"start": 1e-8, "min": 1e-8, "max": 1e-8}


def config_of(folder: Path, stub: StubNode) -> Any:
    """A pool with a web port of its own."""
    given = v1_config(folder, stub, **EASY)
    return replace(given, web=WebConfig(listen=(Address("127.0.0.1", 0),)))


def test_a_machine_is_seen_by_http_and_the_pool_stops_with_its_web(tmp_path: Path) -> None:
    pytest.importorskip("waitress")
    pytest.importorskip("prometheus_client")
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        pool = LivePool(config_of(tmp_path, stub), stub)
        address = ("127.0.0.1", pool.daemon.web[0].ports[0])    # type: ignore[attr-defined]
        room = pool.daemon.ports.limits_of(pool.config.stratum).max_connections
        assert room == connection_cap(0, besides=web.fds_of(pool.config.web))
        with running(pool), pool.machine(worker="alice.rig1") as machine:
            machine.begin()
            assert machine.submit(machine.find()) == [None]
            until(lambda: pool.daemon.numbers.latest().pool.accepted > 0)
            until(lambda: pool.daemon.numbers.latest().work.has_work)
            whole = json.loads(get(address, "/api/v1/pool").body)
            assert (whole["machines"], whole["users"]) == (1, 1)
            row = json.loads(get(address, "/api/client/alice").body)["workers"][0]
            assert (row["name"], len(row["sessionId"])) == ("rig1", 8)
            drop_in = json.loads(get(address, "/api/pool").body)
            assert drop_in["blockHeight"] == len(stub.chain) - 1 == whole["work"]["height"] - 1
            assert get(address, "/health", host="anything").status == 200
            changed = replace(pool.config, pool=replace(pool.config.pool, work_max_age_s=7))
            assert pool.daemon.numbers.latest().work.stale_after_s == 180
            pool.daemon.prepare(changed, changed)()                 # as a SIGHUP does
            until(lambda: pool.daemon.numbers.latest().work.stale_after_s == 7)
            assert b"warppool_has_work 1.0" in get(address, "/metrics").body
            assert b"rig1" in get(address, "/user/alice").body
            assert json.loads(get(address, "/api/v1/history").body)["resolution"] == 600
        assert pool.daemon.service.threads.alive() == []


def test_without_the_extra_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub, pytest.raises(ConfigError) as caught:
        LivePool(config_of(tmp_path, stub), stub)
    assert str(caught.value) == web.NO_EXTRA


def test_who_may_ask_by_which_name() -> None:
    assert web.hosts_of(WebConfig(listen=(Address("10.0.0.1", 80),))) == {"localhost", "10.0.0.1"}
    assert web.hosts_of(WebConfig(listen=(Address("10.0.0.1", 80),), hosts=("pool.example",))) == {"pool.example"}
    assert web.listens_everywhere(WebConfig(listen=(Address("::", 80),)))
    assert not web.listens_everywhere(WebConfig(listen=(Address("::", 80),), hosts=("pool.example",)))
    assert not web.listens_everywhere(WebConfig(listen=(Address("::1", 80),)))

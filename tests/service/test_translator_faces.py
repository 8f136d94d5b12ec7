"""The faces of a translator that runs: a machine and its upstream are seen by each of them, and so is what befalls."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import StubNode
from tests.patience import until
from tests.service.farm import EVERY_HASH, LivePool, booked_by, stub_pools, translating
from tests.service.test_translator import Machine, port_of
from tests.stats.ckreaders import read_pool, read_user
from tests.web.asking import get
from warppool.commands.cli import main
from warppool.notices import watching
from warppool.service import upstreamwatch
from warppool.service.translator import Translator
from warppool.status import files
from warppool.status.client import ask
from warppool.status.place import known_path

EVENTS = ["node.lost", "node.back", "work.none"]
COPY = "import sys; text = sys.stdin.read(); open(sys.argv[1], 'a').write(text)"


def faces_of(told: Path) -> dict[str, object]:
    """All of them; what is told goes into the file `told`."""
    return {"web": {"listen": ["127.0.0.1:0"]},
            "notice": [{"name": "file", "events": EVENTS, "command": [sys.executable, "-c", COPY, str(told)]}]}


def web_of(translator: Translator) -> tuple[str, int]:
    return "127.0.0.1", translator.web[0].ports[0]     # type: ignore[attr-defined]


def shares_of(translator: Translator) -> int:
    return translator.numbers.latest().pool.accepted


def health_of(translator: Translator) -> tuple[int, dict[str, Any]]:
    reply = get(web_of(translator), "/health", host="anything")
    while reply.status == 429:                          # it is asked more often than it answers
        time.sleep(0.1)
        reply = get(web_of(translator), "/health", host="anything")
    return reply.status, json.loads(reply.body)


def gone_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of the machine, and not of the translator as the pool sees it."""
    return [line for line in caplog.messages if line.startswith("event=miner.gone") and "rig1" in line]


def test_a_machine_and_its_upstream_are_seen_by_every_face_and_an_upstream_that_is_lost_is_told(
        tmp_path, monkeypatch, capsys, caplog):
    pytest.importorskip("waitress")
    pytest.importorskip("prometheus_client")
    caplog.set_level(logging.INFO, "warppool")
    monkeypatch.setattr(watching, "NODE_LASTS_S", 0.0)
    monkeypatch.setattr(files, "EVERY_S", 0.1)
    told = tmp_path / "told"
    told.touch()
    with stub_pools(tmp_path) as [pool], translating(tmp_path, pool, faces=faces_of(told)) as translator:
        assert health_of(translator)[0] in (200, 503), "there is an answer before any machine"
        until(lambda: health_of(translator)[0] == 200)
        with Machine(port_of(translator), "alice.<b>rig1") as machine:
            machine.begin()
            assert machine.submit(machine.find()) == [None]
            until(lambda: shares_of(translator) == 1)
            is_seen_by_all(translator, pool, tmp_path, machine.session, capsys)
            pool.stop()
            until(lambda: health_of(translator)[0] == 503)
            assert health_of(translator)[1]["reason"] == "no work"
            until(lambda: told.read_text().count("\n") >= 2)
            (node,) = json.loads(get(web_of(translator), "/api/v1/nodes").body)["items"]
            assert (node["name"], node["state"], node["is_mined"]) == (pool.url.place, "lost", False)
            assert b"No upstream gives any" in get(web_of(translator), "/").body
            pool.start()
            until(lambda: health_of(translator)[0] == 200)
        until(lambda: translator.numbers.latest().machines == 0)
        until(lambda: gone_lines(caplog))
        (gone,) = gone_lines(caplog)
        assert " accepted=1 refused=0 " in gone
        assert len(booked_by(translator)) == 1
    lost, *others = map(json.loads, told.read_text().splitlines())
    by_event = {each["event"]: each for each in (lost, *others)}
    assert by_event["node.lost"]["title"] == "Upstream lost"
    assert by_event["node.lost"]["program"] == "warppool-translator"
    assert by_event["node.lost"]["facts"]["node"] == pool.url.place
    assert f"upstream: {pool.url.place}" in by_event["node.lost"]["text"]


def is_seen_by_all(translator: Translator, pool: LivePool, folder: Path, session: str, capsys: Any) -> None:
    """Files, socket, command, page, API, drop-in and metrics say the same, and none says what is the machine's own."""
    data_dir = translator.config.translator.data_dir
    said = [json.dumps(ask(known_path(data_dir), question)) for question in ("summary", "workers")]
    summary, workers = map(json.loads, said)
    assert (summary["program"], summary["ok"], summary["machines"]) == ("warppool-translator", True, 1)
    (upstream,) = summary["nodes"]
    assert (upstream["name"], upstream["state"], upstream["is_mined"]) == (pool.url.place, "up", True)
    assert (summary["work"]["node"], summary["work"]["height"]) == (pool.url.place, pool.height)
    (worker,) = workers["items"]
    assert (worker["worker"], worker["machines"], worker["protocol"]) == ("alice.<b>rig1", 1, "v1")
    for path in ("/", "/user/alice", "/api/v1/pool", "/api/v1/workers", "/api/v1/nodes", "/api/client/alice",
                 "/pool/pool.status", "/users/alice", "/metrics", "/api/v1/history"):
        reply = get(web_of(translator), path)
        assert reply.status == 200, path
        said.append(reply.body.decode())
    assert "Upstream pools" in said[2] and pool.url.place in said[2] and "Bitcoin node" not in said[2]
    assert "&lt;b&gt;rig1" in said[3] and "<b>rig1" not in said[3]
    (row,) = json.loads(said[7])["workers"]
    assert row["name"] == "<b>rig1" and len(row["sessionId"]) == 8
    assert f'warppool_node_up{{node="{pool.url.place}"}} 1.0' in said[10]
    folder_of_files = data_dir / "status"
    until((folder_of_files / "users/alice").exists)
    said += [(folder_of_files / "pool/pool.status").read_text(), (folder_of_files / "users/alice").read_text()]
    assert read_pool(said[-2])["Workers"] == 1 and len(read_user(said[-1])["worker"]) == 1
    (folder / "translator.toml").write_text(
        f'[translator]\ndata_dir = "{data_dir}"\n[[upstream]]\nurl = "{pool.url}"\nuser_identity = "a"\n')
    assert main(["status", "-c", str(folder / "translator.toml")]) == 0
    screen = capsys.readouterr().out
    assert f"upstream   {pool.url.place} up" in screen and "warppool-translator" in screen
    for text in (*said, screen):
        assert session not in text and "127.0.0.1:" not in text.replace(pool.url.place, "").replace(
            f"127.0.0.1:{port_of(translator)}", "")


def test_a_machine_that_says_its_name_after_it_has_work_upstream_counts_under_that_name_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO, "warppool")
    with stub_pools(tmp_path) as [pool], translating(tmp_path, pool, own_names=False) as translator:
        with Machine(port_of(translator), "bob.1") as machine:
            machine.send(b'{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}\n')
            machine.subscribed(machine.answer())
            until(lambda: pool.daemon is not None and pool.daemon.numbers.latest().machines == 1)
            assert translator.numbers.latest().machines == 0, "it has no work before it has a name"
            machine.send(b'{"id": 2, "method": "mining.authorize", "params": ["bob.1", "x"]}\n')
            assert machine.answer() == (2, True, None)
            until(lambda: translator.numbers.latest().machines == 1)
            (worker,) = translator.numbers.latest().workers
            assert (worker.name, worker.machines, worker.agent) == ("bob.1", 1, "cpuminer/2.5.1")
        until(lambda: translator.numbers.latest().machines == 0)
        came, gone = [line for line in caplog.messages if line.startswith("event=miner.") and "cpuminer" in line]
        assert came.startswith("event=miner.named ") and " user=bob.1 " in came and " kind=v1 " in came
        assert gone.startswith("event=miner.gone ") and " user=bob.1 " in gone


def test_a_block_that_a_machine_found_is_in_the_books_and_ends_the_round(tmp_path, capsys):
    with StubNode(cookie=tmp_path / "cookie") as stub:
        node: dict[str, object] = {"url": stub.url, "cookie_file": str(tmp_path / "cookie")}
        pool = LivePool(tmp_path / "pool", node, **EVERY_HASH).start()
        try:
            with translating(tmp_path, pool) as translator, Machine(port_of(translator), "carol.1") as machine:
                block = machine.begin().mine_block()
                until(lambda: translator.numbers.latest().blocks_found == 1)
                (found,) = translator.numbers.latest().blocks
                assert (found.hash, found.height, found.worker, found.state) == (block.display, 1, "carol.1", "found")
                until(lambda: translator.numbers.latest().pool.accepted == 1)
        finally:
            pool.stop()
    (tmp_path / "translator.toml").write_text(
        f'[translator]\ndata_dir = "translator"\n[[upstream]]\nurl = "{pool.url}"\nuser_identity = "a"\n')
    assert main(["blocks", "-c", str(tmp_path / "translator.toml"), "--format", "jsonl"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["hash"], row["worker"], row["outcome"]) == (block.display, "carol.1", None)


def test_an_idle_translator_finds_out_that_its_upstream_is_gone_and_back(tmp_path, monkeypatch):
    """So whoever asks /health before he sends machines may send them again."""
    monkeypatch.setattr(upstreamwatch, "EVERY_S", 0.05)
    with stub_pools(tmp_path) as [pool], translating(tmp_path, pool) as translator:
        until(lambda: translator.numbers.latest().work.has_work)
        pool.stop()
        until(lambda: not translator.numbers.latest().work.has_work)
        assert [node.state for node in translator.numbers.latest().nodes] == ["lost"]
        pool.start()
        until(lambda: translator.numbers.latest().work.has_work)
        with Machine(port_of(translator), "dora.1") as machine:
            machine.begin()
            until(lambda: translator.numbers.latest().work.height == pool.height)
            assert translator.first_upstream.word() is None, "the machine knows better"

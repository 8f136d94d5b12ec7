"""A solo pool over sockets: what each of many names is told, and what the log and the books have of it."""

from __future__ import annotations

import json
import logging
import math
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manynames import ALICE, BAD, BOB, GOOD, Named
from tests.node.stub import StubNode
from tests.patience import PATIENCE_S, until
from tests.service.livepool import LivePool, running
from tests.service.process import logged, write_config
from warppool.config.pool import read_config
from warppool.net import loglimit
from warppool.net.loglimit import LINES
from warppool.say import MAX_TEXT, clip
from warppool.service.connector import SV1


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[LivePool]:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        path = write_config(
            tmp_path, secret=None, node={"url": stub.url, "cookie_file": str(tmp_path / "cookie")},
            pool={"payout": "solo"}, stratum={"listen": ["127.0.0.1:0"], "sv2_listen": [], "workers": 2},
            difficulty={"start": 1e-9, "min": 1e-9})
        with running(LivePool(read_config(path, {}), stub)) as live:
            yield live


def told(pool: LivePool, name: str) -> list[bytes]:
    """What a machine of that name hears until its ping is answered, behind the answer to its subscribe."""
    calls = (("mining.subscribe", ["agent/1"]), ("mining.authorize", [name, "x"]), ("mining.ping", []))
    with socket.create_connection(("127.0.0.1", pool.ports[SV1]), PATIENCE_S) as sock, sock.makefile("rb") as file:
        sock.sendall(b"".join(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n"
                              for number, (method, params) in enumerate(calls, 1)))
        lines = [file.readline()]
        while not lines[-1].startswith(b'{"id":3,'):
            lines.append(file.readline())
    return lines[1:-1]


def is_work_for(row: Named, lines: list[bytes]) -> bool:
    answer, difficulty, notify = lines
    return (answer == b'{"id":2,"result":true,"error":null}\n' and b"set_difficulty" in difficulty
            and b"mining.notify" in notify)


def test_each_name_is_told_that_it_has_work_or_that_it_is_no_address(
        pool: LivePool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loglimit, "MINUTE_S", math.inf)          # a slow machine takes longer for all of them
    caplog.set_level(logging.INFO)
    for row in GOOD:
        assert is_work_for(row, told(pool, row.name)), row.why
    for row in BAD:
        assert told(pool, row.name) == [
            b'{"id":2,"result":false,"error":[24,"Invalid Bitcoin address",null]}\n'], row.why
    lines = logged(caplog, "miner.refused")
    assert len(lines) == LINES < len(BAD), "the first ones; how many others there are is said later"
    for row, line in zip(BAD, lines, strict=False):
        assert clip(row.name, MAX_TEXT) == line["user"]
        assert line["peer"].startswith("127.0.0.1:") and line["reason"] == "invalid-user-identity"
        assert not line["meaning"].endswith("...") and len(line["meaning"].split()) > 3, "a whole sentence"


def test_a_session_that_another_address_takes_up_pays_that_one_and_the_books_say_so(pool: LivePool):
    with pool.machine(worker=f"{ALICE}.1") as alice:
        alice.begin("x")
        mined = [alice.mine_block()]
        session = alice.session
    until(lambda: pool.connections() == 0)
    with pool.machine(worker=f"{BOB}_2") as bob:
        bob.begin("x", session)
        assert bob.session == session
        mined.append(bob.mine_block())
    until(lambda: len(pool.booked()) == 2)
    assert [(share.worker, share.account) for share in pool.booked()] == [(f"{ALICE}.1", ALICE), (f"{BOB}_2", BOB)]
    assert [raw[:80] for raw in pool.stub.submitted] == [share.header for share in mined]

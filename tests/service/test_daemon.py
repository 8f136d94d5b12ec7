"""The whole daemon in one process: it starts, serves, and leaves nothing behind."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.patience import PATIENCE_S, is_busy, until
from warppool.addresses import PoolUrl
from warppool.commands.demo import demo_config, demo_miners
from warppool.errors import ConfigError, LedgerError, NotNow, RemoteProtocolError
from warppool.ledger.opening import open_reader
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import PoolGone
from warppool.noise.primitives import public_key
from warppool.service.pool import Pool

KEY = bytes(range(1, 33))


@pytest.fixture
def config(tmp_path):
    return demo_config(tmp_path, KEY)


@pytest.fixture
def daemon(config):
    before = set(threading.enumerate())
    daemon = Pool(config)
    daemon.service.start()
    assert daemon.service.is_ready.wait(PATIENCE_S)
    yield daemon
    daemon.service.stop()
    assert not daemon.service.has_failed.is_set()
    assert [thread for thread in threading.enumerate() if thread not in before] == []


@pytest.fixture
def url(daemon):
    return PoolUrl("127.0.0.1", daemon.ports.listeners[0].port, public_key(KEY))


def mine_until(miner, is_enough):
    thread = threading.Thread(target=miner.run)
    thread.start()
    try:
        until(is_enough)
    finally:
        miner.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("name", ["v2-standard", "v2-extended", "v1", "v1-tls"])
def test_a_miner_mines_and_its_shares_are_in_the_books(daemon, config, name):
    miner = demo_miners(config, daemon, KEY)[name]
    mine_until(miner, lambda: miner.tally.accepted >= 3)
    assert miner.tally.rejected == 0
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        shares = list(reader.shares())
    assert len(shares) >= miner.tally.accepted
    assert {share.worker for share in shares} == {f"demo.{name}"}
    assert {share.protocol for share in shares} == {name[:2].replace("v", "sv")}


def test_all_ways_to_mine_at_once(daemon, config):
    miners = demo_miners(config, daemon, KEY)
    threads = [threading.Thread(target=miner.run) for miner in miners.values()]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(miner.tally.blocks and miner.tally.accepted for miner in miners.values()))
    finally:
        for miner in miners.values():
            miner.stop()
        for thread in threads:
            thread.join(PATIENCE_S)
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        assert {share.worker for share in reader.shares()} == {f"demo.{name}" for name in miners}


def test_no_thread_outlives_a_stopped_daemon_and_its_data_dir_is_free_again(config):
    before = set(threading.enumerate())
    for _ in range(2):
        daemon = Pool(config)
        daemon.service.start()
        assert daemon.service.is_ready.wait(PATIENCE_S)
        names = {thread.name for thread in threading.enumerate() if thread not in before}
        assert {"reactor", "worker-0", "worker-1", "ledger", "submitter", "jobs", "node-0"} <= names
        idle = socket.create_connection(("127.0.0.1", daemon.ports.listeners[0].port))
        began = time.monotonic()
        daemon.service.stop()
        assert time.monotonic() - began < 5 or is_busy()
        assert [thread for thread in threading.enumerate() if thread not in before] == []
        assert idle.recv(1) == b""
        idle.close()


def test_a_daemon_that_was_never_started_leaves_nothing_open(config):
    daemon = Pool(config)
    with pytest.raises(NotNow, match="in use by another warppool"):
        Pool(config)
    daemon.service.close()
    Pool(config).service.close()


def test_a_taken_port_is_one_clear_line(config):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = config.stratum.sv2_listen[0]._replace(port=other.getsockname()[1])
        with pytest.raises(NotNow, match=r"stratum\.sv2_listen"):
            Pool(replace(config, stratum=replace(config.stratum, sv2_listen=(taken,))))
    Pool(config).service.close()                         # and nothing was left locked


def test_a_bad_certificate_is_one_clear_line(config, tmp_path):
    tls = {"tls_listen": (config.stratum.sv2_listen[0],), "tls_cert": tmp_path / "cert", "tls_key": tmp_path / "key"}
    with pytest.raises(ConfigError, match=r"stratum\.tls_cert: .*cert does not exist"):
        Pool(replace(config, stratum=replace(config.stratum, **tls)))
    Pool(config).service.close()                         # and nothing was left locked


def test_broken_books_are_one_clear_line(config):
    config.pool.data_dir.mkdir(exist_ok=True)
    (config.pool.data_dir / "shares.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(LedgerError, match=r"shares\.db"):
        Pool(config)


def test_the_wrong_key_is_the_miners_error(daemon, url):
    wrong = PoolUrl(url.host, url.port, bytes(31) + b"\x09")
    with pytest.raises(RemoteProtocolError, match="key"):
        CpuMiner(wrong, "alice", "standard").run()


def test_a_pool_that_is_not_there_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(PoolGone, match="refused"):
        CpuMiner(PoolUrl("127.0.0.1", port, bytes(32)), "alice", "standard").run()


def test_the_chain_comes_back_after_a_restart(config):
    heights = []
    for _ in range(2):
        daemon = Pool(config)
        daemon.service.start()
        assert daemon.service.is_ready.wait(PATIENCE_S)
        heights.append(daemon.work.latest.tip.height)
        url = PoolUrl("127.0.0.1", daemon.ports.listeners[0].port, public_key(KEY))
        miner = CpuMiner(url, "alice", "extended")
        start = daemon.work.latest.tip.height
        mine_until(miner, lambda daemon=daemon, start=start: daemon.work.latest.tip.height >= start + 3)
        top = daemon.work.latest.tip.height
        daemon.service.stop()
    assert heights[0] == 1 and heights[1] >= 4 and top >= heights[1] + 3


def test_junk_connections_do_not_disturb_an_honest_miner(daemon, url):
    junk = []
    for number in range(50):
        sock = socket.create_connection(("127.0.0.1", url.port))
        sock.sendall(os.urandom(200) if number % 2 else b"GET / HTTP/1.1\r\n\r\n")
        junk.append(sock)
    miner = CpuMiner(url, "honest", "standard")
    mine_until(miner, lambda: miner.tally.accepted >= 2)
    for sock in junk:
        sock.settimeout(5)
        with suppress(ConnectionError):
            assert sock.recv(100) == b""
        sock.close()


def test_every_thread_that_serves_is_watched(daemon):
    assert daemon.service.hanging(time.monotonic()) == []
    assert {thread.name for thread in daemon.service.threads.watchdog.threads} == {
        "reactor", "jobs", "submitter", "journal", "worker-0", "worker-1", "node-0", "ledger",
        "stats", "status-files", "status"}


def test_blocks_are_said_in_the_journal(daemon, url, caplog):
    with caplog.at_level(logging.INFO, logger="warppool"):
        miner = CpuMiner(url, "alice", "extended")
        mine_until(miner, lambda: miner.tally.accepted >= 1)
        until(lambda: any("event=block.accepted" in record.getMessage() for record in caplog.records))
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events.index("event=block.submitted") < events.index("event=block.found") < events.index(
        "event=block.accepted")

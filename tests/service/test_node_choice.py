"""A whole daemon among nodes that lag, lie or go: the best tip is mined, and nobody hashes dead work."""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import PATIENCE_S, Mood, StubNode, await_true, dsha
from tests.peers.foreign_v1 import Machine
from tests.service.byhand import HandMiner
from tests.service.livepool import v1_config
from tests.service.process import PoolProcess, TranslatorProcess, logged, write_config
from tests.service.test_node_trouble import SECRET, config_for
from warppool.mining.reserve import LARGEST_PLAN
from warppool.noise.primitives import public_key
from warppool.service.nodes import plan_of
from warppool.service.pool import Pool


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[StubNode]]:
    with ExitStack() as stack:
        yield [stack.enter_context(StubNode(cookie=tmp_path / f".cookie-{number}")) for number in range(3)]


@contextmanager
def running(folder: Path, *nodes: StubNode, is_awaited: bool = True, **pool: Any) -> Iterator[Pool]:
    config = config_for(folder, *nodes)
    daemon = Pool(replace(config, pool=replace(config.pool, **pool)))
    daemon.service.start()
    try:
        assert not is_awaited or daemon.service.is_ready.wait(PATIENCE_S)
        yield daemon
    finally:
        daemon.service.stop()
    assert not daemon.service.has_failed.is_set()


def miner_of(daemon: Pool) -> HandMiner:
    return HandMiner(daemon.ports.listeners[0].port, public_key(SECRET))


def tip_of(daemon: Pool) -> bytes | None:
    return None if daemon.work.latest is None else daemon.work.latest.tip.prev_hash


def grow_together(*nodes: StubNode, count: int = 1) -> bytes:
    for _ in range(count):
        block = dsha(b"shared %d" % len(nodes[0].chain))
        for node in nodes:
            node.grow(block)
    return block


# --- the best tip -----------------------------------------------------------------------------------------------------

def test_the_pool_follows_the_node_that_moves_on_and_not_the_one_without_peers(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    first, second = nodes[:2]
    grow_together(first, second, count=5)
    with running(tmp_path, first, second, behind_s=1) as daemon, miner_of(daemon) as miner:
        assert daemon.work.latest is not None and daemon.work.latest.template.source == "node-0"
        for _ in range(3):                              # the first is cut off, and answers as ever
            tip = second.grow()
            miner.until(lambda: miner.work.prev_hash == tip)    # noqa: B023 - called at once
        miner.share()
        assert daemon.work.latest.template.source == "node-1"
        miner.until(lambda: bool(logged(caplog, "node.lagging")))
        assert {fields["node"] for fields in logged(caplog, "node.lagging")} == {"node-0"}
        miner.until(lambda: daemon.service.status.line().endswith("; behind: node-0"))

        second.stop()                                   # "from height 31 to 20"
        miner.until(lambda: any(fields["node"] == "node-1" for fields in logged(caplog, "node.lost")))
        pause = time.monotonic() + 2
        miner.until(lambda: time.monotonic() >= pause)
        miner.share()
        assert tip_of(daemon) == tip
        for block in second.chain[6:]:                  # it finds peers, and is mined at once
            first.grow(block)
        miner.until(lambda: bool(logged(caplog, "node.level")))
        tip = first.grow()
        miner.until(lambda: miner.work.prev_hash == tip)


def test_a_reorganisation_of_the_only_node_is_obeyed_at_once(tmp_path, nodes):
    node = nodes[0]
    grow_together(node, count=9)
    with running(tmp_path, node) as daemon, miner_of(daemon) as miner:
        node.reorganise(dsha(b"another"), drop=6)
        daemon.service.parts.ask_nodes()
        miner.until(lambda: miner.work.prev_hash == dsha(b"another"))
        miner.share()
        tip = node.grow()
        miner.until(lambda: miner.work.prev_hash == tip)


def test_a_node_that_flaps_moves_nothing_but_its_own_lines(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    first, second = nodes[:2]
    grow_together(first, second, count=3)
    with running(tmp_path, first, second) as daemon, miner_of(daemon) as miner:
        for flaps in range(1, 4):
            second.stop()
            miner.until(lambda flaps=flaps: len(logged(caplog, "node.lost")) == flaps)
            second.start()
            miner.until(lambda flaps=flaps: len(logged(caplog, "node.back")) == flaps)
        tip = grow_together(first, second)
        miner.until(lambda: miner.work.prev_hash == tip)
        jobs = len(miner.jobs)
        first.stop()
        miner.until(lambda: logged(caplog, "template.source")[-1]["node"] == "node-1")
        # The second may be a while behind, on a slow machine.
        miner.until(lambda: tip_of(daemon) == tip == miner.work.prev_hash and len(miner.jobs) > jobs)
        miner.share()
    assert not logged(caplog, "work.missing") and not logged(caplog, "template.lost")


def test_two_nodes_of_three_win_against_a_clock_that_lies(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    grow_together(*nodes, count=3)
    nodes[0].clock_offset_s = 86_400
    with running(tmp_path, *nodes) as daemon:
        await_true(lambda: daemon.work.latest is not None and daemon.work.latest.template.source != "node-0")
        await_true(lambda: bool(logged(caplog, "node.refused")))
        nodes[0].grow()
        nodes[0].grow()
        tip = grow_together(nodes[1], nodes[2])
        await_true(lambda: tip_of(daemon) == tip)
        assert daemon.work.latest is not None
        assert abs(daemon.work.latest.ntime - time.time()) < 600
    assert {fields["node"] for fields in logged(caplog, "clock.off")} == {"node-0"}
    assert {fields["node"] for fields in logged(caplog, "node.refused")} == {"node-0"}


def test_the_time_of_the_only_node_is_used_whatever_our_own_clock_says(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    nodes[0].clock_offset_s = -90_000                   # our own clock is a day ahead
    with running(tmp_path, nodes[0]) as daemon, miner_of(daemon) as miner:
        assert daemon.work.latest is not None
        assert abs(daemon.work.latest.ntime - (time.time() - 90_000)) < 600
        block = miner.share(is_block=True)
        miner.until(lambda: nodes[0].chain[1:] == [block])
    assert [fields["event"] for fields in logged(caplog, "clock.off")]


# --- dead work --------------------------------------------------------------------------------------------------------

def is_turned_away(port: int) -> bool:
    """A machine that comes is closed at once, without a byte."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        try:
            sock.sendall(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
            return sock.recv(100) == b""
        except ConnectionError:
            return True


def mine_on(miner: HandMiner) -> None:
    while True:
        miner.share()


@pytest.mark.parametrize("end", [StubNode.stop, lambda node: setattr(node, "mood", Mood.BUSY)], ids=["gone", "errors"])
def test_machines_are_sent_away_when_no_node_answers_and_served_when_one_does(tmp_path, nodes, end, caplog):
    caplog.set_level(logging.INFO)
    node = nodes[0]
    with running(tmp_path, node, work_max_age_s=3) as daemon:
        port = daemon.ports.listeners[0].port
        with miner_of(daemon) as miner:
            miner.share()
            end(node)
            with pytest.raises((ConnectionError, AssertionError)):
                mine_on(miner)
        await_true(lambda: daemon.ports.reports()[0].connections == 0)
        assert is_turned_away(port) and is_turned_away(port)
        assert daemon.service.status.line().startswith("no work, since no node answers")
        assert daemon.ports.listeners[0].sock.fileno() >= 0   # the port stays bound
        node.mood = Mood.WELL
        if node._listener is None:
            node.start()
        await_true(lambda: bool(logged(caplog, "work.back")))
        await_true(lambda: not is_open_refused(port))
        with miner_of(daemon) as miner:
            block = miner.share(is_block=True)
            miner.until(lambda: node.chain[1:] == [block])
    (missing,) = logged(caplog, "work.missing")
    assert "node-0: " in missing["reason"]


def is_open_refused(port: int) -> bool:
    """The reactor hears a moment later than the log that machines are welcome again."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.settimeout(0.2)
        try:
            return sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


@pytest.mark.parametrize("work_max_age_s", [1, 3])
def test_an_idle_node_that_answers_is_never_taken_for_silent(tmp_path, nodes, work_max_age_s, caplog):
    caplog.set_level(logging.INFO)
    with running(tmp_path, nodes[0], work_max_age_s=work_max_age_s) as daemon, miner_of(daemon) as miner:
        pause = time.monotonic() + 4 * work_max_age_s
        miner.until(lambda: time.monotonic() >= pause)
        miner.share()
    assert not logged(caplog, "work.missing")


def test_before_the_first_template_too(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    node = nodes[0]
    node.stop()
    with running(tmp_path, node, is_awaited=False, work_max_age_s=1) as daemon:
        port = daemon.ports.listeners[0].port
        await_true(lambda: bool(logged(caplog, "work.missing")))
        await_true(lambda: is_turned_away(port))
        assert not daemon.service.is_ready.is_set()
        node.start()
        assert daemon.service.is_ready.wait(PATIENCE_S)
        await_true(lambda: not is_open_refused(port))
        with miner_of(daemon) as miner:
            miner.share()


# --- what people see --------------------------------------------------------------------------------------------------

def test_the_ages_and_the_machines_of_the_summary(tmp_path, nodes, caplog):
    caplog.set_level(logging.INFO)
    node = nodes[0]
    node.stop()
    with running(tmp_path, node, is_awaited=False) as daemon:
        daemon.service.status.say_summary(time.monotonic())
        node.start()
        assert daemon.service.is_ready.wait(PATIENCE_S)
        await_true(lambda: daemon.job_maker.answered_at is not None)
        idle = socket.create_connection(("127.0.0.1", daemon.ports.listeners[0].port))
        with idle, miner_of(daemon) as miner:
            miner.share()
            daemon.service.status.say_summary(time.monotonic() + 40)
    before, after = logged(caplog, "pool.summary")
    assert (before["template_age"], before["work_age"], before["miners"]) == ("none", "none", "0")
    assert 40 <= int(after["template_age"]) < 70 and 40 <= int(after["work_age"]) < 70
    assert after["miners"] == "1"                       # a connection that asks for nothing is no machine with work


def test_sigusr1_asks_the_node_at_once(tmp_path, nodes):
    """A node that grew without a word: its own poll would have told, but only a refresh brings its new transactions."""
    node = nodes[0]
    config = write_config(tmp_path, secret=SECRET, node={"url": node.url, "cookie_file": str(node.cookie)})
    with PoolProcess(config) as pool:
        pool.ready()
        node.wait_until(lambda: node.count("waitforblockheight") >= 2)
        for _ in range(3):
            before = node.count("getblocktemplate")
            pool._process.send_signal(signal.SIGUSR1)
            node.wait_until(lambda: node.count("getblocktemplate") > before)    # noqa: B023 - called at once
        pool.terminate()
        assert pool.wait() == 0


def test_the_translator_ignores_it(tmp_path):
    (tmp_path / "translator.toml").write_text(
        '[stratum]\nlisten = ["127.0.0.1:0"]\n[translator]\ndata_dir = "data"\n[[upstream]]\n'
        f'url = "stratum2+tcp://127.0.0.1:1/{public_key(SECRET).hex()}"\nuser_identity = "alice"\n')
    with TranslatorProcess(tmp_path / "translator.toml") as translator:
        translator.wait_for("daemon.started")
        translator._process.send_signal(signal.SIGUSR1)
        translator.wait_for("signal.ignored")
        translator.terminate()
        assert translator.wait() == 0


def test_a_v1_machine_is_turned_away_too(tmp_path, nodes):
    node = nodes[0]
    config = v1_config(tmp_path, node)
    daemon = Pool(replace(config, pool=replace(config.pool, work_max_age_s=2)))
    daemon.service.start()
    try:
        assert daemon.service.is_ready.wait(PATIENCE_S)
        machine = Machine(daemon.ports.listeners[0].port, "alice.rig1")
        node.stop()
        await_true(lambda: sum(stats.connections for stats in daemon.ports.reports(PATIENCE_S)) == 0)
        assert is_turned_away(daemon.ports.listeners[0].port)
        machine.close()
    finally:
        daemon.service.stop()


# --- how the parts are joined -----------------------------------------------------------------------------------------

def test_every_thread_that_works_is_watched_and_those_that_wait_for_disk_or_node_are_given_time(tmp_path, nodes):
    with running(tmp_path, *nodes[:2]) as daemon:
        limits = {thread.name: thread.limits for thread in daemon.service.threads.watchdog.threads}
        threads = set(daemon.service.threads._threads)
    assert {name for name, (_, hangs_s) in limits.items() if 300 <= hangs_s < math.inf} == {
        "ledger", "journal", "submit-0", "submit-1", "stats"}
    assert {name for name, (_, hangs_s) in limits.items() if hangs_s == math.inf} == {"status", "status-files"}
    assert all(slow_s <= 60 for slow_s, _ in limits.values())
    assert threads - set(limits) == {"missing"}         # which ends by itself, and nobody waits for it


def test_the_submitter_hears_which_node_has_the_best_tip(tmp_path, nodes):
    first, second = nodes[:2]
    grow_together(first, second)
    with running(tmp_path, first, second) as daemon, miner_of(daemon) as miner:
        miner.until(lambda: daemon.submitter._takers.best == 0)
        second.grow()
        miner.until(lambda: daemon.submitter._takers.best == 1)


def test_templates_are_measured_by_the_coinbase_that_the_pool_really_makes(tmp_path, nodes):
    with running(tmp_path, nodes[0]) as daemon:
        (source,) = daemon.nodes.sources
        assert source._plan == plan_of(daemon.config.pool) != LARGEST_PLAN

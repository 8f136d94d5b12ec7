"""The whole translator in this process, with live pools behind it: machines mine, and every share is in one counter."""

from __future__ import annotations

import logging
import os
import signal
import struct
import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import until
from tests.peers import foreign_v1
from tests.peers.foreign_v1 import request
from tests.service.farm import (
    EVERY_HASH,
    SECRET,
    Fleet,
    booked_by,
    regtest_pool,
    stub_pools,
    translating,
)
from tests.service.process import PoolProcess, write_config
from tests.service.test_daemon import mine_until
from warppool.addresses import PoolUrl
from warppool.commands.democert import self_signed
from warppool.config.translator import translator_config_of
from warppool.errors import NotNow
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import tls_context
from warppool.noise.primitives import public_key
from warppool.service.translator import Translator

MODES = ("connection", "channels")
each_mode = pytest.mark.parametrize("mode", MODES)


class Machine(foreign_v1.Machine):
    """Somebody else's, which lets a difficulty come before the answer to its authorize, as it does here."""

    def _called(self, method: str, params: list[Any]) -> None:
        super()._called(method, params)
        self._is_new_difficulty = False


def port_of(translator: Translator, kind: str = "sv1") -> int:
    return next(listener.port for listener in translator.ports.listeners if listener.kind == kind)


# --- blocks -----------------------------------------------------------------------------------------------------------

@each_mode
def test_cpuminers_session_word_for_word_mines_blocks(tmp_path, mode):
    """It waits for each answer, and gives every submit id 4; the kernel has judged every tip that comes back."""
    pytest.importorskip("pbk")
    with regtest_pool(tmp_path, **EVERY_HASH) as pool, translating(tmp_path, pool, mode=mode) as translator:
        with Machine(port_of(translator), "addr.w") as machine:
            machine.send(b'{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}\n')
            answer = machine.answer()
            assert answer.id == 1 and answer.error is None
            machine.subscribed(answer)
            machine.send(b'{"id": 2, "method": "mining.authorize", "params": ["addr.w", "x"]}\n')
            assert machine.answer() == (2, True, None)
            machine.until(lambda: bool(machine.jobs))
            good = machine.find()
            assert machine.submit(good, good) == [None, 22]
            blocks = [machine.mine_block() for _ in range(3)]
        assert pool.height == 4
        until(lambda: len(booked_by(translator)) == 4)
        mined = [good.hash, *(block.hash for block in blocks)]
        assert [(share.hash, share.worker) for share in booked_by(translator)] == [(h, "addr.w") for h in mined]
        assert [(share.hash, share.worker) for share in pool.booked()] == [(h, "farm.w") for h in mined]
        assert translator.counts()._asdict() == {
            "received": 5, "accepted": 4, "rejected": (("duplicate-share", 1),), "filtered": 0, "pending": 0,
            "unconfirmed": 0, "late": 0, "unnamed": 0}


@each_mode
def test_a_pipelined_session_with_rolled_versions_mines_blocks(tmp_path, mode):
    pytest.importorskip("pbk")
    with regtest_pool(tmp_path, **EVERY_HASH) as pool, translating(tmp_path, pool, mode=mode) as translator:
        with Machine(port_of(translator), "bob.1") as machine:
            machine.send(
                request("one", "mining.configure", ["version-rolling"], {"version-rolling.mask": "ffffffff"}),
                request(2, "mining.subscribe", "elsewhere/1"), request(3, "mining.authorize", "bob.1", "x"))
            machine.configured(machine.answer_before_work())
            answer = machine.answer_before_work()
            assert answer.id == 2
            machine.subscribed(answer)
            assert machine.answer() == (3, True, None)
            machine.until(lambda: bool(machine.jobs))
            blocks = []
            for bits in (1 << 13, machine.mask, 0):
                blocks.append(machine.mine_block(bits))
                assert struct.unpack_from("<I", blocks[-1].header)[0] == machine.job.version | bits
            assert machine.submit(machine.find()._replace(bits=0x20000000)) == [20]
        assert pool.height == 4
        until(lambda: len(booked_by(translator)) == 3)
        for books in (pool.booked(), booked_by(translator)):
            assert [(share.hash, share.worker) for share in books] == [(block.hash, "bob.1") for block in blocks]


def test_the_cpu_miner_mines_plain_and_over_tls(tmp_path):
    pytest.importorskip("pbk")
    certificate, _ = self_signed().write(tmp_path)
    stratum = {"tls_listen": ["127.0.0.1:0"]}
    with regtest_pool(tmp_path) as pool, translating(tmp_path, pool, stratum=stratum) as translator:
        for miner in (CpuMiner(PoolUrl("127.0.0.1", port_of(translator), b""), "rig.plain"),
                      CpuMiner(PoolUrl("127.0.0.1", port_of(translator, "sv1-tls"), b"", is_tls=True), "rig.tls",
                               context=tls_context(certificate))):
            mine_until(miner, lambda miner=miner: miner.tally.blocks >= 3 and miner.tally.accepted >= 3)
            assert miner.tally.rejected == 0
        assert pool.height >= 4
        until(lambda: len(booked_by(translator)) == len(pool.booked()))
        assert {share.worker for share in booked_by(translator)} == {"rig.plain", "rig.tls"}


# --- shares -----------------------------------------------------------------------------------------------------------

@each_mode
def test_two_hundred_machines_and_the_books_agree_to_the_share(tmp_path, mode):
    """Half of them wait for each answer; one share in eight comes twice. Every name's shares stand in both books."""
    names = [f"farm.{number}" for number in range(200)]
    with stub_pools(tmp_path) as (pool,), translating(tmp_path, pool, mode=mode) as translator:
        with Fleet(port_of(translator), names, waits=lambda number: number % 2 == 0) as fleet:
            fleet.drive(fleet.are_working)
            fleet.give(16)
            fleet.drive(fleet.are_answered)
            counts = translator.counts()
            assert (counts.received, counts.accepted) == (200 * 18, 200 * 16)
            assert counts.rejected == (("duplicate-share", 200 * 2),)
            assert (counts.pending, counts.unconfirmed, counts.late) == (0, 0, 0)
            assert fleet.sent == counts.received and fleet.answers == {0: counts.accepted, 22: 400}
            upstreams = sum(worker.upstreams for worker in translator.ports.reports())
            assert upstreams == (200 if mode == "connection" else 2)
        assert Counter(share.worker for share in pool.booked()) == dict.fromkeys(names, 16)
        until(lambda: len(booked_by(translator)) == counts.accepted)
        assert Counter(share.worker for share in booked_by(translator)) == dict.fromkeys(names, 16)
        assert {share.hash for share in booked_by(translator)} == {share.hash for share in pool.booked()}


@each_mode
def test_machines_that_wait_have_workers_of_their_own_in_the_pools_books(tmp_path, mode):
    """Each waits for its subscribe answer, so that its channel is opened under the name in the translator's file."""
    names = ["alice.rig1", "farm.rig2", "rig3", "alice." + "x" * 33]
    with stub_pools(tmp_path) as (pool,), translating(tmp_path, pool, mode=mode) as translator:
        with Fleet(port_of(translator), names, waits=lambda number: True) as fleet:
            fleet.drive(fleet.are_working)
            fleet.give(8)
            fleet.drive(fleet.are_answered)
        assert Counter(share.worker for share in pool.booked()) == {
            "farm.rig1": 8, "farm.rig2": 8, "farm.rig3": 8, "farm.unnamed": 8}
        assert {share.user for share in pool.booked()} == {"farm"}
        until(lambda: len(booked_by(translator)) == 32)
        assert Counter(share.worker for share in booked_by(translator)) == dict.fromkeys(names, 8)
        assert translator.counts().unnamed == 8


@each_mode
def test_flips_between_two_pools_leave_every_share_in_one_counter(tmp_path, mode):
    names = [f"farm.{number}" for number in range(12)]
    times = {"backoff_max_s": 0.05, "return_after_s": 0.1, "grace_s": 20, "verdict_timeout_s": 1.0}
    with stub_pools(tmp_path, 2) as pools, translating(tmp_path, *pools, mode=mode, **times) as translator:
        with Fleet(port_of(translator), names, waits=lambda number: number % 3 == 0) as fleet:
            for flip in range(4):
                flow(fleet, translator)
                pools[flip % 2].stop()
                flow(fleet, translator)
                pools[flip % 2].start()
            flow(fleet, translator)
            for machine in fleet.machines:
                machine.is_stopped = True
            fleet.drive(fleet.are_answered)
            until(lambda: translator.counts().pending == 0)
            counts = translator.counts()
            assert counts.is_balanced
            assert max(machine.connections for machine in fleet.machines) > 1
        booked = [share.hash for pool in pools for share in pool.booked()]
        assert len(set(booked)) == len(booked)
        until(lambda: len(booked_by(translator)) == counts.accepted)
        assert {share.hash for share in booked_by(translator)} <= set(booked)
        assert counts.accepted <= len(booked) <= counts.accepted + counts.unconfirmed
        told_well = fleet.answers[0]
        assert told_well <= counts.accepted + counts.unconfirmed, "the rest had no machine left to tell"
        assert sum(fleet.answers.values()) <= counts.received <= fleet.sent


def flow(fleet: Fleet, translator: Translator) -> None:
    """Mine until each machine has had some more shares taken."""
    before = {machine: machine.answers[0] for machine in fleet.machines}
    fleet.give(10_000)
    fleet.drive(lambda: all(machine.answers[0] >= before[machine] + 5 for machine in fleet.machines))
    assert translator.counts().is_balanced


def test_the_summary_says_where_every_share_is(tmp_path, caplog):
    with (stub_pools(tmp_path) as (pool,), translating(tmp_path, pool) as translator,
          Fleet(port_of(translator), ["farm.1", "farm.2"]) as fleet):
        fleet.drive(fleet.are_working)
        fleet.give(8)
        fleet.drive(fleet.are_answered)
        until(lambda: translator.numbers.latest().pool.accepted == 16)      # no answer waits for the books
        with caplog.at_level(logging.INFO, logger="warppool"):
            translator.service.status.say_summary(time.monotonic())
    said = [record.getMessage() for record in caplog.records]
    (line,) = [dict(pair.split("=") for pair in line.split()) for line in said if "translator.summary" in line]
    assert float(line.pop("hashrate_1m")) > 0 and float(line.pop("best")) > 0
    assert {name: value for name, value in line.items() if not name.startswith("hashrate_")} == {
        "event": "translator.summary", "machines": "2", "upstreams": "2", "received": "18", "accepted": "16",
        "rejected": "2", "rejected_duplicate-share": "2", "filtered": "0", "pending": "0", "unconfirmed": "0",
        "late": "0", "unnamed": "0", "balanced": "yes"}


def test_a_share_that_is_in_no_counter_is_there_for_all_to_see(tmp_path, caplog):
    with stub_pools(tmp_path) as (pool,), translating(tmp_path, pool) as translator:
        counters = translator.ports.workers[1]._sessions.__self__
        counters.received += 1
        with caplog.at_level(logging.INFO, logger="warppool"):
            translator.service.status.say_summary(1.0)
        assert caplog.records[-1].getMessage().endswith(" balanced=no")
        assert caplog.records[-1].levelno == logging.ERROR
        counters.received -= 1


# --- start and stop ---------------------------------------------------------------------------------------------------

def test_without_an_upstream_it_is_ready_all_the_same_and_serves_as_soon_as_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("warppool.service.upstreamwatch.PATIENCE_S", 0.1)
    with stub_pools(tmp_path) as (pool,):
        pool.stop()
        with translating(tmp_path, pool, backoff_max_s=0.05) as translator:
            assert translator.service.status.ready_fields() == {"upstream": "none"}
            with Fleet(port_of(translator), ["farm.1"]) as fleet:
                until(lambda: sum(worker.connections for worker in translator.ports.reports()) == 1)
                pool.start()
                fleet.drive(fleet.are_working)


def test_the_first_upstream_that_answers_is_named(tmp_path):
    with stub_pools(tmp_path, 2) as pools:
        pools[0].stop()
        with translating(tmp_path, *pools) as translator:
            assert translator.service.status.ready_fields() == {"upstream": pools[1].url.place}
            assert pools[1].url.place in translator.service.status.line()


def test_shares_in_flight_are_answered_before_it_ends(tmp_path):
    with stub_pools(tmp_path) as (pool,):
        with translating(tmp_path, pool) as translator:
            fleet = Fleet(port_of(translator), [f"farm.{number}" for number in range(20)], in_flight=64)
            fleet.drive(fleet.are_working)
            fleet.give(64)
        with fleet:
            for machine in fleet.machines:
                while machine.hear():
                    pass
            counts = translator.counts()
            assert counts.pending == 0 and counts.unconfirmed == 0
            assert sum(fleet.answers.values()) == counts.received
        assert len(pool.booked()) == counts.accepted == len(booked_by(translator))


def test_shares_that_a_hanging_upstream_holds_are_answered_before_it_ends(tmp_path):
    """The pool is a process, stopped in the middle of it all: our own verdict stands in the place of its own."""
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                              difficulty=EVERY_HASH)
        with PoolProcess(config) as process:
            pool = SimpleNamespace(url=PoolUrl("127.0.0.1", process.ready(), public_key(SECRET)))
            with translating(tmp_path, pool, verdict_timeout_s=0.5) as translator:
                fleet = Fleet(port_of(translator), [f"farm.{number}" for number in range(8)])
                fleet.drive(fleet.are_working)
                os.kill(process.pid, signal.SIGSTOP)
                fleet.give(4)
                until(lambda: translator.counts().received == 32)
            with fleet:
                for machine in fleet.machines:
                    while machine.hear():
                        pass
    assert fleet.answers == {0: 32}
    assert (translator.counts().pending, translator.counts().unconfirmed) == (0, 32)


def test_threads_have_names_and_are_watched(tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    with stub_pools(tmp_path) as (pool,), translating(tmp_path, pool) as translator:
        names = {thread.name for thread in threading.enumerate()} - before
        assert {"resolver", "worker-1"} <= names
        assert {thread.name for thread in translator.service.threads.watchdog.threads} == {
            "reactor", "resolver", "worker-0", "worker-1", "ledger", "stats", "status-files", "status"}


def test_a_second_translator_on_one_data_dir_is_refused(tmp_path):
    with (stub_pools(tmp_path) as (pool,), translating(tmp_path, pool) as translator,
          pytest.raises(NotNow, match=r"translator\.data_dir: .* in use by another warppool")):
        Translator(translator.config)


def test_a_taken_port_is_one_clear_line_and_leaves_nothing_open(tmp_path):
    with stub_pools(tmp_path) as (pool,), translating(tmp_path, pool) as translator:
        taken = f"127.0.0.1:{port_of(translator)}"
        document = {"stratum": {"listen": [taken]}, "translator": {"data_dir": "other"},
                    "upstream": [{"url": str(pool.url), "user_identity": "x"}]}
        config = translator_config_of(document, folder=tmp_path, environ={}, source="test")
        for _ in range(2):
            with pytest.raises(NotNow, match="taken by another program"):
                Translator(config)

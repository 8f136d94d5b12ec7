"""Nodes come, go and change places with a reload, while a machine mines and blocks wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.node.stub import PATIENCE_S, Mood, StubNode, await_true
from tests.service.byhand import HandMiner
from tests.service.test_node_choice import grow_together, miner_of
from tests.service.test_node_trouble import config_for
from warppool.config.options import Config
from warppool.service.pool import Pool


class World:
    """A pool whose file names other nodes when the test says so, and a machine on it."""

    def __init__(self, folder: Path, nodes: list[StubNode], *numbers: int) -> None:
        self.folder = folder
        self.nodes = nodes
        self.config = config_for(folder, *(nodes[number] for number in numbers))
        self.pool = Pool(self.config, read=self.read)

    def read(self) -> Config:
        return self.config

    def reload(self, *numbers: int) -> None:
        """The file names these nodes now."""
        tables = config_for(self.folder, *(self.nodes[number] for number in numbers)).nodes
        self.config = replace(self.config, nodes=tables)
        self.pool.service.reload()
        assert [node.table.url for node in self.pool.nodes.by_number.values()] == [
            self.nodes[number].url for number in numbers]


@contextmanager
def world(folder: Path, *numbers: int) -> Iterator[tuple[World, HandMiner]]:
    with ExitStack() as stack:
        nodes = [stack.enter_context(StubNode(cookie=folder / f".cookie-{number}")) for number in range(3)]
        grow_together(*nodes, count=3)
        it = World(folder, nodes, *numbers)
        it.pool.service.start()
        try:
            assert it.pool.service.is_ready.wait(PATIENCE_S)
            with miner_of(it.pool) as miner:
                yield it, miner
        finally:
            it.pool.service.stop()
        assert not it.pool.service.has_failed.is_set() and not it.pool.service.is_hanging


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith(("node-", "submit-"))}


def test_the_mined_node_goes_and_the_other_one_is_mined_at_once(tmp_path):
    with world(tmp_path, 0, 1) as (it, miner):
        assert it.pool.work.latest.template.source == "node-0"
        it.reload(1)
        tip = it.nodes[1].grow()
        miner.until(lambda: miner.work.prev_hash == tip)
        miner.share()
        assert it.pool.work.latest.template.source == "node-1"
        await_true(lambda: threads() == {"node-1", "submit-1"})
        calls = len(it.nodes[0].calls)
        it.nodes[0].grow()
        it.nodes[1].grow()
        miner.until(lambda: miner.work.prev_hash == it.nodes[1].chain[-1])
        assert len(it.nodes[0].calls) == calls
        assert {thread.name for thread in it.pool.service.threads.watchdog.threads} >= {"node-1", "submit-1"}
        assert not {"node-0", "submit-0"} & {thread.name for thread in it.pool.service.threads.watchdog.threads}


def test_the_only_node_is_replaced_and_nobody_is_dropped(tmp_path):
    with world(tmp_path, 0) as (it, miner):
        it.reload(2)
        miner.share()
        it.nodes[2].wait_until(lambda: it.nodes[2].count("getblocktemplate") >= 1)
        tip = it.nodes[2].grow()
        miner.until(lambda: miner.work.prev_hash == tip)
        miner.share()
        assert (tmp_path / "data/nodes").read_text() == f"0 {it.nodes[0].url}\n1 {it.nodes[2].url}\n"


def test_a_node_that_comes_back_has_its_number_and_its_threads_again(tmp_path):
    with world(tmp_path, 0, 1) as (it, miner):
        for numbers in ((1,), (1, 0), (0,), (2, 0), (0, 1)):
            it.reload(*numbers)
            miner.share()
        await_true(lambda: threads() == {"node-0", "submit-0", "node-1", "submit-1"})
        assert list(it.pool.nodes.by_number) == [0, 1]
        tip = grow_together(it.nodes[0], it.nodes[1])
        miner.until(lambda: miner.work.prev_hash == tip)


def test_a_block_that_waits_goes_to_the_node_that_is_added_and_no_more_to_the_one_that_is_gone(tmp_path):
    with world(tmp_path, 0) as (it, miner):
        it.nodes[0].moods["submitblock"] = Mood.BUSY
        it.nodes[0].moods["getblockheader"] = Mood.BUSY
        block = miner.share(is_block=True)              # the journal has it: it is safe, and its share is booked
        it.nodes[0].wait_until(lambda: it.nodes[0].count("submitblock") >= 2)
        assert block not in it.nodes[0].chain
        it.reload(1)
        it.nodes[1].wait_until(lambda: it.nodes[1].chain[-1] == block)
        await_true(lambda: threads() == {"node-1", "submit-1"})
        tries = it.nodes[0].count("submitblock")
        miner.until(lambda: miner.work.prev_hash == block)
        miner.share()
        assert it.nodes[0].count("submitblock") == tries
        assert len(list((tmp_path / "data/blocks").glob("*.block"))) == 1


def test_the_order_of_the_file_is_that_of_preference_after_a_reload_too(tmp_path):
    with world(tmp_path, 0, 1) as (it, miner):
        it.config = replace(it.config, pool=replace(it.config.pool, return_after_s=0))
        it.reload(1, 0)
        miner.until(lambda: it.pool.job_maker._choice.node == 1)
        miner.share()


@pytest.mark.parametrize("mood", [Mood.HANG, Mood.DRIBBLE, Mood.WARM_UP])
def test_a_node_that_hangs_can_be_removed_and_its_threads_end(tmp_path, mood):
    with world(tmp_path, 0, 1) as (it, miner):
        it.nodes[0].mood = mood
        it.nodes[0].wait_until(lambda: bool(it.nodes[0].calls))
        it.reload(1)
        miner.share()
        await_true(lambda: threads() == {"node-1", "submit-1"})


def test_a_new_node_whose_number_the_disk_refuses_is_no_change_at_all(tmp_path, caplog):
    with world(tmp_path, 0) as (it, miner):
        (tmp_path / "data/nodes.new").mkdir()
        it.config = replace(it.config, nodes=config_for(tmp_path, *it.nodes[:2]).nodes)
        it.pool.service.reload()
        assert "event=reload.refused" in caplog.text and "free space" in caplog.text
        assert threads() == {"node-0", "submit-0"}
        miner.share()


def test_a_hundred_reloads_leave_no_thread_and_no_descriptor_behind(tmp_path):
    with world(tmp_path, 0, 1) as (it, miner):
        it.reload(1, 2)
        it.reload(0, 1)
        await_true(lambda: threads() == {"node-0", "submit-0", "node-1", "submit-1"})
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(100):
            it.reload(*((1, 2), (2,), (0,), (0, 1))[turn % 4])
            if turn % 10 == 0:
                miner.share()
        await_true(lambda: threads() == {"node-0", "submit-0", "node-1", "submit-1"})
        serving = it.pool.service.threads
        assert len(serving.watchdog.threads) == len({thread.name for thread in serving.watchdog.threads})
        await_true(lambda: len(os.listdir("/proc/self/fd")) < before + 20)     # the stubs' ends go a little later
        miner.share()

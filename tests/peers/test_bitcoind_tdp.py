"""Two nodes of one pool, a template provider and a bitcoind, on real chains: either dies in turn, amid blocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.patience import is_busy
from tests.peers import bitcoind, spec
from tests.peers.bitcoind import Bitcoind, is_same_tip
from tests.peers.pools import by_hand, until, write_config
from tests.peers.test_provider_peers import fill_mempool
from tests.service.byhand import HandMiner
from tests.service.process import PoolProcess, ProviderProcess, fields_of
from warppool.bitcoin.hashes import to_display

pytestmark = pytest.mark.peer

SHARES = 5              # between two blocks
PROMISED_S = 2.0        # from the loss of a node to work of another one that is fresh
DEBUG = {"WARPPOOL__LOG__LEVEL": "debug"}
TDP, RPC = "node-0", "node-1"
JOBS = ("tip.moved", "job.made")


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    bitcoind.skip_unless_installed()


class Course:
    """A pool with both nodes, a machine on it, and the blocks that were found."""

    def __init__(self, pool: PoolProcess, miner: HandMiner) -> None:
        self.pool = pool
        self.miner = miner
        self.found: list[bytes] = []

    def until(self, is_true: Callable[[], bool]) -> None:
        """Listen to the pool until then; what it said is told where that does not come."""
        try:
            self.miner.until(is_true)
        except AssertionError as exc:
            lines = [line for line in self.pool.lines if " DEBUG " not in line]
            raise AssertionError("\n".join([str(exc), *lines])) from exc

    def dig(self, blocks: int) -> None:
        for _ in range(blocks):
            for _ in range(SHARES):
                self.miner.share()
            self.follow(self.miner.share(is_block=True))

    def block_amid(self, death: Callable[[], None]) -> None:
        """A block is on its way to the pool when a node dies."""
        self.pool.wait_for("block.found", lambda fields: fields["hash"] == to_display(self.found[-1]))
        block = self.miner.send_share(is_block=True)
        self.pool.wait_for("block.submitted", lambda fields: fields["hash"] == to_display(block))
        death()
        self.follow(block)

    def follow(self, block: bytes) -> None:
        self.found.append(block)
        self.until(lambda: self.miner.work.prev_hash == block)

    def until_mined(self, node: str, since: int = 0) -> None:
        """Until work of that node goes out, said after so many such lines."""
        self.until(lambda: len(self.sources()) > since and self.sources()[-1] == node)

    def until_given(self, node: str) -> None:
        """Until the machine's work is of that node's template: a block on it is that node's."""
        self.until_mined(node)
        self.until(lambda: self.last_job() == node)
        self.miner.share()                      # what the pool had sent before it answered is here now

    def last_job(self) -> str:
        """Whose template the newest job is made of."""
        jobs = [fields for line in self.pool.lines if (fields := fields_of(line)).get("event") in JOBS]
        return jobs[-1]["node"]

    def sources(self) -> list[str]:
        return [fields["node"] for fields in self.pool.events("template.source")]

    def until_kept(self, height: int) -> None:
        """Until the transactions of a template for that height have come."""
        self.until(lambda: any(int(fields["height"]) == height
                                     for fields in self.pool.events("transactions.kept")))

    def until_lost(self, node: str) -> None:
        self.until(lambda: any(fields["node"] == node for fields in self.pool.events("node.lost")))

    def until_back(self, node: str, times: int) -> None:
        self.until(lambda: sum(fields["node"] == node for fields in self.pool.events("node.back")) >= times)

    def took_s(self, lost: str, mined: str) -> float:
        """From the line that `lost` is lost to the next one that `mined` is mined; 0 where it is by then."""
        since, source = None, ""
        for line in self.pool.lines:
            fields = fields_of(line)
            if fields.get("event") == "template.source":
                source = fields["node"]
            if fields.get("event") == "node.lost" and fields["node"] == lost:
                since = datetime.fromisoformat(line.split()[0])
            if since and source == mined:
                return (datetime.fromisoformat(line.split()[0]) - since).total_seconds()
        raise AssertionError(f"{mined} did not follow {lost}:\n" + "\n".join(self.pool.lines))


@pytest.mark.parametrize("profile", ["warp", "spec"])
def test_either_node_dies_in_turn_and_every_block_is_on_the_chain(tmp_path: Path, profile: str) -> None:
    with Bitcoind(tmp_path / "first") as first, Bitcoind(tmp_path / "second") as second:
        first.connect(second)
        fill_mempool(first, 3)
        until(lambda: is_same_tip(first, second))
        provided = spec.provider_config(tmp_path / "provider", first)
        config = write_config(tmp_path, {"source": "tdp", "url": provided.url(profile)}, second, return_after_s=0)
        with ProviderProcess(provided.config) as provider:
            provider.ready()
            with PoolProcess(config, **DEBUG) as pool, by_hand(pool) as miner:
                course = Course(pool, miner)
                course.until_mined(TDP)
                course.dig(3)
                fill_mempool(first, 3)
                course.dig(1)

                course.until_kept(first.height + 1)                     # the provider dies
                course.block_amid(provider.kill)
                course.until_lost(TDP)
                course.until_given(RPC)
                course.dig(3)
                assert course.took_s(TDP, RPC) <= PROMISED_S or is_busy()

                with ProviderProcess(provided.config) as provider:
                    provider.ready()
                    course.until_back(TDP, 1)
                    course.until_mined(TDP)
                    course.dig(2)
                    until(lambda: is_same_tip(first, second))

                    course.until_given(TDP)                             # the node that is asked by RPC dies
                    course.block_amid(second.kill)
                    course.until_lost(RPC)
                    course.until_given(TDP)
                    course.dig(3)
                    assert course.took_s(RPC, TDP) <= PROMISED_S or is_busy()
                    second.start()
                    first.connect(second)
                    course.until_back(RPC, 1)
                    until(lambda: is_same_tip(first, second))
                    fill_mempool(first, 3)
                    course.dig(1)

                    course.until_kept(first.height + 1)                 # the provider lives, and its node dies
                    course.block_amid(first.kill)
                    course.dig(3)
                    first.start()
                    first.connect(second)
                    until(lambda: is_same_tip(first, second))
                    check(course, first, second)
                    pool.terminate()
                    assert pool.wait() == 0


def check(course: Course, *nodes: Bitcoind) -> None:
    for node in nodes:
        until(lambda: all(confirmations(node, block) > 0 for block in course.found))    # noqa: B023 - called at once
    assert len(course.found) == 3 + 1 + 4 + 2 + 4 + 1 + 4
    assert not course.pool.events("block.refused") and not course.pool.events("block.stranded")
    assert not course.miner.refused


def confirmations(node: Bitcoind, block: bytes) -> int:
    return int(node.call("getblockheader", to_display(block))["confirmations"])

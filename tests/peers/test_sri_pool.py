"""V1 machines on our translator, on SRI's pool, on our template provider, on a bitcoind: four programs of two houses.

The machines share no line with warppool (`foreign_v1`). What SRI's pool logs is compared with what the translator has
counted: each share is in both, once. `warppool mine` is tried on the same pool, with both kinds of channel.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.peers import sri
from tests.peers.bitcoind import Bitcoind, skip_unless_installed, until
from tests.peers.foreign_v1 import Answer, Machine, Share
from tests.service.farm import translating
from tests.service.templateclients import PINS, config_of, port_of, providing
from warppool.addresses import PoolUrl
from warppool.authority import authority_key_text
from warppool.miner.cpu import CpuMiner
from warppool.miner.greeting import greet
from warppool.miner.link import EXTENDED, STANDARD
from warppool.service.translator import Translator
from warppool.sv2.profile import SPEC

pytestmark = pytest.mark.peer

BATCH = 10                      # shares that SRI's pool acknowledges together
MATURE = 101
BLOCKS = 10
PATIENCE_S = 120.0              # for what must come; never reached when all is well
EASY = "d=1e-10"                # every hash is a share, and every second one a block
MASK, ROLLED = 0x1FFFE000, 0x00ABC000


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()
    sri.skip_unless_installed(sri.POOL)


class SpecMachine(Machine):
    """A V1 machine on a pool that lets 16 bytes roll: it rolls 8 of them, as all machines can."""

    def __init__(self, port: int, worker: str) -> None:
        super().__init__(port, worker)
        self._sock.settimeout(PATIENCE_S)

    def subscribed(self, answer: Answer) -> None:
        topics, extranonce1, self.size = answer.result
        self.session = topics[1][1]
        self.extranonce1 = bytes.fromhex(extranonce1)
        assert (len(self.extranonce1), self.extranonce1[4:], self.size) == (12, bytes(8), 8)

    def roll(self) -> SpecMachine:
        self.configured(self.call("mining.configure", ["version-rolling"], {"version-rolling.mask": f"{MASK:08x}"}))
        return self

    def next_share(self) -> Share:
        """A header that its job takes; no block, where the pool takes others. Its own vardiff may forbid that."""
        if self.job.target > self.job.network_target:
            return self.find()
        return self.find(is_block=True)


class Chain:
    """A bitcoind, our template provider on it, and SRI's pool on that."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.node = stack.enter_context(Bitcoind(folder / "node"))
        self.node.generate(MATURE)
        provider = stack.enter_context(providing(config_of(
            folder, {"url": self.node.url, "cookie_file": str(self.node.cookie_file)},
            stratum={"sv2_spec_listen": ["127.0.0.1:0"]})))
        self.pool = sri.SriPool(folder / "sri", port_of(provider, SPEC), authority_key_text(PINS[SPEC]),
                                share_batch_size=BATCH)
        stack.enter_context(self.pool)
        self.url = PoolUrl.parse(f"stratum2+tcp://127.0.0.1:{self.pool.port}/{sri.AUTHORITY}")

    def mine_block(self, machine: Machine, bits: int | None = None) -> Share:
        """One block, from the machine to the chain, and back as a new tip."""
        share = machine.mine_block(bits)
        until(lambda: self.node.call("getblockheader", share.display)["confirmations"] >= 1, PATIENCE_S)
        return share

    def taken(self) -> int:
        """Shares that the pool took, by its log: one line each, be it plain, the last of a batch or a block."""
        return sum(map(self.pool.count, (
            "SubmitSharesExtended: valid share", "SubmitSharesExtended: SubmitSharesSuccess", self.pool.BLOCK)))

    def refused(self) -> int:
        return self.pool.count("SubmitSharesError: downstream_id")


@contextmanager
def chain(folder: Path) -> Iterator[Chain]:
    with ExitStack() as stack:
        yield Chain(folder, stack)


def agree(chain: Chain, translator: Translator, sent: int, waiting: int) -> None:
    """SRI's log and our counters say the same of each share; so many wait for their batch to be full."""
    until(lambda: chain.taken() + chain.refused() == sent, PATIENCE_S, lambda: "SRI's pool has not heard every share")
    until(lambda: translator.counts().accepted == sent - waiting, PATIENCE_S, lambda: "not every batch was counted")
    counts = translator.counts()
    assert (chain.taken(), chain.refused()) == (sent, 0)
    assert (counts.received, counts.accepted, counts.pending + counts.unconfirmed) == (sent, sent - waiting, waiting)
    assert counts.rejected == () and counts.filtered == 0 and counts.is_balanced


@pytest.mark.parametrize("mode", ["connection", "channels"])
def test_blocks_and_shares_of_v1_machines(tmp_path, mode):
    with (chain(tmp_path) as below, translating(
            tmp_path, SimpleNamespace(url=below.url), mode=mode, stratum={"workers": 1}, backoff_max_s=1) as translator,
          ExitStack() as stack):
        assert translator.first_upstream.found == below.url and greet(below.url) == "127.0.0.1"
        port = translator.ports.listeners[0].port
        first, second = (stack.enter_context(SpecMachine(port, f"farm.rig{number}")) for number in (1, 2))
        first.begin(EASY)
        second.roll().begin(EASY)
        height = below.node.height
        for number in range(BLOCKS):        # in turn, and each hears of the other's tip: in `channels` by the group
            block = below.mine_block(second, ROLLED) if number % 2 else below.mine_block(first)
            for machine in (first, second):
                machine.await_tip(block.hash)
        assert (below.node.height, below.node.best) == (height + BLOCKS, block.display)
        agree(below, translator, BLOCKS, waiting=0)
        assert first.call("mining.authorize", "farm.other", "x").result is True
        first.worker = "farm.other"         # its name goes behind each share: SRI's pool has that extension
        below.pool.wait_for("Extension negotiation success")
        shares = [first.next_share() for _ in range(BATCH + 5)]
        blocks = sum(share.value <= share.job.network_target for share in shares)
        assert first.submit(*shares) == [None] * len(shares)        # the last ones by our own verdict, after 2 s
        if not blocks:                                              # a block is acknowledged with all before it
            agree(below, translator, BLOCKS + len(shares), waiting=5)

        first.close()
        second.close()
        below.pool.kill()
        below.pool.start()
        again = stack.enter_context(SpecMachine(port, "farm.rig3"))
        again.begin(EASY)
        below.mine_block(again)
        assert below.pool.count(below.pool.BLOCK) == BLOCKS + blocks + 1


@pytest.mark.parametrize("kind", [EXTENDED, STANDARD])
def test_our_cpu_miner(tmp_path, kind):
    with chain(tmp_path) as below:
        height = below.node.height
        miner = CpuMiner(below.url, "alice.cpu", kind, hash_rate=1.0)
        thread = threading.Thread(target=miner.run)
        thread.start()
        try:
            until(lambda: below.node.height >= height + 5 and miner.tally.accepted >= 5, PATIENCE_S)
        finally:
            miner.stop()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()
        until(lambda: below.pool.count(below.pool.BLOCK) >= 5, PATIENCE_S)

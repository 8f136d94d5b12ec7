"""The pool on a template provider: work, blocks, and what happens where one of two nodes dies while blocks are found.

The provider is ours, over a scripted node. All is told by events, so that a slow machine only makes it last longer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.manynames import ADDRESSES
from tests.node.stub import StubNode, make_transaction
from tests.peers.cache import free_port
from tests.service.byhand import HandMiner
from tests.service.process import logged, write_config
from tests.service.templateclients import AUTHORITY_SECRET, SECRET, port_of, providing, write_provider_config
from tests.sv2.profiles import EACH_PROFILE
from warppool.authority import authority_key_text
from warppool.bitcoin.address import script_of
from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.transaction import outputs_of, parse_transaction
from warppool.config.changes import taken_over
from warppool.config.pool import read_config
from warppool.config.provider import read_provider_config
from warppool.errors import ConfigError
from warppool.noise import secp256k1
from warppool.noise.primitives import public_key
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.service.pool import Pool
from warppool.service.templateprovider import TemplateProvider
from warppool.sv2.profile import SPEC, WARP, Profile

KEYS = {WARP: public_key(SECRET).hex(), SPEC: authority_key_text(xonly_of_secret(AUTHORITY_SECRET))}


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / "cookie") as node:
        node.add_transactions(*(make_transaction(number) for number in range(5)))
        yield node


def node_of(stub: StubNode) -> dict[str, object]:
    return {"url": stub.url, "cookie_file": str(stub.cookie)}


def tdp(port: int, profile: Profile) -> dict[str, object]:
    return {"source": "tdp", "url": f"stratum2+tcp://127.0.0.1:{port}/{KEYS[profile]}"}


def pool_file(folder: Path, *nodes: dict[str, object], **pool: object) -> Path:
    """A warppool.toml with these nodes, in their order; `pool` are more keys of that section."""
    folder.mkdir(exist_ok=True)
    return write_config(folder, secret=SECRET, node=nodes[0], more_nodes=nodes[1:], pool=pool)


@contextmanager
def serving(folder: Path, stub: StubNode, port: int = 0) -> Iterator[TemplateProvider]:
    folder.mkdir(exist_ok=True)
    stratum: dict[str, object] = {"sv2_listen": [f"127.0.0.1:{port}"], "sv2_spec_listen": ["127.0.0.1:0"]}
    config = read_provider_config(write_provider_config(folder, node_of(stub), stratum=stratum), {})
    with providing(config) as provider:
        yield provider


@contextmanager
def mining(folder: Path, *nodes: dict[str, object]) -> Iterator[tuple[Pool, HandMiner]]:
    path = pool_file(folder, *nodes)
    daemon = Pool(read_config(path, {}), read=lambda: read_config(path, {}))
    daemon.service.start()
    try:
        assert daemon.service.is_ready.wait(300)
        with HandMiner(daemon.ports.listeners[0].port, public_key(SECRET)) as miner:
            yield daemon, miner
    finally:
        daemon.service.stop()
    assert not daemon.service.has_failed.is_set()


@EACH_PROFILE
def test_a_pool_mines_blocks_on_a_provider_alone(tmp_path, stub, profile, caplog):
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path / "provider", stub) as provider, (
            mining(tmp_path / "pool", tdp(port_of(provider, profile), profile))) as (daemon, miner):
        for _ in range(8):
            block = miner.share(is_block=True)
            miner.until(lambda: stub.chain[-1] == block)                        # noqa: B023 - called at once
            miner.until(lambda: miner.work.prev_hash == block)                  # noqa: B023
        assert len(daemon.nodes.sources) == 1
        miner.until(lambda: len(logged(caplog, "block.accepted")) >= 8)
        miner.until(lambda: daemon.submitter.report().open <= 6)                # the first two are six deep
    assert {fields["node"] for fields in logged(caplog, "block.accepted")} >= {"node-0"}
    assert all(int(fields["nodes"]) == 1 for fields in logged(caplog, "block.submitted"))
    assert logged(caplog, "block.entrusted") or logged(caplog, "block.partial")
    assert not logged(caplog, "block.stranded") and not logged(caplog, "block.refused")
    assert all(bytes.fromhex(str(make_transaction(3)["data"])) in raw for raw in stub.submitted)


def test_in_solo_blocks_of_a_provider_s_templates_pay_the_finder_and_the_fee(tmp_path, stub, caplog):
    """The provider keeps the transactions to itself, and is asked to leave room for two outputs of any kind."""
    caplog.set_level(logging.DEBUG)
    user, operator = ADDRESSES["P2WPKH"], ADDRESSES["P2PKH"]
    with serving(tmp_path / "provider", stub) as provider:
        path = pool_file(tmp_path / "pool", tdp(port_of(provider), WARP), payout="solo", fee_percent=1.5,
                         payout_address=operator)
        daemon = Pool(read_config(path, {}))
        daemon.service.start()
        try:
            assert daemon.service.is_ready.wait(300)
            with HandMiner(daemon.ports.listeners[0].port, public_key(SECRET), f"{user}.hand", "extended") as miner:
                block = miner.share(is_block=True)
                miner.until(lambda: stub.chain[-1] == block)
        finally:
            daemon.service.stop()
    (raw,) = stub.submitted
    coinbase = raw[81:parse_transaction(raw, 81).end]
    mine, fee, _ = outputs_of(coinbase)
    assert (mine[1], fee[1]) == (script_of(user, "regtest"), script_of(operator, "regtest"))
    assert fee[0] == (mine[0] + fee[0]) * 150 // 10_000 > 0
    assert not logged(caplog, "coinbase.unproven")


def test_a_block_goes_whole_to_the_rpc_node_and_as_a_solution_to_the_provider(tmp_path, stub, caplog):
    caplog.set_level(logging.DEBUG)
    with StubNode(cookie=tmp_path / "cookie-2") as other, serving(tmp_path / "provider", stub) as provider, (
            mining(tmp_path / "pool", tdp(port_of(provider), WARP), node_of(other))) as (daemon, miner):
        miner.until(lambda: daemon.work.latest is not None and daemon.work.latest.template.source == "node-0")
        miner.until(lambda: bool(daemon.submitter._kept_transactions._by_key))
        with HandMiner(daemon.ports.listeners[0].port, public_key(SECRET)) as newcomer:   # knows no older job
            block = newcomer.share(is_block=True)
        miner.until(lambda: stub.chain[-1] == block and other.chain[-1] == block)
        assert stub.submitted[0] == other.submitted[0]
        miner.until(lambda: len(logged(caplog, "block.accepted")) >= 1)
    assert logged(caplog, "block.submitted")[0]["nodes"] == "2"
    assert to_display(block) == logged(caplog, "block.offered")[0]["hash"]


def test_a_block_that_is_found_while_the_only_provider_is_away_is_on_the_chain_when_it_is_back(tmp_path, stub, caplog):
    """The provider is another process then, and knows no template of before: but it has the same transactions."""
    caplog.set_level(logging.DEBUG)
    port = free_port()
    with ExitStack() as first:
        first.enter_context(serving(tmp_path / "provider", stub, port))
        with mining(tmp_path / "pool", tdp(port, WARP)) as (daemon, miner):
            miner.until(lambda: bool(daemon.submitter._kept_transactions._by_key))
            first.close()
            miner.until(lambda: bool(logged(caplog, "node.lost")))
            block = miner.share(is_block=True)
            miner.until(lambda: bool(logged(caplog, "block.entrusted")))
            assert stub.chain[-1] != block
            with serving(tmp_path / "provider", stub, port):
                miner.until(lambda: stub.chain[-1] == block)
                miner.until(lambda: len(logged(caplog, "block.accepted")) >= 1 and miner.work.prev_hash == block)
                miner.share(is_block=True)
    assert not logged(caplog, "block.stranded")


def test_a_provider_comes_changes_its_key_and_goes_with_a_reload(tmp_path, stub, caplog):
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "pool"
    with serving(tmp_path / "provider", stub) as provider, mining(folder, node_of(stub)) as (daemon, miner):
        known = tdp(port_of(provider), WARP)
        place = str(known["url"]).rpartition("/")[0]

        def reload(*nodes: dict[str, object]) -> None:
            pool_file(folder, *nodes)
            daemon.service.reload()

        def until_given(node: str, jobs: int) -> None:
            """A block on the template of a node that is gone may find nobody who takes it."""
            miner.until(lambda: daemon.work.latest is not None and daemon.work.latest.template.source == node
                        and len(miner.jobs) > jobs)

        before = len(miner.jobs)
        reload(known)                                           # the other one goes, the provider comes
        until_given("node-1", before)
        block = miner.share(is_block=True)
        miner.until(lambda: stub.chain[-1] == block and miner.work.prev_hash == block)
        reload({"source": "tdp", "url": place, "insecure": True, "profile": "warp"})
        miner.until(lambda: bool(logged(caplog, "template.insecure")))
        reload(known | {"url": f"{place}/{'02' * 32}"})
        miner.until(lambda: any("key" in fields["reason"] for fields in logged(caplog, "node.lost")))
        before = len(miner.jobs)
        reload(node_of(stub))
        until_given("node-0", before)
        block = miner.share(is_block=True)
        miner.until(lambda: stub.chain[-1] == block)
    assert [(fields["url"], fields["number"]) for fields in logged(caplog, "node.configured")
            if fields["url"].startswith("stratum2")] == [(place, "1")]


def test_without_the_library_no_start_and_no_reload_takes_a_provider_of_the_published_profile(
        tmp_path, stub, monkeypatch):
    """A start says what to install. A reload leaves every node as it was."""
    def missing() -> None:
        raise ConfigError("pip install 'warppool[spec]'")

    before = read_config(pool_file(tmp_path / "pool", node_of(stub)), {})
    after = read_config(pool_file(tmp_path / "pool", node_of(stub), tdp(1, SPEC)), {})
    monkeypatch.setattr(secp256k1, "library", missing)
    with pytest.raises(ConfigError, match=r"node\[1\]\.url: pip install 'warppool\[spec\]'"):
        Pool(after)
    pool = Pool(before)
    try:
        nodes = dict(pool.nodes.by_number)
        with pytest.raises(ConfigError, match=r"node\[1\]\.url: pip install 'warppool\[spec\]'"):
            pool.prepare(after, after)
        assert (pool.config, pool.nodes.by_number) == (before, nodes)
    finally:
        pool.service.parts.resources.close()


def test_a_reload_does_not_take_the_last_node_that_says_what_became_of_blocks(tmp_path, stub):
    """A file that says another mode already takes nothing from a pool that shares rewards until its restart."""
    shared = read_config(pool_file(tmp_path, node_of(stub), payout="pplns"), {})
    provided = read_config(pool_file(tmp_path, tdp(1, WARP)), {})
    pool = Pool(shared)
    try:
        runs = taken_over(shared, provided)
        assert (runs.pool.payout, runs.nodes) == ("pplns", provided.nodes)
        with pytest.raises(ConfigError, match=r"runs with pool\.payout = 'pplns' until a restart: a node must say"):
            pool.prepare(runs, provided)
        assert pool.config == shared
    finally:
        pool.service.parts.resources.close()

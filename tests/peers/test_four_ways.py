"""V1 plain, V1 over TLS, V2 standard and V2 extended on one daemon at the same time, with bcoin for a node.

The miners share no line with warppool (`foreign_v1`, `foreign_miner`). bcoin takes their blocks, and libbitcoinkernel,
which is stricter, must agree with its whole chain.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.peers import foreign_miner, foreign_v1
from tests.peers.bcoin_node import (
    MATURE,
    OP_TRUE_ADDRESS,
    BcoinNode,
    fill_mempool,
    judge_by_kernel,
    skip_unless_installed,
)
from tests.service.process import ADDRESS, PATIENCE_S, WARPPOOL, PoolProcess, environ
from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.transaction import whole_transaction
from warppool.commands.democert import self_signed
from warppool.noise.primitives import public_key

pytestmark = pytest.mark.peer
pytest.importorskip("pbk", reason="libbitcoinkernel is not installed: pip install 'warppool[regtest]'")

SECRET = bytes(range(1, 33))
CHAINS, LINKS = 3, 3                # of transactions for one block
ROLLED = 0x00ABC000                 # version bits
WORKERS = ("v1.plain", "v1tls.secret", "v2.standard", "v2x.extended")
PROTOCOLS = ("sv1", "sv1", "sv2", "sv2")
Share = foreign_v1.Share | foreign_miner.Share


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


def write_config(folder: Path, node: BcoinNode) -> Path:
    self_signed().write(folder)
    path = folder / "warppool.toml"
    path.write_text(f"""
        [pool]
        network = "regtest"
        payout_address = "{ADDRESS}"
        data_dir = "data"
        [stratum]
        listen = ["127.0.0.1:0"]
        tls_listen = ["127.0.0.1:0"]
        sv2_listen = ["127.0.0.1:0"]
        [difficulty]
        start = 1e-10
        min = 1e-10
        max = 1e-10
        [[node]]
        url = "http://{node.address}"
        user = "{node.login.user}"
        """)
    with open(os.open(folder / "secrets.toml", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\nnode_passwords = ["{node.login.password}"]\n')
    return path


class Miner(NamedTuple):
    """One way to mine: find a share, submit it (None if it was accepted, else why not), wait for a tip."""

    worker: str
    find: Callable[[bool], Share]
    submit: Callable[[Share], Any]
    await_tip: Callable[[bytes], None]


def v1(machine: foreign_v1.Machine) -> Miner:
    machine.configured(machine.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "1fffe000"}))
    machine.begin()
    return Miner(machine.worker, lambda is_block: machine.find(is_block=is_block, bits=ROLLED),
                 lambda share: machine.submit(share)[0], machine.await_tip)


def v2(worker: str, channel: foreign_miner.Channel) -> Miner:
    def submit(share: Share) -> str | None:
        answer = channel.submit(share)
        return None if answer == "accepted" else answer

    return Miner(worker, lambda is_block: channel.solve(is_block=is_block, version=channel.job["version"] | ROLLED),
                 submit, channel.await_tip)


def connect(pool: PoolProcess, folder: Path, stack: ExitStack) -> list[Miner]:
    """All four, each on a connection of its own."""
    pool.ready()
    ports = {line["kind"]: int(line["address"].rpartition(":")[2]) for line in pool.events("listener.opened")}
    context = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
    plain, secret, standard, extended = WORKERS
    miners = [v1(stack.enter_context(foreign_v1.Machine(ports["sv1"], plain))),
              v1(stack.enter_context(foreign_v1.Machine(ports["sv1-tls"], secret, tls=context)))]
    for worker, is_extended in ((standard, False), (extended, True)):
        connection = foreign_miner.Connection(ports["sv2"], public_key(SECRET))
        stack.callback(connection.close)
        miners.append(v2(worker, connection.open(worker, is_extended=is_extended)))
    return miners


def booked(config: Path) -> list[dict[str, Any]]:
    done = subprocess.run([*WARPPOOL, "shares", "-c", str(config)], capture_output=True, text=True, env=environ(),
                          timeout=PATIENCE_S, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_four_ways_to_mine_at_the_same_time(tmp_path):
    with BcoinNode() as node, ExitStack() as stack:
        node.call("generatetoaddress", MATURE + CHAINS * len(WORKERS), OP_TRUE_ADDRESS)
        config = write_config(tmp_path, node)
        pool = stack.enter_context(PoolProcess(config))
        miners = connect(pool, tmp_path, stack)
        accepted: list[tuple[str, str]] = []                # worker and hash
        goal = node.call("getblockcount") + 2 * len(miners) + 1

        def mine(miner: Miner, *, is_block: bool) -> Share:
            share = miner.find(is_block)
            assert miner.submit(share) is None
            accepted.append((miner.worker, share.display))
            return share

        for turn, miner in enumerate(miners):
            mine(miner, is_block=False)                     # a share that is no block counts as well
            sent = fill_mempool(node, CHAINS, LINKS, first=1 + turn * CHAINS)
            carried: list[str] = []
            for _ in range(2):                              # bcoin makes its template anew at the first one's tip
                block = mine(miner, is_block=True)
                for each in miners:
                    each.await_tip(block.hash)
                assert node.call("getbestblockhash") == block.display
                found = node.call("getblock", block.display, True)
                assert int(found["version"]) & ROLLED == ROLLED
                carried += found["tx"][1:]
            assert sorted(carried) == sorted(to_display(whole_transaction(raw).txid) for raw in sent)
        rivals = [(miner, miner.find(True)) for miner in miners]    # a block of each on one tip, before anyone tells
        for miner, share in rivals:
            assert miner.submit(share) in (None, 21, "stale-share")
            pool.wait_for("block.found", lambda line, share=share: line["hash"] == share.display)
        pool.wait_for("block.accepted", lambda line: line["height"] == str(goal))
        pool.terminate()
        assert pool.wait() == 0
        check_log(pool, accepted, [(miner.worker, share) for miner, share in rivals])
        check_books(config, accepted)
        assert node.call("getblockcount") == goal
        judge_by_kernel(node, tmp_path / "kernel")


def check_log(pool: PoolProcess, accepted: list[tuple[str, str]], rivals: list[tuple[str, Share]]) -> None:
    """Every block is said with its finder, and no node refused one."""
    blocks = {line["hash"]: line["user"] for line in pool.events("block.found")}
    assert set(blocks.values()) == set(WORKERS)
    assert all(blocks.get(share.display) == worker for worker, share in rivals)
    onchain = [line["hash"] for line in pool.events("block.accepted")]
    assert len(onchain) == 2 * len(WORKERS) + 1 and {blocks[each] for each in onchain} == set(WORKERS)
    assert not pool.events("block.refused") and not pool.events("node.lost")


def check_books(config: Path, accepted: list[tuple[str, str]]) -> None:
    """They name all four, each share under its worker's name and protocol, in the order of the answers."""
    shares = booked(config)
    assert [(share["worker"], share["hash"]) for share in shares][:len(accepted)] == accepted
    assert {(share["worker"], share["user"], share["protocol"]) for share in shares} == {
        (worker, worker.partition(".")[0], protocol) for worker, protocol in zip(WORKERS, PROTOCOLS, strict=True)}

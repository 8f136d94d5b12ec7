"""A foreign miner on `warppool run`: ten blocks on both kinds of channels, and libbitcoinkernel as the referee.

Everything on the miner's side and the referee's is other people's code or this test's own; the daemon is a process that
is known by its log, its exit status and the bytes on its port.
"""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers import foreign_miner
from tests.peers.foreign_miner import ROLLABLE, Channel, Connection, Share, dsha, target_of
from tests.service.process import PATIENCE_S, WARPPOOL, PoolProcess, environ, write_config

pytestmark = pytest.mark.peer
pbk = pytest.importorskip("pbk", reason="libbitcoinkernel is not installed: pip install 'warppool[regtest]'")

KEYGEN = f'(umask 077; "{sys.executable}" -c "from warppool.commands.cli import keygen; raise SystemExit(keygen())"'
PAYOUT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")      # the script of BIP173's example key
SUBSIDY = 50 * 10**8
BLOCKS = 10
WORKERS = ["alice.standard", "bob.extended", "carol.both1", "carol.both2"]


class Pool:
    """The daemon, its files and its key."""

    def __init__(self, folder: Path) -> None:
        self.config = write_config(folder, secret=None, node={"source": "regtest"})
        made = subprocess.run(f'{KEYGEN} >> "{folder}/secrets.toml")', shell=True, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=True)
        self.key = bytes.fromhex(made.stderr.removeprefix("public key: ").strip())
        self.data_dir = folder / "data"
        self.process = PoolProcess(self.config)
        self.said: list[dict[str, str]] = []

    def start(self, stack: ExitStack) -> list[Channel]:
        """A standard and an extended channel on a connection each, and one of each on a third."""
        stack.enter_context(self.process)
        port = self.process.ready()
        connections = [Connection(port, self.key) for _ in range(3)]
        for connection in connections:
            stack.callback(connection.close)
        return [connections[min(n, 2)].open(worker, is_extended=bool(n % 2))
                for n, worker in enumerate(WORKERS)]

    def booked(self) -> list[dict[str, object]]:
        done = subprocess.run([*WARPPOOL, "shares", "-c", str(self.config)], capture_output=True, text=True,
                              env=environ(), timeout=PATIENCE_S, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


@pytest.fixture
def channels(pool: Pool) -> Iterator[list[Channel]]:
    with ExitStack() as stack:
        yield pool.start(stack)


def test_the_miner_owes_nothing_to_the_pool() -> None:
    tree = ast.parse(Path(foreign_miner.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "noise.connection" in names and not any("warppool" in name or "tests" in name for name in names)


def test_ten_blocks_on_both_kinds_of_channels(pool: Pool, channels: list[Channel], tmp_path: Path) -> None:
    blocks = mine_ten(channels)
    assert pool.process.wait_for("block.accepted", lambda line: line["height"] == str(BLOCKS))
    pool.process.terminate()
    assert pool.process.wait() == 0
    accepted = [line["hash"] for line in pool.process.events("block.accepted")]
    assert accepted == [share.display for share in blocks]
    shares = pool.booked()
    assert {share["worker"] for share in shares} == set(WORKERS)
    assert {share["user"] for share in shares} == {"alice", "bob", "carol"}
    assert [share["hash"] for share in shares] == accepted
    stored = stored_blocks(pool.data_dir / "regtest")
    assert [dsha(raw[:80]) for raw in stored] == [share.hash for share in blocks]
    for height, (raw, share) in enumerate(zip(stored, blocks, strict=True), 1):
        check_block(raw, share, height)
    assert judge_anew(tmp_path / "referee", stored) == ["valid"] * BLOCKS


def mine_ten(channels: list[Channel]) -> list[Share]:
    """Each channel in its turn; after each block every miner has the new tip and a job of its own on it."""
    assert len({channel.prefix for channel in channels}) == len(channels)
    blocks = []
    for number in range(BLOCKS):
        miner = channels[number % len(channels)]
        rolled = miner.job["version"] ^ (number << 13 & ROLLABLE)
        share = miner.solve(is_block=True, version=rolled)
        assert miner.submit(share) == "accepted"
        blocks.append(share)
        for channel in channels:
            channel.await_tip(share.hash)
            assert channel.answers.keys() == set(range(channel.sequence)) and not channel.owed
    return blocks


def test_bad_shares_are_refused_by_their_names(pool: Pool, channels: list[Channel]) -> None:
    for channel in channels:
        refuse_all(channel)
    share = channels[0].solve(is_block=True)
    assert channels[0].submit(share) == "accepted"
    old = {channel: (channel.solve(is_block=False), channel.solve(is_block=True)) for channel in channels[1:]}
    for channel in channels:
        channel.await_tip(share.hash)
    for channel, (miss, late_block) in old.items():
        assert channel.submit(miss) == "stale-share"
        assert channel.submit(late_block) == "stale-share"
        pool.process.wait_for("block.side", lambda line, block=late_block: line["hash"] == block.display)
    twice = channels[1].solve(is_block=True)
    duplicate_in_one_record(channels[1], twice)
    for channel in channels:
        channel.await_tip(twice.hash)
    old_number = channels[0].solve(is_block=True)       # a block is a block, whatever is wrong with its share
    assert channels[0].submit(old_number, sequence_number=0) == "duplicate-share"
    for channel in channels:
        channel.await_tip(old_number.hash)
    assert {share["hash"] for share in pool.booked()} == {share.display, twice.display}
    pool.process.terminate()
    assert pool.process.wait() == 0
    late = {late_block.hash for _, late_block in old.values()}
    active, known = chain_of(pool.data_dir / "regtest", late | {bytes(32)})
    assert active[1:] == [share.hash, twice.hash, old_number.hash]
    assert known == late


def refuse_all(channel: Channel) -> None:
    """Headers that are no blocks, each wrong in one way more than that: the first that is asked of gives the name."""
    min_ntime, version = channel.tip["min_ntime"], channel.job["version"]
    miss = channel.solve(is_block=False)
    assert channel.submit(miss) == "difficulty-too-low"
    assert channel.submit(miss, job_id=0xFFFFFFF0) == "invalid-job-id"
    assert channel.submit(channel.solve(is_block=False, ntime=min_ntime - 1)) == "invalid-share"
    assert channel.submit(channel.solve(is_block=False, ntime=int(time.time()) + 7300)) == "invalid-share"
    assert channel.submit(channel.solve(is_block=False, version=version ^ 1)) == "invalid-non-rollable-version-bit"
    assert channel.submit(channel.solve(is_block=False, version=version | 1 << 13)) == "difficulty-too-low"
    if channel.is_extended:
        for wrong in (b"", bytes(channel.size - 1), bytes(channel.size + 1)):
            assert channel.submit(miss, extranonce=wrong) == "bad-extranonce-size"
    connection = channel.connection
    connection.send(channel.submission(miss, channel_id=4711, sequence_number=channel.sequence))
    connection.read_until(lambda: bool(connection.strays))
    name, fields = connection.strays.pop()
    assert (name, fields["channel_id"], fields["error_code"]) == ("SubmitShares.Error", 4711, b"invalid-channel-id")


def duplicate_in_one_record(channel: Channel, share: Share) -> None:
    first, second = channel.submission(share), channel.submission(share)
    channel.connection.send(first, second)
    channel.connection.read_until(lambda: not channel.owed)
    assert [channel.answers[fields["sequence_number"]] for _, fields in (first, second)] == [
        "accepted", "duplicate-share"]


# --- the referee ------------------------------------------------------------------------------------------------------

def open_kernel(folder: Path, callbacks: object = None, *, is_in_memory: bool = False) -> object:
    context = pbk.make_context(pbk.ChainType.REGTEST, callbacks or pbk.ValidationInterfaceCallbacks())
    options = pbk.ChainstateManagerOptions(context, str(folder), str(folder / "blocks"))
    options.set_worker_threads_num(0)
    if is_in_memory:
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
    return pbk.ChainstateManager(options)


def stored_blocks(folder: Path) -> list[bytes]:
    """The raw blocks of the daemon's active chain from height 1 on."""
    with open_kernel(folder) as kernel:
        entries = kernel.get_active_chain().block_tree_entries
        return [bytes(kernel.blocks[entries[height]]) for height in range(1, len(entries))]


def chain_of(folder: Path, hashes: set[bytes]) -> tuple[list[bytes], set[bytes]]:
    """The hashes of the active chain by height, and those of `hashes` that the daemon's kernel knows."""
    with open_kernel(folder) as kernel:
        entries = kernel.get_active_chain().block_tree_entries
        return ([bytes(entries[height].block_hash) for height in range(len(entries))],
                {each for each in hashes if pbk.BlockHash(each) in kernel.block_tree_entries})


def judge_anew(folder: Path, blocks: list[bytes]) -> list[str]:
    """What a kernel that never saw these blocks says of each, from the first on."""
    verdicts: list[str] = []

    def checked(_user_data: object, _block: object, state: object) -> None:
        verdicts.append(state.validation_mode.name.lower())

    folder.mkdir()
    with open_kernel(folder, pbk.ValidationInterfaceCallbacks(block_checked=checked), is_in_memory=True) as kernel:
        verdicts.clear()                                            # it checks the genesis block too
        for raw in blocks:
            kernel.process_block(pbk.Block(raw))
        tip = kernel.get_active_chain().block_tree_entries[-1]
        assert (tip.height, bytes(tip.block_hash)) == (len(blocks), dsha(blocks[-1][:80]))
    return verdicts


def check_block(raw: bytes, share: Share, height: int) -> None:
    """The block is the header that was mined, and a coinbase that pays the operator and says who made it."""
    assert raw[:80] == share.header
    assert int.from_bytes(share.hash, "little") <= target_of(struct.unpack_from("<I", raw, 72)[0])
    assert raw[80] == 1                                             # transactions
    coinbase = raw[81:]
    assert coinbase[4:6] == b"\0\1"                                 # with a witness
    stripped = coinbase[:4] + coinbase[6:-4 - 34] + coinbase[-4:]   # one item of 32 bytes, counted
    assert dsha(stripped) == raw[36:68]                             # one transaction: it is the merkle root
    if share.coinbase:
        assert stripped == share.coinbase
    assert struct.pack("<Q", SUBSIDY) + bytes([len(PAYOUT)]) + PAYOUT in stripped
    assert b"/warppool/" in stripped
    script = stripped[42:]                                          # version, count, outpoint, length
    assert script[0] == (0x50 + height if height <= 16 else 1)

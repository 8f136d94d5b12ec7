"""Who is paid, on a real bitcoind: blocks with fees of real transactions, and outputs as the node itself reads them."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.manynames import ADDRESSES
from tests.peers.bitcoind import OP_TRUE_ADDRESSES, Bitcoind, is_same_tip, skip_unless_installed
from tests.peers.foreign_v1 import Machine
from tests.peers.pools import FOREIGN, PAYOUTS, SECRET, ports, until, write_config
from tests.service.byhand import HandMiner
from tests.service.process import PATIENCE_S, WARPPOOL, PoolProcess, environ
from warppool.bitcoin.address import script_of
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.transaction import outputs_of
from warppool.ledger.opening import open_reader
from warppool.noise.primitives import public_key
from warppool.sv2.work import Work

pytestmark = pytest.mark.peer

OPERATOR = PAYOUTS["regtest"]
SAT = 10**8
SPENT_SAT = 30_000              # fee of each transaction of ours


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


def sat(coins: float) -> int:
    """A value as the node says it, in sat."""
    return int(Decimal(str(coins)).quantize(Decimal("1e-8")) * SAT)


class Spender:
    """Coins of the node's own blocks that anyone may spend: each `spend` puts a transaction into the mempool."""

    SCRIPT = bytes.fromhex("00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260")

    def __init__(self, node: Bitcoind, coins: int) -> None:
        self._node = node
        self._blocks = node.generate(coins, OP_TRUE_ADDRESSES["regtest"])
        node.generate(100)

    def spend(self) -> None:
        block = self._node.call("getblock", self._blocks.pop(0), 2)
        (txid, value) = block["tx"][0]["txid"], sat(block["tx"][0]["vout"][0]["value"])
        raw = (b"\x02\0\0\0\0\x01\x01" + bytes.fromhex(txid)[::-1] + b"\0\0\0\0\0\xfe\xff\xff\xff\x01"
               + (value - SPENT_SAT).to_bytes(8, "little") + bytes((len(self.SCRIPT),)) + self.SCRIPT
               + b"\x01\x01\x51" + b"\0\0\0\0")
        self._node.call("sendrawtransaction", raw.hex(), 0)


def coinbase_of(node: Bitcoind, block: str) -> tuple[int, list[tuple[str, int]]]:
    """What the node says of a block: subsidy and fees together, and the coinbase's outputs, each (address, sat)."""
    said: dict[str, Any] = node.call("getblock", block, 2)
    first, *others = said["tx"]
    subsidy = 50 * SAT >> said["height"] // 150
    outputs = [(out["scriptPubKey"].get("address", ""), sat(out["value"])) for out in first["vout"]]
    assert outputs.pop() == ("", 0), "the commitment"
    assert first["locktime"] == said["height"] - 1 and first["vin"][0]["sequence"] == 0xFFFFFFFE        # BIP54
    return subsidy + sum(sat(each["fee"]) for each in others), outputs


def machine_of(pool: PoolProcess, user: str, is_v1: bool) -> Any:
    if is_v1:
        return Machine(ports(pool)["sv1"], user)
    return HandMiner(ports(pool)["sv2"], public_key(SECRET), user, "extended")


def find(machine: Any, tip: bytes) -> bytes:
    """Find a block on `tip`, and hear that it is accepted; its hash."""
    if not isinstance(machine, Machine):
        machine.until(lambda: machine.work.prev_hash == tip)
        return machine.share(is_block=True)
    machine.begin()
    machine.await_tip(tip)
    share = machine.find(is_block=True)
    assert machine.submit(share) == [None]
    return share.hash


def test_solo_blocks_with_fees_pay_the_finder_first_and_the_fee_second(tmp_path: Path) -> None:
    """An address of each kind, on both protocols in turn; each block has a transaction whose fee is paid out too."""
    with Bitcoind(tmp_path / "node") as node:
        spender, fees = Spender(node, len(ADDRESSES)), []
        spender.spend()
        config = write_config(tmp_path, node, payout="solo", fee_percent=1.25)
        with PoolProcess(config) as pool:
            for number, address in enumerate(ADDRESSES.values()):
                tip = from_display(node.best)
                with machine_of(pool, f"{address}.rig{number}", number % 2 == 0) as machine:
                    if number + 1 < len(ADDRESSES):
                        spender.spend()             # for the next template: that of this block is out
                    block = find(machine, tip)
                until(lambda: node.best == to_display(block), pool)      # noqa: B023 - called at once
                value, outputs = coinbase_of(node, to_display(block))
                fee = value * 125 // 10_000
                assert outputs == [(address, value - fee), (OPERATOR, fee)]
                fees.append(value - 50 * SAT)
        assert sum(fees) == SPENT_SAT * len(ADDRESSES) and fees[0], "each was in some block"
        assert not pool.events("block.refused") and not pool.events("block.side")


# --- pplns ------------------------------------------------------------------------------------------------------------

ALICE, BOB = ADDRESSES["P2WPKH"], ADDRESSES["P2PKH"]
PPLNS = {"payout": "pplns", "window_rampup": False}
OWING = PPLNS | {"window": 20, "min_payout_sat": SAT, "fee_percent": 10}
"""Some 90 shares of the difficulty that is given here: one of 35 gets less of 25 coins than the minimum. It is
owed, and is paid out of a later fee, since it has made an earlier one larger.
"""

PAYING = OWING | {"min_payout_sat": SAT // 10}
"""The same with a minimum that is below what is owed then."""


class Books:
    """What a pool's books say of its blocks and balances, read while it runs."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"

    def states(self) -> dict[str, str]:
        """Of the own blocks, by their hashes as people write them."""
        with open_reader("sqlite:///shares.db", self._data) as reader:
            return {to_display(each.block.hash): str(each.state) for each in reader.payout_blocks()}

    def balances(self) -> dict[tuple[str, str], int]:
        """Sat by account and purse, without zeros."""
        with open_reader("sqlite:///shares.db", self._data) as reader:
            return {(account, purse): sat for account, purse, sat in reader.entry_sums() if sat}


STALE, FORGOTTEN = "stale-share", "invalid-job-id"
"""A share is for a job that was replaced while it was found, for which it is not to blame: once, or several times."""


def submit(miner: HandMiner, *, is_block: bool = False) -> tuple[bytes, str]:
    """One share, and why it is refused, "" where it is not."""
    accepted, refused = miner.accepted, len(miner.refused)
    share_hash = miner.send_share(is_block=is_block)
    miner.until(lambda: miner.accepted > accepted or len(miner.refused) > refused)
    why = "" if miner.accepted > accepted else miner.refused[-1]
    assert why in ("", STALE, FORGOTTEN)
    return share_hash, why


def work(miner: HandMiner, shares: int) -> None:
    """So many shares are accepted."""
    while shares:
        shares -= submit(miner)[1] == ""


def next_block(pool: PoolProcess, node: Bitcoind, miner: HandMiner) -> str:
    """A block on the node's tip, once the node has it: it goes there whatever becomes of its share."""
    tip = from_display(node.best)
    miner.until(lambda: miner.work.prev_hash == tip)
    why = FORGOTTEN
    while why == FORGOTTEN:
        block_hash, why = submit(miner, is_block=True)
    until(lambda: node.best == to_display(block_hash), pool)
    return to_display(block_hash)


def shared_blocks(pool: PoolProcess, node: Bitcoind, miner: HandMiner, *accounts: str) -> list[str]:
    """Blocks up to one by a snapshot that has the work of all of these: what is made at each own block has it soon."""
    blocks: list[str] = []
    while len(blocks) < 20:
        blocks.append(next_block(pool, node, miner))
        if {address for address, _ in coinbase_of(node, blocks[-1])[1]} >= set(accounts):
            return blocks
    raise AssertionError("no block pays them all")


def audited(config: Path, block: str) -> str:
    """What `warppool audit` says of the export of a block."""
    export = config.parent / f"{block}.jsonl"
    with export.open("wb") as file:
        subprocess.run([*WARPPOOL, "payouts", "-c", str(config), "--export", block], stdout=file, env=environ(),
                       timeout=PATIENCE_S, check=True)
    done = subprocess.run([*WARPPOOL, "audit", str(export)], capture_output=True, text=True, env=environ(),
                          timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def two_miners(pool: PoolProcess) -> tuple[HandMiner, HandMiner]:
    return tuple(HandMiner(ports(pool)["sv2"], public_key(SECRET), f"{address}.rig", "extended")     # type: ignore[return-value]
                 for address in (ALICE, BOB))


def test_pplns_blocks_with_fees_pay_who_worked_and_anyone_can_audit_them(tmp_path: Path) -> None:
    with Bitcoind(tmp_path / "node") as node:
        spender = Spender(node, 3)
        config = write_config(tmp_path, node, fee_percent=2, **PPLNS)
        with PoolProcess(config) as pool:
            alice, bob = two_miners(pool)
            with alice, bob:
                first = next_block(pool, node, alice)
                value, outputs = coinbase_of(node, first)
                fee = value * 200 // 10_000
                assert outputs == [(ALICE, value - fee), (OPERATOR, fee)], "nobody else had worked"
                work(alice, 5)
                work(bob, 10)
                spender.spend()
                blocks = [*shared_blocks(pool, node, bob, ALICE, BOB), next_block(pool, node, bob)]
                for block in blocks:
                    value, outputs = coinbase_of(node, block)
                    assert sum(paid for _, paid in outputs) == value
                    assert outputs[-1] == (OPERATOR, value * 200 // 10_000)
                assert sum(coinbase_of(node, each)[0] for each in blocks) == 50 * SAT * len(blocks) + SPENT_SAT
                paid = dict(outputs)
                assert paid[BOB] > paid[ALICE] > 0
            until(lambda: Books(tmp_path).states().keys() >= {first, block}, pool)
            said = audited(config, block)
            assert f"paid {paid[ALICE]}" in said and f"paid {paid[BOB]}" in said
        assert not pool.events("block.refused")


def test_a_block_that_leaves_the_chain_is_reversed_and_booked_again_when_it_is_back(tmp_path: Path) -> None:
    """Bob's part is under the minimum, so that each block of Alice's owes him something."""
    with Bitcoind(tmp_path / "node") as node:
        node.generate(150)                          # 25 coins a block from now on
        config = write_config(tmp_path, node, **OWING)
        books = Books(tmp_path)
        with PoolProcess(config) as pool:
            alice, bob = two_miners(pool)
            with alice, bob:
                work(bob, 1)
                work(alice, 35)
                block = owing_block(pool, node, alice, books)
                before = books.balances()
                node.call("invalidateblock", block)
                until(lambda: books.states()[block] == "reversed", pool)
                assert books.balances().get((BOB, "maturing"), 0) < before[BOB, "maturing"]
                node.call("reconsiderblock", block)
                until(lambda: books.states()[block] == "found", pool)
                assert books.balances() == before
                alice.until(lambda: alice.work.prev_hash == from_display(block))
                last = next_block(pool, node, alice)
                until(lambda: last in books.states(), pool)
        assert not pool.events("block.refused")


def owing_block(pool: PoolProcess, node: Bitcoind, miner: HandMiner, books: Books) -> str:
    """A block that owes Bob more than the blocks before it, booked so."""
    for _ in range(20):
        before = books.balances().get((BOB, "maturing"), 0)
        block = next_block(pool, node, miner)
        until(lambda: books.states().get(block) == "found", pool)           # noqa: B023 - called at once
        if books.balances().get((BOB, "maturing"), 0) > before:
            return block
    raise AssertionError("no block owes him anything")


def stop(pool: PoolProcess) -> None:
    pool.terminate()
    assert pool.wait() == 0


OWN, OWN_UNPAID = 20, 100
"""Blocks of the branch: of mode pplns, fewer than settle the first, and then of mode pool, which settles none."""


def test_nothing_of_a_branch_that_another_node_s_better_chain_left_is_settled_and_its_debits_are_back(
        tmp_path: Path) -> None:
    """The first node is cut off, and says of its oldest blocks that they have 120 confirmations. It is not mined."""
    books = Books(tmp_path)
    with Bitcoind(tmp_path / "first") as first, Bitcoind(tmp_path / "second") as second:
        first.connect(second)
        first.generate(150)
        until(lambda: is_same_tip(first, second))
        with PoolProcess(write_config(tmp_path, first, second, **OWING)) as pool:
            alice, bob = two_miners(pool)
            with alice, bob:
                work(bob, 1)
                work(alice, 35)
                owing_block(pool, first, alice, books)
            until(lambda: is_same_tip(first, second))
            first.generate(100, FOREIGN)
            until(lambda: set(books.states().values()) == {"settled"}, pool)
            stop(pool)
        settled, owed = books.states(), books.balances()
        assert owed[BOB, "payable"] > 0
        first.isolate()
        branch = mined_alone(tmp_path, first, books)
        assert (BOB, "payable") not in books.balances(), "some block has paid what he was owed"
        second.generate(OWN + OWN_UNPAID + 30, FOREIGN)
        first.stop()                            # else its templates may come first, and it would be mined until then
        with PoolProcess(write_config(tmp_path, first, second, **PAYING)) as pool:
            with HandMiner(ports(pool)["sv2"], public_key(SECRET), f"{ALICE}.rig", "extended") as alice:
                alice.until(lambda: alice.work.prev_hash == from_display(second.best))
                first.start()
                until(lambda: {books.states()[block] for block in branch} == {"reversed"}, pool)
                (top,) = second.generate(1, FOREIGN)
                alice.until(lambda: alice.work.prev_hash == from_display(top))
                assert first.call("getblock", branch[0], 1)["confirmations"] == OWN + OWN_UNPAID
                assert books.balances()[BOB, "payable"] == owed[BOB, "payable"]
            stop(pool)
        states = books.states()
        assert {hash_: state for hash_, state in states.items() if state == "settled"} == settled
        assert {states[block] for block in branch} == {"reversed"}


def sat_for(address: str, work: Work) -> int:
    """What a coinbase pays to an address."""
    outputs = outputs_of(work.coinbase_tx_prefix + work.extranonce_prefix + bytes(work.extranonce_size)
                         + work.coinbase_tx_suffix)
    return sum(paid for paid, script in outputs if script == script_of(address, "regtest"))


def mined_alone(folder: Path, node: Bitcoind, books: Books) -> list[str]:
    """The own blocks of mode pplns in a branch of this node alone, which is longer by some of mode pool. The first pays
    Bob what he is owed.
    """
    before, owed = books.states(), books.balances()[BOB, "payable"]
    with PoolProcess(write_config(folder, node, **PAYING)) as pool:
        with HandMiner(ports(pool)["sv2"], public_key(SECRET), f"{ALICE}.rig", "extended") as miner:
            miner.until(lambda: sat_for(BOB, miner.work) >= owed)       # not with the first job of a tip
            blocks = [next_block(pool, node, miner) for _ in range(OWN)]
        until(lambda: books.states().keys() - before.keys() == set(blocks), pool)
        stop(pool)
    assert {state for block, state in books.states().items() if block not in before} == {"found"}
    with PoolProcess(write_config(folder, node)) as pool:
        with HandMiner(ports(pool)["sv2"], public_key(SECRET), f"{ALICE}.rig", "extended") as miner:
            for _ in range(OWN_UNPAID):
                next_block(pool, node, miner)
        stop(pool)
    return blocks

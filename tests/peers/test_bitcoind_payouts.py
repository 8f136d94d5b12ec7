"""Who is paid, on a real bitcoind: blocks with fees of real transactions, and outputs as the node itself reads them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.manynames import GOOD
from tests.peers.bitcoind import OP_TRUE_ADDRESSES, Bitcoind, skip_unless_installed
from tests.peers.foreign_v1 import Machine
from tests.peers.pools import PAYOUTS, SECRET, ports, until, write_config
from tests.service.byhand import HandMiner
from tests.service.process import PoolProcess
from warppool.bitcoin.hashes import from_display, to_display
from warppool.noise.primitives import public_key

pytestmark = pytest.mark.peer

OPERATOR = PAYOUTS["regtest"]
KINDS = [row.account for row in GOOD[:5]]
"""An address of each kind."""

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
        spender, fees = Spender(node, len(KINDS)), []
        spender.spend()
        config = write_config(tmp_path, node, payout="solo", fee_percent=1.25)
        with PoolProcess(config) as pool:
            for number, address in enumerate(KINDS):
                tip = from_display(node.best)
                with machine_of(pool, f"{address}.rig{number}", number % 2 == 0) as machine:
                    if number + 1 < len(KINDS):
                        spender.spend()             # for the next template: that of this block is out
                    block = find(machine, tip)
                until(lambda: node.best == to_display(block), pool)      # noqa: B023 - called at once
                value, outputs = coinbase_of(node, to_display(block))
                fee = value * 125 // 10_000
                assert outputs == [(address, value - fee), (OPERATOR, fee)]
                fees.append(value - 50 * SAT)
        assert sum(fees) == SPENT_SAT * len(KINDS) and fees[0], "each was in some block"
        assert not pool.events("block.refused") and not pool.events("block.side")

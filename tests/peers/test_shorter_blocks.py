"""A template client whose coinbase takes more than a bitcoind leaves: its shorter block is one that the node takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.bitcoind import OP_TRUE_ADDRESSES, Bitcoind, skip_unless_installed, until
from tests.service.templateclients import TemplateClient, config_of, port_of, providing
from tests.sv2.templatepairs import coinbase_of, solve
from warppool.sv2.messages.template import (
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC

pytestmark = pytest.mark.peer

ANYONE = bytes.fromhex("00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260")
"""The script of the OP_TRUE address."""

LARGE, SMALL = 2_300, 228       # outputs: ten of 395,817 weight units and one of 39,425 leave 2,405
COINBASE = 50 * 10**8


@pytest.fixture(autouse=True)
def _is_installed() -> None:
    skip_unless_installed()


def spend(txid: bytes, outputs: int, fee: int) -> str:
    """A transaction that makes many outputs of a coinbase's only one."""
    count = bytes((outputs,)) if outputs < 0xFD else b"\xfd" + outputs.to_bytes(2, "little")
    value = ((COINBASE - fee) // outputs).to_bytes(8, "little")
    return (b"\x02\0\0\0\0\x01\x01" + txid + b"\0\0\0\0\0\xfe\xff\xff\xff" + count
            + (value + bytes((len(ANYONE),)) + ANYONE) * outputs + b"\x01\x01\x51" + b"\0\0\0\0").hex()


def fill(node: Bitcoind) -> None:
    """A mempool whose transactions fill a block, but for 2,405 weight units; the one that pays least is small."""
    hashes = node.call("generatetoaddress", 111, OP_TRUE_ADDRESSES["regtest"])
    for number in range(11):
        txid = bytes.fromhex(node.call("getblock", hashes[number], 1)["tx"][0])[::-1]
        outputs, fee = (LARGE, 2_000_000) if number < 10 else (SMALL, 100_000)
        node.call("sendrawtransaction", spend(txid, outputs, fee), 0)


def test_a_bitcoind_takes_the_shorter_block_and_the_whole_one(tmp_path: Path) -> None:
    with Bitcoind(tmp_path / "node", "-blockmaxweight=4000000", "-blockmaxsize=4000000", "-blockreservedweight=2000",
                  "-txindex=0") as node:
        fill(node)
        config = config_of(tmp_path, {"url": node.url, "cookie_file": str(node.cookie_file)})
        with providing(config) as provider, TemplateClient(port_of(provider)) as small, (
                TemplateClient(port_of(provider, SPEC), SPEC)) as large:
            small.begin()
            whole = small.next(NewTemplate)
            small.next(SetNewPrevHash)
            outputs = [b"\x01" + bytes(7) + b"\x22" + ANYONE] * 150
            large.begin(size=43 * 151)
            new, prev = large.next(NewTemplate), large.next(SetNewPrevHash)
            for client, template in ((small, whole), (large, new)):
                client.say(RequestTransactionData(template.template_id))
            left = large.next(RequestTransactionDataSuccess).transaction_list
            assert small.next(RequestTransactionDataSuccess).transaction_list[:-1] == left and len(left) == 10
            assert new.coinbase_tx_value_remaining < whole.coinbase_tx_value_remaining, "a fee less"
            coinbase = coinbase_of(new, script=ANYONE, value=new.coinbase_tx_value_remaining - 150,
                                   outputs=b"".join(outputs) + new.coinbase_tx_outputs, count=151)
            large.say(solve(new, prev, coinbase))
            until(lambda: node.height == 112)
            block = node.call("getblock", node.best, 1)
            assert len(block["tx"]) == 11 and block["weight"] <= 4_000_000
            tip = bytes.fromhex(node.best)[::-1]
            while (prev := small.next(SetNewPrevHash)).prev_hash != tip:
                pass
            new = next(message for message in small.heard
                       if isinstance(message, NewTemplate) and message.template_id == prev.template_id)
            small.say(solve(new, prev, coinbase_of(new, script=ANYONE)))
            until(lambda: node.height == 113)
            block = node.call("getblock", node.best, 1)
            assert len(block["tx"]) == 2, "what was taken from the block before"

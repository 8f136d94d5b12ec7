"""A node's answers about a block: what no block can have is the node's trouble, and goes no further."""

from __future__ import annotations

import json
from typing import Any

import pytest

from warppool.errors import NodeError
from warppool.node.chainview import ChainView
from warppool.node.onchain import BlockReader

BLOCK = {"hash": "00" * 32, "height": 15, "time": 1_700_000_000, "bits": "207fffff", "tx": ["11" * 32],
         "previousblockhash": "22" * 32}
TIP = {"bestblockhash": "00" * 32, "blocks": 15}


def saying(answer: dict[str, Any], field: str, value: str):
    """A node whose answer has `value`, a text of JSON, in `field`."""
    text = json.dumps(answer | {field: "value"}).replace('"value"', value)
    return lambda method, *params: json.loads(text)


def test_a_block_is_read():
    block = BlockReader().block(saying(BLOCK, "height", "15"), "00" * 32)
    assert (block.height, block.time, block.nbits, block.parent) == (15, 1_700_000_000, 0x207FFFFF, "22" * 32)


@pytest.mark.parametrize(("field", "value"), [
    *[(field, value) for field in ("height", "time") for value in ("1e999", "-1", "1e18", str(2**70), "null", "[]")],
    *[("bits", value) for value in ('"00000000"', '"20800000"', '"ff7fffff"', '"1d00ffff1d00ffff"', "5")],
    ("tx", "[]"), ("hash", '"00"'), ("hash", "7"), ("previousblockhash", '"22"'), ("previousblockhash", "null")])
def test_what_no_block_can_have_is_the_nodes_trouble(field, value):
    """Such a number would end in the books, where one commit bears the shares of everybody."""
    with pytest.raises(NodeError, match="getblock: its answer cannot be read"):
        BlockReader().block(saying(BLOCK, field, value), "00" * 32)


@pytest.mark.parametrize(("field", "value"), [
    *[("blocks", value) for value in ("1e999", "-1", str(2**70), "null")], ("bestblockhash", "7")])
def test_a_tip_that_no_chain_can_have_is_the_nodes_trouble(field, value):
    assert ChainView(saying(TIP, "blocks", "15"), float).best() == (bytes(32), 15)
    with pytest.raises(NodeError, match="no tip in its answer"):
        ChainView(saying(TIP, field, value), float).best()

"""Blocks for the tests of the embedded chain and of the submitter: made from a template, by a search for the nonce."""

from __future__ import annotations

import itertools

from warppool.bitcoin.block import assemble_block, block_hash
from warppool.bitcoin.coinbase import coinbase_halves, restore_witness
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import serialize_output
from warppool.events import BlockFound, ShareAccepted
from warppool.mining.template import Template
from warppool.node.items import SubmitBlock

_EXTRANONCES = itertools.count(1)
OP_TRUE = b"\x51"


def mine(
    template: Template,
    *,
    user: str = "alice.rig1",
    ntime: int | None = None,
    overpay: int = 0,
    version: int | None = None,
    nbits: int | None = None,
    is_block: bool = True,
) -> BlockFound:
    """A block on `template`; the other arguments spoil it. `is_block=False` searches for a hash that is none."""
    payment = serialize_output(template.coinbase_tx_value_remaining + overpay, OP_TRUE)
    prefix, suffix = coinbase_halves(
        version=template.coinbase_tx_version,
        input_sequence=template.coinbase_tx_input_sequence,
        locktime=template.coinbase_tx_locktime,
        script_prefix=template.coinbase_prefix + b"\x08",
        extranonce_size=8,
        outputs=payment + template.coinbase_tx_outputs,
        outputs_count=1 + template.coinbase_tx_outputs_count,
    )
    coinbase = prefix + next(_EXTRANONCES).to_bytes(8, "big") + suffix
    root = fold_merkle_path(double_sha256(coinbase), template.merkle_path)
    for nonce in itertools.count():
        header = pack_header(
            template.version if version is None else version,
            template.tip.prev_hash,
            root,
            template.tip.min_ntime if ntime is None else ntime,
            template.tip.nbits if nbits is None else nbits,
            nonce,
        )
        if (int.from_bytes(block_hash(header), "little") <= template.tip.target) == is_block:
            break
    found, height = block_hash(header), template.tip.height
    share = ShareAccepted(7, next(_EXTRANONCES), 1_700_000_000.5, "sv2", 1, user, 1e-9, 3, height, found)
    return BlockFound(7, template, height, header, restore_witness(coinbase), found, user, share)


def raw(block: BlockFound) -> bytes:
    """The serialized block."""
    assert block.template.transactions is not None
    return assemble_block(block.header, block.coinbase_tx, block.template.transactions)


def submission(block: BlockFound) -> SubmitBlock:
    """What a node gets of the block."""
    return SubmitBlock(block.block_hash, block.height, raw(block))

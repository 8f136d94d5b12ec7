"""What a template provider says, for tests: sound messages, of which each test spoils one."""

from __future__ import annotations

from typing import Any

from tests.node.stub import EASY_NBITS, make_transaction
from warppool.bitcoin.block import block_subsidy
from warppool.bitcoin.coinbase import commitment_output, height_push, witness_commitment
from warppool.bitcoin.merkle import merkle_path
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import whole_transaction
from warppool.sv2.messages.template import NewTemplate, SetNewPrevHash

UNIX = 1_800_000_000


def raw_transactions(count: int, start: int = 0) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(make_transaction(start + number)["data"]) for number in range(count))


def new_template(template_id: int, height: int = 5, *, transactions: tuple[bytes, ...] = (), future: bool = True,
                 **other: Any) -> NewTemplate:
    read = [whole_transaction(raw) for raw in transactions]
    outputs = commitment_output(witness_commitment([each.wtxid for each in read]))
    fields: dict[str, Any] = {
        "template_id": template_id, "future_template": future, "version": 0x20000000, "coinbase_tx_version": 2,
        "coinbase_prefix": height_push(height), "coinbase_tx_input_sequence": 0xFFFFFFFE,
        "coinbase_tx_value_remaining": block_subsidy(height, "regtest") + 1000, "coinbase_tx_outputs_count": 1,
        "coinbase_tx_outputs": outputs, "coinbase_tx_locktime": height - 1,
        "merkle_path": merkle_path([each.txid for each in read])}
    return NewTemplate(**(fields | other))


def new_tip(template_id: int, prev_hash: bytes = b"\x05" * 32, **other: Any) -> SetNewPrevHash:
    fields: dict[str, Any] = {
        "template_id": template_id, "prev_hash": prev_hash, "header_timestamp": UNIX, "n_bits": EASY_NBITS,
        "target": target_from_nbits(EASY_NBITS).to_bytes(32, "little")}
    return SetNewPrevHash(**(fields | other))

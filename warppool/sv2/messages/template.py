"""The messages of the Template Distribution Protocol: from a template provider to a pool, and solutions back.

The client is the pool, the server the template provider. "Header order" means the bytes as they stand in a header.

Source: Sv2 Template Distribution Protocol §7; docs/sv2-wire.rst#messages-template. Numbers on the wire are
the profile's.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.sv2.types import (
    B0_64K,
    B0_255,
    BOOL,
    SEQ0_64K_B0_16M,
    SEQ0_255_U256,
    STR0_255,
    TAIL_U16,
    U32,
    U64,
    U256,
    Message,
)


@dataclass(frozen=True, slots=True)
class CoinbaseOutputConstraints(Message):
    """What the client will add to the coinbase; its first message (client to server).

    The profile `warp` knows it as CoinbaseOutputDataSize and sends the size alone.
    """

    coinbase_output_max_additional_size: U32                # bytes of outputs
    coinbase_output_max_additional_sigops: TAIL_U16 = None  # since 2025-01; older peers end before it


@dataclass(frozen=True, slots=True)
class NewTemplate(Message):
    """A block template (server to client)."""

    template_id: U64                    # rises
    future_template: BOOL               # to be held until SetNewPrevHash names it
    version: U32
    coinbase_tx_version: U32
    coinbase_prefix: B0_255             # at most 8 bytes, where the scriptSig begins: the height
    coinbase_tx_input_sequence: U32
    coinbase_tx_value_remaining: U64    # satoshis that the client may spend
    coinbase_tx_outputs_count: U32      # of the next field
    coinbase_tx_outputs: B0_64K         # without a count; they go last, with the witness commitment
    coinbase_tx_locktime: U32
    merkle_path: SEQ0_255_U256          # deepest first, header order


@dataclass(frozen=True, slots=True)
class SetNewPrevHash(Message):
    """The chain tip moved: build on `prev_hash` with `template_id` (server to client).

    Not the message of the same name in the Mining Protocol; the profile `warp` calls it SetNewPrevHashTdp.
    """

    template_id: U64
    prev_hash: U256                     # header order
    header_timestamp: U32               # Unix seconds to start with, not the least that consensus allows
    n_bits: U32                         # compact target of the network
    target: U256                        # a block is at or under it; may be harder than n_bits


@dataclass(frozen=True, slots=True)
class RequestTransactionData(Message):
    """Asks for the transactions of a template (client to server)."""

    template_id: U64


@dataclass(frozen=True, slots=True)
class RequestTransactionDataSuccess(Message):
    """All transactions of a template but the coinbase (server to client)."""

    template_id: U64
    excess_data: B0_64K                 # opaque
    transaction_list: SEQ0_64K_B0_16M   # whole, with witness, in the order of the block


@dataclass(frozen=True, slots=True)
class RequestTransactionDataError(Message):
    """No transactions (server to client)."""

    template_id: U64
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class SubmitSolution(Message):
    """A block was found (client to server)."""

    template_id: U64
    version: U32
    header_timestamp: U32               # Unix seconds
    header_nonce: U32
    coinbase_tx: B0_64K                 # whole, with marker, flag and witness

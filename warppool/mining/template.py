"""Templates: what a node wants mined, in the shape of the Template Distribution Protocol.

Source: docs/decisions.rst#decision-template.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from warppool.bitcoin.coinbase import find_commitment

NTIME_MAX = 0xFFFF_FFFF
"""The last header time (U32)."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The block that is built on. Two tips are one if they name the same parent and the same difficulty.

    `nbits` counts because some test networks change it on one and the same parent, and miners learn of it only with a
    new tip. `era` counts because all jobs of a tip may have to be replaced, as if it had moved. The other fields follow
    the template that brought the tip first.
    """

    prev_hash: bytes                            # 32 bytes, header order
    nbits: int                                  # compact target of the header
    target: int = field(compare=False)          # a block is at or under it; may be harder than nbits
    min_ntime: int = field(compare=False)       # Unix seconds, the first usable header time
    height: int = field(compare=False)          # of the block to be found
    max_ntime: int = field(default=NTIME_MAX, compare=False)    # the last one: beyond it nbits is wrong (testnet4)
    era: int = 0                                # a later one of the same tip: machines drop the jobs of those before


@dataclass(frozen=True, slots=True, eq=False)
class TransactionFacts:
    """What is known of a template's transactions: one item for each, in the order of the block.

    The two bounds are those of the whole block, with header, transaction count and coinbase.
    """

    txids: tuple[bytes, ...]                    # 32 bytes each, header order
    wtxids: tuple[bytes, ...]
    weights: tuple[int, ...]                    # weight units
    sigop_costs: tuple[int, ...]                # BIP141: four units for a signature operation outside of a witness
    fees: tuple[int, ...] | None                # sat; None where the node does not tell all of them
    max_weight: int
    max_sigop_cost: int


@dataclass(frozen=True, slots=True)
class Template:
    """`NewTemplate` and `SetNewPrevHash` of the Template Distribution Protocol in one value.

    `coinbase_prefix` starts the scriptSig with the BIP34 height (at most 8 bytes). `coinbase_tx_outputs` are serialized
    without a count and go last; the witness commitment is among them. `merkle_path` has the deepest hash first.
    `transactions` are raw, with witness, in block order without the coinbase; None where the node keeps them itself.
    `facts` are there where the node tells them, so that the template can be made shorter (`mining/shorter.py`).
    """

    template_id: int
    tip: Tip
    version: int
    coinbase_tx_version: int
    coinbase_prefix: bytes
    coinbase_tx_input_sequence: int
    coinbase_tx_value_remaining: int            # sats that the pool's own outputs may spend
    coinbase_tx_outputs_count: int
    coinbase_tx_outputs: bytes
    coinbase_tx_locktime: int
    merkle_path: tuple[bytes, ...]
    transactions: tuple[bytes, ...] | None
    source: str                                 # the node's name in the log, as `node-0`
    facts: TransactionFacts | None = field(default=None, compare=False, repr=False)

    @property
    def has_witness(self) -> bool:
        """True if an output commits to witnesses (BIP141), so that the coinbase carries the reserved value."""
        return find_commitment(self.coinbase_tx_outputs, self.coinbase_tx_outputs_count) is not None

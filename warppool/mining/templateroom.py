"""What a template leaves of its block for a coinbase."""

from __future__ import annotations

from typing import NamedTuple

from warppool.bitcoin.block import MAX_BLOCK_SIGOPS, MAX_BLOCK_WEIGHT
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.sigops import SIGOP_COST
from warppool.mining.template import Template

_COUNT_SIZE = 3             # bytes of the transaction count of a block with more than 252 of them
_WITNESS_WEIGHT = 36        # weight units of a coinbase's marker, flag, and witness: the reserved value, two lengths


def reserved_weight(size: int) -> int:
    """What a node has to reserve (`blockreservedweight`, in weight units) for header, transaction count, and a coinbase
    of `size` bytes in stripped form.
    """
    return 4 * (HEADER_SIZE + _COUNT_SIZE + size) + _WITNESS_WEIGHT


class TemplateRoom(NamedTuple):
    """So much may the coinbase of a template have."""

    weight: int             # weight units, with its witness
    sigops: int             # signature operations

    @property
    def stripped_size(self) -> int:
        """Bytes of the stripped coinbase."""
        return (self.weight - _WITNESS_WEIGHT) // 4


def room_of(template: Template) -> TemplateRoom | None:
    """What is left; None where the node keeps the transactions to itself, and has left the room that it was asked for.
    """
    facts, transactions = template.facts, template.transactions
    if facts is not None:
        weight = facts.max_weight - sum(facts.weights)
        sigop_cost = facts.max_sigop_cost - sum(facts.sigop_costs)
        count = len(facts.weights)
    elif transactions == ():
        weight, sigop_cost, count = MAX_BLOCK_WEIGHT, MAX_BLOCK_SIGOPS, 0
    else:
        return None
    return TemplateRoom(weight - 4 * (HEADER_SIZE + len(encode_compact_size(1 + count))), sigop_cost // SIGOP_COST)

"""Shorter templates: a node's template with transactions taken from its end, so that a larger coinbase fits.

A node leaves room for the coinbase that it thinks of. A client of a template server tells how large its own is. Where
that does not fit, transactions are taken from the end of the block until it does. A transaction stands behind all that
it spends, so whatever depends on one that is taken is taken, too. Value, merkle path and commitment are made anew, once
for all clients of one size class.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate

from warppool.bitcoin.coinbase import commitment_output, witness_commitment
from warppool.bitcoin.merkle import merkle_path
from warppool.mining.template import Template

CLASS_WEIGHT = 1_000
"""Weight units of a size class: so much of the block it leaves for header, transaction count and coinbase."""

CLASS_SIGOP_COST = 40
"""What it leaves for signature operations: ten of a P2PKH output, of which seven have that weight."""

MAX_CLASS = 100
"""Nobody gets more than 100 kWU of a block for a coinbase: that would be some 700 outputs."""

UNMEASURED_CLASS = 2
"""What fits a template whose node does not tell its transactions: a node leaves 2,000 units at the least."""

_FIXED_WEIGHT = 1_168
"""Header (320), transaction count (12), and a coinbase of a 100-byte script with its commitment and no other output."""


def size_class(size: int, sigops: int) -> int:
    """The class of a coinbase whose own outputs have `size` bytes and `sigops` signature operations; it may be above
    MAX_CLASS.
    """
    return max(-(-(_FIXED_WEIGHT + 4 * size) // CLASS_WEIGHT), -(-4 * sigops // CLASS_SIGOP_COST))


@dataclass(frozen=True, slots=True, eq=False)
class ShortTemplate:
    """The first `count` transactions of a node's `template`, and what follows from there being no more.

    `value` is in sat, `outputs` are serialized without their count, `path` has the deepest hash first.
    """

    template: Template
    count: int
    value: int
    outputs: bytes
    path: tuple[bytes, ...]

    @property
    def transactions(self) -> tuple[bytes, ...] | None:
        """As in `Template`."""
        transactions = self.template.transactions
        return None if transactions is None else transactions[:self.count]

    def whole(self) -> Template:
        """The template that a block on this one is made of."""
        template = self.template
        if template.transactions is None or self.count == len(template.transactions):
            return template
        return replace(template, coinbase_tx_value_remaining=self.value, coinbase_tx_outputs=self.outputs,
                       merkle_path=self.path, transactions=self.transactions, facts=None)


class Shorter:
    """Shortens the newest template for each size class once; owned by one thread."""

    def __init__(self) -> None:
        self._template: Template | None = None
        self._by_class: dict[int, ShortTemplate | None] = {}
        self._by_count: dict[int, ShortTemplate] = {}

    def of(self, template: Template, size_class: int) -> ShortTemplate | None:
        """The template for that class; None if it cannot be made."""
        if template is not self._template:
            self._template, self._by_class, self._by_count = template, {}, {}
        if size_class not in self._by_class:
            count = count_for(template, size_class)
            if count is not None and count not in self._by_count:
                self._by_count[count] = shorten(template, count)
            self._by_class[size_class] = None if count is None else self._by_count[count]
        return self._by_class[size_class]


def count_for(template: Template, size_class: int) -> int | None:
    """How many transactions may stay; None if that cannot be told, or if even an empty block leaves too little."""
    facts, transactions = template.facts, template.transactions
    if size_class > MAX_CLASS:
        return None
    if facts is None:
        whole = 0 if transactions is None else len(transactions)
        return whole if transactions == () or size_class <= UNMEASURED_CLASS else None
    weight_left = facts.max_weight - CLASS_WEIGHT * size_class
    cost_left = facts.max_sigop_cost - CLASS_SIGOP_COST * size_class
    if weight_left < 0 or cost_left < 0:
        return None
    count = min(bisect_right(list(accumulate(facts.weights)), weight_left),
                bisect_right(list(accumulate(facts.sigop_costs)), cost_left))
    return None if facts.fees is None and count < len(facts.weights) else count


def shorten(template: Template, count: int) -> ShortTemplate:
    """The first `count` transactions of `template`, which has facts where there are more."""
    facts = template.facts
    if facts is None or count == len(facts.txids):
        return ShortTemplate(template, count, template.coinbase_tx_value_remaining, template.coinbase_tx_outputs,
                             template.merkle_path)
    assert facts.fees is not None, "a template without fees cannot be shortened"
    outputs = template.coinbase_tx_outputs
    if template.has_witness:
        outputs = commitment_output(witness_commitment(facts.wtxids[:count]))
    value = max(0, template.coinbase_tx_value_remaining - sum(facts.fees[count:]))
    return ShortTemplate(template, count, value, outputs, merkle_path(facts.txids[:count]))

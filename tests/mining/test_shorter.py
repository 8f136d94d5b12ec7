"""Shorter templates: what is left of the node's fits the class, is worth what is left, and is committed to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import make_template
from warppool.bitcoin.coinbase import coinbase_halves, commitment_output, restore_witness, witness_commitment
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path, merkle_path, merkle_root
from warppool.bitcoin.transaction import serialize_output, transaction_weight
from warppool.mining import shorter
from warppool.mining.shorter import (
    CLASS_SIGOP_COST,
    CLASS_WEIGHT,
    MAX_CLASS,
    Shorter,
    ShortTemplate,
    count_for,
    shorten,
    size_class,
)
from warppool.mining.template import Template, TransactionFacts

SUBSIDY = 312_500_000


def full_template(weights, *, fees=None, costs=None, max_weight=4_000_000, max_cost=80_000, **more) -> Template:
    """A node's, with these transactions; their bytes are as good as any."""
    count = len(weights)
    txids = tuple(double_sha256(b"t%d" % number) for number in range(count))
    wtxids = tuple(double_sha256(b"w%d" % number) for number in range(count))
    fees = tuple(range(100, 100 + count)) if fees is None else fees
    facts = TransactionFacts(txids, wtxids, tuple(weights), tuple(costs or [4] * count), fees, max_weight, max_cost)
    return replace(
        make_template(transactions=tuple(b"tx%d" % number for number in range(count)), path=merkle_path(txids)),
        coinbase_tx_value_remaining=SUBSIDY + sum(fees or ()), facts=facts,
        coinbase_tx_outputs=commitment_output(witness_commitment(wtxids)), **more)


def used(short: ShortTemplate) -> tuple[int, int]:
    facts = short.template.facts
    return sum(facts.weights[:short.count]), sum(facts.sigop_costs[:short.count])


WEIGHTS = st.lists(st.integers(240, 400_000), max_size=40)


@given(WEIGHTS, st.data())
def test_what_is_left_fits_and_nothing_more_is_taken(weights, data):
    costs = data.draw(st.lists(st.integers(0, 8_000), min_size=len(weights), max_size=len(weights)))
    template = full_template(weights, costs=costs, max_weight=data.draw(st.integers(100_000, 4_000_000)))
    wanted = data.draw(st.integers(1, MAX_CLASS))
    count = count_for(template, wanted)
    assert count is not None
    short, facts = shorten(template, count), template.facts
    weight, cost = used(short)
    assert weight + CLASS_WEIGHT * wanted <= facts.max_weight or not count
    assert cost + CLASS_SIGOP_COST * wanted <= facts.max_sigop_cost or not count
    if count < len(weights):
        assert (weight + weights[count] + CLASS_WEIGHT * wanted > facts.max_weight
                or cost + costs[count] + CLASS_SIGOP_COST * wanted > facts.max_sigop_cost)
    assert short.transactions == template.transactions[:count]
    assert short.value == SUBSIDY + sum(facts.fees[:count])
    assert short.outputs == commitment_output(witness_commitment(facts.wtxids[:count]))
    assert fold_merkle_path(b"c" * 32, short.path) == merkle_root([b"c" * 32, *facts.txids[:count]])
    whole = short.whole()
    assert (whole.transactions, whole.merkle_path, whole.coinbase_tx_value_remaining, whole.coinbase_tx_outputs) == (
        short.transactions, short.path, short.value, short.outputs)
    assert whole.tip is template.tip


@given(WEIGHTS)
def test_a_larger_class_leaves_no_more(weights):
    counts = [count_for(full_template(weights, max_weight=200_000), wanted) for wanted in range(1, MAX_CLASS + 1)]
    assert counts == sorted(counts, reverse=True)


def test_what_the_node_left_is_enough_for_small_ones():
    template = full_template([40_000] * 50, max_weight=2_002_000)
    assert count_for(template, 2) == 50 and count_for(template, 3) == 49
    short = shorten(template, 50)
    assert short.whole() is template and short.path is template.merkle_path


@pytest.mark.parametrize(("size", "sigops", "wanted"), [
    (31, 0, 2), (74, 4, 2), (0, 0, 2), (208, 20, 2), (209, 0, 3), (31, 21, 3), (24_708, 0, 100), (24_709, 0, 101),
    (0, 1000, 100), (0, 1001, 101)])
def test_classes_by_weight_and_by_sigops(size, sigops, wanted):
    assert size_class(size, sigops) == wanted


@given(st.integers(0, 700))
def test_a_class_holds_the_largest_coinbase_of_its_size(count):
    ours = b"".join(serialize_output(1, bytes(22)) for _ in range(count))
    template = make_template()
    front, back = coinbase_halves(
        version=2, input_sequence=0, locktime=0, script_prefix=bytes(100), extranonce_size=0,
        outputs=ours + template.coinbase_tx_outputs, outputs_count=count + 1)
    head = 4 * (80 + len(encode_compact_size(65_535)))
    needed = head + transaction_weight(restore_witness(front + back))
    assert needed <= CLASS_WEIGHT * size_class(len(ours), 0) < needed + CLASS_WEIGHT + 16


def test_no_class_above_the_largest_and_none_that_the_block_has_no_room_for():
    template = full_template([400])
    assert count_for(template, MAX_CLASS) == 1 and count_for(template, MAX_CLASS + 1) is None
    assert count_for(full_template([400], max_weight=5_000), 6) is None
    assert count_for(full_template([400], max_weight=5_000), 5) == 0


def test_without_fees_nothing_is_taken():
    template = full_template([400_000] * 10, fees=None)
    unknown = replace(template, facts=replace(template.facts, fees=None))
    assert count_for(unknown, 2) is None
    roomy = full_template([400_000] * 5)
    assert count_for(replace(roomy, facts=replace(roomy.facts, fees=None)), 2) == 5


def test_a_template_that_is_not_measured_is_given_whole_to_small_coinbases_alone():
    unmeasured = make_template(transactions=None)
    assert count_for(unmeasured, 2) == 0 and count_for(unmeasured, 3) is None
    assert shorten(unmeasured, 0).whole() is unmeasured and shorten(unmeasured, 0).transactions is None
    assert count_for(make_template(transactions=()), MAX_CLASS) == 0, "there is nothing to be taken"


def test_before_segwit_there_is_no_commitment():
    template = replace(full_template([400_000] * 10), coinbase_tx_outputs=b"", coinbase_tx_outputs_count=0)
    assert shorten(template, 9).outputs == b"" and not shorten(template, 9).whole().has_witness


def test_each_length_is_made_once_for_all_clients(monkeypatch):
    made = []
    monkeypatch.setattr(shorter, "shorten", lambda *args: made.append(args) or shorten(*args))
    template, cache = full_template([100_000] * 40), Shorter()
    shorts = {wanted: [cache.of(template, wanted) for _ in range(5)] for wanted in range(2, MAX_CLASS + 1)}
    assert len(made) == 1, "forty of these leave no room, and thirty-nine for every class"
    assert len({short for row in shorts.values() for short in row}) == 1
    other = full_template([100_000] * 39)
    assert cache.of(other, 2).template is other and cache.of(template, 2) is not shorts[2][0]

from dataclasses import replace

import pytest

from tests.mining.makers import PAYOUT, make_factory, make_template, make_tip
from tests.mining.payees import KINDS, payee_of
from warppool.bitcoin.coinbase import MAX_SCRIPT_SIG, restore_witness
from warppool.bitcoin.sigops import legacy_sigops
from warppool.bitcoin.transaction import outputs_of, whole_transaction
from warppool.mining.byweights import ByWeights
from warppool.mining.extranonce import MAX_EXTRANONCE_SIZE
from warppool.mining.job import MAX_TAG_SIZE
from warppool.mining.payrule import ToFinder
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.mining.rooms import ROOMS
from warppool.mining.shorter import MAX_CLASS, size_class
from warppool.node.tdp import constraints_of
from warppool.sv2.messages.template import CoinbaseOutputConstraints

P2PKH = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
P2TR = b"\x51\x20" + bytes(32)


@pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 840_000, 2**31 - 1])
def test_no_coinbase_of_any_channel_is_larger_than_planned(height):
    template = make_template(make_tip(height=height))
    needs = CoinbasePlan(PAYOUT, b"/warppool/").largest(template)
    job = make_factory().make(template, 0.0)
    for size in range(MAX_EXTRANONCE_SIZE + 1):
        prefix, suffix = job.coinbase_halves(size)
        read = whole_transaction(restore_witness(prefix + b"\xff" * size + suffix))
        assert read.weight <= needs.weight and read.size <= needs.size
    assert (read.weight, read.size) == (needs.weight, needs.size)       # the last is the largest


def test_the_largest_of_all_plans_fits_the_least_that_nodes_reserve():
    """2,000 units with the header and a transaction count of up to three bytes."""
    template = make_template(make_tip(height=2**31 - 1))
    wide = replace(template, coinbase_prefix=b"\x07" + bytes(7))
    needs = LARGEST_PLAN.largest(wide)
    assert needs.weight + 4 * (80 + 3) <= 2000
    for script in (PAYOUT, P2PKH, P2TR):
        other = CoinbasePlan(script, b"t" * MAX_TAG_SIZE).largest(wide)
        assert other.weight <= needs.weight and other.sigops <= needs.sigops
    prefix, _ = make_factory().make(wide, 0.0).coinbase_halves(MAX_EXTRANONCE_SIZE)
    assert prefix[41] <= MAX_SCRIPT_SIG


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_coinbase_of_solo_fits_it_too_and_no_channel_s_is_larger(kind):
    template = make_template(make_tip(height=2**31 - 1))
    for payout in KINDS.values():
        payer = ToFinder(payout, 100)
        plan = CoinbasePlan(payout, b"t" * MAX_TAG_SIZE, payer)
        needs = plan.largest(replace(template, coinbase_prefix=b"\x07" + bytes(7)))
        assert needs.weight + 4 * (80 + 3) <= 2000
        factory = make_factory(payer=payer)
        factory.set_tag(plan.tag)
        job, payee = factory.make(template, 0.0), payee_of(kind)
        prefix, suffix = job.coinbase_halves(MAX_EXTRANONCE_SIZE, payee)
        stripped = prefix + bytes(MAX_EXTRANONCE_SIZE) + suffix
        assert whole_transaction(restore_witness(stripped)).weight <= needs.weight
        assert sum(legacy_sigops(script) for _, script in outputs_of(stripped)) <= needs.sigops
        assert plan.outputs == payer.most


def test_in_pplns_a_template_needs_room_for_payout_address_and_a_provider_is_asked_for_the_largest_class():
    template, payer = make_template(), ByWeights(P2PKH)
    plan = CoinbasePlan(P2PKH, b"/warppool/", payer)
    assert plan.largest(template) == CoinbasePlan(P2PKH, b"/warppool/").largest(template)
    size, sigops = plan.outputs
    assert 15_000 < size < ROOMS[-1] and sigops == size // 34
    constraints = constraints_of(plan)
    assert constraints == CoinbaseOutputConstraints(size, 4 * sigops)
    assert size_class(size, sigops) <= MAX_CLASS, "our own template provider gives room for it"


@pytest.mark.parametrize(("script", "sigops"), [(PAYOUT, 0), (P2TR, 0), (P2PKH, 1)])
def test_sigops_are_those_of_the_script_that_is_paid(script, sigops):
    assert CoinbasePlan(script, b"\xac" * 20).largest(make_template()).sigops == sigops


def test_without_a_commitment_there_is_no_witness_to_count():
    bare = replace(make_template(), coinbase_tx_outputs=b"", coinbase_tx_outputs_count=0)
    needs = LARGEST_PLAN.largest(bare)
    assert needs.weight == 4 * needs.size

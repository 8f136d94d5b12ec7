"""Who is paid: the own outputs of each mode, to the satoshi and to the byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import PAYOUT, make_factory, make_template
from tests.mining.payees import KINDS, payee_of
from warppool.bitcoin.transaction import MAX_MONEY_SAT, parse_outputs, serialize_output, whole_transaction
from warppool.errors import LocalProtocolError
from warppool.mining.payee import POOL, Payee, Terms
from warppool.mining.payrule import ToFinder, ToPool

VALUE = 312_500_000


def outputs_of(payer, payee, value=VALUE):
    """(sat, script) of all outputs of a coinbase, read back from its bytes."""
    template = replace(make_template(), coinbase_tx_value_remaining=value)
    job = make_factory(payer=payer).make(template, 0.0)
    head, tail = job.coinbase_halves(12, payee)
    whole_transaction(head + bytes(12) + tail)
    count = tail[4]
    return parse_outputs(tail[5:-4], count), template


def own_outputs_of(payer, payee, value=VALUE):
    outputs, template = outputs_of(payer, payee, value)
    assert serialize_output(*outputs[-1]) == template.coinbase_tx_outputs
    return outputs[:-1]


def test_in_mode_pool_the_payout_address_gets_all_whoever_mines():
    assert own_outputs_of(ToPool(PAYOUT), POOL) == ((VALUE, PAYOUT),)
    assert own_outputs_of(ToPool(PAYOUT), payee_of("p2tr")) == ((VALUE, PAYOUT),)


@pytest.mark.parametrize("kind", KINDS)
def test_in_mode_solo_the_payee_comes_first_and_the_fee_second(kind):
    payee = payee_of(kind)
    assert own_outputs_of(ToFinder(PAYOUT, 0), payee) == ((VALUE, payee.script),)
    assert own_outputs_of(ToFinder(PAYOUT, 150), payee) == ((307_812_500, payee.script), (4_687_500, PAYOUT))


@pytest.mark.parametrize(("value", "basis_points", "amounts"), [
    (0, 0, (0,)),                       # the only one stays, even with nothing in it
    (0, 10_000, (0,)),
    (545, 10_000, (545,)),              # a fee that nobody could spend is none
    (546, 10_000, (546,)),              # all of it is the fee
    (54_599, 100, (54_599,)),
    (54_600, 100, (54_054, 546)),
    (VALUE, 10_000, (VALUE,)),
    (VALUE, 9_999, (31_250, 312_468_750)),
])
def test_outputs_of_nothing_are_left_out_but_for_the_only_one(value, basis_points, amounts):
    payee = payee_of("p2wpkh")
    own = own_outputs_of(ToFinder(PAYOUT, basis_points), payee, value)
    assert tuple(sat for sat, _ in own) == amounts
    is_all_fee = basis_points == 10_000 and value >= 546
    assert own[0][1] == (PAYOUT if is_all_fee else payee.script)


@given(value=st.integers(0, MAX_MONEY_SAT), basis_points=st.integers(0, 10_000), kind=st.sampled_from(sorted(KINDS)))
def test_whatever_value_and_fee_the_outputs_are_those_that_are_expected(value, basis_points, kind):
    template = replace(make_template(), coinbase_tx_value_remaining=value)
    rule, payee = ToFinder(PAYOUT, basis_points).rule(template, 60, None, False), payee_of(kind)
    own, expected = rule.own(rule.key(payee)), rule.expected(rule.key(payee))
    assert own.outputs == b"".join(serialize_output(*output) for output in expected)
    assert own.outputs_count == len(expected)
    assert sum(sat for sat, _ in expected) == value
    if rule.around is not None:                 # the short way, by which a tip goes to thousands of payees
        start, end = rule.around
        assert own.outputs == start.outputs + bytes((len(payee.script),)) + payee.script + end
        assert own.outputs_count == start.outputs_count
    assert all(sat > 0 for sat, _ in expected) or len(expected) == 1
    assert rule.terms(payee).fee == sum(sat for sat, script in expected if script == PAYOUT)


def test_the_books_are_told_who_is_paid_and_what_the_fee_was():
    template, payee = make_template(), payee_of("p2sh")
    assert ToPool(PAYOUT).rule(template, 60, None, False).terms(POOL) == Terms("", b"", 0, VALUE, 0, PAYOUT, False)
    assert ToFinder(PAYOUT, 100).rule(template, 60, None, False).terms(payee) == Terms(
        payee.account, b"", 0, VALUE, 3_125_000, PAYOUT, False)


def test_a_channel_without_a_script_is_never_paid_by_solo():
    with pytest.raises(LocalProtocolError, match="no script"):
        outputs_of(ToFinder(PAYOUT, 0), POOL)


@pytest.mark.parametrize("payer", [ToPool(PAYOUT), ToFinder(PAYOUT, 0), ToFinder(PAYOUT, 1)])
def test_no_payee_takes_more_than_the_mode_says_at_most(payer):
    rule = payer.rule(make_template(), 60, None, False)
    assert max(len(rule.own(rule.key(payee_of(kind))).outputs) for kind in KINDS) == payer.most.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_solo_coinbase_with_fee_and_a_tag_of_ten_bytes_stays_within_255_bytes(kind):
    for payout in KINDS.values():
        job = make_factory(payer=ToFinder(payout, 100)).make(make_template(), 0.0)
        head, tail = job.coinbase_halves(12, payee_of(kind))
        assert len(head) + 12 + len(tail) <= 255


def test_a_longer_extranonce_takes_of_the_room():
    payee = Payee("a", b"s", 755)
    assert payee.with_extranonce(12) is payee and payee.with_extranonce(4) is payee
    assert payee.with_extranonce(32).room == 735
    assert POOL.with_extranonce(32) is POOL
    assert Payee("a", b"s", 10).with_extranonce(32).room == 1           # never 0, which asks for no room at all

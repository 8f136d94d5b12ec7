"""Distribution: to the satoshi, for whatever weights, balances, value and room."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.payout.makers import COIN, ONE, POOL, account, make_facts, make_rules, make_snapshot, script
from warppool.bitcoin.transaction import MAX_MONEY_SAT, serialize_output
from warppool.payout.distribution import LONGEST_OUTPUT, Distribution, distribute, divide, output_size
from warppool.payout.fee import fee_of
from warppool.payout.snapshot import Snapshot

VALUE = 312_500_000 + 1_234_567
LARGE = 16_000
A, B, C, D = (account(number) for number in range(4))
BY_SCRIPT = sorted((A, B, C, D), key=script)


def amounts(distribution: Distribution) -> dict[str, int]:
    """What each account gets, in the order of the outputs."""
    return {payment.entitlement.account: payment.paid_sat for payment in distribution.payments}


def room_for(*accounts: str) -> int:
    """The bytes of outputs for these accounts and payout_address."""
    return sum(output_size(script(each)) for each in (*accounts, POOL))


# --- fair shares ------------------------------------------------------------------------------------------------------

def test_work_is_paid_by_weight_to_the_satoshi():
    snapshot = make_snapshot({A: 5 * ONE // 10, B: 3 * ONE // 10, C: 2 * ONE // 10 + 1})
    assert amounts(distribute(snapshot, 10 * COIN, LARGE, True)) == {A: 5 * COIN, B: 3 * COIN, C: 2 * COIN}


@pytest.mark.parametrize(("value", "extra"), [(300_000, 0), (300_001, 1), (300_002, 2)])
def test_satoshis_that_are_left_go_by_script_where_remainders_are_equal(value, extra):
    snapshot = make_snapshot(dict.fromkeys((A, B, C), ONE))
    first_three = sorted((A, B, C), key=script)
    paid = amounts(distribute(snapshot, value, LARGE, False))
    assert [paid[each] for each in first_three] == [100_000 + (at < extra) for at in range(3)]


@pytest.mark.parametrize(("value", "low", "high", "third"), [(7, 3, 3, 1), (8, 4, 3, 1), (9, 4, 4, 1), (10, 4, 4, 2)])
def test_satoshis_that_are_left_go_to_the_largest_remainder_first(value, low, high, third):
    """By 3:3:1, 8 sat are 3 3/7, 3 3/7 and 1 1/7; 9 sat are 3 6/7, 3 6/7 and 1 2/7; 10 sat are 4 2/7, 4 2/7, 1 3/7."""
    division = divide(make_snapshot({A: 3, B: 3, C: 1}), value, False)
    fair = {each.account: each.fair_sat for each in division.entitlements}
    assert [fair[each] for each in (*sorted((A, B), key=script), C)] == [low, high, third]


def test_a_remainder_counts_before_the_script():
    weights = {BY_SCRIPT[0]: 1, BY_SCRIPT[1]: 2}          # of 2 sat: 2/3 and 1 1/3
    fair = {each.account: each.fair_sat for each in divide(make_snapshot(weights), 2, False).entitlements}
    assert fair == {BY_SCRIPT[0]: 1, BY_SCRIPT[1]: 1}


def test_nobody_has_a_weight():
    with pytest.raises(ValueError):
        distribute(make_snapshot({}, {A: COIN}), VALUE, LARGE, True)


# --- the fee, and payout_address --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("value", "bp", "fee"), [
    (312_500_000, 100, 3_125_000), (312_500_001, 100, 3_125_000), (312_500_099, 100, 3_125_000),
    (54_599, 100, 0), (54_600, 100, 546), (0, 10_000, 0), (545, 10_000, 0), (546, 10_000, 546),
    (MAX_MONEY_SAT, 1, MAX_MONEY_SAT // 10_000), (312_500_000, 0, 0),
])
def test_the_fee_is_rounded_down_and_none_below_dust(value, bp, fee):
    assert fee_of(value, bp) == fee


def test_payout_address_gets_the_fee_and_what_is_left():
    distribution = distribute(make_snapshot({A: 9, B: 1}, rules=make_rules(fee_bp=200)), 1_000_000, LARGE, False)
    assert distribution.division.fee_sat == 20_000
    assert amounts(distribution) == {A: 882_000}                # B's 98,000 is under the minimum
    assert distribution.outputs == ((882_000, script(A)), (118_000, script(POOL)))
    assert list(distribution.changes()) == [(B, 98_000, 0)]


def test_payout_address_as_a_miner_has_no_output_and_no_balance_of_its_own():
    distribution = distribute(make_snapshot({A: 1, POOL: 3}, {POOL: 7 * COIN}), 4 * COIN, LARGE, True)
    assert distribution.outputs == ((COIN, script(A)), (3 * COIN, script(POOL)))
    assert distribution.division.payout_fair_sat == 3 * COIN
    assert list(distribution.changes()) == []


def test_the_fair_share_of_payout_address_takes_part_in_the_remainders():
    snapshot = make_snapshot(dict.fromkeys((A, B, POOL), 1))
    division = divide(snapshot, 300_002, False)
    fair = {each.script: each.fair_sat for each in division.entitlements} | {script(POOL): division.payout_fair_sat}
    assert [fair[each] for each in sorted(fair)] == [100_001, 100_001, 100_000]


def test_a_fee_of_everything_leaves_one_output():
    distribution = distribute(make_snapshot({A: 1}, rules=make_rules(fee_bp=10_000)), VALUE, LARGE, False)
    assert distribution.outputs == ((VALUE, script(POOL)),)
    assert list(distribution.changes()) == []


def test_an_output_of_nothing_is_left_out_but_for_the_only_one():
    snapshot = make_snapshot({A: 1})
    assert distribute(snapshot, VALUE, LARGE, False).outputs == ((VALUE, script(A)),)
    assert distribute(snapshot, 0, LARGE, False).outputs == ((0, script(POOL)),)


def test_a_value_of_one_satoshi():
    distribution = distribute(make_snapshot({A: 1}), 1, LARGE, True)
    assert distribution.outputs == ((1, script(POOL)),) and list(distribution.changes()) == [(A, 1, 0)]


# --- balances ---------------------------------------------------------------------------------------------------------

def test_balances_come_on_top_and_may_take_the_fee():
    snapshot = make_snapshot({A: 1, B: 1}, {A: 15_000}, rules=make_rules(fee_bp=200))
    distribution = distribute(snapshot, 1_000_000, LARGE, True)
    assert distribution.outputs == ((505_000, script(A)), (490_000, script(B)), (5_000, script(POOL)))
    assert list(distribution.changes()) == [(A, 490_000, 505_000)]


def test_balances_end_with_the_value_and_the_rest_stays_owed():
    snapshot = make_snapshot({A: 1, B: 1}, {A: 700_000}, rules=make_rules(fee_bp=200))
    distribution = distribute(snapshot, 1_000_000, LARGE, True)
    assert distribution.outputs == ((1_000_000, script(A)),)
    assert list(distribution.changes()) == sorted([(A, 490_000, 1_000_000), (B, 490_000, 0)])


def test_no_part_of_a_target_under_the_minimum_is_paid():
    snapshot = make_snapshot({A: 1, B: 1}, {A: 420_000}, rules=make_rules(fee_bp=200))
    distribution = distribute(snapshot, 1_000_000, LARGE, True)
    assert distribution.outputs == ((910_000, script(A)), (90_000, script(POOL)))       # B's 490,000 waits


def test_without_the_flag_no_balance_is_paid_and_nobody_is_gone():
    """The first job of a tip: what may have been paid by the block before is not paid again."""
    snapshot = make_snapshot({A: 1, B: 1}, {A: 700_000, C: 700_000}, {B: 5})
    paid = distribute(snapshot, 1_000_000, LARGE, False)
    assert amounts(paid) == dict.fromkeys(sorted((A, B), key=script), 500_000)
    assert list(paid.changes()) == []


def test_an_account_that_mines_no_more_is_paid_its_balance():
    snapshot = make_snapshot({A: 1}, {B: 250_000})
    assert amounts(distribute(snapshot, 1_000_000, LARGE, True)) == {A: 1_000_000}      # its target comes second
    assert amounts(distribute(snapshot, 200_000, LARGE, True)) == {B: 200_000}
    fee = make_snapshot({A: 1}, {B: 250_000}, rules=make_rules(fee_bp=2_500))
    assert amounts(distribute(fee, 1_000_000, LARGE, True)) == {A: 750_000, B: 250_000}


# --- order and room ---------------------------------------------------------------------------------------------------

def test_outputs_stand_by_target_then_by_script_and_payout_address_last():
    weights = {BY_SCRIPT[2]: 2, BY_SCRIPT[0]: 1, BY_SCRIPT[1]: 1}
    distribution = distribute(make_snapshot(weights, rules=make_rules(fee_bp=100)), 4 * COIN, LARGE, False)
    assert [each for _, each in distribution.outputs] == [script(each) for each in (
        BY_SCRIPT[2], BY_SCRIPT[0], BY_SCRIPT[1], POOL)]


def test_the_first_output_that_does_not_fit_ends_the_list():
    """A shorter one behind it would fit: but then the order of payment would hang on the kind of an address."""
    large, small = account(1, kind=1), account(2)
    snapshot = make_snapshot({A: 3, large: 2, small: 1})
    assert [*amounts(distribute(snapshot, 6 * COIN, room_for(A, large, small), False))] == [A, large, small]
    assert [*amounts(distribute(snapshot, 6 * COIN, room_for(A, large, small) - 1, False))] == [A, large]
    assert [*amounts(distribute(snapshot, 6 * COIN, room_for(A, large) - 1, False))] == [A]
    assert [*amounts(distribute(snapshot, 6 * COIN, room_for(A) - 1, False))] == []


def test_the_place_of_payout_address_is_kept_though_it_gets_nothing():
    snapshot = make_snapshot({A: 1, B: 1})
    assert distribute(snapshot, 2 * COIN, room_for(A, B) - 1, False).remainder_sat == COIN
    with_all = distribute(snapshot, 2 * COIN, room_for(A, B), False)
    assert with_all.remainder_sat == 0 and len(with_all.outputs) == 2


def test_a_room_without_payout_address_is_refused():
    snapshot = make_snapshot({A: 1})
    assert distribute(snapshot, COIN, room_for(), False).outputs == ((COIN, script(POOL)),)
    with pytest.raises(ValueError):
        distribute(snapshot, COIN, room_for() - 1, False)


# --- the gone ---------------------------------------------------------------------------------------------------------

GONE = [account(number) for number in range(100, 140)]


def with_gone(sat: int = 1000, count: int = 40) -> Snapshot:
    return make_snapshot({A: 2, B: 1}, dict.fromkeys(GONE[:count], sat),
                         {each: 1000 - at for at, each in enumerate(GONE[:count])})


def test_who_is_gone_comes_first_the_longest_gone_first_from_546_sat_on():
    distribution = distribute(with_gone(546), 3 * COIN, LARGE, True)
    assert list(amounts(distribution)) == [*reversed(GONE), A, B]
    assert list(amounts(distribute(with_gone(545), 3 * COIN, LARGE, True))) == [A, B]


def test_who_is_gone_as_long_stands_by_script():
    snapshot = make_snapshot({A: 1}, {B: 600, C: 600, D: 600}, {B: 7, C: 7, D: 0})
    assert list(amounts(distribute(snapshot, COIN, LARGE, True))) == [D, *sorted((B, C), key=script), A]


@pytest.mark.parametrize(("outputs", "places"), [(1, 0), (3, 0), (4, 1), (7, 1), (8, 2), (12, 3), (100, 25)])
def test_the_gone_get_a_quarter_of_the_outputs_rounded_down(outputs, places):
    distribution = distribute(with_gone(), 3 * COIN, outputs * LONGEST_OUTPUT, True)
    gone = [each for each in amounts(distribution) if each in GONE]
    assert gone == GONE[::-1][:places]
    assert list(distribute(with_gone(), 3 * COIN, outputs * LONGEST_OUTPUT + 42, True).payments)[:places] == list(
        distribution.payments)[:places]


def test_balances_that_were_left_behind_do_not_crowd_out_who_mines():
    """However large they are: in a small class the gone wait for a larger one."""
    snapshot = make_snapshot({A: 2, B: 1}, dict.fromkeys(GONE, 50 * COIN), dict.fromkeys(GONE, 0))
    assert list(amounts(distribute(snapshot, 3 * COIN, room_for(A, B), True))) == [A, B]
    without = make_snapshot({A: 2, B: 1}, dict.fromkeys(GONE, 50 * COIN))
    assert A not in amounts(distribute(without, 3 * COIN, room_for(A, B), True))


def test_a_gone_account_that_still_has_weight_is_paid_both_in_one_output():
    snapshot = make_snapshot({A: 1, B: 1}, {A: 5_000}, {A: 1})
    distribution = distribute(snapshot, 1_000_000, LARGE, True)
    assert list(amounts(distribution).items()) == [(A, 505_000), (B, 495_000)]
    assert list(distribution.changes()) == sorted([(A, 500_000, 505_000), (B, 500_000, 495_000)])


# --- whatever comes ---------------------------------------------------------------------------------------------------

WEIGHTS = st.dictionaries(st.integers(0, 11), st.one_of(st.integers(0, 9), st.integers(0, 2**49)), min_size=1,
                          max_size=12)
BALANCES = st.dictionaries(st.integers(0, 14), st.one_of(st.integers(0, 700), st.integers(0, 3 * COIN)), max_size=12)


@given(WEIGHTS, BALANCES, st.dictionaries(st.integers(0, 14), st.integers(0, 3), max_size=6),
       st.one_of(st.integers(0, 4 * COIN), st.integers(0, 10_000)), st.integers(31, 800), st.booleans(),
       st.sampled_from((0, 1, 250, 10_000)), st.sampled_from((546, 1_000, 100_000)), st.booleans())
def test_whatever_comes_a_distribution_is_right(weights, balances, gone, value, room, pays, fee_bp, least, pool_mines):
    """Against an independent, slow reading of the rules, in fractions and without any sorting by key."""
    pool = account(0, 0) if pool_mines else POOL
    names = [account(number, number % 5) for number in range(15)]
    rules = make_rules(payout_address=pool, fee_bp=fee_bp, min_payout_sat=least)
    if not any(weights.values()):
        return
    snapshot = make_snapshot({names[n]: w for n, w in weights.items()}, {names[n]: b for n, b in balances.items()},
                             {names[n]: g for n, g in gone.items()}, rules, make_facts(rules))
    distribution = distribute(snapshot, value, room, pays)
    fee = distribution.division.fee_sat
    total = sum(weights.values())

    exact = {names[n]: Fraction((value - fee) * w, total) for n, w in weights.items() if w}
    fair = {each.account: each.fair_sat for each in distribution.division.entitlements}
    if pool in exact:
        fair[pool] = distribution.division.payout_fair_sat
    assert sum(fair.values()) == value - fee
    assert all(abs(fair[each] - exact.get(each, 0)) < 1 for each in fair)
    up = {each for each in exact if fair[each] > exact[each]}
    down = {each for each in exact if fair[each] < exact[each]}
    for high in up:
        for low in down:
            remainders = exact[low] % 1, exact[high] % 1
            assert remainders[0] < remainders[1] or (remainders[0] == remainders[1] and script(high) < script(low))

    owed = {names[n]: b for n, b in balances.items() if names[n] != pool} if pays else {}
    target = {each: fair.get(each, 0) + owed.get(each, 0) for each in {*fair, *owed} - {pool}}
    away = {names[n]: g for n, g in gone.items()} if pays else {}
    queue = [each for _, _, each in sorted((away[each], script(each), each) for each in target
                                           if each in away and target[each] >= 546)][:(room // 43) // 4]
    queue += [each for _, _, each in sorted((-target[each], script(each), each) for each in target
                                            if each not in away and target[each] >= least)]
    left, free, expected = value, room - output_size(script(pool)), []
    for each in queue:
        free -= output_size(script(each))
        paid = min(target[each], left)
        if free < 0 or paid < (546 if each in away else least):
            break
        expected.append((paid, script(each)))
        left -= paid
    if left or not expected:
        expected.append((left, script(pool)))
    assert list(distribution.outputs) == expected
    assert distribution.remainder_sat == left and distribution.paid_sat == value - left

    assert sum(sat for sat, _ in distribution.outputs) == value
    assert len(b"".join(serialize_output(*each) for each in distribution.outputs)) <= room
    changes = list(distribution.changes())
    assert all(owed.get(each, 0) + fair_sat - paid_sat >= 0 for each, fair_sat, paid_sat in changes)
    own = fair.get(pool, 0)
    assert sum(fair_sat - paid_sat for _, fair_sat, paid_sat in changes) == left - fee - own

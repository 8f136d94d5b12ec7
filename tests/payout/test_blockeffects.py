"""What a block does to balances, by its snapshot and by its coinbase; and which snapshot an unknown block is of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.payout.makers import COIN, NETWORK, ONE, POOL, TIP, account, make_rules, make_snapshot, script
from warppool.payout.blockeffects import (
    difference_of,
    effects_by,
    least_effects,
    match,
    paid_to,
    solo_outputs,
)
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.snapshot import Snapshot

ANNA, BERT, CARL = account(1), account(2, 1), account(3, 2)
COMMITMENT = (0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))
OTHER_TIP = b"\x08" * 32


def outputs_of(distribution: Distribution) -> tuple[tuple[int, bytes], ...]:
    return (*distribution.outputs, COMMITMENT)


def effects(distribution: Distribution, outputs: tuple[tuple[int, bytes], ...]) -> dict[str, int]:
    found = effects_by(distribution, outputs, NETWORK)
    assert found.difference == ""
    return dict(found.effects)


def test_what_is_left_unpaid_is_a_credit():
    snapshot = make_snapshot({ANNA: 3 * ONE, BERT: ONE})
    distribution = distribute(snapshot, 4 * COIN, 31 + 31 + 42, False)             # one output besides payout_address's
    assert effects(distribution, outputs_of(distribution)) == {BERT: COIN}


def test_a_balance_that_is_paid_is_a_debit():
    snapshot = make_snapshot({ANNA: 3 * ONE, BERT: ONE}, {ANNA: 5, CARL: 200_000}, rules=make_rules(fee_bp=100))
    distribution = distribute(snapshot, 4 * COIN, 1000, True)
    assert dict(distribution.outputs)[297 * COIN // 100 + 5] == script(ANNA)
    assert effects(distribution, outputs_of(distribution)) == {ANNA: -5, CARL: -200_000}


def test_the_effects_together_are_what_payout_address_holds():
    """The remainder less the fee and less its own fair share, whatever the room."""
    snapshot = make_snapshot({ANNA: 3 * ONE, BERT: ONE, POOL: 2 * ONE}, {CARL: 200_000}, rules=make_rules(fee_bp=150))
    for room in range(31, 200):
        distribution = distribute(snapshot, 3 * COIN + 1, room, True)
        division = distribution.division
        assert (sum(effects(distribution, outputs_of(distribution)).values())
                == distribution.remainder_sat - division.fee_sat - division.payout_fair_sat)


def test_the_coinbase_wins_where_it_differs():
    snapshot = make_snapshot({ANNA: ONE, BERT: ONE})
    distribution = distribute(snapshot, 2 * COIN, 1000, False)
    other = ((COIN + 7, script(ANNA)), (COIN - 10, script(CARL)), (3, script(POOL)), COMMITMENT)
    found = effects_by(distribution, other, NETWORK)
    assert dict(found.effects) == {ANNA: -7, BERT: COIN, CARL: 10 - COIN}
    assert found.difference.startswith(f"output 0 was to pay {COIN} sat to ")


@pytest.mark.parametrize(("due", "found", "words"), [
    (((5, b"a"),), ((5, b"a"), (0, b"c")), ""),
    (((5, b"a"),), ((5, b"b"),), "output 0 was to pay 5 sat to 61, and pays 5 sat to 62"),
    (((5, b"a"), (1, b"b")), ((5, b"a"),), "2 outputs were due, and there are 1"),
    (((5, b"a"),), ((5, b"a"), (9, b"b")), "9 sat more than was due are paid"),
    (((5, b"a"),), (), "1 outputs were due, and there are 0"),
])
def test_a_difference_is_told_by_its_first_output(due, found, words):
    assert difference_of(due, found) == words


@pytest.mark.parametrize(("value", "fee", "due"), [
    (100, 0, ((100, b"payee"),)), (100, 7, ((93, b"payee"), (7, b"pool"))), (100, 100, ((100, b"pool"),)),
    (0, 0, ((0, b"payee"),))])
def test_what_one_payee_gets(value, fee, due):
    assert solo_outputs(b"payee", b"pool", value, fee) == due


def test_scripts_without_an_address_and_payout_address_are_nobodys():
    outputs = ((5, script(ANNA)), (6, b"\x6a"), (7, script(POOL)), (8, script(ANNA)), (0, script(BERT)))
    assert paid_to(outputs, NETWORK, script(POOL)) == {ANNA: 13}


def test_a_block_that_nothing_explains_takes_balances_as_far_as_they_go():
    outputs = ((5, script(ANNA)), (6, script(BERT)), (7, script(CARL)), (9, script(POOL)))
    assert least_effects(outputs, NETWORK, script(POOL), {ANNA: 3, BERT: 60, POOL: 9}) == tuple(
        sorted({ANNA: -3, BERT: -6}.items()))


# --- a block that no journal knows ------------------------------------------------------------------------------------


def found_again(distribution: Distribution, *snapshots: Snapshot, parent: bytes = TIP) -> dict[str, int] | None:
    outputs = outputs_of(distribution)
    matched = match(outputs, parent, snapshots)
    if matched is None:
        return None
    assert matched.distribution is not None
    again = distribute(matched.snapshot, distribution.division.value_sat, matched.room, matched.pays_balances)
    assert again.outputs == distribution.outputs
    return effects(matched.distribution, outputs)


def test_it_is_known_by_its_snapshot_flag_and_room():
    weights = {ANNA: 3 * ONE, BERT: ONE}
    snapshots = (make_snapshot(weights), make_snapshot(weights, {BERT: 7}),
                 make_snapshot(weights, {BERT: 9, ANNA: 2}))
    for snapshot in snapshots:
        for pays_balances in (True, False):
            for room in (31, 80, 104, 1000):
                distribution = distribute(snapshot, COIN, room, pays_balances)
                assert found_again(distribution, *snapshots) == effects(distribution, outputs_of(distribution))


def test_balances_are_paid_on_the_tip_of_the_snapshot_alone():
    snapshot = make_snapshot({ANNA: ONE}, {BERT: 200_000}, rules=make_rules(fee_bp=100))
    assert found_again(distribute(snapshot, COIN, 1000, False), snapshot, parent=OTHER_TIP) == {}
    assert found_again(distribute(snapshot, COIN, 1000, True), snapshot, parent=OTHER_TIP) is None


def test_another_distribution_is_no_match():
    snapshot = make_snapshot({ANNA: ONE, BERT: 2 * ONE})
    assert found_again(distribute(make_snapshot({ANNA: ONE, BERT: ONE}), COIN, 1000, False), snapshot) is None


@pytest.mark.parametrize("fee_bp", [0, 100, 10_000])
def test_without_weights_the_first_output_is_somebodys(fee_bp):
    snapshot = make_snapshot({}, rules=make_rules(fee_bp=fee_bp))
    due = solo_outputs(script(ANNA), script(POOL), COIN, COIN * fee_bp // 10_000)
    matched = match((*due, COMMITMENT), TIP, [snapshot])
    assert matched is not None and matched.distribution is None
    assert match(((COIN // 2, script(ANNA)), (COIN // 2, script(BERT))), TIP, [snapshot]) is None


def test_a_balance_that_took_the_whole_value_is_no_block_without_weights():
    """Both pay one account: but one pays out what it is owed, which would be paid out again."""
    empty = make_snapshot({}, {ANNA: 5 * COIN})
    snapshot = make_snapshot({ANNA: ONE, BERT: ONE}, {ANNA: 5 * COIN})
    distribution = distribute(snapshot, COIN, 1000, True)
    assert found_again(distribution, empty, snapshot) == {ANNA: -COIN // 2, BERT: COIN // 2}


def test_of_two_snapshots_that_fit_the_one_counts_that_pays_out_more():
    """Bert has worked for what he gets, or was owed it: nobody knows, and he must not be paid it again."""
    worked = make_snapshot({ANNA: 2 * ONE, BERT: ONE}, rules=make_rules(fee_bp=2500))
    owed = make_snapshot({ANNA: ONE}, {BERT: COIN // 4}, rules=make_rules(fee_bp=5000))
    distribution = distribute(worked, COIN, 1000, False)
    assert distribution.outputs == distribute(owed, COIN, 1000, True).outputs
    assert found_again(distribution, worked, owed) == {BERT: -COIN // 4}


@given(st.dictionaries(st.integers(1, 60), st.integers(0, 5), min_size=1, max_size=60),
       st.dictionaries(st.integers(1, 60), st.integers(0, 300_000), max_size=60),
       st.dictionaries(st.integers(1, 60), st.integers(0, 9), max_size=60),
       st.integers(43, 3000), st.booleans())
def test_every_job_of_a_kept_snapshot_is_known_again(weights, balances, gone, room, pays_balances):
    names = [account(number, number % 5) for number in range(61)]
    snapshot = make_snapshot({names[number]: weight * ONE // 40 for number, weight in weights.items()} | {ANNA: ONE},
                             {names[number]: sat for number, sat in balances.items()},
                             {names[number]: last for number, last in gone.items()})
    distribution = distribute(snapshot, 10_000_000, room, pays_balances)
    assert found_again(distribution, snapshot) == effects(distribution, outputs_of(distribution))

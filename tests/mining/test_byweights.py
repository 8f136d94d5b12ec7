"""Mode pplns: what the coinbases of each size class pay, and what they measure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mining.makers import PAYOUT, make_factory, make_template, make_tip
from tests.mining.payees import numbered, payee_of
from tests.mining.test_proof import full
from tests.payout.makers import ONE, POOL, account, make_rules, make_snapshot, script
from warppool.bitcoin.sigops import legacy_sigops
from warppool.bitcoin.transaction import outputs_of
from warppool.errors import LocalProtocolError
from warppool.mining.byweights import ByWeights
from warppool.mining.payee import Payee, Terms
from warppool.mining.rooms import ROOMS, half_of
from warppool.payout.distribution import distribute

VALUE = 312_500_000
PAYER = ByWeights(script(POOL))


def many(count, kind=0, **said):
    """A snapshot of so many accounts, each with less weight than the one before."""
    whole = ONE // (2 * count)
    return make_snapshot({account(number, kind): whole + count - number for number in range(count)}, **said)


def make_job(snapshot, template=None, pays_balances=False, tag=b"/warppool/"):
    factory = make_factory(payer=PAYER)
    factory.set_tag(tag)
    return factory.make(template or make_template(), 0.0, snapshot, pays_balances)


def coinbase_of(job, room, size=12):
    head, tail = job.coinbase_halves(size, payee_of("p2tr", room))
    return head + bytes(size) + tail, head, tail


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("count", [1, 3, 500])
@pytest.mark.parametrize("tag", [b"", b"/warppool/", b"t" * 50], ids=len)
def test_no_class_gets_more_bytes_than_it_holds_and_all_pay_the_whole_value(kind, count, tag):
    snapshot = many(count, kind, rules=make_rules(fee_bp=100, min_payout_sat=546))
    job = make_job(snapshot, tag=tag)
    assert job.faults == () and job.snapshot_id == snapshot.id and not job.pays_balances
    for room in ROOMS:
        stripped, head, tail = coinbase_of(job, room)
        assert len(stripped) <= room and max(len(head), len(tail)) <= half_of(room)
        terms = job.rule.terms(payee_of("p2tr", room))
        assert terms == Terms("", snapshot.id, terms.room, VALUE, 3_125_000, script(POOL), False)
        paid = outputs_of(stripped)[:-1]
        assert paid == distribute(snapshot, VALUE, terms.room, False).outputs == job.rule.expected(room)
        assert sum(sat for sat, _ in paid) == VALUE
        others = snapshot.total_weight and len(paid) - 1
        left = min(room - len(stripped), half_of(room) - len(tail))
        assert others == count or left < 43 + 3, "the next output would have had room"


def test_a_machine_gets_the_largest_class_that_it_can_hold_and_never_a_larger_one():
    job = make_job(many(500))
    for room, given in ((255, 255), (499, 255), (500, 500), (754, 500), (755, 755), (2_249, 755), (10_000, 6_500),
                        (16_000, 16_000), (1 << 20, 16_000)):
        assert job.rule.key(payee_of("p2tr", room)) == given
    too_small = payee_of("p2tr", 254)
    assert not job.rule.serves(too_small)
    with pytest.raises(LocalProtocolError, match="254 bytes"):
        job.tail(job.rule.key(too_small))


def test_all_machines_of_a_class_have_one_coinbase_whoever_they_are():
    job = make_job(many(50))
    assert coinbase_of(job, 755)[0] == b"".join((job.coinbase_halves(12, numbered(7, 755))[0], bytes(12),
                                                 job.coinbase_halves(12, numbered(8, 755))[1]))
    assert set(job.tails) == set(ROOMS)


@pytest.mark.parametrize("size", [13, 20, 32])
def test_a_longer_extranonce_never_makes_a_coinbase_larger_than_its_machine_holds(size):
    job = make_job(many(500))
    for room in ROOMS[1:]:
        payee = Payee("a", b"s", room).with_extranonce(size)
        head, tail = job.coinbase_halves(size, payee)
        assert len(head) + size + len(tail) <= room and job.rule.key(payee) < room


def test_a_class_counts_only_where_the_template_has_room_for_all_of_it():
    """The node reserves 4 * (80 + 3 + class) + 36 weight units."""
    for room, smaller in zip(ROOMS[1:], ROOMS, strict=False):
        weight = 4 * room + 36
        fits, tight = (make_job(many(500), full(left)) for left in (weight, weight - 1))
        assert fits.rule.key(payee_of("p2tr", room)) == room and not fits.faults
        assert tight.rule.key(payee_of("p2tr", room)) == smaller and not tight.faults
    bare = make_job(many(500), full(4 * 255 + 36 - 1))
    assert not bare.rule.keys and not bare.rule.serves(payee_of("p2tr", 16_000))


@pytest.mark.parametrize("sigops", [1, 2, 20, 300])
def test_outputs_with_signature_operations_stay_within_what_the_template_leaves(sigops):
    p2pkh = 2
    pool = account(999_998, p2pkh)
    job = make_job(many(500, p2pkh, rules=make_rules(pool, min_payout_sat=546)), full(400_000, sigops))
    assert not job.faults
    for room in ROOMS:
        paid = outputs_of(coinbase_of(job, room)[0])
        assert sum(legacy_sigops(each) for _, each in paid) <= sigops


def test_where_a_node_keeps_the_transactions_a_job_stays_within_what_it_was_asked_for():
    template = make_template(transactions=None)
    for kind in range(5):
        job = make_job(many(900, kind, rules=make_rules(min_payout_sat=546)), template)
        assert not job.faults and set(job.rule.keys) == set(ROOMS)
        for room in ROOMS:
            own = outputs_of(coinbase_of(job, room)[0])[:-1]
            assert sum(9 + len(each) for _, each in own) <= PAYER.most.size
            assert sum(legacy_sigops(each) for _, each in own) <= PAYER.most.sigops


def test_balances_are_paid_only_where_the_job_says_so():
    snapshot = make_snapshot({account(1): ONE // 2, account(3): ONE // 2}, {account(2): 200_000_000})
    for pays in (False, True):
        job = make_job(snapshot, pays_balances=pays)
        paid = {each: sat for sat, each in outputs_of(coinbase_of(job, 755)[0])[:-1]}
        assert (script(account(2)) in paid) == pays == job.pays_balances
        assert job.rule.terms(payee_of("p2tr", 755)).pays_balances == pays
        assert sum(paid.values()) == VALUE


def test_where_nobody_has_a_weight_the_channel_s_own_account_is_paid_as_in_solo_and_booked_so():
    snapshot = make_snapshot({}, {account(2): 5_000_000}, rules=make_rules(fee_bp=100))
    job = make_job(snapshot, pays_balances=True)
    payee = payee_of("p2wsh", 755)
    head, tail = job.coinbase_halves(12, payee)
    assert outputs_of(head + bytes(12) + tail)[:-1] == ((309_375_000, payee.script), (3_125_000, script(POOL)))
    assert job.rule.terms(payee) == Terms(payee.account, b"", 0, VALUE, 3_125_000, script(POOL), False)
    assert job.snapshot_id == snapshot.id


def test_a_job_without_a_snapshot_is_none():
    with pytest.raises(LocalProtocolError, match="snapshot"):
        make_factory(payer=PAYER).make(make_template(), 0.0)


def test_a_class_whose_proof_fails_is_not_given_and_the_next_smaller_one_is(monkeypatch):
    from warppool.mining import proof
    real = proof.fault_of
    monkeypatch.setattr("warppool.mining.job.fault_of", lambda template, stripped, *rest: (
        "sum: planted" if 255 < len(stripped) <= 755 else real(template, stripped, *rest)))
    job = make_job(many(500))
    assert job.faults == ("500: sum: planted", "755: sum: planted")
    assert job.rule.key(payee_of("p2tr", 755)) == 255 and 755 not in job.tails
    assert job.rule.key(payee_of("p2tr", 2_250)) == 2_250


def test_a_machine_that_holds_less_than_any_class_gets_no_work():
    template = replace(make_template(make_tip()), coinbase_tx_outputs=make_template().coinbase_tx_outputs * 4,
                       coinbase_tx_outputs_count=4)
    job = make_job(many(5), template)
    assert job.rule.keys[0] == 500 and not job.rule.serves(payee_of("p2tr", 255))
    assert script(POOL) != PAYOUT

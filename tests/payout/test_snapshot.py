"""A snapshot has one text, whose hash is its name, and cannot say what is not so."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from tests.payout.makers import ONE, POOL, TIP, account, make_facts, make_rules, make_snapshot, script
from warppool.bitcoin.address import AddressError
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd

A, B, C = (account(number, kind) for number, kind in ((1, 0), (2, 1), (3, 2)))


def whole_snapshot() -> Snapshot:
    return make_snapshot({B: 3 * ONE, A: 346_711_476_868_203, C: 0}, {C: 546, A: 0}, {C: 17, A: 0},
                         make_rules(fee_bp=100, window="7.5"))


def test_the_text_of_a_snapshot_is_known_to_the_byte():
    """Who reads this test can write a program of his own that checks us."""
    snapshot = whole_snapshot()
    assert snapshot.blob.decode() == (
        '{"balances":{"' + C + '":546},"gone":{"' + A + '":0,"' + C + '":17},"order":"id",'
        '"rules":{"fee_bp":"100","min_paid_ratio":"0.9","min_payout_sat":"100000","network":"regtest",'
        '"payout_address":"' + POOL + '","window":"7.5","window_days":"90","window_rampup":"false"},'
        '"tip":"' + "07" * 32 + '","tip_height":100,"version":1,'
        '"weights":{"' + B + '":"844424930131968","' + A + '":"346711476868203"},'
        '"window":{"blocks_settled":0,"cut_weight":"0","ended_by":"beginning","first_id":1,'
        '"highest_nbits":"1d00ffff","last_id":1000,"wanted":"2111062325329920"}}'
    )
    assert snapshot.id == sha256(snapshot.blob).digest()[:16]
    assert snapshot.total_weight == 844424930131968 + 346711476868203


def test_a_snapshot_is_read_back_from_its_text():
    snapshot = whole_snapshot()
    assert Snapshot.of_blob(snapshot.blob) == snapshot
    tip = bytes(range(32))
    other = make_snapshot({A: 5}, tip=tip)
    assert Snapshot.of_blob(other.blob).tip == tip
    assert json.loads(other.blob)["tip"] == tip[::-1].hex()


def test_the_order_in_which_accounts_were_told_makes_no_difference():
    assert make_snapshot({A: 1, B: 2}).id == make_snapshot({B: 2, A: 1}).id


def test_each_number_makes_another_name():
    base = {"weights": {A: 5, B: 6}, "balances": {A: 7, B: 8}, "gone": {A: 3, B: 4}}
    ids = {make_snapshot(**base).id}
    for group in base:
        ids.add(make_snapshot(**{**base, group: {A: 9, B: base[group][B]}}).id)
    ids.add(make_snapshot(**base, tip=b"\x08" * 32).id)
    ids.add(make_snapshot(**base, rules=make_rules(fee_bp=1)).id)
    assert len(ids) == 6


def test_what_is_zero_and_what_payout_address_is_owed_is_left_out():
    snapshot = make_snapshot({A: 0, B: 1, POOL: 5}, {A: 0, B: 5, POOL: 5000}, {A: 4, B: 5})
    assert dict(snapshot.weights) == {B: 1, POOL: 5}
    assert dict(snapshot.balances) == {B: 5}
    assert dict(snapshot.gone) == {B: 5}            # A has neither weight nor balance: nothing to be paid first


@pytest.mark.parametrize("weights", [{account(1).upper(): 1, account(1): 1}, {account(1): 1, "": 1}])
def test_an_account_is_there_once_and_is_an_address(weights):
    with pytest.raises(ValueError):
        make_snapshot(weights)


def test_accounts_of_another_network_are_refused():
    with pytest.raises(AddressError):
        make_snapshot({"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4": 1})


def test_the_weights_are_those_of_the_window():
    rules = make_rules()
    full = make_facts(rules, WindowEnd.WEIGHT, cut_weight=1)
    assert make_snapshot({A: 8 * ONE}, facts=full).total_weight == 8 * ONE
    for weights, facts in (({A: 8 * ONE - 1}, full), ({A: 8 * ONE + 1}, full), ({A: 8 * ONE + 1}, None)):
        with pytest.raises(ValueError):
            make_snapshot(weights, facts=facts)


def test_the_window_is_what_the_rules_say():
    """A window that was wanted under other rules makes no snapshot under these."""
    with pytest.raises(ValueError):
        make_snapshot({A: 1}, rules=make_rules(window="8"), facts=make_facts(make_rules(window="9")))


def test_a_text_that_is_not_to_the_byte_that_of_a_snapshot_is_refused():
    blob = whole_snapshot().blob
    read = json.loads(blob)
    changed = [
        blob + b" ", b" " + blob, blob[:-1], b"", b"{}", b"[]", b"null", b"1", b"\xff", b"[" * 100_000,
        json.dumps(read).encode(),
        json.dumps(dict(reversed(read.items())), separators=(",", ":")).encode(),
        blob.replace(b'"version":1', b'"version":2'), blob.replace(b'"order":"id"', b'"order":"time"'),
        blob.replace(b":546", b":546.0"), blob.replace(b":546", b":-546"), blob.replace(b":546", b":true"),
        blob.replace(b":546", b":1" + b"0" * 5000), blob.replace(b'"844', b'"-844'), blob.replace(b'"0.9"', b'0.9'),
        blob.replace(b'"gone":{', b'"gone":{"x":1,'), blob.replace(A.encode(), B.encode()),
    ]
    for key in read:
        changed += [json.dumps({**read, key: bad}, separators=(",", ":"), sort_keys=True).encode()
                    for bad in (None, -7, "x", [], {"x": None})]
    assert blob not in changed
    for text in changed:
        with pytest.raises(ValueError):
            Snapshot.of_blob(text)


def test_a_balance_of_payout_address_is_refused_where_a_text_has_one():
    snapshot = make_snapshot({A: 1}, {A: 5})
    with pytest.raises(ValueError):
        Snapshot.of_blob(snapshot.blob.replace(b'"balances":{"' + A.encode(), b'"balances":{"' + POOL.encode()))


def test_a_tip_is_a_block_hash():
    with pytest.raises(ValueError):
        make_snapshot({A: 1}, tip=TIP[1:])


def test_every_kind_of_account_is_known():
    for kind, size in enumerate((22, 34, 25, 34, 23)):
        assert len(script(account(5, kind))) == size

"""The audit: an honest export passes; whatever is changed in it is found, and said by name."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.payout.exports import HEIGHT, BookedWork, MinedBlock, coinbase_of, mine
from tests.payout.makers import NBITS, ONE, POOL, account, make_rules, script
from warppool.payout.audit import audit
from warppool.payout.auditheader import AuditError
from warppool.payout.export import HEADER_KEYS, hour_line, share_line
from warppool.payout.weight import weight_of

A, B, C = (account(number, kind) for number, kind in ((1, 0), (2, 1), (3, 2)))
SHARES = tuple(BookedWork(number, (A, B, A, C)[number % 4], (0.25, 0.5, 0.0, 0.1, 0.7)[number % 5])
               for number in range(1, 101))
RULES = make_rules(fee_bp=100)


def block(**changes: object) -> MinedBlock:
    return mine(SHARES, **{"rules": RULES, "balances": {A: 5_000, C: 70_000}, "gone": {C: 3}, **changes})


def with_header(mined: MinedBlock, **changes: object) -> list[str]:
    return [json.dumps({**json.loads(mined.lines[0]), **changes}), *mined.lines[1:]]


@pytest.mark.parametrize("changes", [
    {}, {"pays": False}, {"hour": 1}, {"hour": 7}, {"hour": 1000}, {"is_segwit": True}, {"room": 65}, {"room": 300},
    {"rules": make_rules(window="0.3")}, {"rules": make_rules(window="1000")}, {"value": 1}, {"value": 100_000},
    {"rules": make_rules(window_rampup=True), "settled": 2}, {"rules": make_rules(fee_bp=10_000)},
    {"rules": make_rules(payout_address=A)}, {"balances": {A: 10**12}},
])
def test_an_honest_block_passes(changes):
    mined = block(**changes)
    report = audit(mined.lines)
    assert report.snapshot_id == mined.snapshot.id
    assert {each.account: each.weight for each in report.accounts if each.weight} | (
        {mined.snapshot.rules.payout_address: report.payout_weight} if report.payout_weight else {}) == dict(
        mined.snapshot.weights)
    assert sum(each.paid_sat for each in report.accounts) + report.remainder_sat == report.claim.value_sat
    assert report.fee_sat == mined.distribution.division.fee_sat and report.ids_without_share == 0


def test_the_report_says_what_each_account_has():
    report = audit(block().lines)
    assert report.claim.height == HEIGHT and report.claim.nbits == NBITS
    assert [each.account for each in report.accounts] == sorted((A, B, C))
    (gone,) = (each for each in report.accounts if each.account == C)
    assert gone.weight and gone.balance_sat == 70_000 and gone.paid_sat == gone.fair_sat + 70_000


def test_lines_may_come_in_any_order():
    mined = block()
    assert audit([mined.lines[0], *reversed(mined.lines[1:])]) == audit(mined.lines)
    assert audit(iter([line + "\n" for line in mined.lines])) == audit(mined.lines)


def test_numbers_without_a_share_are_counted():
    shares = tuple(each for each in SHARES if each.id not in (55, 56))
    assert audit(mine(shares, rules=make_rules(window="1000")).lines).ids_without_share == 2


# --- what a thief would change ----------------------------------------------------------------------------------------

def difference(lines: list[str]) -> str:
    with pytest.raises(AuditError) as caught:
        audit(lines)
    return str(caught.value)


def test_the_share_of_one_satoshi_that_goes_elsewhere_is_named():
    mined = block()
    (first, second, *rest) = mined.distribution.outputs
    stolen = coinbase_of(((first[0] - 1, first[1]), (second[0] + 1, second[1]), *rest))
    paid = mined.distribution.payments[0].entitlement.account
    assert difference(with_header(mined, coinbase=stolen.hex())) == (
        f"output 1 pays {first[0] - 1} sat to {paid}, it should pay {first[0]} sat to {paid}")


def test_an_output_for_a_stranger_is_named():
    mined = block()
    outputs = mined.distribution.outputs
    stranger = script(account(77))
    swapped = coinbase_of((*outputs[:-1], (outputs[-1][0], stranger)))
    assert difference(with_header(mined, coinbase=swapped.hex())) == (
        f"output {len(outputs)} pays {outputs[-1][0]} sat to script {stranger.hex()}, "
        f"it should pay {outputs[-1][0]} sat to {POOL}")


def test_money_behind_the_pools_outputs_is_named():
    """An operator who says a smaller value and pays himself the rest in an output of its own."""
    mined = block()
    own = coinbase_of(mined.distribution.outputs, more=(5_000).to_bytes(8, "little") + b"\x01\x51")
    value = mined.distribution.division.value_sat
    assert difference(with_header(mined, coinbase=own.hex())) == (
        f"the coinbase pays {value + 5_000} sat in all, the header says {value}")
    assert "should pay" in difference(with_header(mined, coinbase=own.hex(), value=value + 5_000))
    less = mine(SHARES, rules=make_rules(), value=100)          # nobody reaches the minimum: one output, of all
    own = coinbase_of(((60, script(POOL)),), more=(40).to_bytes(8, "little") + b"\x01\x51")
    assert "output 1 pays 60 sat" in difference(with_header(less, coinbase=own.hex()))


def test_an_output_that_is_missing_or_moved_is_named():
    mined = block()
    first, second, *rest = mined.distribution.outputs
    assert "output 1 pays" in difference(with_header(mined, coinbase=coinbase_of((second, first, *rest)).hex()))
    whole = mine(SHARES, rules=make_rules(), value=100_000_000)
    outputs = whole.distribution.outputs
    none_left = coinbase_of(outputs[:1], more=(sum(sat for sat, _ in outputs[1:])).to_bytes(8, "little") + b"\x01\x51")
    assert "output 2 pays" in difference(with_header(whole, coinbase=none_left.hex()))


def test_work_that_is_left_out_or_made_up_changes_the_name_of_the_snapshot():
    mined = block(rules=make_rules(window="1000"))
    for at, line in enumerate(mined.lines[1:], 1):
        read = json.loads(line)
        if isinstance(read, list):
            more = hour_line(read[0], read[1], read[2], read[3], read[4], read[5] ^ 1, read[6])
        else:
            more = share_line(read["server"], read["id"], read["account"], read["difficulty"] + 2.0**-40)
        assert "make snapshot" in difference([*mined.lines[:at], more, *mined.lines[at + 1:]])
        weight = read[4] + read[5] if isinstance(read, list) else read["difficulty"]
        if weight:
            assert "make snapshot" in difference([*mined.lines[:at], *mined.lines[at + 1:]])


def test_work_that_stands_there_twice_is_named():
    mined = block()
    for at in (1, len(mined.lines) - 1):
        assert "twice" in difference([*mined.lines, mined.lines[at]])
    read = json.loads(mined.lines[1])
    inside = share_line(0, read[1], A, 1.0)
    assert "too" in difference([*mined.lines, inside])
    lap = hour_line(0, read[1], read[2] + 1, A, 0, 5, 1)
    assert "overlap" in difference([*mined.lines, lap])
    assert "not within the window" in difference([*mined.lines, hour_line(0, 1, 1, A, 0, 5, 1)])
    assert "more than ids" in difference([*mined.lines, hour_line(0, read[1], read[2], account(50), 0, 5, 11)])


def test_a_window_that_ended_by_weight_holds_what_is_wanted_to_the_last_unit():
    mined = block(rules=make_rules(fee_bp=100, window="8"))
    header = json.loads(mined.lines[0])
    assert header["ended_by"] == "weight"
    cut = int(header["cut_weight"])
    assert "holds" in difference(with_header(mined, cut_weight=str(cut - 1)))
    assert "cannot count" in difference(with_header(mined, cut_weight=str(8 * ONE)))
    longest = [line for line in mined.lines[1:] if f'"id":{header["first_id"]},' not in line]
    assert "which is cut, is not there" in difference([mined.lines[0], *longest])
    assert "cannot count" in difference(with_header(mined, ended_by="days"))
    assert difference(with_header(mined, ended_by="days", cut_weight="0"))


def test_a_smaller_window_than_the_rules_want_is_named():
    mined = block()
    assert "wants a weight" in difference(with_header(mined, weight_wanted=str(8 * ONE + 1)))
    assert "wants a weight" in difference(with_header(mined, highest_nbits="1c7fff80"))
    rampup = block(rules=make_rules(window_rampup=True), settled=3)
    assert "wants a weight" in difference(with_header(rampup, blocks_settled=2))


@pytest.mark.parametrize(("key", "value"), [
    ("balances", {}), ("balances", {A: 5_001, C: 70_000}), ("gone", {}), ("gone", {C: 4}), ("snapshot", "00" * 16),
    ("snapshot_tip", "00" * 32), ("snapshot_tip_height", 5), ("rules", make_rules(fee_bp=101).texts()),
    ("rules", make_rules(fee_bp=100, min_payout_sat=100_001).texts()),
])
def test_another_snapshot_than_the_blocks_is_named(key, value):
    assert "the block was paid by snapshot" in difference(with_header(block(), **{key: value}))


@pytest.mark.parametrize(("key", "value", "words"), [
    ("bytes_for_outputs", 80, "should pay"), ("bytes_for_outputs", 10, "no room"),
    ("pays_balances", False, "should pay"), ("value", 312_500_001, "header says 312500001"),
    ("height", 840_001, "the coinbase is of height 840000"), ("coinbase", "00", "no transaction"),
    ("network", "main", "network"), ("order", "time", "order"), ("version", 2, "version"), ("kind", "x", "kind"),
    ("hours", [], "hours"), ("balances", {A: 0, C: 70_000}, "no snapshot"),
    ("balances", {A: 5_000, C: 70_000, POOL: 1}, "no snapshot has"),
    ("gone", {C: 3, B: 9, "x": 1}, "no snapshot has"),
])
def test_another_header_is_named(key, value, words):
    assert words in difference(with_header(block(), **{key: value}))


def test_a_transaction_that_spends_something_is_no_coinbase():
    spends = block().coinbase.replace(bytes(32), b"\x01" * 32, 1)
    assert "names no height" in difference(with_header(block(), coinbase=spends.hex()))


@pytest.mark.parametrize("key", HEADER_KEYS)
def test_whatever_stands_in_a_header_is_no_crash(key):
    mined = block()
    right = json.loads(mined.lines[0])[key]
    for value in (None, True, -1, 1.5, "x", [], {}, 2**70, "\u0661", {"a": None}, "00" * 40):
        if value != right:
            assert difference(with_header(mined, **{key: value}))


@pytest.mark.parametrize("key", HEADER_KEYS)
def test_what_is_said_of_a_header_does_nothing_to_a_terminal(key):
    mined = block()
    for value in ("\x1b[2J", {"\x1b[2J": "\x1b[2J"}, ["\x1b[2J"]):
        assert difference(with_header(mined, **{key: value})).isprintable()


@pytest.mark.parametrize("line", [
    "", "x", "1", "null", "[]", "{}", '"x"', "[" * 100_000, "1" * 5000,
    '{"server":0,"id":60,"account":"x","difficulty":1}', '{"server":0,"id":60,"account":null,"difficulty":1}',
    '{"server":0,"id":true,"account":"A","difficulty":1}', '{"server":0,"id":100,"account":"A","difficulty":NaN}',
    '{"server":0,"id":100,"account":"A","difficulty":-1}', '{"server":0,"id":100,"account":"A","difficulty":true}',
    '{"server":0,"id":100,"account":"A","difficulty":1,"worker":"x"}',
    '{"server":1,"id":100,"account":"A","difficulty":1}',
    '{"server":0,"id":100,"account":"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4","difficulty":1}',
    '[0,60,69,"A",0,-1,1]', '[0,60,69,"A",0,281474976710656,1]', '[0,60,69,"A",0,1]', '[0,69,60,"A",0,1,1]',
    '[0,60,69,"A",0.5,1,1]', '[1,60,69,"A",0,1,1]',
])
def test_a_line_that_is_neither_hour_nor_share_is_named(line):
    mined = block(hour=1000)
    said = difference([*mined.lines, line.replace('"A"', f'"{A}"')])
    assert said.startswith(f"line {len(mined.lines) + 1}: ")


def test_a_file_without_work_or_without_anything():
    mined = block(rules=make_rules(window="1000"))
    assert difference([]) == "the file is empty"
    assert "no JSON" in difference(["x"]) and "missing" in difference(["{}"]) and "missing" in difference(["[]"])
    assert difference(mined.lines[:1])
    more = json.dumps({**json.loads(mined.lines[0]), "zz": 1})
    assert "'zz' is not known" in difference([more, *mined.lines[1:]])


# --- whatever was mined -----------------------------------------------------------------------------------------------

@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 2, allow_subnormal=False)), min_size=1, max_size=40),
       st.integers(1, 12), st.sampled_from(("0.4", "3", "8")), st.integers(31, 400), st.booleans())
def test_whatever_was_mined_an_export_passes(work, hour, window, room, pays):
    shares = tuple(BookedWork(number, account(who, who), each) for number, (who, each) in enumerate(work, 1))
    if not any(weight_of(each.difficulty) for each in shares):
        return
    mined = mine(shares, rules=make_rules(window=str(Decimal(window))), hour=hour, room=room, pays=pays,
                 balances={account(0): 200_000, account(9, 1): 777}, gone={account(9, 1): 0})
    report = audit(mined.lines)
    assert report.snapshot_id == mined.snapshot.id and report.remainder_sat == mined.distribution.remainder_sat

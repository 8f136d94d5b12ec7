"""Proof before use: each rule that a coinbase can break is found, and one that breaks a rule is never handed out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mining.makers import PAYOUT, POLICY, make_channel, make_counters, make_factory, make_template, make_tip
from tests.mining.payees import KINDS, payee_of
from warppool.bitcoin.transaction import serialize_output
from warppool.errors import LocalProtocolError
from warppool.events import Happened, Now
from warppool.mining.course import Course, NewJob, NewTarget
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE
from warppool.mining.payrule import NO_EXTENT, PROBES, Extent, ToFinder
from warppool.mining.proof import fault_of
from warppool.mining.template import TransactionFacts
from warppool.mining.templateroom import TemplateRoom, room_of

VALUE = 312_500_000
SOLO = ToFinder(PAYOUT, 100)
START = Now(1000.0, 1_700_000_000.0)
ROOM = TemplateRoom(4_000_000, 1_000)


def proved(template=None, stripped=None, expected=None, room=ROOM, most=NO_EXTENT, kind="p2pkh"):
    """What is wrong with the coinbase of a solo job, or with `stripped` in its place."""
    template, payee = template or make_template(), payee_of(kind)
    job = make_factory(payer=SOLO).make(make_template(), 0.0)
    whole = b"".join((job.coinbase_halves(12, payee)[0], bytes(12), job.coinbase_halves(12, payee)[1]))
    return fault_of(template, whole if stripped is None else stripped(whole),
                    job.rule.expected(payee.script) if expected is None else expected, room, most)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payer", [SOLO, ToFinder(PAYOUT, 0), ToFinder(PAYOUT, 10_000)], ids=["fee", "free", "all"])
def test_every_kind_of_script_is_proved_with_and_without_fee(kind, payer):
    job = make_factory(payer=payer).make(make_template(), 0.0)
    assert job.faults == () and job.rule.serves_all
    for size in (4, 12, 32):
        assert job.fault_of(payee_of(kind), size) == ""
    assert {len(script) for script in PROBES} == {len(script) for script in KINDS.values()}


@pytest.mark.parametrize(("stripped", "words"), [
    (lambda whole: whole[:-1], "form:"),
    (lambda whole: whole + b"\0", "form:"),
    (lambda whole: whole.replace((309_375_000).to_bytes(8, "little"), (309_375_001).to_bytes(8, "little")), "sum:"),
    (lambda whole: whole.replace(KINDS["p2pkh"], KINDS["p2pkh"][:3] + b"\x09" * 20 + KINDS["p2pkh"][-2:]), "scripts:"),
    (lambda whole: whole.replace(b"\x6a\x24\xaa\x21\xa9\xed", b"\x6a\x24\xaa\x21\xa9\xee"), "template:"),
    (lambda whole: whole[:42] + b"\x03\x00\x00\x00" + whole[46:], "scriptSig:"),
    (lambda whole: whole[:-4] + bytes(4), "BIP54:"),
    (lambda whole: whole.replace(b"\xfe\xff\xff\xff\x03", b"\xff\xff\xff\xff\x03"), "BIP54:"),
])
def test_each_rule_that_is_broken_is_named(stripped, words):
    assert proved() == ""
    assert proved(stripped=stripped).startswith(words)


def test_an_output_more_than_was_computed_is_found():
    expected = ((309_375_000, KINDS["p2pkh"]), (3_125_000, KINDS["p2tr"]))
    assert proved(expected=expected).startswith("scripts:")


def test_a_coinbase_stays_within_what_the_template_leaves():
    template = make_template()
    facts = TransactionFacts((b"t" * 32,), (b"t" * 32,), (3_998_600,), (79_996,), None, 4_000_000, 80_000)
    room = room_of(replace(template, facts=facts))
    assert room == TemplateRoom(4_000_000 - 3_998_600 - 4 * 81, 1)
    assert proved(room=room) == ""                          # of P2PKH one signature operation, and 1,076 weight units
    assert proved(room=room._replace(sigops=0)).startswith("room:")
    assert proved(room=room._replace(weight=700)).startswith("room:")


def test_where_a_node_keeps_the_transactions_outputs_are_held_to_what_it_was_asked_for():
    assert room_of(make_template(transactions=None)) is None
    assert proved(room=None, most=SOLO.most) == ""
    assert proved(room=None, most=SOLO.most._replace(size=60)).startswith("room:")
    assert proved(room=None, most=Extent(1_000, 0)).startswith("room:")


def test_an_empty_block_leaves_all_but_its_header():
    assert room_of(make_template(transactions=())) == TemplateRoom(4_000_000 - 4 * 81, 20_000)


def full(weight_left, sigops_left=100):
    """A template that leaves so much for its coinbase."""
    facts = TransactionFacts((b"t" * 32,), (b"t" * 32,), (4_000_000 - 4 * 81 - weight_left,),
                             (80_000 - 4 * sigops_left,), None, 4_000_000, 80_000)
    return replace(make_template(make_tip(2)), facts=facts)


def course_with(payee):
    course, channel = Course(7, POLICY, make_counters()), make_channel(payee=payee)
    course.begin(channel, START)
    return course, channel


def test_a_kind_that_a_template_has_no_room_for_gets_no_work_and_the_others_do():
    """A template without a signature operation left: P2PKH is not paid there, all other kinds are."""
    job = make_factory(payer=ToFinder(PAYOUT, 0)).make(full(2_000, 0), 0.0)
    assert len(job.faults) == 1 and "room: " in job.faults[0] and job.faults[0].startswith("76a914")
    for kind in KINDS:
        course, channel = course_with(payee_of(kind))
        changes, _ = course.offer(job, [channel], START)
        assert any(isinstance(change, NewJob) for change in changes) == (kind != "p2pkh")
        assert bool(channel.jobs) == (kind != "p2pkh")
        assert course.assign_again(channel) == [] or kind != "p2pkh"
    with pytest.raises(LocalProtocolError, match="cannot pay"):
        job.rule.key(payee_of("p2pkh"))


def test_it_gets_work_again_with_the_next_template():
    factory = make_factory(payer=ToFinder(PAYOUT, 0))
    course, channel = course_with(payee_of("p2pkh"))
    course.offer(factory.make(full(2_000, 0), 0.0), [channel], START)
    course.offer(factory.make(full(2_000, 1), 0.0), [channel], START)
    assert len(channel.jobs) == 1 and channel.payee is not None


def test_a_payee_whose_own_coinbase_is_broken_gets_no_work_and_the_log_says_which_rule(monkeypatch):
    """As where a script would be longer than any that was proved with the template."""
    job = make_factory(payer=ToFinder(PAYOUT, 0)).make(full(1_000), 0.0)
    long_script = b"\x60\x28" + bytes(200)
    payee = replace(payee_of("p2tr"), script=long_script)
    course, channel = course_with(payee)
    assert job.faults == ()
    changes, _ = course.offer(job, [channel], START)
    (said,) = changes
    assert isinstance(said, Happened) and (said.level, said.name) == ("error", "coinbase.unproven")
    assert dict(said.fields)["account"] == "p2tr" and dict(said.fields)["rule"].split(":")[0] in ("room", "form")
    assert channel.payee is None and not channel.jobs
    assert course.offer(job, [channel], START)[0] == []                 # and nothing is said a second time


def test_a_payee_is_proved_once(monkeypatch):
    factory, calls = make_factory(payer=SOLO), []
    course, channel = course_with(payee_of("p2wpkh"))
    jobs = [factory.make(make_template(make_tip(tip)), 0.0) for tip in (1, 2, 3)]
    monkeypatch.setattr("warppool.mining.job.fault_of", lambda *_: calls.append(1) or "")
    for job in jobs:
        changes, _ = course.offer(job, [channel], START)
        assert [type(change) for change in changes if not isinstance(change, (Happened, NewTarget))] == [NewJob]
    assert len(calls) == 1 and channel.is_proven


def test_the_size_of_the_common_extranonce_is_that_of_rooms():
    assert COMMON_EXTRANONCE_SIZE == 12
    assert len(serialize_output(VALUE, PAYOUT)) == 31

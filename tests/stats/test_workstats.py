"""What a job says to people, in each way of paying."""

from __future__ import annotations

import pytest

from tests.mining.makers import PAYOUT, make_factory, make_template
from tests.mining.test_byweights import many
from tests.payout.makers import POOL, account, make_rules, script
from warppool.mining.byweights import ByWeights
from warppool.mining.payrule import PROBES, ToFinder, ToPool
from warppool.stats.workstats import FINDER, MAX_OUTPUTS, work_of

ADDRESS = "bc1q9255cw2t9d5sfqrdnvhdv4j8q2s4tvs7c5c0dd"      # any text: the operator's own writing of it
VALUE = 312_500_000
OUTPUT = ("commitment", 0)


def shown(payer, snapshot=None, names=None, network="main"):
    job = make_factory(payer=payer).make(make_template(), 0.0, snapshot)
    work = work_of(job, {PAYOUT: ADDRESS} if names is None else names, network)
    assert (work.height, work.value_sat, work.tag) == (840_000, VALUE, "/warppool/")
    return tuple((output.to, output.sat) for output in work.outputs)


def test_a_pool_that_pays_one_address_shows_it_as_the_operator_writes_it():
    assert shown(ToPool(PAYOUT)) == ((ADDRESS, VALUE), OUTPUT)


def test_an_address_that_nobody_wrote_is_made_of_its_script():
    output = work_of(make_factory().make(make_template(), 0.0), {}, "main").outputs[0]
    assert output.to.startswith("bc1q") and output.is_miner


@pytest.mark.parametrize(("basis_points", "outputs"), [
    (0, ((FINDER, VALUE), OUTPUT)), (150, ((FINDER, 307_812_500), (ADDRESS, 4_687_500), OUTPUT)),
    (10_000, ((ADDRESS, VALUE), OUTPUT)),
])
def test_a_solo_pool_shows_that_the_finder_is_paid(basis_points, outputs):
    assert shown(ToFinder(PAYOUT, basis_points)) == outputs


@pytest.mark.parametrize("broken", range(len(PROBES) + 1))
def test_a_solo_pool_that_cannot_pay_some_kinds_of_addresses_shows_what_others_get(broken):
    job = make_factory(payer=ToFinder(PAYOUT, 0)).make(make_template(), 0.0)
    rule = job.rule
    for probe in PROBES[:broken]:
        rule = rule.without(probe)
    job = make_factory(payer=_Fixed(rule)).make(make_template(), 0.0)
    outputs = tuple((output.to, output.sat) for output in work_of(job, {}, "main").outputs)
    assert outputs == (((FINDER, VALUE), OUTPUT) if broken < len(PROBES) else ())


def test_a_pool_that_shares_shows_the_largest_of_its_longest_coinbase():
    snapshot = many(500, rules=make_rules(fee_bp=100, min_payout_sat=546))
    job = make_factory(payer=ByWeights(script(POOL))).make(make_template(), 0.0, snapshot)
    outputs = shown(ByWeights(script(POOL)), snapshot)
    amounts = [sat for _, sat in outputs]
    assert len(outputs) == MAX_OUTPUTS and amounts == sorted(amounts, reverse=True)
    longest = job.rule.expected(job.rule.keys[-1])
    assert len(longest) == max(len(job.rule.expected(key)) for key in job.rule.keys)
    assert amounts == sorted((sat for sat, _ in longest), reverse=True)[:MAX_OUTPUTS]
    assert account(0, 0) in dict(shown(ByWeights(script(POOL)), many(3), network="regtest"))


class _Fixed:
    """A payer whose jobs all have one rule."""

    least = most = ToFinder(PAYOUT, 0).least

    def __init__(self, rule):
        self._rule = rule

    def rule(self, template, first_half, snapshot, pays_balances):
        return self._rule


@pytest.mark.parametrize("tag", ["", "/x/", "/\u26cf Hill \u2014 " + "y" * 35 + "/"])
def test_the_tag_is_that_of_the_job(tag):
    factory = make_factory()
    factory.set_tag(tag.encode())
    assert work_of(factory.make(make_template(), 0.0), {}, "main").tag == tag

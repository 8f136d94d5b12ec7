"""A machine whose coinbase pays too little of what the largest one would: the log hears of its firmware, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.manynames import NETWORK
from tests.mining.makers import make_factory, make_template
from tests.payout.makers import ONE, POOL, account, make_rules, make_snapshot, script
from tests.sv1.pairs import Pair
from tests.sv1.pairs import make_context as make_v1_context
from tests.sv2.pairs import START, dialect
from tests.sv2.pairs import make_context as make_v2_context
from tests.sv2.profiles import profile  # noqa: F401
from tests.sv2.test_server import open_extended, open_standard, setup
from warppool.events import Happened
from warppool.mining.byweights import ByWeights
from warppool.mining.identity import MAX_AGENT
from warppool.mining.names import PaidNames
from warppool.service.onceperuser import OncePerUser
from warppool.sv1.jobs import ENCODING, encoder
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.server import REQUIRES_STANDARD_JOBS, MiningServerSession


def make_job(accounts=50, least="0.9"):
    """A job with so many accounts of nearly the same weight."""
    whole = ONE // (2 * accounts)
    snapshot = make_snapshot({account(number): whole + number for number in range(accounts)},
                             rules=make_rules(min_paid_ratio=least))
    factory = make_factory({ENCODING: encoder(8), dialect().name: lambda job: EncodedJob(dialect(), job)},
                           ByWeights(script(POOL)))
    return factory.make(make_template(), START.unix, snapshot)


def rule():
    return PaidNames(NETWORK, has_rooms=True, is_agent_news=OncePerUser().is_news)


def v1_said(names, agent, job):
    """What the log hears of a machine that begins on V1, and whether the machine has work."""
    pair = Pair(replace(make_v1_context(), names=names))
    pair.deliver(pair.server.offer(job, START))
    lines = pair.call("mining.subscribe", agent) + pair.call("mining.authorize", account(1), "x")
    assert any(line.get("method") == "mining.notify" for line in lines)
    return pair.happened("coinbase.cramped")


def test_of_a_firmware_it_is_said_once_on_v1_whatever_account_mines():
    names, job = rule(), make_job()
    said = v1_said(names, "NerdMinerV2", job)
    assert [(line["agent"], line["bytes"]) for line in said] == [("NerdMinerV2", 255)]
    assert v1_said(names, "NerdMinerV2", job) == []
    assert [line["bytes"] for line in v1_said(names, "cgminer", job)] == [755]
    assert v1_said(names, "whatsminer/v1", job) == [], "it has room for all"


def test_of_a_machine_that_says_much_of_itself_little_is_remembered():
    asked, job = [], make_job()
    names = PaidNames(NETWORK, has_rooms=True, is_agent_news=lambda agent, now: not asked.append(agent))
    assert v1_said(names, "NerdMinerV2" + "x" * 16_000, job)
    assert [len(agent) for agent in asked] == [MAX_AGENT]


@pytest.mark.parametrize(("accounts", "least"), [(2, "0.9"), (50, "0")])
def test_nothing_is_said_where_the_coinbase_pays_enough(accounts, least):
    assert v1_said(rule(), "NerdMinerV2", make_job(accounts, least)) == []


def test_on_v2_too_and_never_of_a_machine_that_sees_no_coinbase(profile):  # noqa: F811
    names, job = rule(), make_job()
    for flags, ask, count in ((0, open_extended, 1), (0, open_extended, 0), (REQUIRES_STANDARD_JOBS, open_standard, 0)):
        session = MiningServerSession(7, replace(make_v2_context(), names=names))
        session.offer(job, START)
        session.receive(setup(flags=flags), START)
        steps = session.receive(ask(1, user=account(1)), START)
        said = [step for step in steps if isinstance(step, Happened) and step.name == "coinbase.cramped"]
        assert [step.level for step in said] == ["warning"] * count
        assert opened_room(session) == (755 if ask is open_extended else 16_000)


def opened_room(session):
    (channel,) = session._channels.values()
    return channel.channel.payee.room

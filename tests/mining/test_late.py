"""A job that a machine gets late, when it wanted to: the counter of all is of no use to it."""

from __future__ import annotations

import json

import pytest

from tests.mining.makers import HARD_NBITS, make_channel, make_counters, make_factory, make_template, make_tip
from tests.sv1 import pairs as sv1
from tests.sv2 import pairs
from tests.sv2.test_server import messages, open_extended, open_standard, ready_session
from warppool.events import Now
from warppool.mining.counter import ASSIGNED_AGAIN
from warppool.mining.job import Job
from warppool.sv1.jobs import ENCODING, encoder
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import NewExtendedMiningJob
from warppool.sv2.profile import SPEC, WARP


def a_job() -> Job:
    """On another tip, and newer than the first job of any factory."""
    factory = make_factory({ENCODING: encoder(8), **{
        profile.name: lambda job, profile=profile: EncodedJob(profile, job) for profile in (WARP, SPEC)}})
    for _ in range(9):
        factory.make(make_template(), now=pairs.START.unix)
    return factory.make(make_template(make_tip(2, HARD_NBITS)), now=pairs.START.unix)


@pytest.mark.parametrize("size", [0, 8])
def test_a_channel_takes_a_counter_of_its_own_and_the_header_follows_it(size):
    job, counters = a_job(), make_counters()
    late, _ = make_channel(size=size).offer(job.as_known(), counters)
    prompt, _ = make_channel(size=size).offer(job, counters)
    assert late.assignment.counter & ASSIGNED_AGAIN and prompt.assignment.counter == job.counter
    assert late.header(bytes(size), 0, 0, 0) != prompt.header(bytes(size), 0, 0, 0)
    assert late.job.encodings is job.encodings, "nothing is made anew"


@pytest.mark.parametrize("profile", [WARP, SPEC], ids=lambda each: each.name)
def test_v2_tells_the_counter_that_it_took(profile, monkeypatch):
    monkeypatch.setattr(pairs, "DIALECT", [profile])
    session = ready_session(job=pairs.make_jobs(1, nbits=HARD_NBITS)[0])
    session.receive(open_extended(1), pairs.START)
    session.receive(open_standard(2), pairs.START)
    job, at = a_job(), Now(pairs.START.monotonic + 1, pairs.START.unix)
    counters = [int.from_bytes(told.coinbase_tx_prefix[-4:], "big") for told in messages(
        session.offer(job.as_known(), at)) if isinstance(told, NewExtendedMiningJob)]
    assert counters and all(counter & ASSIGNED_AGAIN for counter in counters)


def test_v1_tells_the_counter_that_it_took():
    jobs = sv1.Jobs(nbits=HARD_NBITS)
    pair = sv1.Pair(sv1.make_context(), jobs)
    pair.set_up()
    job = a_job()
    said = [json.loads(line) for step in pair.server.offer(job.as_known(), pair.now)
            for line in step.data.splitlines()]
    (notify,) = [line for line in said if line["method"] == "mining.notify"]
    assert int(notify["params"][2][-8:], 16) & ASSIGNED_AGAIN

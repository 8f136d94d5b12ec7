from dataclasses import replace

import pytest

from tests.mining.makers import (
    EASY_NBITS,
    find_share,
    make_channel,
    make_counters,
    make_factory,
    make_template,
    make_tip,
)
from warppool.events import Now, ShareAccepted, ShareSubmitted
from warppool.mining.intake import Intake, Submitted
from warppool.mining.share import Reject, Weight, weigh

NOW = Now(50.0, 1_700_000_100.0)


@pytest.fixture
def channel():
    return make_channel()


@pytest.fixture
def job(channel):
    return channel.offer(make_factory().make(make_template(make_tip(nbits=EASY_NBITS)), NOW.unix), make_counters())[0]


def share(channel, job, ticket="t", header=bytes(80), **changes):
    given = {"extranonce": bytes(8), "version": job.job.version, "mask": 0x1FFFE000, "ntime": job.job.ntime,
             "min_ntime": job.job.ntime, "user": "alice.rig2"}
    return Submitted(ticket=ticket, channel=channel, job=job, header=header, **given | changes)


def test_shares_come_back_in_their_order_with_their_tickets(channel, job):
    intake = Intake(7, "sv1")
    assert len(intake) == 0
    for number in range(5):
        submitted = intake.submit(share(channel, job, number, bytes([number]) * 80))
        assert submitted == ShareSubmitted(7, bytes([number]) * 80, job.job.tip.target)
    assert len(intake) == 5
    first = intake.judged([Weight(bytes([n]) * 32, n, False) for n in range(2)], NOW)
    rest = intake.judged([Weight(bytes([n]) * 32, n, False) for n in range(2, 5)], NOW)
    assert [ruling.ticket for ruling in first + rest] == [0, 1, 2, 3, 4]
    assert len(intake) == 0


def test_an_accepted_share_is_numbered_and_named_by_its_worker(channel, job):
    intake = Intake(7, "sv1")
    intake.submit(share(channel, job)), intake.submit(share(channel, job))
    one, two = intake.judged([Weight(b"a" * 32, 5, False), Weight(b"b" * 32, 5, False)], NOW)
    assert one.accepted == ShareAccepted(7, 1, NOW.unix, "sv1", 3, "alice.rig2", channel.difficulty, job.job.job_id,
                                         840_000, b"a" * 32)
    assert two.accepted.share_id == 2 and one.reject is one.block is None


def test_a_fault_known_before_refuses_but_hides_no_block(channel, job):
    intake = Intake(7, "sv1")
    header, _, weight = find_share(job, at_most=job.job.tip.target)
    intake.submit(share(channel, job, header=header, fault=Reject.UNAUTHORIZED))
    (ruling,) = intake.judged([weight], NOW)
    assert ruling.reject is Reject.UNAUTHORIZED and ruling.accepted is None
    assert ruling.block.header == header and ruling.block.share is None
    assert job.remembered == 0 and job.see(weight.share_hash)


def test_a_block_carries_its_share_and_comes_once(channel, job):
    intake = Intake(7, "sv2")
    header, _, _ = find_share(job, at_most=job.job.tip.target)
    intake.submit(share(channel, job, header=header)), intake.submit(share(channel, job, header=header))
    first, second = intake.judged([weigh(header, job.job.tip.target)] * 2, NOW)
    assert first.block.share is first.accepted is not None
    assert first.block.coinbase_tx == job.coinbase_tx(bytes(8))
    assert second.block is None and second.reject is Reject.DUPLICATE


def test_weights_that_nobody_asked_for_are_our_bug(channel, job):
    with pytest.raises(AssertionError):
        Intake(7, "sv2").judged([Weight(b"a" * 32, 5, False)], NOW)


def test_past_the_border_of_the_twenty_minute_rule_a_hash_is_no_block_and_no_share():
    tip = replace(make_tip(nbits=EASY_NBITS), max_ntime=1_700_000_200)
    channel = make_channel()
    job, _ = channel.offer(make_factory().make(make_template(tip), NOW.unix), make_counters())
    intake = Intake(7, "sv1")
    for ntime, is_block, reject in ((1_700_000_200, True, None), (1_700_000_201, False, Reject.NTIME_OUT_OF_RANGE)):
        header, _, _ = find_share(job, at_most=tip.target, ntime=ntime)
        submitted = intake.submit(share(channel, job, header=header, ntime=ntime))
        (ruling,) = intake.judged([weigh(header, submitted.network_target)], NOW)
        assert (ruling.block is not None, ruling.reject) == (is_block, reject)

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
from warppool.events import Close, Now, ShareAccepted, ShareRefused, ShareSubmitted
from warppool.mining.channel import MAX_SEEN
from warppool.mining.share import Reject, Weight, weigh
from warppool.mining.validator import ShareValidator, Submission

NOW = Now(50.0, 1_700_000_100.0)


@pytest.fixture
def channel():
    return make_channel()


@pytest.fixture
def job(channel):
    return channel.offer(make_factory().make(make_template(make_tip(nbits=EASY_NBITS)), NOW.unix), make_counters())[0]


def share(channel, job, header=bytes(80), **changes):
    given = {"extranonce": bytes(8), "version": job.job.version, "mask": 0x1FFFE000, "ntime": job.job.ntime,
             "min_ntime": job.job.ntime, "user": "alice.rig2"}
    return Submission(channel=channel, job=job, header=header, **given | changes)


def test_shares_come_back_in_their_order(channel, job):
    validator = ShareValidator(7, "sv1")
    assert validator.in_flight == 0
    shares = [share(channel, job, bytes([number]) * 80) for number in range(5)]
    for number, one in enumerate(shares):
        submitted = validator.submit(one)
        assert submitted == ShareSubmitted(7, bytes([number]) * 80, job.job.tip.target)
    assert validator.in_flight == 5
    first = validator.judged([Weight(bytes([n]) * 32, n, False) for n in range(2)], NOW)
    rest = validator.judged([Weight(bytes([n]) * 32, n, False) for n in range(2, 5)], NOW)
    assert first + rest == shares
    assert validator.in_flight == 5, "accepted, and not recorded yet"
    assert validator.recorded([4, 2, 9]) == [shares[3], shares[1]] and validator.in_flight == 3


def test_an_accepted_share_is_numbered_and_named_by_its_worker(channel, job):
    validator = ShareValidator(7, "sv1")
    validator.submit(share(channel, job)), validator.submit(share(channel, job))
    one, two = validator.judged([Weight(b"a" * 32, 5, False), Weight(b"b" * 32, 5, False)], NOW)
    assert one.accepted == ShareAccepted(7, 1, NOW.unix, "sv1", 3, "alice.rig2", channel.difficulty, job.job.job_id,
                                         840_000, b"a" * 32)
    assert two.accepted.share_id == 2 and one.reject is one.block is None


def test_a_fault_known_before_refuses_but_hides_no_block(channel, job):
    validator = ShareValidator(7, "sv1")
    header, _, weight = find_share(job, at_most=job.job.tip.target)
    validator.submit(share(channel, job, header=header, fault=Reject.UNAUTHORIZED))
    (judged,) = validator.judged([weight], NOW)
    assert judged.reject is Reject.UNAUTHORIZED and judged.accepted is None
    assert judged.block.header == header and judged.block.share is None
    assert job.remembered == 0 and job.see(weight.share_hash)


def test_a_block_carries_its_share_and_comes_once(channel, job):
    validator = ShareValidator(7, "sv2")
    header, _, _ = find_share(job, at_most=job.job.tip.target)
    validator.submit(share(channel, job, header=header)), validator.submit(share(channel, job, header=header))
    first, second = validator.judged([weigh(header, job.job.tip.target)] * 2, NOW)
    assert first.block.share is first.accepted is not None
    assert first.block.coinbase_tx == job.coinbase_tx(bytes(8))
    assert second.block is None and second.reject is Reject.DUPLICATE


def test_weights_that_nobody_asked_for_are_our_bug(channel, job):
    with pytest.raises(AssertionError):
        ShareValidator(7, "sv2").judged([Weight(b"a" * 32, 5, False)], NOW)


def test_past_the_border_of_the_twenty_minute_rule_a_hash_is_no_block_and_no_share():
    tip = replace(make_tip(nbits=EASY_NBITS), max_ntime=1_700_000_200)
    channel = make_channel()
    job, _ = channel.offer(make_factory().make(make_template(tip), NOW.unix), make_counters())
    validator = ShareValidator(7, "sv1")
    for ntime, is_block, reject in ((1_700_000_200, True, None), (1_700_000_201, False, Reject.NTIME_OUT_OF_RANGE)):
        header, _, _ = find_share(job, at_most=tip.target, ntime=ntime)
        submitted = validator.submit(share(channel, job, header=header, ntime=ntime))
        (judged,) = validator.judged([weigh(header, submitted.network_target)], NOW)
        assert (judged.block is not None, judged.reject) == (is_block, reject)


# --- from the verdict to the record -----------------------------------------------------------------------------------

@pytest.fixture
def accepted(channel, job):
    """A validator with three accepted shares that wait for their record, and the shares."""
    validator = ShareValidator(7, "sv2")
    shares = [share(channel, job) for _ in range(3)]
    for one in shares:
        validator.submit(one)
    validator.judged([Weight(bytes([n]) * 32, n, False) for n in range(3)], NOW)
    return validator, shares


def test_a_share_is_acknowledged_once_and_then_forgotten(accepted):
    validator, shares = accepted
    assert validator.recorded([1, 1]) == shares[:1]
    assert validator.recorded([1]) == validator.not_recorded([1]) == validator.given_up([1]) == []
    assert validator.in_flight == 2


def test_what_will_never_be_recorded_is_refused_and_may_come_again(accepted, job):
    validator, shares = accepted
    assert validator.not_recorded([2]) == [shares[1]] and shares[1].reject is Reject.NOT_RECORDED
    assert job.remembered == 2 and validator.in_flight == 2
    assert validator.not_recorded([2]) == []


def test_what_was_given_up_is_refused_once_and_remembered_until_it_cannot_be_recorded(accepted, job):
    validator, shares = accepted
    assert validator.given_up([3]) == [shares[2]] and validator.in_flight == 2
    assert job.remembered == 3
    assert validator.recorded([3]) == validator.given_up([3]) == []
    assert validator.not_recorded([3]) == [], "it was answered before"
    assert job.remembered == 2


def test_a_channel_that_was_let_go_is_never_touched_again(accepted, job):
    validator, _ = accepted
    validator.given_up([1, 2, 3])
    assert validator.in_flight == 0
    validator.let_go()
    assert validator.not_recorded([1, 2, 3]) == [] and job.remembered == 3


def test_refused_shares_are_in_flight_no_more(channel, job):
    validator = ShareValidator(7, "sv1")
    validator.submit(share(channel, job, fault=Reject.UNAUTHORIZED))
    assert validator.in_flight == 1
    validator.judged([Weight(b"a" * 32, 5, False)], NOW)
    assert validator.in_flight == 0 and validator.recorded([1]) == []


def test_a_stranger_who_names_a_user_does_not_fill_the_books_under_that_name():
    validator = ShareValidator(7, "sv1")
    assert validator.refused("alice", Reject.UNAUTHORIZED) == ShareRefused(7, "", "unknown-user")
    assert validator.refused("alice", Reject.STALE) == ShareRefused(7, "alice", "stale-share")


def test_a_channel_is_flooded_at_the_bound_of_its_memory(channel, job):
    validator = ShareValidator(7, "sv1")
    channel.remembered = MAX_SEEN - 2
    for number in range(2):
        assert validator.flood is None
        validator.submit(share(channel, job))
        assert validator.judged([Weight(bytes([number]) * 32, 5, False)], NOW)[0].reject is None
    assert isinstance(validator.flood, Close) and validator.flood.is_peers_fault

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import EASY_NBITS, find_share, make_channel, make_factory, make_template, make_tip
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.target import difficulty_from_target
from warppool.mining.channel import MAX_JOBS_PER_TIP, MAX_NTIME_AHEAD_S, MAX_SEEN
from warppool.mining.share import Reject, Weight, weigh

NOW = 1_700_000_100.0


def offered(channel, tip=None, factory=None, **template):
    return channel.offer((factory or make_factory()).make(make_template(tip, **template), now=NOW))[0]


def ask(channel, job, weight, **changes):
    question = {"min_ntime": job.job.ntime, "ntime": job.job.ntime, "version": job.job.version, "now": NOW} | changes
    return channel.judge(weight, job, **question)


def test_standard_channel_has_a_merkle_root_of_its_own_prefix():
    job = offered(make_channel(size=0))
    head, tail = job.job.coinbase_halves(4)
    assert job.merkle_root == fold_merkle_path(double_sha256(head + b"\x00\x00\x00\x07" + tail), job.job.merkle_path)
    assert job.header(b"", 1, 2, 3)[36:68] == job.merkle_root


def test_extended_header_holds_the_extranonce():
    job = offered(make_channel(size=8))
    assert job.merkle_root is None
    headers = {job.header(bytes([n]) * 8, 1, 2, 3) for n in range(4)}
    assert len(headers) == 4


@given(st.lists(st.sampled_from([bytes(8), b"\x01" * 8, b"\x02" * 8, bytes(7), bytes(9)]), max_size=8))
def test_the_root_is_that_of_the_extranonce_whatever_came_before(extranonces):
    jobs = [offered(make_channel(size=8)), offered(make_channel(size=8), make_tip(2))]
    for extranonce in extranonces:
        for job in jobs:
            root = fold_merkle_path(double_sha256(job.coinbase(extranonce)), job.job.merkle_path)
            assert job.header(extranonce, 1, 2, 3)[36:68] == root


def test_a_good_share_counts_once():
    channel = make_channel()
    job = offered(channel)
    _, _, weight = find_share(job, at_most=channel.target)
    assert ask(channel, job, weight) is None
    assert ask(channel, job, weight) is Reject.DUPLICATE
    channel.forget(weight.share_hash)
    assert ask(channel, job, weight) is None


def test_difficulty_is_judged_at_the_targets_edge():
    channel = make_channel(target=1000)
    job = offered(channel)
    assert ask(channel, job, Weight(b"a" * 32, 1000, False)) is None
    assert ask(channel, job, Weight(b"b" * 32, 1001, False)) is Reject.DIFFICULTY_TOO_LOW
    assert ask(channel, job, Weight(b"c" * 32, 1001, True)) is None         # a block is never too easy


def test_a_refused_share_is_not_remembered():
    channel = make_channel(target=1000)
    job = offered(channel)
    easy = Weight(b"b" * 32, 2000, False)
    assert ask(channel, job, easy) is Reject.DIFFICULTY_TOO_LOW
    channel.set_target(2000)
    assert ask(channel, job, easy) is None


@pytest.mark.parametrize(("old", "new", "value", "reject", "credited"), [
    (1000, 100, 100, None, 1000),       # harder now: the job's target still holds, and is what counts
    (1000, 100, 1000, None, 1000),
    (1000, 100, 1001, Reject.DIFFICULTY_TOO_LOW, None),
    (100, 1000, 100, None, 100),        # easier now: a share that meets its job's gets the job's difficulty
    (100, 1000, 101, None, 1000),       # and one that does not, the easier
    (100, 1000, 1001, Reject.DIFFICULTY_TOO_LOW, None),
])
def test_a_share_counts_under_the_easier_target(old, new, value, reject, credited):
    channel = make_channel(target=old)
    job = offered(channel)
    channel.set_target(new)
    weight = Weight(b"a" * 32, value, False)
    assert ask(channel, job, weight) is reject
    if reject is None:
        assert channel.credit(weight, job) == float(difficulty_from_target(credited))


@pytest.mark.parametrize(("value", "reject", "credited"), [
    (100, None, 100),           # the job's own
    (101, None, 1600),          # it was mined under the target in between, or is as easy as that one
    (1600, None, 1600),
    (1601, Reject.DIFFICULTY_TOO_LOW, 0),
])
def test_a_share_mined_under_a_target_that_came_and_went_counts_under_it(value, reject, credited):
    channel = make_channel(target=100)
    job = offered(channel)
    channel.set_target(1600)            # a V2 machine follows at once, on the job it has
    channel.set_target(400)
    weight = Weight(b"a" * 32, value, False)
    assert ask(channel, job, weight) is reject
    if reject is None:
        assert channel.credit(weight, job) == float(difficulty_from_target(credited))


def test_a_job_given_out_after_a_change_knows_nothing_of_the_target_before():
    channel = make_channel(target=1600)
    offered(channel)
    channel.set_target(400)
    job = offered(channel)
    assert ask(channel, job, Weight(b"a" * 32, 401, False)) is Reject.DIFFICULTY_TOO_LOW


def test_a_block_above_both_targets_counts_as_much_as_the_network_asks():
    channel = make_channel(target=1000)
    job = offered(channel, make_tip(nbits=EASY_NBITS))
    _, _, weight = find_share(job, at_most=job.job.tip.target, above=1000)
    assert weight.is_block
    assert ask(channel, job, weight) is None
    assert channel.credit(weight, job) == float(difficulty_from_target(job.job.tip.target))


def test_order_of_the_questions():
    """Each share has its own fault and all that come later in the order; the first one names it."""
    factory, channel = make_factory(), make_channel(target=1000)
    old = offered(channel, make_tip(1), factory)
    job = offered(channel, make_tip(2), factory)
    seen, heavy = Weight(b"a" * 32, 1000, False), Weight(b"a" * 32, 1001, False)
    assert ask(channel, job, seen) is None
    late = {"ntime": job.job.ntime - 1}
    assert ask(channel, old, heavy, version=1, is_old_sequence=True, **late) is Reject.STALE
    assert ask(channel, job, heavy, version=1, is_old_sequence=True, **late) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, heavy, version=1, is_old_sequence=True) is Reject.BAD_VERSION_BITS
    assert ask(channel, job, heavy, is_old_sequence=True) is Reject.DIFFICULTY_TOO_LOW
    assert ask(channel, job, seen) is Reject.DUPLICATE
    assert ask(channel, job, Weight(b"z" * 32, 5, False), is_old_sequence=True) is Reject.DUPLICATE
    assert ask(channel, job, Weight(b"z" * 32, 5, False)) is None


def test_header_time_has_both_bounds():
    channel = make_channel()
    job = offered(channel)
    weight = Weight(b"a" * 32, 5, False)
    assert ask(channel, job, weight, ntime=int(NOW) + MAX_NTIME_AHEAD_S + 1) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, weight, ntime=job.job.ntime - 1) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, weight, ntime=int(NOW) + MAX_NTIME_AHEAD_S) is None


@given(bit=st.integers(0, 31))
def test_version_bits_may_differ_under_the_mask_alone(bit):
    channel = make_channel()
    job = offered(channel)
    verdict = ask(channel, job, Weight(b"a" * 32, 5, False), version=job.job.version ^ (1 << bit))
    assert verdict is (None if 0x1FFFE000 >> bit & 1 else Reject.BAD_VERSION_BITS)


def test_a_job_is_stale_when_the_tip_moved_and_unknown_after_the_next():
    factory, channel = make_factory(), make_channel()
    first = offered(channel, make_tip(1), factory)
    fresh = offered(channel, make_tip(1), factory)
    assert channel.find(first.job.job_id) is first and channel.find(fresh.job.job_id) is fresh
    offered(channel, make_tip(2), factory)
    assert channel.find(first.job.job_id) is first
    assert ask(channel, first, Weight(b"a" * 32, 5, False)) is Reject.STALE
    offered(channel, make_tip(3), factory)
    assert channel.find(first.job.job_id) is None


def test_the_seen_set_is_freed_at_a_new_tip():
    factory, channel = make_factory(), make_channel()
    job = offered(channel, make_tip(1), factory)
    for number in range(100):
        assert ask(channel, job, Weight(number.to_bytes(32, "big"), 5, False)) is None
    assert len(channel.seen) == 100
    offered(channel, make_tip(1), factory)
    assert len(channel.seen) == 100             # a fresh job of the same tip may bring the same headers
    offered(channel, make_tip(2), factory)
    assert len(channel.seen) == 0


def test_jobs_of_one_tip_are_bounded():
    factory, channel = make_factory(), make_channel()
    jobs = [offered(channel, make_tip(1), factory) for _ in range(MAX_JOBS_PER_TIP + 1)]
    assert channel.find(jobs[0].job.job_id) is None
    assert channel.find(jobs[1].job.job_id) is jobs[1]


def test_a_channel_is_flooded_at_the_bound_of_its_memory():
    channel = make_channel()
    channel.seen = {number.to_bytes(4, "big") for number in range(MAX_SEEN - 1)}
    assert not channel.is_flooded
    job = offered(channel)
    channel.seen = {number.to_bytes(4, "big") for number in range(MAX_SEEN - 1)}
    assert ask(channel, job, Weight(b"a" * 32, 5, False)) is None
    assert channel.is_flooded


def test_a_job_given_out_once_more_has_a_key_and_a_target_of_its_own():
    channel = make_channel(target=1 << 250)
    first = offered(channel, make_tip(1))
    channel.set_target(1 << 240)
    again = channel.offer_under(first.job.job_id | 1 << 32, first.job, first.ntime + 5)
    assert channel.find(first.job.job_id) is first and channel.find(first.job.job_id | 1 << 32) is again
    assert (first.target, again.target) == (1 << 250, 1 << 240)
    assert again.ntime == first.ntime + 5 == first.job.ntime + 5
    for number in range(2, MAX_JOBS_PER_TIP + 1):
        channel.offer_under(first.job.job_id | number << 32, first.job, first.ntime)
    assert len(channel.jobs) == MAX_JOBS_PER_TIP and channel.find(first.job.job_id) is None


def test_a_block_is_new_once_on_its_tip_and_the_next():
    factory, channel = make_factory(), make_channel()
    offered(channel, make_tip(1), factory)
    assert channel.is_new_block(b"a" * 32)
    assert not channel.is_new_block(b"a" * 32)
    offered(channel, make_tip(2), factory)
    assert not channel.is_new_block(b"a" * 32)
    assert channel.is_new_block(b"b" * 32)


def test_weigh_knows_a_block_at_the_networks_edge():
    header = bytes(80)
    value = int.from_bytes(double_sha256(header), "little")
    assert weigh(header, value).is_block
    assert not weigh(header, value - 1).is_block
    assert weigh(header, value).share_hash == double_sha256(header)


def test_each_reason_has_the_words_that_firmware_shows():
    assert {(reject.v1_code, reject.v1_words) for reject in Reject} == {
        (21, "Job not found"), (21, "Stale"), (22, "Duplicate share"), (23, "Difficulty too low"),
        (24, "Unauthorized worker"), (25, "Not subscribed"), (20, "Invalid nonce2 length"), (20, "Ntime out of range"),
        (20, "Invalid version mask"), (20, "Malformed submit"), (20, "Not recorded")}

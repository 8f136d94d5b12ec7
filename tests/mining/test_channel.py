import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mining.makers import (
    EASY_NBITS,
    find_share,
    make_channel,
    make_counters,
    make_factory,
    make_template,
    make_tip,
)
from tests.mining.payees import numbered
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.target import difficulty_from_target
from warppool.events import Now
from warppool.mining.assignment import MAX_KEY, Assignment
from warppool.mining.channel import MAX_EASINGS, MAX_NTIME_AHEAD_S
from warppool.mining.channeljob import MAX_JOBS_PER_TIP, credit
from warppool.mining.counter import ASSIGNED_AGAIN
from warppool.mining.payee import POOL
from warppool.mining.share import Reject, Weight, weigh

NOW = Now(50.0, 1_700_000_100.0)
MASK = 0x1FFFE000
COUNTERS = make_counters()


def offered(channel, tip=None, factory=None, **template):
    return channel.offer((factory or make_factory()).make(make_template(tip, **template), now=NOW.unix), COUNTERS)[0]


def again(channel, mine):
    return channel.offer_alone(mine.job, COUNTERS)[0]


def ask(channel, job, weight, **changes):
    question = {"min_ntime": job.job.ntime, "ntime": job.job.ntime, "version": job.job.version, "mask": MASK,
                "now": NOW} | changes
    return channel.judge(weight, job, **question)


def worth(target):
    return float(difficulty_from_target(target)) if target else 0.0


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
    channel.forget(job, weight.share_hash)
    assert channel.remembered == 0 and ask(channel, job, weight) is None


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
    (100, 1000, 101, None, 0),          # and one that does not, none: it is accepted all the same
    (100, 1000, 1001, Reject.DIFFICULTY_TOO_LOW, None),
])
def test_a_share_is_held_to_the_easier_target_and_credited_by_its_jobs_own(old, new, value, reject, credited):
    channel = make_channel(target=old)
    job = offered(channel)
    channel.set_target(new)
    weight = Weight(b"a" * 32, value, False)
    assert ask(channel, job, weight) is reject
    if reject is None:
        assert credit(weight, job) == worth(credited)


@pytest.mark.parametrize(("value", "reject", "credited"), [
    (100, None, 100),           # the job's own
    (101, None, 0),             # it was mined under the target in between, or is as easy as that one
    (1600, None, 0),
    (1601, Reject.DIFFICULTY_TOO_LOW, 0),
])
def test_a_share_mined_under_a_target_that_came_and_went_is_accepted(value, reject, credited):
    channel = make_channel(target=100)
    job = offered(channel)
    channel.set_target(1600)            # a V2 machine follows at once, on the job it has
    channel.set_target(400)
    weight = Weight(b"a" * 32, value, False)
    assert ask(channel, job, weight) is reject
    if reject is None:
        assert credit(weight, job) == worth(credited)


def test_a_job_given_out_after_a_change_knows_nothing_of_the_target_before():
    channel = make_channel(target=1600)
    offered(channel)
    channel.set_target(400)
    job = offered(channel)
    assert ask(channel, job, Weight(b"a" * 32, 401, False)) is Reject.DIFFICULTY_TOO_LOW


def test_a_block_above_both_targets_is_accepted_and_credited_nothing():
    channel = make_channel(target=1000)
    job = offered(channel, make_tip(nbits=EASY_NBITS))
    _, _, weight = find_share(job, at_most=job.job.tip.target, above=1000)
    assert weight.is_block
    assert ask(channel, job, weight) is None
    assert credit(weight, job) == 0.0


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
    assert ask(channel, job, weight, ntime=int(NOW.unix) + MAX_NTIME_AHEAD_S + 1) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, weight, ntime=job.job.ntime - 1) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, weight, ntime=int(NOW.unix) + MAX_NTIME_AHEAD_S) is None


def test_a_header_time_that_the_job_carried_is_never_wrong():
    """Our clock may be behind the node's by more than what nodes allow; the bound counts from the later of the two."""
    channel = make_channel()
    job = offered(channel, make_tip(min_ntime=int(NOW.unix) + 3 * MAX_NTIME_AHEAD_S))
    weight = Weight(b"a" * 32, 5, False)
    assert ask(channel, job, weight, ntime=job.ntime + MAX_NTIME_AHEAD_S + 1) is Reject.NTIME_OUT_OF_RANGE
    assert ask(channel, job, weight, ntime=job.ntime) is None
    assert ask(channel, job, Weight(b"b" * 32, 5, False), ntime=job.ntime + MAX_NTIME_AHEAD_S) is None


@pytest.mark.parametrize("mask", [0x1FFFE000, 0x1FFFFFE0, 0x00C00000])
@given(bit=st.integers(0, 31))
def test_version_bits_may_differ_under_the_sessions_mask_alone(bit, mask):
    channel = make_channel()
    job = offered(channel)
    verdict = ask(channel, job, Weight(b"a" * 32, 5, False), version=job.job.version ^ (1 << bit), mask=mask)
    assert verdict is (None if mask >> bit & 1 else Reject.BAD_VERSION_BITS)


def test_a_session_can_grant_no_bits_that_the_job_does_not_leave():
    channel = make_channel()
    job = offered(channel)
    rolled = ask(channel, job, Weight(b"a" * 32, 5, False), version=job.job.version ^ 1 << 30, mask=0xFFFFFFFF)
    assert rolled is Reject.BAD_VERSION_BITS


def test_a_session_that_granted_nothing_says_so():
    channel = make_channel()
    job = offered(channel)
    rolled = ask(channel, job, Weight(b"a" * 32, 5, False), version=job.job.version ^ 1 << 14, mask=0)
    assert rolled is Reject.VERSION_ROLLING_NOT_ALLOWED


def test_a_job_is_stale_when_the_tip_moved_and_unknown_after_the_next():
    factory, channel = make_factory(), make_channel()
    first = offered(channel, make_tip(1), factory)
    fresh = offered(channel, make_tip(1), factory)
    assert channel.find(first.assignment.key) is first and channel.find(fresh.assignment.key) is fresh
    offered(channel, make_tip(2), factory)
    assert channel.find(first.assignment.key) is first
    assert ask(channel, first, Weight(b"a" * 32, 5, False)) is Reject.STALE
    offered(channel, make_tip(3), factory)
    assert channel.find(first.assignment.key) is None


# --- giving out -------------------------------------------------------------------------------------------------------

def test_a_job_that_goes_to_all_is_given_out_once_with_its_own_counter():
    factory, channel, other = make_factory(), make_channel(), make_channel(prefix=b"\0\0\0\x08")
    job = factory.make(make_template(), now=NOW.unix)
    mine, theirs = channel.offer(job, COUNTERS)[0], other.offer(job, COUNTERS)[0]
    assert mine.assignment == Assignment(1, job.counter, channel.target, job.ntime, 3)
    assert mine.assignment.counter == theirs.assignment.counter and mine.coinbase(bytes(8)) != theirs.coinbase(bytes(8))
    repeated = channel.offer(job, COUNTERS)[0]
    assert repeated.assignment.key == 2 and repeated.assignment.counter & ASSIGNED_AGAIN


def test_every_assignment_of_a_job_is_a_space_of_its_own():
    for size in (0, 8):
        channel = make_channel(size=size)
        first = offered(channel)
        all_of_it = [first, *(again(channel, first) for _ in range(11))]
        headers = {mine.header(bytes(size), 1, first.ntime, 3) for mine in all_of_it}
        assert len(headers) == len({mine.assignment.counter for mine in all_of_it}) == 12
        assert [mine.assignment.key for mine in all_of_it] == list(range(1, 13))
        for mine in all_of_it:
            assert mine.coinbase_tx(bytes(size))[6:-38] == mine.coinbase(bytes(size))[4:-4]      # a block's is the same


def test_a_channel_gets_no_counter_of_all_for_a_job_that_others_had_before():
    """It is known by then: who could foresee prefix and counter could hash first, and open with the fitting target."""
    channel = make_channel()
    job = make_factory().make(make_template(), now=NOW.unix)
    first, has_moved = channel.offer_alone(job, COUNTERS)
    assert has_moved and first.assignment.counter & ASSIGNED_AGAIN
    assert channel.offer(job, COUNTERS)[0].assignment.counter & ASSIGNED_AGAIN          # nor later
    older = make_factory()
    older.make(make_template(), now=NOW.unix)
    newer = older.make(make_template(), now=NOW.unix)
    assert channel.offer(newer, COUNTERS)[0].assignment.counter == newer.counter


def test_a_worker_that_is_behind_gives_no_counter_twice():
    """A session that is resumed on another worker may meet a job there that it has had long ago."""
    factory, channel = make_factory(), make_channel()
    jobs = [factory.make(make_template(), now=NOW.unix) for _ in range(3)]
    given = [channel.offer(job, COUNTERS)[0].assignment.counter for job in (*jobs, jobs[1], jobs[2], jobs[0])]
    assert len(set(given)) == 6 and given[:3] == [job.counter for job in jobs]
    assert all(counter & ASSIGNED_AGAIN for counter in given[3:])


def test_job_ids_that_begin_anew_are_newer():
    factory, channel = make_factory(), make_channel()
    factory._next_id = 2**31 - 2
    jobs = [factory.make(make_template(), now=NOW.unix) for _ in range(4)]
    assert [channel.offer(job, COUNTERS)[0].assignment.counter for job in jobs] == [job.counter for job in jobs]


def test_keys_begin_anew_after_the_last_one():
    channel = make_channel()
    channel.keys.next = MAX_KEY
    first = offered(channel)
    assert [first.assignment.key, again(channel, first).assignment.key] == [MAX_KEY, 1]


# --- what is remembered -----------------------------------------------------------------------------------------------

def test_a_share_is_remembered_as_long_as_its_key_can_be_found():
    factory, channel = make_factory(), make_channel()
    job = offered(channel, make_tip(1), factory)
    shares = [Weight(number.to_bytes(32, "big"), 5, False) for number in range(100)]
    assert [ask(channel, job, share) for share in shares] == [None] * 100
    offered(channel, make_tip(1), factory)
    assert {ask(channel, job, share) for share in shares} == {Reject.DUPLICATE}
    offered(channel, make_tip(2), factory)
    assert channel.remembered == 100 and channel.find(job.assignment.key) is job
    offered(channel, make_tip(3), factory)
    assert channel.remembered == 0 and channel.find(job.assignment.key) is None


def test_tips_that_flap_bring_back_their_keys_with_all_that_these_remember():
    """Today A, B, A credits the same shares again and again."""
    factory, channel = make_factory(), make_channel()
    on_a = offered(channel, make_tip(1), factory)
    shares = [Weight(number.to_bytes(32, "big"), 5, number == 0) for number in range(100)]
    assert on_a.is_new_block(shares[0].share_hash)
    credited = 0.0
    for number in (1, 2, 1, 2, 1, 1, 2):
        offered(channel, make_tip(number), factory)
        for share in shares:
            if ask(channel, on_a, share) is None:
                credited += credit(share, on_a)
    assert credited == pytest.approx(100 * on_a.difficulty)
    assert not on_a.is_new_block(shares[0].share_hash)
    offered(channel, make_tip(1), factory)
    assert ask(channel, on_a, Weight(b"new" * 8, 5, False)) is None          # and what it finds there now is good


def test_jobs_that_were_replaced_on_their_own_tip_are_stale_and_never_come_back():
    factory, channel = make_factory(), make_channel()
    replaced = offered(channel, make_tip(1), factory)
    factory.begin_era()
    second = offered(channel, make_tip(1), factory)
    assert ask(channel, replaced, Weight(b"a" * 32, 5, False)) is Reject.STALE
    assert ask(channel, second, Weight(b"b" * 32, 5, False)) is None
    factory.begin_era()
    offered(channel, make_tip(1), factory)
    assert ask(channel, second, Weight(b"c" * 32, 5, False)) is Reject.STALE
    assert channel.find(replaced.assignment.key) is replaced, "a block that is found on it is as good as any"
    assert ask(channel, replaced, Weight(b"d" * 32, 5, False)) is Reject.STALE


def test_jobs_that_were_replaced_are_known_until_the_tip_has_moved_twice_and_never_more_than_a_tips_worth():
    factory, channel = make_factory(), make_channel()
    first = offered(channel, make_tip(1), factory)
    assert ask(channel, first, Weight(b"a" * 32, 5, False)) is None
    eras = []
    for _ in range(3):
        factory.begin_era()
        eras.append(offered(channel, make_tip(1), factory))
    offered(channel, make_tip(2), factory)
    assert [channel.find(mine.assignment.key) for mine in (first, *eras)] == [first, *eras]
    assert channel.remembered == 1
    factory.begin_era()
    offered(channel, make_tip(2), factory)
    offered(channel, make_tip(3), factory)
    assert [channel.find(mine.assignment.key) for mine in (first, *eras)] == [None] * 4
    assert channel.remembered == 0
    for _ in range(MAX_JOBS_PER_TIP + 5):
        factory.begin_era()
        offered(channel, make_tip(3), factory)
    assert len(channel.old_jobs) == MAX_JOBS_PER_TIP


def test_a_tip_that_comes_back_after_jobs_were_replaced_has_its_last_jobs_back():
    factory, channel = make_factory(), make_channel()
    replaced = offered(channel, make_tip(1), factory)
    factory.begin_era()
    last = offered(channel, make_tip(1), factory)
    assert ask(channel, last, Weight(b"a" * 32, 5, False)) is None
    for _ in range(3):
        offered(channel, make_tip(2), factory)
        assert ask(channel, last, Weight(b"b" * 32, 5, False)) is Reject.STALE
        offered(channel, make_tip(1), factory)
        assert ask(channel, last, Weight(b"a" * 32, 5, False)) is Reject.DUPLICATE
        assert ask(channel, replaced, Weight(b"c" * 32, 5, False)) is Reject.STALE


def test_a_key_that_is_dropped_takes_its_shares_along():
    factory, channel = make_factory(), make_channel()
    first = offered(channel, make_tip(1), factory)
    for number in range(20):
        assert ask(channel, first, Weight(number.to_bytes(32, "big"), 5, False)) is None
    jobs = [offered(channel, make_tip(1), factory) for _ in range(MAX_JOBS_PER_TIP)]
    assert channel.find(first.assignment.key) is None and channel.remembered == 0
    assert channel.find(jobs[0].assignment.key) is jobs[0] and len(channel.jobs) == MAX_JOBS_PER_TIP
    again(channel, jobs[0])
    assert channel.find(jobs[0].assignment.key) is None and len(channel.jobs) == MAX_JOBS_PER_TIP
    channel.forget(first, (1).to_bytes(32, "big"))           # its record failed when the key was gone already
    assert channel.remembered == 0


def test_a_block_is_new_once_as_long_as_its_key_can_be_found():
    factory, channel = make_factory(), make_channel()
    mine = offered(channel, make_tip(1), factory)
    assert mine.is_new_block(b"a" * 32)
    assert not mine.is_new_block(b"a" * 32)
    offered(channel, make_tip(2), factory)
    assert not channel.find(mine.assignment.key).is_new_block(b"a" * 32)
    assert mine.is_new_block(b"b" * 32)
    assert sum(mine.is_new_block(number.to_bytes(32, "big")) for number in [*range(50), *range(50)]) == 50


# --- easier targets of later ------------------------------------------------------------------------------------------

@given(st.lists(st.one_of(st.integers(1, 40), st.none()), max_size=60))
def test_a_key_is_held_to_the_easiest_target_that_came_after_it(steps):
    """`None` gives the job out again, a number is the next target."""
    channel = make_channel(target=20)
    given = [[offered(channel), 20]]
    for step in steps:
        if step is None:
            given.append([again(channel, given[0][0]), channel.target])
        else:
            channel.set_target(step)
            given = [[mine, max(easiest, step)] for mine, easiest in given]
    for number, (mine, easiest) in enumerate(given):
        low, high = (Weight(bytes([number, more]) * 16, easiest + more, False) for more in (0, 1))
        assert ask(channel, mine, high) is Reject.DIFFICULTY_TOO_LOW
        assert ask(channel, mine, low) is None
        assert credit(low, mine) == worth(mine.target if easiest <= mine.target else 0)


def test_easings_without_end_are_bounded_and_refuse_nothing():
    """Ever harder targets, each a little easier for a moment: the list of easings would grow with every one."""
    channel = make_channel(target=10**9)
    mine = [offered(channel)]
    for number in range(1000):
        channel.set_target(10**9 - 3 * number - 3)
        mine.append(again(channel, mine[0]))
        channel.set_target(10**9 - 3 * number - 1)
    assert len(channel._easings) <= MAX_EASINGS
    for number, old in enumerate(mine[-MAX_JOBS_PER_TIP:-1]):
        share = Weight(number.to_bytes(32, "big"), old.target + 2, False)
        assert ask(channel, old, share) is None and credit(share, old) == 0.0


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


def test_the_channel_of_another_account_in_its_place_knows_where_it_searched_and_nothing_else():
    factory, channel = make_factory(), make_channel(prefix=b"\0\0\1\2", size=4)
    first = offered(channel, make_tip(1), factory)
    last = offered(channel, make_tip(2), factory)
    new = channel.successor(1 << 200)
    assert (new.extranonce_prefix, new.extranonce_size, new.channel_id) == (b"\0\0\1\2", 4, channel.channel_id)
    assert (new.user, new.payee, new.target, new.accepted, new.jobs, new.old_jobs) == ("", None, 1 << 200, 0, {}, {})
    assert new.tip is channel.tip, "its prefix rests until her last job is stale"
    new.set_payee(POOL)
    again, _ = new.offer(last.job, COUNTERS)
    assert again.assignment.key > last.assignment.key > first.assignment.key, "her keys are no keys of his"
    assert again.assignment.counter != last.assignment.counter, "nor is the work that she has had"
    later = offered(new, make_tip(2), factory)
    assert later.assignment.counter == later.job.counter, "of the job of all he gets what she has not had"


def test_a_payee_is_proved_when_its_script_is_a_new_one():
    channel = make_channel(payee=None)
    assert not channel.is_proven
    channel.set_payee(POOL)
    assert channel.is_proven, "in mode pool the job itself is proved"
    alice = numbered(1, room=755)
    channel.set_payee(alice)
    assert not channel.is_proven and channel.payee is alice
    channel.is_proven = True
    channel.set_payee(numbered(1, room=255))
    assert channel.is_proven, "another size class has the same output of its own"
    channel.set_payee(numbered(2, room=255))
    assert not channel.is_proven

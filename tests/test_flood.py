"""`max_shares_per_minute` in the sessions of both protocols: who fixes a tiny difficulty does not fill the books."""

from __future__ import annotations

from fractions import Fraction

from tests.mining.makers import HARD_NBITS
from tests.sv1 import pairs as sv1
from tests.sv2 import pairs as sv2
from tests.sv2.test_server import MAX_TARGET, messages, open_extended, ready_session
from warppool.bitcoin.target import target_from_difficulty
from warppool.events import Now, ShareAccepted
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.share import Weight
from warppool.sv2.messages.mining import NewExtendedMiningJob, SetTarget, SubmitSharesExtended, UpdateChannel

EASY = Fraction(1, 1000)
POLICY = DifficultyPolicy(EASY, EASY, EASY, Fraction(12), Fraction(60))     # `max` holds it down, at most 60 a minute


def machine(password="fd=0.001", policy=POLICY):
    pair = sv1.Pair(sv1.make_context(policy), nbits=HARD_NBITS)
    pair.set_up(password=password)
    return pair


def flood(pair, count, value=5, first=0, work=None):
    """So many shares of one wake-up, all at the value; the events that they lead to."""
    work = work or pair.work
    before = len(pair.said)
    for number in range(first, first + count):
        pair.submit(work.job_id, number.to_bytes(8, "big").hex(), f"{work.ntime:08x}", "00000000")
    weights = [Weight(number.to_bytes(32, "big"), value, False) for number in range(first, first + count)]
    pair._to_weigh.clear()
    pair.deliver(pair.server.judged(weights, pair.now))
    return pair.said[before:]


def test_a_fixed_tiny_difficulty_is_not_granted_to_a_flood():
    for password in ("fd=0.001", "d=0.001", "x"):           # the last two are held down by the operator's `max`
        pair = machine(password)
        before = pair.work
        assert [line["method"] for line in flood(pair, 59) if "method" in line] == []
        pair.wait(1)
        heard = flood(pair, 1, first=59)
        assert [line["method"] for line in heard if "method" in line] == ["mining.set_difficulty", "mining.notify"]
        assert heard[-1]["params"][8] is True               # clean: what it has is too easy
        assert pair.work.target <= before.target >> 3
        # its old key is good for 30 s more, and afterwards what meets the new target
        pair.wait(29)
        flood(pair, 1, before.target, 100, before)
        assert pair.refused() == []
        pair.wait(1)
        flood(pair, 1, before.target, 101, before)
        assert pair.refused() == ["difficulty-too-low"]
        flood(pair, 1, pair.work.target, 102, before)
        assert pair.refused() == ["difficulty-too-low"]


def test_to_ask_once_more_or_to_come_back_is_no_way_out():
    pair = machine()
    flood(pair, 60)
    hard = pair.work.target
    for password in ("fd=0.0011", "d=0.0011", "th=0.00000001"):
        pair.call("mining.authorize", "alice.rig1", password)
        assert pair.work.target == hard
    pair.call("mining.suggest_difficulty", 0.001)
    assert pair.work.target == hard
    session = pair.subscription[0][0][1]
    pair.settle()
    pair.drop()
    again = sv1.Pair(pair.context, pair.jobs)
    again.now, again.job = pair.now, pair.job
    again.deliver(again.server.offer(pair.job, pair.now))
    again.call("mining.subscribe", "agent", session)
    again.call("mining.authorize", "alice.rig1", "fd=0.001")
    assert again.work.target == hard


def test_what_meets_the_new_target_is_taken_on_older_keys_where_that_is_whole():
    """The throttle leaves 11.2 of 0.7, and 11 is granted."""
    pair = machine("fd=0.7", DifficultyPolicy(EASY, EASY, Fraction(0), Fraction(12), Fraction(60)))
    before = pair.work
    flood(pair, 60)
    assert pair.work.target == target_from_difficulty(11)
    pair.wait(30)
    flood(pair, 1, pair.work.target, 100, before)
    assert pair.refused() == []


def test_an_older_key_that_is_easier_is_no_way_out():
    """The machine has its tiny difficulty, asks for a hard one, and goes on with the old key."""
    pair = machine(policy=DifficultyPolicy(EASY, EASY, Fraction(0), Fraction(12), Fraction(60)))
    before = pair.work
    pair.call("mining.authorize", "alice.rig1", "fd=0.5")
    assert pair.work.target < before.target >> 8
    pair.wait(1)
    flood(pair, 60, before.target, work=before)
    pair.wait(29)
    flood(pair, 1, before.target, 100, before)
    assert pair.refused() == []
    pair.wait(1)
    flood(pair, 1, before.target, 101, before)
    assert pair.refused() == ["difficulty-too-low"]


def test_a_burst_that_is_judged_after_a_drop_is_counted():
    """Sixty shares and gone, before their verdicts: the session that is resumed is bounded as before."""
    pair = machine()
    before = pair.work
    for number in range(60):
        pair.submit(before.job_id, number.to_bytes(8, "big").hex(), f"{before.ntime:08x}", "00000000")
    pair._to_weigh.clear()
    pair.drop()
    pair.deliver(pair.server.judged([Weight(number.to_bytes(32, "big"), 5, False) for number in range(60)], pair.now))
    pair.settle()
    again = sv1.Pair(pair.context, pair.jobs)
    again.now, again.job = pair.now, pair.job
    again.deliver(again.server.offer(pair.job, pair.now))
    again.call("mining.subscribe", "agent", pair.subscription[0][0][1])
    again.call("mining.authorize", "alice.rig1", "fd=0.001")
    assert again.subscription == pair.subscription and again.work.target <= before.target >> 3


def test_a_machine_that_calms_down_gets_its_wish_again():
    pair = machine()
    before = pair.work.target
    flood(pair, 60)
    for _ in range(5):
        pair.wait(60)
        pair.tick()
    assert pair.work.target == before


def test_without_a_limit_nothing_happens():
    pair = machine(policy=DifficultyPolicy(EASY, EASY, EASY, Fraction(12)))
    assert [line["method"] for line in flood(pair, 900) if "method" in line] == []


def test_the_networks_difficulty_is_never_passed():
    pair = sv1.Pair(sv1.make_context(POLICY))          # every second hash is a block
    pair.set_up(password="fd=0.001")
    before = pair.work.target
    assert [line["method"] for line in flood(pair, 200) if "method" in line] == [] and pair.work.target == before


def test_v2_hears_the_target_and_the_job_again_active_at_once():
    (job,) = sv2.make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job, context=sv2.make_context(POLICY))
    _, first, _ = messages(session.receive(open_extended(), sv2.START))
    easy = target_from_difficulty(EASY)

    def submit(numbers, value, at):
        for number in numbers:
            session.receive(SubmitSharesExtended(1, number, first.job_id, 0, job.ntime, job.version, bytes(8)), at)
        return session.judged([Weight(number.to_bytes(32, "big"), value, False) for number in numbers], at)

    steps = submit(range(60), 5, Now(sv2.START.monotonic + 1, sv2.START.unix))
    target, again = messages(steps)
    assert isinstance(target, SetTarget) and isinstance(again, NewExtendedMiningJob) and again.min_ntime == job.ntime
    hard = int.from_bytes(target.maximum_target, "little")
    assert hard <= easy >> 3
    assert session.receive(UpdateChannel(1, 0.0, MAX_TARGET.to_bytes(32, "little")), sv2.START) == []
    assert isinstance(submit([100], easy, Now(sv2.START.monotonic + 30, sv2.START.unix))[0], ShareAccepted)
    late = Now(sv2.START.monotonic + 31, sv2.START.unix)
    assert submit([101], easy, late)[0].error_code == "difficulty-too-low"
    assert isinstance(submit([102], hard, late)[0], ShareAccepted)
    assert session.wakes_at < sv2.START.monotonic + 62      # so that it gets easier again by itself

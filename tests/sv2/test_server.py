"""The session: messages in, steps out. Bytes come in test_connection.py."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain

import pytest

from tests.mining.makers import EASY_NBITS, HARD_NBITS
from tests.sv2.pairs import MAX_TARGET, START, dialect, make_context, make_jobs
from tests.sv2.profiles import profile  # noqa: F401
from warppool.bitcoin.target import DIFF1, target_from_difficulty, target_from_nbits
from warppool.errors import UnexpectedMessage
from warppool.events import BlockFound, Close, Happened, Now, ShareAccepted, ShareRefused, ShareSubmitted
from warppool.mining.group import GROUP_IDS
from warppool.mining.names import FreeNames
from warppool.mining.share import Weight, weigh
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages import common, mining, template
from warppool.sv2.opening import MAX_CHANNELS, MAX_OPENS
from warppool.sv2.profile import Subprotocol
from warppool.sv2.server import MAX_DEAF_SHARES, MiningServerSession, Phase
from warppool.sv2.types import Message


def setup(**changes):
    given = {"protocol": 0, "min_version": 2, "max_version": 2, "flags": 0, "endpoint_host": "h", "endpoint_port": 1,
             "vendor": "v", "hardware_version": "hw", "firmware": "fw", "device_id": ""}
    return common.SetupConnection(**given | changes)


def open_standard(request_id=1, user="alice.rig1", rate=0.0, max_target=MAX_TARGET):
    return mining.OpenStandardMiningChannel(request_id, user, rate, max_target.to_bytes(32, "little"))


def open_extended(request_id=1, user="alice.rig1", rate=0.0, max_target=MAX_TARGET, size=4):
    return mining.OpenExtendedMiningChannel(request_id, user, rate, max_target.to_bytes(32, "little"), size)


def ready_session(flags=0, job=None, context=None):
    session = MiningServerSession(7, context or make_context())
    if job is not None:
        session.offer(job, START)
    session.receive(setup(flags=flags), START)
    return session


def messages(steps):
    """All that goes to the peer, pre-encoded frames too, decoded."""
    found = []
    for step in steps:
        if isinstance(step, bytes):
            found += [dialect().decode(Subprotocol.MINING, frame) for frame in FrameReader(1 << 20).feed(step)]
        elif isinstance(step, Message):
            found.append(step)
    return found


def code_of(reason):
    """An error code as the profile spells it."""
    return dialect().error_codes.get(reason, reason)


def only(steps):
    (message,) = messages(steps)
    return message


# --- set-up -----------------------------------------------------------------------------------------------------------

def test_set_up_for_mining():
    session = MiningServerSession(7, make_context())
    assert only(session.receive(setup(), START)) == common.SetupConnectionSuccess(2, 0)
    assert session.phase is Phase.MINING and session.subprotocol is Subprotocol.MINING


@pytest.mark.parametrize(("changes", "flags", "code"), [
    ({"protocol": 1}, 0, "unsupported-protocol"),
    ({"protocol": 2}, 0, "unsupported-protocol"),               # until templates are served
    ({"protocol": 3}, 0, "unsupported-protocol"),
    ({"protocol": 255}, 0, "unsupported-protocol"),
    ({"min_version": 3, "max_version": 9}, 0, "protocol-version-mismatch"),
    ({"min_version": 0, "max_version": 1}, 0, "protocol-version-mismatch"),
    ({"min_version": 3, "max_version": 1}, 0, "protocol-version-mismatch"),
    ({"flags": 2}, 0xFFFFFFFA, "unsupported-feature-flags"),
    ({"flags": 0xFFFFFFFF}, 0xFFFFFFFA, "unsupported-feature-flags"),
    ({"flags": 8}, 0xFFFFFFFA, "unsupported-feature-flags"),
])
def test_refused_set_up_names_its_reason_and_closes(changes, flags, code):
    session = MiningServerSession(7, make_context())
    steps = session.receive(setup(**changes), START)
    assert steps == [common.SetupConnectionError(flags, code), Close(7, code, is_peers_fault=True)]
    with pytest.raises(UnexpectedMessage):
        session.receive(setup(), START)


def test_wide_version_range_and_known_flags_are_fine():
    session = MiningServerSession(7, make_context())
    assert only(session.receive(setup(min_version=0, max_version=9, flags=5), START)).used_version == 2


@pytest.mark.parametrize("message", [
    open_standard(), mining.CloseChannel(1, ""), common.SetupConnectionSuccess(2, 0),
    template.CoinbaseOutputConstraints(10, None), mining.SubmitSharesStandard(1, 1, 1, 1, 1, 1)])
def test_nothing_comes_before_set_up(message):
    session = MiningServerSession(7, make_context())
    with pytest.raises(UnexpectedMessage, match="AWAIT_SETUP"):
        session.receive(message, START)
    session.receive(setup(), START)                     # and nothing has changed


def test_nothing_is_said_unasked_before_there_is_a_channel_and_the_answer_to_an_open_comes_first():
    """A Bitaxe reads one frame after each of the two, and hangs up on any other."""
    one, fresh, two = make_jobs(1, 1, 2, nbits=HARD_NBITS)
    for ask, answer in ((open_standard, mining.OpenStandardMiningChannelSuccess),
                        (open_extended, mining.OpenExtendedMiningChannelSuccess)):
        session = MiningServerSession(7, make_context())
        assert session.offer(one, START) == []
        assert messages(session.receive(setup(flags=4), START)) == [common.SetupConnectionSuccess(2, 0)]
        assert [*session.offer(fresh, START), *session.tick(at(3600)), *session.offer(two, at(3601))] == []
        assert isinstance(messages(session.receive(ask(rate=1e12), at(3602)))[0], answer)
        refused = ready_session(job=one)
        assert isinstance(only(refused.receive(ask(rate=-1.0), START)), mining.OpenMiningChannelError)


@pytest.mark.parametrize("message", [
    setup(), mining.SetGroupChannel(1, (1,)), common.ChannelEndpointChanged(1),
    mining.SetCustomMiningJob(1, 2, b"t", 3, bytes(32), 4, 5, 6, b"", 7, b"", 8, ()),
    template.CoinbaseOutputConstraints(10, None), template.RequestTransactionData(1),
    mining.SubmitSharesSuccess(1, 1, 1, 1), mining.SetTarget(1, bytes(32)), common.Reconnect("", 0)])
def test_what_the_mining_phase_has_no_place_for(message):
    with pytest.raises(UnexpectedMessage, match="MINING"):
        ready_session().receive(message, START)


# --- channels ---------------------------------------------------------------------------------------------------------

def test_standard_open_brings_success_a_future_job_and_its_tip_in_this_order():
    (job,) = make_jobs(1)
    success, new_job, prev_hash = messages(ready_session(job=job).receive(open_standard(9), START))
    assert (success.request_id, success.channel_id) == (9, 1)
    assert success.group_channel_id == (GROUP_IDS if dialect().has_groups else 0)
    assert success.extranonce_prefix == bytes(4)
    assert isinstance(new_job, mining.NewMiningJob) and new_job.min_ntime is None
    assert prev_hash == mining.SetNewPrevHash(1, new_job.job_id, b"\x01" * 32, job.ntime, EASY_NBITS)


def test_extended_open_gets_coinbase_halves_that_fit_its_extranonce():
    (job,) = make_jobs(1)
    success, new_job, prev_hash = messages(ready_session(job=job).receive(open_extended(size=10), START))
    assert success.extranonce_size == 10
    head, tail = job.coinbase_halves(14)
    assert (new_job.coinbase_tx_prefix[:-4], new_job.coinbase_tx_suffix) == (head[:-4], tail)
    assert new_job.coinbase_tx_prefix[-4:] != head[-4:]         # it is the channel's alone, and so is its counter
    assert new_job.merkle_path == job.merkle_path and new_job.version_rolling_allowed
    assert prev_hash.job_id == new_job.job_id


@pytest.mark.parametrize(("asked", "granted"), [(0, 8), (4, 8), (8, 8), (9, 9), (28, 28)])
def test_granted_extranonce(asked, granted):
    assert messages(ready_session().receive(open_extended(size=asked), START))[0].extranonce_size == granted


@pytest.mark.parametrize(("message", "code"), [
    (open_standard(user=""), "invalid-user-identity"),
    (open_standard(user=".rig9"), "invalid-user-identity"),
    (open_standard(user="\u200b\u00a0"), "invalid-user-identity"),
    (open_standard(user="a\udc9b"), "invalid-user-identity"),
    (open_standard(user="a\nb"), "invalid-user-identity"),
    (open_standard(user="a\x7f"), "invalid-user-identity"),
    (open_extended(user="a\x85"), "invalid-user-identity"),
    (open_standard(rate=math.nan), "invalid-nominal-hashrate"),
    (open_standard(rate=math.inf), "invalid-nominal-hashrate"),
    (open_standard(rate=-1.0), "invalid-nominal-hashrate"),
    (open_extended(max_target=0), "max-target-out-of-range"),
    (open_extended(size=29), "min-extranonce-size-too-large"),
])
def test_refused_opens(message, code):
    session = ready_session()
    assert only(session.receive(message, START)) == mining.OpenMiningChannelError(1, code)
    assert session.channels == 0


def test_identity_may_hold_any_bytes_but_control_characters():
    session = ready_session()
    steps = session.receive(open_standard(user="\udcff\udca1.名"), START)
    assert isinstance(messages(steps)[0], mining.OpenStandardMiningChannelSuccess)


def test_extended_channels_are_not_for_those_who_require_standard_jobs():
    session = ready_session(flags=1)
    assert only(session.receive(open_extended(), START)).error_code == (
        "extended-channels-not-supported-for-standard-jobs")
    assert isinstance(messages(session.receive(open_standard(), START))[0], mining.OpenStandardMiningChannelSuccess)


def test_channels_of_one_connection_are_bounded_and_have_their_own_ids_and_prefixes():
    session = ready_session()
    answers = [messages(session.receive(open_standard(n), START))[0] for n in range(MAX_CHANNELS)]
    assert len({answer.channel_id for answer in answers}) == MAX_CHANNELS
    assert len({answer.extranonce_prefix for answer in answers}) == MAX_CHANNELS
    assert only(session.receive(open_standard(), START)).error_code == code_of("too-many-channels")
    session.receive(mining.CloseChannel(answers[0].channel_id, "done"), START)
    reopened = messages(session.receive(open_standard(), START))[0]
    assert reopened.channel_id == MAX_CHANNELS + 1          # an id never comes back on one connection
    assert reopened.extranonce_prefix not in {answer.extranonce_prefix for answer in answers}


def test_opens_without_end_close_the_connection_and_do_not_fill_the_journal():
    session = ready_session()
    steps = [session.receive(open_standard(rate=-1.0), START) for _ in range(MAX_OPENS)]
    levels = [step.level for step in chain(*steps) if isinstance(step, Happened)]
    assert levels == ["info"] + ["debug"] * (MAX_OPENS - 1)
    assert [step for step in chain(*steps[:-1]) if isinstance(step, Close)] == []
    assert isinstance(steps[-1][-1], Close) and steps[-1][-1].is_peers_fault


def test_twenty_names_that_are_none_end_the_connection():
    session = ready_session()
    steps = [session.receive(open_standard(user="."), START) for _ in range(20)]
    assert [step for step in chain(*steps[:-1]) if isinstance(step, Close)] == []
    assert steps[-1][0] == mining.OpenMiningChannelError(1, "invalid-user-identity")
    assert steps[-1][-1] == Close(7, "20 names that are none", is_peers_fault=True)


def test_a_channel_too_many_is_refused_for_ever_and_the_others_stay():
    session = ready_session()
    for number in range(MAX_CHANNELS):
        session.receive(open_standard(number), START)
    steps = [session.receive(open_standard(), START) for _ in range(MAX_OPENS + 1)]
    assert {step.error_code for step in chain(*steps) if isinstance(step, Message)} == {code_of("too-many-channels")}
    assert [step for step in chain(*steps) if isinstance(step, Close)] == []
    assert [step.level for step in chain(*steps) if isinstance(step, Happened)].count("info") == 1
    assert session.channels == MAX_CHANNELS


def test_names_that_differ_only_by_what_cannot_be_seen_are_one_user():
    session = ready_session()
    names = ("alice.a", " alice.a", "alice\u00a0.\u200ba")
    steps = [session.receive(open_standard(user=name), START) for name in names]
    assert [step.fields[1] for step in chain(*steps) if isinstance(step, Happened)] == [("user", "alice.a")] * 3


def test_channels_opened_and_closed_without_end_are_refused_in_the_end():
    session = ready_session()
    for number in range(MAX_OPENS - 1):
        success = messages(session.receive(open_standard(number), START))[0]
        session.receive(mining.CloseChannel(success.channel_id, ""), START)
    refusal, _, close = session.receive(open_standard(), START)
    assert refusal.error_code == code_of("too-many-channels") and isinstance(close, Close)


def test_an_empty_prefix_space_is_a_clean_refusal(monkeypatch):
    context = make_context()
    monkeypatch.setattr(context.prefixes, "take", lambda: None)
    session = ready_session(context=context)
    assert only(session.receive(open_standard(), START)).error_code == code_of("no-extranonce-prefix-left")


def test_prefixes_come_back_at_the_next_tip():
    first, second = make_jobs(1, 2)
    context = make_context()
    session = ready_session(job=first, context=context)
    session.receive(open_standard(), START)
    session.closed(START)
    later = ready_session(context=context)
    assert messages(later.receive(open_standard(), START))[0].extranonce_prefix == b"\0\0\0\1"
    later.offer(second, START)
    assert messages(later.receive(open_standard(2), START))[0].extranonce_prefix == bytes(4)


def test_the_target_follows_the_declared_hash_rate_and_the_network():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    unknown = messages(session.receive(open_standard(1), START))[0]
    assert int.from_bytes(unknown.target, "little") == target_from_difficulty(1)
    fast = messages(session.receive(open_standard(2, rate=1e15), START))[0]
    assert 1e15 * 60 * int.from_bytes(fast.target, "little") / 2**256 == pytest.approx(12, rel=1e-6)
    (easy,) = make_jobs(1)
    regtest = messages(ready_session(job=easy).receive(open_standard(), START))[0]
    assert int.from_bytes(regtest.target, "little") == target_from_nbits(EASY_NBITS)


def test_max_target_wins_over_all():
    (job,) = make_jobs(1)
    success = messages(ready_session(job=job).receive(open_standard(max_target=5), START))[0]
    assert int.from_bytes(success.target, "little") == 5


def test_a_channel_opened_before_any_job_learns_the_networks_target_with_the_first():
    session = ready_session()
    (success,) = messages(session.receive(open_standard(), START))
    assert int.from_bytes(success.target, "little") == target_from_difficulty(1)
    (job,) = make_jobs(1)
    target, new_job, prev_hash = messages(session.offer(job, START))
    assert target == mining.SetTarget(1, target_from_nbits(EASY_NBITS).to_bytes(32, "little"))
    assert new_job.min_ntime is None and prev_hash.job_id == new_job.job_id


def test_a_job_of_the_same_tip_is_active_at_once_and_a_new_tip_brings_its_hash():
    one, fresh, two = make_jobs(1, 1, 2)
    session = ready_session(job=one)
    session.receive(open_standard(), START)
    session.receive(open_extended(2), START)
    steps = session.offer(fresh, START)
    if dialect().pace is not None:
        assert steps == []                                  # see test_groups.py for when it comes
        steps = session.tick(Now(START.monotonic + dialect().pace.least_s, START.unix))
    standard, extended = messages(steps)[-2:]
    assert standard.min_ntime == extended.min_ntime == fresh.ntime
    steps = messages(session.offer(two, START))
    ids = (GROUP_IDS, GROUP_IDS + 8) if dialect().has_groups else (1, 2)
    assert [type(step).__name__ for step in steps] == [
        "NewExtendedMiningJob" if dialect().has_groups else "NewMiningJob", "SetNewPrevHash",
        "NewExtendedMiningJob", "SetNewPrevHash"]
    assert {step.channel_id for step in steps[:2]} == {ids[0]} and {step.channel_id for step in steps[2:]} == {ids[1]}


def test_standard_channels_get_roots_of_their_own():
    (job,) = make_jobs(1)
    session = ready_session(job=job)
    roots = {messages(session.receive(open_standard(n), START))[1].merkle_root for n in range(5)}
    assert len(roots) == 5


# --- UpdateChannel, CloseChannel --------------------------------------------------------------------------------------

def update(channel_id=1, rate=0.0, max_target=MAX_TARGET):
    return mining.UpdateChannel(channel_id, rate, max_target.to_bytes(32, "little"))


def whole_within(max_target):
    """The target of the least whole difficulty that `max_target` allows."""
    return DIFF1 // -(-DIFF1 // max_target)


def test_an_update_sets_a_new_target_where_one_follows():
    (job,) = make_jobs(1, nbits=HARD_NBITS)
    session = ready_session(job=job)
    session.receive(open_standard(), START)
    faster, _ = messages(session.receive(update(rate=1e15), START))
    assert isinstance(faster, mining.SetTarget)
    assert session.receive(update(rate=1e15), START) == []
    network = target_from_nbits(HARD_NBITS)
    harder, _ = messages(session.receive(update(max_target=4 * network), START))
    assert int.from_bytes(harder.maximum_target, "little") == whole_within(4 * network)
    eased, _ = messages(session.receive(update(max_target=8 * network), START))     # the rate declared still holds
    assert int.from_bytes(eased.maximum_target, "little") == whole_within(8 * network)


@pytest.mark.parametrize(("message", "code"), [
    (update(channel_id=5), "invalid-channel-id"), (update(rate=math.nan), "invalid-nominal-hashrate"),
    (update(rate=-0.5), "invalid-nominal-hashrate"), (update(max_target=0), "max-target-out-of-range")])
def test_refused_updates_change_nothing(message, code):
    session = ready_session()
    session.receive(open_standard(), START)
    assert only(session.receive(message, START)) == mining.UpdateChannelError(message.channel_id, code)


def test_closing_an_unknown_channel_is_ignored():
    (step,) = ready_session().receive(mining.CloseChannel(77, "bye"), START)
    assert isinstance(step, Happened) and step.name == "message.ignored"


@pytest.mark.parametrize("flags", [0, 1])
def test_a_close_by_the_number_of_a_group_closes_its_members_and_no_other_channel(flags):
    session = ready_session(flags)
    opened = [messages(session.receive(open_standard(n), START))[0] for n in range(3)]
    group = opened[0].group_channel_id
    assert {each.group_channel_id for each in opened} == {group}
    others = [] if flags else [messages(session.receive(open_extended(9), START))[0]]
    (step,) = session.receive(mining.CloseChannel(group, "bye"), START)
    if group == 0:                                      # that is no group's number
        assert step.name == "message.ignored" and session.channels == 3 + len(others)
        return
    assert (step.name, dict(step.fields)["channels"]) == ("miner.closed", 3)
    assert session._channels.keys() == {each.channel_id for each in others}
    (step,) = session.receive(mining.CloseChannel(group, "bye"), START)
    assert step.name == "message.ignored"


def test_a_close_of_what_is_not_there_costs_the_same_however_many_channels_are_open():
    class Unlisted(dict):
        def values(self):
            raise AssertionError("it goes through all channels")

    session = ready_session()
    session.receive(open_standard(1), START), session.receive(open_extended(2), START)
    session._channels = Unlisted(session._channels)
    for number in (0, 3, GROUP_IDS + 31, 2**32 - 1):
        (step,) = session.receive(mining.CloseChannel(number, "bye"), START)
        assert step.name == "message.ignored"
    session.receive(mining.CloseChannel(1, "bye"), START)
    session.receive(mining.CloseChannel(GROUP_IDS, "bye"), START)           # its one member has just gone
    assert session.channels == 1


NO_KEY = 4_000_000_000


# --- shares -----------------------------------------------------------------------------------------------------------

class Miner:
    """A session with one open channel of each kind, 1 standard and 2 extended, and what is needed to submit."""

    def __init__(self, *tips, nbits=EASY_NBITS):
        self.jobs = make_jobs(*tips, nbits=nbits)
        self.session = ready_session(job=self.jobs[0])
        self.session.receive(open_standard(1), START)
        self.session.receive(open_extended(2, user="bob"), START)
        self.sequence = {1: 0, 2: 0}

    def message(self, channel=2, job=None, sequence=None, extranonce=bytes(8), **changes):
        job = job or self.jobs[0]
        if sequence is None:
            sequence = self.sequence.get(channel, 0)
            self.sequence[channel] = sequence + 1
        fields = {"channel_id": channel, "sequence_number": sequence, "job_id": self.key(channel, job), "nonce": 0,
                  "ntime": job.ntime, "version": job.version} | changes
        if channel == 1:
            return mining.SubmitSharesStandard(**fields)
        return mining.SubmitSharesExtended(**fields, extranonce=extranonce)

    def key(self, channel, job):
        """Under which key the channel was given that job first; one that it was never given where it has forgotten."""
        if channel not in self.session._channels:
            return NO_KEY
        mine = self.session._channels[channel].channel
        given = {key: each.job for key, each in {**mine.old_jobs, **mine.jobs}.items()}
        if mine.membership is not None:
            group = mine.membership.group
            given |= {key: each for key, (each, _) in {**group._old_jobs, **group._jobs}.items()}
        return next((key for key, each in given.items() if each is job), NO_KEY)

    def submit(self, **changes):
        return self.session.receive(self.message(**changes), START)

    def judged(self, *weights, now=START):
        return self.session.judged(weights, now)


GOOD = Weight(b"g" * 32, 5, False)


def good(number):
    return Weight(number.to_bytes(32, "big"), 5, False)


def test_a_share_goes_from_header_to_record_to_success():
    miner = Miner(1)
    (submitted,) = miner.submit(channel=1, nonce=77)
    assert isinstance(submitted, ShareSubmitted) and submitted.header[76:] == (77).to_bytes(4, "little")
    assert submitted.network_target == target_from_nbits(EASY_NBITS)
    (accepted,) = miner.judged(GOOD)
    assert accepted == ShareAccepted(7, 1, START.unix, "sv2", 1, "alice.rig1", accepted.difficulty, 1, 840_000,
                                     b"g" * 32)
    assert miner.session.in_flight == 1
    assert miner.session.recorded([1]) == [mining.SubmitSharesSuccess(1, 0, 1, 0)]
    assert miner.session.in_flight == 0


def test_one_success_for_each_channel_and_commit():
    miner = Miner(1)
    for _ in range(3):
        miner.submit(channel=1)
        miner.submit(channel=2)
    accepted = miner.judged(*map(good, range(6)))
    answers = miner.session.recorded([share.share_id for share in accepted])
    assert answers == [mining.SubmitSharesSuccess(1, 2, 3, 0), mining.SubmitSharesSuccess(2, 2, 3, 0)]


def test_acknowledgements_never_pass_a_share_that_waits():
    miner = Miner(1)
    for _ in range(4):
        miner.submit()
    first, second, third, fourth = (share.share_id for share in miner.judged(*map(good, range(4))))
    assert miner.session.recorded([second, fourth]) == []
    assert miner.session.recorded([first]) == [mining.SubmitSharesSuccess(2, 1, 2, 0)]
    assert miner.session.recorded([third]) == [mining.SubmitSharesSuccess(2, 3, 2, 0)]


def test_the_sum_counts_whole_difficulties():
    miner = Miner(1, nbits=HARD_NBITS)                  # start difficulty 1
    for _ in range(3):
        miner.submit()
    ids = [share.share_id for share in miner.judged(*map(good, range(3)))]
    assert miner.session.recorded(ids) == [mining.SubmitSharesSuccess(2, 2, 3, 3)]


@pytest.mark.parametrize(("changes", "code", "user"), [
    ({"channel": 9}, "invalid-channel-id", ""),
    ({"job_id": 99}, "invalid-job-id", "bob"),
    ({"extranonce": bytes(7)}, "bad-extranonce-size", "bob"),
    ({"extranonce": bytes(9)}, "bad-extranonce-size", "bob"),
    ({"extranonce": b""}, "bad-extranonce-size", "bob"),
])
def test_unweighable_shares_are_refused_at_once(changes, code, user):
    steps = Miner(1).submit(**changes)
    channel = changes.get("channel", 2)
    assert steps == [mining.SubmitSharesError(channel, 0, code), ShareRefused(7, user, code)]


@pytest.mark.parametrize(("changes", "weight", "code"), [
    ({"ntime": 1}, GOOD, "invalid-share"),
    ({"ntime": 2**32 - 1}, GOOD, "invalid-share"),
    ({"version": 0x20000001}, GOOD, "invalid-non-rollable-version-bit"),
    ({}, Weight(b"h" * 32, MAX_TARGET, False), "difficulty-too-low"),
])
def test_weighed_shares_are_refused_with_their_reason(changes, weight, code):
    miner = Miner(1)
    miner.submit(**changes)
    assert miner.judged(weight) == [mining.SubmitSharesError(2, 0, code), ShareRefused(7, "bob", code)]
    assert miner.session.in_flight == 0


def test_a_rolled_version_is_fine():
    miner = Miner(1)
    miner.submit(version=0x20000000 | 0x1FFFE000)
    assert isinstance(miner.judged(GOOD)[0], ShareAccepted)


@pytest.mark.parametrize("bit", [0, 4, 5, 12, 13, 28, 29, 30, 31])
def test_the_bits_of_the_profiles_mask_may_be_rolled_and_no_other(bit):
    miner = Miner(1)
    miner.submit(version=0x20000000 ^ 1 << bit)
    answer = miner.judged(GOOD)[0]
    if dialect().version_mask >> bit & 1:
        assert isinstance(answer, ShareAccepted)
    else:
        assert answer.error_code == "invalid-non-rollable-version-bit"


def test_a_stale_share_and_one_older_still():
    miner = Miner(1, 2, 3)
    miner.session.offer(miner.jobs[1], START)
    miner.submit()
    assert miner.judged(GOOD)[0].error_code == "stale-share"
    miner.session.offer(miner.jobs[2], START)
    assert miner.submit()[0].error_code == "invalid-job-id"


def test_a_duplicate_and_a_repeated_sequence_number():
    miner = Miner(1)
    miner.submit(), miner.submit()
    first, error, refused = miner.judged(GOOD, GOOD)
    assert isinstance(first, ShareAccepted)
    assert (error.error_code, refused.reason) == ("duplicate-share", "duplicate-share")
    miner.submit(sequence=1)
    assert is_answered_as_an_old_number(miner.judged(good(1))[0])
    miner.submit(sequence=40), miner.submit(sequence=39)
    accepted, late, *_ = miner.judged(good(2), good(3))
    assert isinstance(accepted, ShareAccepted) and is_answered_as_an_old_number(late)
    assert not dialect().checks_sequence or late.sequence_number == 39


def is_answered_as_an_old_number(answer):
    """A number not above the last is a duplicate where the profile says so, and else means nothing."""
    if dialect().checks_sequence:
        return answer.error_code == "duplicate-share"
    return isinstance(answer, ShareAccepted)


def test_a_refused_number_counts_as_received():
    miner = Miner(1)
    miner.submit(sequence=10, job_id=99)
    miner.submit(sequence=10)
    assert is_answered_as_an_old_number(miner.judged(GOOD)[0])


def test_the_first_number_may_be_any_even_0():
    for first in (0, 2**32 - 1):
        miner = Miner(1)
        miner.submit(sequence=first)
        assert isinstance(miner.judged(GOOD)[0], ShareAccepted)


def test_the_difficulty_is_asked_before_the_sequence():
    miner = Miner(1)
    miner.submit(sequence=5), miner.submit(sequence=5)
    *_, error, _ = miner.judged(GOOD, Weight(b"h" * 32, MAX_TARGET, False))
    assert error.error_code == "difficulty-too-low"


@pytest.mark.parametrize(("changes", "code"), [
    ({"sequence": 0}, "duplicate-share"), ({"ntime": 1}, "invalid-share"),
    ({"version": 1}, "invalid-non-rollable-version-bit")])
def test_a_block_is_a_block_whatever_its_share_becomes(changes, code):
    miner = Miner(1)
    miner.submit(), miner.submit(**changes)
    _, block, *answers = miner.judged(GOOD, Weight(b"b" * 32, 5, True))
    if "sequence" in changes and not dialect().checks_sequence:
        assert isinstance(block, BlockFound) and block.share is not None and answers == []
        return
    error, refused = answers
    assert isinstance(block, BlockFound) and block.share is None
    assert error.error_code == refused.reason == code


def test_a_stale_block_still_goes_to_the_node_once():
    miner = Miner(1, 2)
    miner.session.offer(miner.jobs[1], START)
    miner.submit(), miner.submit()
    steps = miner.judged(Weight(b"b" * 32, 5, True), Weight(b"b" * 32, 5, True))
    assert [type(step).__name__ for step in steps] == [
        "BlockFound", "SubmitSharesError", "ShareRefused", "SubmitSharesError", "ShareRefused"]


def test_an_accepted_block_carries_its_share_and_all_that_makes_a_block():
    miner = Miner(1)
    for nonce in range(1000):
        (submitted,) = miner.submit(nonce=nonce)
        weight = weigh(submitted.header, submitted.network_target)
        steps = miner.judged(weight)
        if weight.is_block:
            break
    (block,) = steps
    assert block.header == submitted.header and block.block_hash == weight.share_hash
    assert block.share.share_id and block.share.share_hash == weight.share_hash
    assert block.coinbase_tx[4:6] == b"\0\1" and block.coinbase_tx.endswith(
        b"\1\x20" + bytes(32) + (839_999).to_bytes(4, "little"))
    assert block.template is miner.jobs[0].template and block.height == 840_000 and block.user == "bob"
    assert miner.session.recorded([block.share.share_id]) == [
        mining.SubmitSharesSuccess(2, nonce, 1, 0)]


def test_a_share_that_could_not_be_recorded_is_refused_and_may_come_again():
    miner = Miner(1)
    miner.submit(), miner.submit()
    first, second = miner.judged(good(1), good(2))
    assert miner.session.recorded([second.share_id]) == []
    assert miner.session.not_recorded([first.share_id]) == [
        mining.SubmitSharesError(2, 0, "not-recorded"), ShareRefused(7, "bob", "not-recorded"),
        mining.SubmitSharesSuccess(2, 1, 1, 0)]
    miner.submit()
    assert isinstance(miner.judged(good(1))[0], ShareAccepted)
    miner.submit()
    assert miner.judged(good(2))[0].error_code == "duplicate-share"


def test_a_share_that_was_given_up_stays_seen_until_it_can_be_committed_no_more():
    miner = Miner(1)
    miner.submit()
    (first,) = miner.judged(good(1))
    assert miner.session.given_up([first.share_id]) == [
        mining.SubmitSharesError(2, 0, "not-recorded"), ShareRefused(7, "bob", "not-recorded")]
    assert miner.session.in_flight == 0
    miner.submit()
    assert miner.judged(good(1))[0].error_code == "duplicate-share"
    assert miner.session.not_recorded([first.share_id]) == [], "it was answered before"
    miner.submit()
    assert isinstance(miner.judged(good(1))[0], ShareAccepted)


def test_shares_of_a_closed_channel_are_judged_and_booked_but_not_answered():
    miner = Miner(1)
    miner.submit(), miner.submit()
    miner.session.receive(mining.CloseChannel(2, "bye"), START)
    accepted, refused = miner.judged(good(1), Weight(b"h" * 32, MAX_TARGET, False))
    assert isinstance(accepted, ShareAccepted) and isinstance(refused, ShareRefused)
    assert miner.session.recorded([accepted.share_id]) == []
    assert miner.submit()[0].error_code == "invalid-channel-id"


def test_jobs_that_are_out_keep_their_target_when_it_gets_harder():
    miner = Miner(1, nbits=HARD_NBITS)
    old = miner.session.receive(update(2, rate=0.0, max_target=1000), START)
    assert isinstance(old[0], mining.SetTarget)
    miner.submit(), miner.submit()
    accepted, error, _ = miner.judged(Weight(b"e" * 32, target_from_difficulty(1), False),
                                      Weight(b"f" * 32, target_from_difficulty(1) + 1, False))
    assert accepted.difficulty == pytest.approx(1.0)
    assert error.error_code == "difficulty-too-low"


# --- idle channels ----------------------------------------------------------------------------------------------------

def at(seconds):
    return START._replace(monotonic=START.monotonic + seconds, unix=START.unix + seconds)


@pytest.mark.parametrize(("rate", "ceiling", "limit_s"), [
    (0.0, MAX_TARGET, 600), (1e18, MAX_TARGET, 600),                # it could fall; a declared rate counts for nothing
    (0.0, target_from_difficulty(10**6), 86_400),                   # max_target holds it where it is
])
def test_how_long_the_first_share_may_take(rate, ceiling, limit_s):
    (job,) = make_jobs(1, nbits=0x17034219)
    session = ready_session(job=job)
    session.receive(open_standard(rate=rate, max_target=ceiling), START)
    assert session.close_idle(600.0, at(limit_s - 1)) == ([], at(limit_s).monotonic)
    (closed, line), first = session.close_idle(600.0, at(limit_s))
    assert closed == mining.CloseChannel(1, "no accepted share for too long") and first == math.inf
    assert (line.name, session.channels) == ("miner.closed", 0)


def test_a_thousand_idle_channels_are_one_line():
    session = ready_session()
    for number in range(MAX_CHANNELS):
        session.receive(open_standard(number), START)
    steps, _ = session.close_idle(600.0, at(86_400))
    assert sum(isinstance(step, mining.CloseChannel) for step in steps) == MAX_CHANNELS
    (line,) = [step for step in steps if isinstance(step, Happened)]
    assert dict(line.fields)["channels"] == MAX_CHANNELS


def test_who_mines_on_after_our_close_loses_the_connection_where_some_firmware_ignores_it():
    miner = Miner(1)
    miner.session.receive(open_standard(3), START)
    miner.submit(channel=2), miner.judged(GOOD)
    miner.session.close_idle(600.0, at(86_400))
    assert miner.session.channels == 0
    steps = [miner.submit(channel=channel, job_id=1) for channel in (2, 3) * MAX_DEAF_SHARES]
    assert all(each[0].error_code == "invalid-channel-id" for each in steps)
    closes = [number for number, each in enumerate(steps, 1) if isinstance(each[-1], Close)]
    assert closes == ([MAX_DEAF_SHARES] if dialect().ends_deaf else [])


def test_shares_for_a_channel_that_the_machine_closed_or_never_had_end_nothing():
    miner = Miner(1)
    miner.session.receive(mining.CloseChannel(2, "bye"), START)
    steps = [miner.submit(channel=channel, job_id=1) for channel in (2, 9) * 2 * MAX_DEAF_SHARES]
    assert not [step for step in chain(*steps) if isinstance(step, Close)]


def test_a_user_whose_name_is_an_unpaid_address_is_warned_of():
    context = replace(make_context(), names=FreeNames(lambda user, now: user == "bc1qaddress"))
    session = ready_session(context=context)
    steps = [*session.receive(open_standard(user="bc1qaddress.rig1"), START),
             *session.receive(open_standard(user="alice.rig1"), START)]
    (warning,) = [step for step in steps if isinstance(step, Happened) and step.name == "user.unpaid"]
    assert warning.level == "warning" and warning.fields[0] == ("user", "bc1qaddress")

"""Jobs for groups of channels, and the pace at which they come: the session of a profile that has both."""

from __future__ import annotations

import pytest

from tests.mining.makers import HARD_NBITS, make_factory, make_template, make_tip
from tests.sv2.pairs import START, make_context
from tests.sv2.profiles import in_spec  # noqa: F401
from tests.sv2.test_server import open_extended, open_standard, ready_session, update
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.target import target_from_difficulty
from warppool.events import Now, ShareAccepted, ShareSubmitted
from warppool.mining.channeljob import MAX_JOBS_PER_TIP
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.group import GROUP_IDS
from warppool.mining.share import Weight
from warppool.sv2.frame import CHANNEL_BIT, FrameReader
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from warppool.sv2.opening import MAX_OPENS
from warppool.sv2.profile import SPEC, Subprotocol
from warppool.sv2.server import REQUIRES_STANDARD_JOBS
from warppool.sv2.types import Message

ONE = target_from_difficulty(1)
LEAST, MOST, SETTLING = SPEC.pace
EXTENDED, STANDARD = GROUP_IDS + 8, GROUP_IDS           # the groups' ids


def later(seconds: float) -> Now:
    return Now(START.monotonic + seconds, START.unix + seconds)


class Peer:
    """A machine's end of a session: what it hears, and which work it has."""

    def __init__(self, flags: int = 0, context=None) -> None:
        self.factory = make_factory({SPEC.name: lambda job: EncodedJob(SPEC, job)})
        self.session = ready_session(flags=flags, context=context or make_context())
        self.number = self.shares = 0
        self.offer(1)

    def job(self, tip=1):
        return self.factory.make(make_template(make_tip(tip, HARD_NBITS)), now=START.unix)

    def hear(self, steps) -> list[Message]:
        self.events = [step for step in steps if not isinstance(step, (bytes, Message))]
        heard = []
        for step in steps:
            if isinstance(step, Message):
                step = SPEC.encode(step)
            if isinstance(step, bytes):
                for frame in FrameReader(1 << 20).feed(step):
                    heard.append(SPEC.decode(Subprotocol.MINING, frame))
        return heard

    def offer(self, tip=1, at=0.0) -> list[Message]:
        self.latest = self.job(tip)
        return self.hear(self.session.offer(self.latest, later(at)))

    def tick(self, at) -> list[Message]:
        return self.hear(self.session.tick(later(at)))

    def open(self, size=8, at=0.0, **said):
        self.number += 1
        ask = open_extended(self.number, size=size, **said) if size else open_standard(self.number, **said)
        return self.hear(self.session.receive(ask, later(at)))

    def update(self, channel_id, at, **said):
        return self.hear(self.session.receive(update(channel_id, **said), later(at)))

    def submit(self, channel_id, job_id, nonce=0, ntime=None, size=8):
        """The header that the pool builds of a share; None where it builds none, and the answer is in `answer`."""
        ntime = self.latest.ntime if ntime is None else ntime
        share = (SubmitSharesExtended(channel_id, nonce, job_id, nonce, ntime, self.latest.version, bytes(size))
                 if size else SubmitSharesStandard(channel_id, nonce, job_id, nonce, ntime, self.latest.version))
        steps = self.session.receive(share, START)
        self.answer = self.hear(steps)
        return next((step.header for step in steps if isinstance(step, ShareSubmitted)), None)

    def judge(self, value, at=0.0, share_hash=b"h" * 32):
        """What a share whose hash has this value leads to: its credit, or why it is refused."""
        steps = self.session.judged([Weight(share_hash, value, False)], later(at))
        (accepted,) = [step.difficulty for step in steps if isinstance(step, ShareAccepted)] or [None]
        heard = self.hear(steps)
        return accepted if accepted is not None else heard[0].error_code


def jobs_of(heard):
    return [message for message in heard if isinstance(message, (NewMiningJob, NewExtendedMiningJob))]


def jobs_of_tip(heard):
    """The job of a new tip and its SetNewPrevHash, without the targets before them."""
    return [message for message in heard if not isinstance(message, SetTarget)]


def kinds(heard):
    return [(type(message).__name__, message.channel_id) for message in heard]


def root(coinbase: bytes, path) -> bytes:
    found = double_sha256(coinbase)
    for sibling in path:
        found = double_sha256(found + sibling)
    return found


# --- groups -----------------------------------------------------------------------------------------------------------

def test_an_open_names_the_group_of_its_size_and_brings_the_channel_s_first_job_on_its_own_id():
    peer = Peer()
    success, job, tip = peer.open()
    assert isinstance(success, OpenExtendedMiningChannelSuccess) and success.group_channel_id == EXTENDED
    assert kinds([job, tip]) == [("NewExtendedMiningJob", 1), ("SetNewPrevHash", 1)] and tip.job_id == job.job_id
    success, job, tip = peer.open(size=0)
    assert isinstance(success, OpenStandardMiningChannelSuccess) and success.group_channel_id == STANDARD
    assert kinds([job, tip]) == [("NewMiningJob", 2), ("SetNewPrevHash", 2)]
    assert peer.open()[0].group_channel_id == EXTENDED
    assert peer.open(size=12)[0].group_channel_id == GROUP_IDS + 12, "another size is another group"


def test_ids_of_channels_and_of_groups_never_meet():
    assert MAX_OPENS <= GROUP_IDS


def test_a_new_tip_is_one_job_and_one_prevhash_for_each_group_with_the_channel_bit():
    peer = Peer()
    for size in (8, 0, 8, 8, 0):
        peer.open(size)
    steps = [step for step in peer.session.offer(peer.job(2), later(1)) if isinstance(step, bytes)]
    frames = [frame for step in steps for frame in FrameReader(1 << 20).feed(step)]
    assert all(step[:2] == CHANNEL_BIT.to_bytes(2, "little") for step in steps)
    heard = [SPEC.decode(Subprotocol.MINING, frame) for frame in frames]
    assert kinds(heard) == [("NewExtendedMiningJob", EXTENDED), ("SetNewPrevHash", EXTENDED),
                            ("NewExtendedMiningJob", STANDARD), ("SetNewPrevHash", STANDARD)]
    assert heard[0].min_ntime is None and heard[1].job_id == heard[0].job_id
    assert [heard[0].job_id, heard[2].job_id] == [6, 7], "five first jobs came before"


def test_a_job_on_the_same_tip_is_active_and_comes_without_a_prevhash():
    peer = Peer()
    peer.open()
    fresh = peer.job()
    (job,) = peer.hear(peer.session.offer(fresh, later(LEAST)))[-1:]
    assert kinds([job]) == [("NewExtendedMiningJob", EXTENDED)] and job.min_ntime == fresh.ntime
    assert int.from_bytes(job.coinbase_tx_prefix[-4:], "big") == fresh.counter, "that of all, since nobody had it"


@pytest.mark.parametrize("size", [0, 8, 28])
def test_each_member_s_share_on_the_group_s_key_has_the_header_that_the_member_builds(size):
    peer = Peer()
    opened = [peer.open(size)[0] for _ in range(3)]
    job, tip = peer.offer(2, at=1)
    headers = []
    for success in opened:
        coinbase = job.coinbase_tx_prefix + success.extranonce_prefix + bytes(size) + job.coinbase_tx_suffix
        header = pack_header(job.version, tip.prev_hash, root(coinbase, job.merkle_path), tip.min_ntime, tip.nbits, 9)
        assert peer.submit(success.channel_id, job.job_id, 9, size=size) == header
        assert peer.judge(5) == pytest.approx(1.0)
        headers.append(header)
    assert len(set(headers)) == 3, "no two members can have one header"


def test_a_peer_that_requires_standard_jobs_has_no_groups():
    peer = Peer(REQUIRES_STANDARD_JOBS)
    opened = [peer.open(0)[0] for _ in range(2)]
    assert [success.group_channel_id for success in opened] == [0, 0]
    assert kinds(peer.offer(2, at=1)) == [("NewMiningJob", 1), ("SetNewPrevHash", 1),
                                          ("NewMiningJob", 2), ("SetNewPrevHash", 2)]
    assert peer.offer(2, at=2) == []
    heard = [message for message in peer.tick(31) if not isinstance(message, SetTarget)]
    assert kinds(heard) == [("NewMiningJob", 1), ("NewMiningJob", 2)] and all(job.min_ntime for job in heard)


def test_a_group_without_members_gets_nothing_and_one_that_begins_anew_knows_its_tip():
    peer = Peer()
    peer.open()
    peer.open(0)
    peer.offer(2, at=1)
    peer.session.receive(CloseChannel(1, ""), later(2))
    assert kinds(peer.offer(3, at=3)) == [("NewExtendedMiningJob", STANDARD), ("SetNewPrevHash", STANDARD)]
    peer.open(at=4)
    heard = [message for message in peer.offer(3, at=40) if not isinstance(message, SetTarget)]
    assert kinds(heard) == [("NewExtendedMiningJob", STANDARD), ("NewExtendedMiningJob", EXTENDED)], "no prevhash"


def test_a_group_that_everybody_left_is_gone_and_holds_no_jobs():
    peer = Peer()
    for size in (*range(8, 29), 28):
        peer.open(size)
    peer.offer(2, at=1)
    for number in range(1, peer.number):
        peer.session.receive(CloseChannel(number, ""), later(2))
    assert [size for size, _ in peer.session._course._groups] == [28]
    assert kinds(peer.offer(3, at=3)) == [("NewExtendedMiningJob", GROUP_IDS + 28), ("SetNewPrevHash", GROUP_IDS + 28)]


@pytest.mark.parametrize("size", [0, 8])
def test_a_job_for_a_group_costs_the_same_however_many_its_members_are(size, monkeypatch):
    said = []
    for members in (1, 300):
        peer = Peer()
        for _ in range(members):
            peer.open(size)
        with monkeypatch.context() as patch:
            patch.setattr(CoinbaseCounters, "take", None)
            said.append(b"".join(peer.session.offer(peer.job(2), later(1))))
        assert all(not each.channel.jobs for each in peer.session._channels.values()), "nothing of it is made yet"
    assert len(said[0]) == len(said[1])


def test_job_ids_rise_by_one_over_groups_and_channels():
    peer, ids = Peer(), []
    for step in (lambda: peer.open(), lambda: peer.open(0), lambda: peer.offer(2, at=1), lambda: peer.open(at=2),
                 lambda: peer.update(1, 3, rate=1e12), lambda: peer.offer(3, at=4), lambda: peer.tick(4 + MOST)):
        ids += [message.job_id for message in step() if isinstance(message, (NewMiningJob, NewExtendedMiningJob))]
    assert ids == list(range(1, len(ids) + 1)) and len(ids) == 10


# --- credit -----------------------------------------------------------------------------------------------------------


def test_a_member_is_held_to_its_own_target_of_the_moment_when_the_key_was_assigned():
    peer = Peer()
    for _ in range(3):
        peer.open(max_target=ONE)
    peer.update(2, 1, max_target=ONE >> 4)
    job, _ = peer.offer(2, at=2)
    peer.update(3, 3, max_target=ONE >> 6)          # after the key
    peer.update(2, 3, max_target=ONE)               # and easier again
    for channel_id, value, verdict in (
            (1, ONE, 1.0), (1, ONE + 1, "difficulty-too-low"), (3, ONE, 1.0),
            (2, ONE >> 4, 16.0), (2, (ONE >> 4) + 1, 0.0), (2, ONE, 0.0), (2, ONE + 1, "difficulty-too-low")):
        peer.submit(channel_id, job.job_id)
        found = peer.judge(value, 4, bytes([channel_id]) + value.to_bytes(31, "big"))
        assert found == (pytest.approx(verdict, rel=1e-3) if isinstance(verdict, float) else verdict)


def test_a_key_from_before_a_member_joined_is_none_of_its_own():
    peer = Peer()
    peer.open()
    before, _ = peer.offer(2, at=1)
    success, own, _ = peer.open(at=2)
    assert peer.submit(2, before.job_id) is None and peer.answer[0].error_code == "invalid-job-id"
    assert peer.submit(1, own.job_id) is None and peer.answer[0].error_code == "invalid-job-id", "nor a stranger's"
    after, _ = peer.offer(3, at=3)
    assert peer.submit(2, after.job_id) is not None
    peer.offer(2, at=4)                             # the first tip is back, with its keys
    assert peer.submit(2, before.job_id) is None
    assert peer.submit(1, before.job_id) is not None


def test_a_share_counts_once_whatever_the_tip_does():
    peer = Peer()
    peer.open()
    job, _ = peer.offer(2, at=1)
    peer.submit(1, job.job_id)
    assert peer.judge(5) == pytest.approx(1.0)
    for tip, verdict in ((3, "stale-share"), (2, "duplicate-share"), (3, "stale-share"), (2, "duplicate-share")):
        peer.offer(tip, at=2)
        peer.submit(1, job.job_id)
        assert peer.judge(5) == verdict
    peer.offer(3, at=3), peer.offer(4, at=4)
    assert peer.submit(1, job.job_id) is None, "two tips later nobody knows it"
    peer.offer(2, at=5)
    assert peer.submit(1, job.job_id) is None, "nor when its tip comes back"


def test_a_key_is_found_for_two_tips_and_no_longer_whenever_its_first_share_came():
    peer = Peer()
    peer.open()
    job, _ = peer.offer(2, at=1)
    peer.offer(3, at=2)
    peer.submit(1, job.job_id)
    assert peer.judge(5) == "stale-share"
    peer.offer(4, at=3)
    assert peer.submit(1, job.job_id) is None and peer.answer[0].error_code == "invalid-job-id"


def test_a_tip_that_comes_back_with_other_nbits_brings_no_keys_back():
    peer, keys = Peer(), []
    peer.open()
    for at, nbits in enumerate((HARD_NBITS, HARD_NBITS - 1, HARD_NBITS - 2)):
        made = peer.factory.make(make_template(make_tip(2, nbits)), now=START.unix)
        job, _ = jobs_of_tip(peer.hear(peer.session.offer(made, later(at))))
        keys.append(job.job_id)
    assert peer.submit(1, keys[0]) is None and peer.submit(1, keys[1]) is not None


def test_what_a_group_and_its_members_keep_of_one_tip_is_bounded():
    peer = Peer()
    peer.open(max_target=ONE)
    channel = peer.session._channels[1].channel
    for number in range(1, MAX_JOBS_PER_TIP):
        peer.update(1, 1, rate=1e12 if number % 2 else 1e15)
    (job,) = jobs_of(peer.offer(1, at=LEAST + 1))
    assert len(channel.jobs) == MAX_JOBS_PER_TIP
    assert peer.submit(1, job.job_id) is not None and len(channel.jobs) == MAX_JOBS_PER_TIP
    first = job.job_id
    for number in range(2, MAX_JOBS_PER_TIP + 3):
        peer.offer(1, at=(LEAST + 1) * number)
    assert len(channel.membership.group._jobs) == MAX_JOBS_PER_TIP
    assert channel.membership.group.find(first) == (None, True)


def test_a_key_that_a_member_has_forgotten_with_its_shares_does_not_come_back():
    peer = Peer()
    peer.open()
    job, _ = peer.offer(2, at=1)
    peer.submit(1, job.job_id)
    assert peer.judge(5) == pytest.approx(1.0)
    for number in range(300):                       # jobs of its own push the oldest out
        peer.update(1, 2, rate=1e12 if number % 2 else 1e15)
    assert peer.submit(1, job.job_id) is None and peer.answer[0].error_code == "invalid-job-id"


def test_what_a_member_remembers_of_its_targets_is_bounded():
    peer = Peer()
    peer.open()
    membership = peer.session._channels[1].channel.membership
    peer.offer(2, at=0)
    for number in range(100):
        peer.update(1, 0, rate=1e12 if number % 2 else 1e15)
    assert len(membership._targets) == 2, "that of the group's key, and that of the next"
    for number in range(2000):
        peer.update(1, number, rate=1e12 if number % 2 else 1e15)
        if number % 3 == 0:
            peer.offer(number % 7, at=number)
    assert len(membership._targets) == len(membership._first_keys) <= 10


def test_an_easier_target_counts_for_a_group_s_key_though_the_member_has_brought_nothing_yet():
    peer = Peer()
    peer.open(max_target=ONE)
    peer.update(1, 1, max_target=ONE >> 4)
    peer.offer(2, at=2)
    job, _ = peer.offer(3, at=3)                    # the first job, which was its own, is forgotten
    peer.update(1, 4, max_target=ONE)
    peer.submit(1, job.job_id)
    assert peer.judge(ONE, 4) == 0.0

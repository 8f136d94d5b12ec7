"""What auditors found in another implementation of Sv2 channels, asked of ours, once for each profile.

The findings are public: stratum-mining/stratum, pull requests 2303 and 2336 and what they close, and the issues of
sv2-apps beside them. Each test names its finding by its number there.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from tests.madman import PlainPair, plain_context, plain_jobs
from tests.mining.makers import EASY_NBITS, HARD_NBITS, make_template, make_tip
from tests.sv2.pairs import MAX_TARGET, dialect
from tests.sv2.profiles import profile  # noqa: F401
from warppool.bitcoin.target import target_from_difficulty, target_from_nbits
from warppool.bitcoin.transaction import whole_transaction
from warppool.errors import RemoteProtocolError
from warppool.events import BlockFound, Now, ShareRefused
from warppool.mining.share import weigh
from warppool.sv2.client import (
    ChannelOpened,
    MiningClientSession,
    OpenRefused,
    ShareRejected,
    SharesAccepted,
    WorkReady,
)
from warppool.sv2.messages import mining
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.types import Message

LATER_S = 31.0                  # after which a job of the same tip may follow the one before in every profile


class World(PlainPair):
    """A miner on a server, in the profile of the run; `works` has all that the miner was ever given."""

    def __init__(self, *tips, nbits=EASY_NBITS, flags=0):
        self.context = plain_context(dialect())
        super().__init__(self.context, flags)
        self.talk()
        self.jobs = plain_jobs(dialect(), *tips, nbits=nbits)
        self.offer(self.jobs[0])

    @property
    def works(self):
        return [event.work for event in self.heard if isinstance(event, WorkReady)]

    def ask(self, *messages):
        self.miner.send(*messages)
        return self.talk()

    def open(self, *, is_standard=False, rate=0.0, max_target=MAX_TARGET, size=8):
        """The id of a new channel, None where it is refused."""
        session = self.miner.session
        message = (session.open_standard("u", rate, max_target) if is_standard else
                   session.open_extended("u", rate, max_target, size))
        answer = next(event for event in self.ask(message) if isinstance(event, ChannelOpened | OpenRefused))
        return answer.channel_id if isinstance(answer, ChannelOpened) else None

    def after(self, seconds, *jobs):
        """Time passes, and these jobs are offered."""
        self.now = Now(self.now.monotonic + seconds, self.now.unix + seconds)
        for job in jobs:
            self.offer(job)
        self.deliver(self.server.tick(self.now))

    def newest(self, channel_id):
        return [work for work in self.works if work.channel_id == channel_id][-1]

    def submit(self, work, nonce, extranonce=b"", version=None, ntime=None):
        """Send a share, have it judged and recorded: what the miner hears."""
        version = work.version if version is None else version
        self.ask(self.miner.session.submit(work, extranonce.ljust(work.extranonce_size, b"\0"), version,
                                           work.min_ntime if ntime is None else ntime, nonce))
        before = len(self.heard)
        self.judge()
        self.record()
        return self.heard[before:]

    def mine(self, work, *, is_block, version=None, ntime=None):
        """A nonce of a header that meets the network's target, or does not."""
        version = work.version if version is None else version
        ntime = work.min_ntime if ntime is None else ntime
        network = target_from_nbits(work.nbits)
        return next(nonce for nonce in range(1 << 20) if is_block == weigh(
            work.header(bytes(work.extranonce_size), version, ntime, nonce), network).is_block)

    def blocks(self):
        return [event for event in self.events if isinstance(event, BlockFound)]


def codes(heard):
    return [event.error_code for event in heard if isinstance(event, ShareRejected)]


# --- shares said again ------------------------------------------------------------------------------------------------

def test_no_header_belongs_to_two_keys_whatever_jobs_tips_and_channels_come_and_go():
    """2329, 2396, 2330, 2260: a proof that was credited once is no share under another job id, of another channel, on a
    tip that comes back, or after its seen-set is gone.
    """
    world = World(1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 1, 1)
    channels = [world.open(is_standard=each % 2 == 1, size=8) for each in range(4)]
    for number, job in enumerate(world.jobs[1:]):
        world.after(LATER_S, job)
        world.ask(mining.UpdateChannel(channels[0], 1e12 / (number + 1), b"\xff" * 32))
        world.ask(world.miner.session.close_channel(channels[1], "enough"))     # its prefix may come back
        channels[1] = world.open(is_standard=True)
    works = world.works
    assert len(works) > 40
    assert len({work.job_id for work in works if work.channel_id == channels[0]}) == len(
        [work for work in works if work.channel_id == channels[0]])
    headers = {}
    for work in works:
        header = work.header(bytes(work.extranonce_size), 0x20000000, 1_700_000_500, 7)
        assert headers.setdefault(header, (work.channel_id, work.job_id)) == (work.channel_id, work.job_id)
    assert len(headers) == len({(work.channel_id, work.job_id) for work in works})


def test_a_block_said_again_is_a_duplicate_and_no_second_block():
    """2096."""
    world = World(1)
    work = world.newest(world.open())
    nonce = world.mine(work, is_block=True)
    assert isinstance(world.submit(work, nonce)[0], SharesAccepted)
    assert codes(world.submit(work, nonce)) == ["duplicate-share"]
    assert len(world.blocks()) == 1


def test_a_share_said_again_after_its_tip_came_back_is_a_duplicate():
    """2396."""
    world = World(1, 2, 1)
    work = world.newest(world.open())
    nonce = world.mine(work, is_block=True)
    assert isinstance(world.submit(work, nonce)[0], SharesAccepted)
    world.after(LATER_S, world.jobs[1])
    assert codes(world.submit(work, nonce)) == ["stale-share"]
    world.after(LATER_S, world.jobs[2])
    assert codes(world.submit(work, nonce)) == ["duplicate-share"]
    again = world.newest(work.channel_id)
    assert again.prev_hash == work.prev_hash
    seen = [event for event in world.submit(again, nonce) if isinstance(event, SharesAccepted)]
    header = again.header(bytes(8), again.version, again.min_ntime, nonce)
    assert bool(seen) == (weigh(header, 0).value <= again.target)       # its own hash decides, not the one before


# --- times, versions, targets -----------------------------------------------------------------------------------------

def test_a_share_is_held_to_the_time_of_its_own_job():
    """2332, 2298, 2299: the job's first time, and two hours past it, whatever the tip allowed."""
    world = World(1, 1)
    channels = [world.open(), world.open(is_standard=True)]
    first = world.newest(channels[0]).min_ntime
    world.after(LATER_S, replace(world.jobs[1], ntime=first + 30, encodings={}))
    for channel_id in channels:
        work = world.newest(channel_id)
        assert work.min_ntime == first + 30
        for ntime in (first, first + 29, int(world.now.unix) + 7201):
            assert codes(world.submit(work, world.mine(work, is_block=False, ntime=ntime), ntime=ntime)) == [
                "invalid-share"]
        for ntime in (first + 30, int(world.now.unix) + 7200):
            assert "invalid-share" not in codes(world.submit(work, 5, ntime=ntime))


def test_a_job_that_forbids_rolled_versions_says_so_to_every_channel_and_is_held_to_it():
    """2341, 2236: in a group, too."""
    world = World(1, 1, 2)
    channels = [world.open(), world.open(), world.open(is_standard=True)]
    for number, job in enumerate(world.jobs[1:]):
        world.after(LATER_S, replace(job, version_mask=0, encodings={}, ntime=job.ntime + number))
        for channel_id in channels:
            work = world.newest(channel_id)
            assert work.extranonce_size == 0 or work.version_mask == 0
            version = work.version ^ 1 << 13
            nonce = world.mine(work, is_block=False, version=version)
            assert codes(world.submit(work, nonce, version=version)) == ["version-rolling-not-allowed"]


@pytest.mark.parametrize("max_target", [1, 2**64, 2**200])
def test_a_block_above_the_channels_own_target_is_credited_nothing(max_target):
    """2333, 2395: a target that no hash can meet makes no work of a block; the sums fit their fields."""
    world = World(1)
    channel_id = world.open(max_target=max_target)
    work = world.newest(channel_id)
    assert 0 < work.target <= max_target
    (accepted,) = world.submit(work, world.mine(work, is_block=True))
    assert (accepted.news, accepted.difficulty) == (1, 0)
    (block,) = world.blocks()
    assert block.share.difficulty == 0.0


def test_a_target_of_zero_is_refused_at_the_boundary():
    """2333."""
    world = World(1)
    assert world.open(max_target=0) is None
    channel_id = world.open()
    before = world.newest(channel_id)
    world.ask(mining.UpdateChannel(channel_id, 1e12, bytes(32)))
    assert world.newest(channel_id) == before                   # as if nothing had been said


@pytest.mark.parametrize("rate", [0.0, 1e-30, 1e-3])
def test_no_channel_is_easier_than_the_operator_allows(rate):
    """sv2-apps 799: who declares nothing, and takes every target, is given the least that the pool gives."""
    world = World(1, nbits=HARD_NBITS)
    easiest = target_from_difficulty(Fraction(1, 1000))
    for is_standard in (False, True):
        channel_id = world.open(rate=rate, is_standard=is_standard)
        assert world.newest(channel_id).target <= easiest
        world.ask(mining.UpdateChannel(channel_id, rate, b"\xff" * 32))
        assert world.newest(channel_id).target <= easiest
    for rate_of_none in (float("nan"), float("inf"), -1.0):
        assert world.open(rate=rate_of_none) is None


# --- coinbases --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("has_witness", [True, False])
def test_a_blocks_coinbase_has_the_reserved_witness_where_its_template_commits_and_nowhere_else(has_witness):
    """2331, 2397, 2300: one input that spends nothing, one witness item of 32 bytes, and every byte accounted for."""
    world = World(1)
    template = make_template(make_tip(2, EASY_NBITS))
    if not has_witness:
        template = replace(template, coinbase_tx_outputs=b"", coinbase_tx_outputs_count=0)
    (job,) = plain_jobs(dialect(), 2, nbits=EASY_NBITS)
    channels = [world.open(), world.open(is_standard=True)]
    world.after(LATER_S, replace(job, job_id=9, template=template, tip=template.tip) if not has_witness else
                replace(job, job_id=9))
    for number, channel_id in enumerate(channels, 1):
        work = world.newest(channel_id)
        world.submit(work, world.mine(work, is_block=True))
        assert len(world.blocks()) == number
        coinbase = world.blocks()[-1].coinbase_tx
        read = whole_transaction(coinbase)
        assert (read.txid != read.wtxid) == has_witness
        assert (coinbase[4:6] == b"\x00\x01") == has_witness
        stripped = coinbase[:4] + coinbase[6:-38] + coinbase[-4:] if has_witness else coinbase
        assert stripped[4:41] == b"\x01" + bytes(32) + b"\xff" * 4
        assert not has_witness or coinbase[-38:-4] == b"\x01\x20" + bytes(32)


# --- capacity ---------------------------------------------------------------------------------------------------------

def test_a_connection_without_a_prefix_left_refuses_the_open_and_mines_on():
    """sv2-apps 730: of both kinds, and the others on the worker notice nothing."""
    world = World(1)
    channel_id = world.open()
    world.context.prefixes._next = 1 << 24
    world.context.prefixes._free = world.context.prefixes._free[:0]
    assert [world.open(), world.open(is_standard=True)] == [None, None]
    assert world.close is None
    work = world.newest(channel_id)
    assert isinstance(world.submit(work, world.mine(work, is_block=True))[0], SharesAccepted)


def test_members_of_one_group_have_extranonces_of_one_length():
    """2234, sv2-apps 830: what does not fit a group is in another one, and each can mine what it is sent."""
    world = World(1, 1, 2)
    channels = [world.open(size=8), world.open(size=8), world.open(size=20), world.open(is_standard=True)]
    for job in world.jobs[1:]:
        world.after(LATER_S, job)
        for channel_id in channels:
            work = world.newest(channel_id)
            world.submit(work, world.mine(work, is_block=True))
    assert len(world.blocks()) == 2 * len(channels)
    assert not [event for event in world.events if isinstance(event, ShareRefused)]


# --- the miner's side -------------------------------------------------------------------------------------------------

def client(*said):
    """A miner with one extended channel, 1, on which it was told these."""
    session = MiningClientSession(dialect())
    session.receive(SetupConnectionSuccess(2, 0))
    session.open_extended("u", 0.0, MAX_TARGET, 4)
    session.receive(mining.OpenExtendedMiningChannelSuccess(1, 1, b"\xff" * 32, 8, bytes(4), 0))
    for message in said:
        session.receive(message)
    return session


def job(job_id, min_ntime=None, prefix=b"\x02\0\0\0\x01" + bytes(32) + b"\xff" * 4) -> Message:
    return mining.NewExtendedMiningJob(1, job_id, min_ntime, 0x20000000, True, (), prefix, bytes(40))


def tip(job_id, min_ntime=1_000):
    return mining.SetNewPrevHash(1, job_id, bytes(32), min_ntime, EASY_NBITS)


@pytest.mark.parametrize("flag", [1, 2, 0xFF])
def test_a_job_with_a_witness_marker_is_refused(flag):
    """2331: its hash would be the wtxid, so that nothing mined on it counts."""
    session = client(job(1), tip(1))
    with pytest.raises(RemoteProtocolError, match="witness"):
        session.receive(job(2, prefix=b"\x02\0\0\0\x00" + bytes([flag]) + b"\x01" + bytes(40)))


def test_a_tip_for_an_unknown_job_is_refused_and_changes_nothing():
    """2254, sv2-spec 208."""
    session = client(job(1), tip(1))
    with pytest.raises(RemoteProtocolError, match="job 9"):
        session.receive(tip(9, 5_000))
    (ready,) = session.receive(job(3, 1_000))
    assert ready.work.min_ntime == 1_000


def test_another_target_counts_for_a_future_job_and_not_for_one_that_is_hashed():
    """2256, 1981."""
    session = client(job(1), job(2))
    session.receive(mining.SetTarget(1, (77).to_bytes(32, "little")))
    (ready,) = session.receive(tip(2))
    assert ready.work.target == 77
    session.receive(mining.SetTarget(1, (88).to_bytes(32, "little")))
    assert ready.work.target == 77


def test_a_job_starts_at_its_own_time():
    """2298 and the review of 2336: the time of the job that a share names is its bound, not that of the tip."""
    session = client(job(1), tip(1, 1_000))
    assert [session.receive(job(2, ntime))[0].work.min_ntime for ntime in (999, 1_001)] == [999, 1_001]
    assert session.receive(job(3)) == [] and session.receive(tip(3, 1_005))[0].work.min_ntime == 1_005

"""Group channels at the client's end: what a pool says to a group counts for every channel in it."""

from __future__ import annotations

import pytest

from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.errors import RemoteProtocolError
from warppool.sv2.client import (
    ChannelClosed,
    ChannelOpened,
    ExtensionsAgreed,
    ExtensionsVoid,
    MiningClientSession,
    Regrouped,
    SetUp,
    TargetChanged,
    WorkReady,
)
from warppool.sv2.messages.common import ChannelEndpointChanged, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsSuccess
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
)
from warppool.sv2.profile import SPEC
from warppool.sv2.work import MAX_FUTURE_JOBS

TARGET = 2**240
GROUP = 1
NTIME = 0x65000000


def target_bytes(target):
    return target.to_bytes(32, "little")


def job(number, channel_id=GROUP, min_ntime=None, *, rolls=True, path=(b"\x22" * 32,)):
    return NewExtendedMiningJob(
        channel_id=channel_id, job_id=number, min_ntime=min_ntime, version=0x20000000, version_rolling_allowed=rolls,
        merkle_path=path, coinbase_tx_prefix=b"head" + bytes([number % 256]), coinbase_tx_suffix=b"tail")


def tip(number, channel_id=GROUP, prev=1):
    return SetNewPrevHash(channel_id=channel_id, job_id=number, prev_hash=bytes([prev]) * 32, min_ntime=NTIME,
                          nbits=0x1D00FFFF)


class Pool:
    """A pool of the test's making: its messages go straight into the session."""

    def __init__(self, flags=0):
        self.client = MiningClientSession(SPEC)
        self.heard = self.say(SetupConnectionSuccess(2, flags))

    def say(self, *messages):
        return [event for message in messages for event in self.client.receive(message)]

    def open(self, channel_id, group=GROUP, prefix=None, size=16):
        """An extended channel as SRI's pool opens it; a standard one where nothing is to be rolled."""
        prefix = channel_id.to_bytes(4, "big") if prefix is None else prefix
        if not size:
            request = self.client.open_standard("alice", 1e12, TARGET)
            return self.say(OpenStandardMiningChannelSuccess(
                request.request_id, channel_id, target_bytes(TARGET), prefix, group))
        request = self.client.open_extended("alice", 1e12, TARGET, 4)
        return self.say(OpenExtendedMiningChannelSuccess(
            request.request_id, channel_id, target_bytes(TARGET), size, prefix, group))

    def start(self, *channels, **wish):
        """Channels with a tip of their own, as SRI's pool gives their first job."""
        for channel_id in channels:
            self.open(channel_id, **wish)
            self.say(job(1, channel_id), tip(1, channel_id))
        return self


def works(events):
    assert all(isinstance(event, WorkReady) for event in events)
    return {event.work.channel_id: event.work for event in events}


def test_a_future_job_and_its_tip_on_the_group_are_work_for_every_member():
    pool = Pool().start(2, 3)
    assert pool.say(job(7)) == []
    given = pool.say(tip(7, prev=9))
    assert [event.is_new_tip for event in given] == [True, True]
    mine = works(given)
    assert list(mine) == [2, 3] and {work.job_id for work in mine.values()} == {7}
    assert {work.prev_hash for work in mine.values()} == {b"\x09" * 32}
    assert [work.extranonce_prefix for work in mine.values()] == [b"\0\0\0\x02", b"\0\0\0\x03"]
    share = pool.client.submit(mine[3], bytes(16), 0x20000000, NTIME, 5)
    assert (share.channel_id, share.job_id, share.sequence_number) == (3, 7, 0)


def test_a_job_on_the_group_is_mined_at_once_on_each_members_tip():
    pool = Pool().start(2, 3)
    pool.say(job(7), tip(7, prev=9))
    given = pool.say(job(8, min_ntime=NTIME + 30))
    assert [event.is_new_tip for event in given] == [False, False]
    assert {(work.job_id, work.min_ntime, work.prev_hash[0]) for work in works(given).values()} == {
        (8, NTIME + 30, 9)}


def test_a_member_without_a_tip_waits_for_its_first_one():
    pool = Pool().start(2)
    pool.open(3)
    assert list(works(pool.say(job(7, min_ntime=NTIME)))) == [2]
    assert list(works(pool.say(job(8), tip(8)))) == [2, 3]


def test_who_joins_behind_a_future_job_gets_it_with_the_tip():
    pool = Pool().start(2)
    pool.say(job(7))
    pool.open(3)
    assert list(works(pool.say(tip(7)))) == [2, 3]


def test_a_job_of_the_group_may_get_the_tip_of_one_channel():
    pool = Pool().start(2, 3)
    pool.say(job(7))
    assert list(works(pool.say(tip(7, channel_id=3)))) == [3]
    assert list(works(pool.say(tip(7)))) == [2, 3]          # the group's own tip finds it, too


def test_numbers_of_the_groups_jobs_may_be_those_of_a_channels_own():
    """SRI's pool counts the jobs of each channel and of each group from 1."""
    pool = Pool().start(2)
    pool.say(job(1))
    (work,) = works(pool.say(tip(1, prev=9))).values()
    assert work.prev_hash == b"\x09" * 32 and work.job_id == 1


def test_a_target_for_the_group_counts_for_all_members():
    pool = Pool().start(2, 3, 4)
    assert pool.say(SetTarget(GROUP, target_bytes(77))) == [TargetChanged(each, 77) for each in (2, 3, 4)]
    assert pool.say(SetTarget(3, target_bytes(88))) == [TargetChanged(3, 88)]
    assert {each: work.target for each, work in works(pool.say(job(7), tip(7))).items()} == {2: 77, 3: 88, 4: 77}


def test_closing_a_group_closes_its_channels():
    pool = Pool().start(2, 3)
    pool.start(4, group=9)
    assert pool.say(CloseChannel(GROUP, "enough")) == [ChannelClosed(2, "enough"), ChannelClosed(3, "enough")]
    assert pool.say(job(7), tip(7), CloseChannel(GROUP, "again")) == []
    assert list(works(pool.say(job(8, 9), tip(8, 9)))) == [4]


def test_a_channel_that_is_closed_leaves_its_group():
    pool = Pool().start(2, 3)
    pool.say(CloseChannel(2, "enough"))
    assert list(works(pool.say(job(7), tip(7)))) == [3]
    pool.client.close_channel(3, "machine left")
    assert pool.say(job(8), tip(8), SetTarget(GROUP, target_bytes(1))) == []


def test_no_group_is_no_group():
    pool = Pool().start(2, 3, group=0)
    assert pool.say(job(7, 0), tip(7, 0), SetTarget(0, target_bytes(1)), CloseChannel(0, "")) == []
    assert list(works(pool.say(job(7, 2), tip(7, 2)))) == [2]


# -- groups change -----------------------------------------------------------------------------------------------------

def test_set_group_channel_moves_channels():
    pool = Pool().start(2, 3, 4)
    assert pool.say(SetGroupChannel(50, (3, 4, 99, 4))) == [Regrouped(50, 2)]      # one is gone, one there twice
    assert pool.say(SetGroupChannel(50, (3, 4, 99, 4))) == []
    assert list(works(pool.say(job(7), tip(7)))) == [2]
    assert list(works(pool.say(job(8, 50), tip(8, 50)))) == [3, 4]
    pool.say(SetGroupChannel(GROUP, (4,)))
    assert list(works(pool.say(job(9), tip(9)))) == [2, 4]
    pool.say(SetGroupChannel(0, (2, 3, 4)))
    assert pool.say(job(10), tip(10), job(11, 50), tip(11, 50)) == []


def test_what_a_channel_has_received_it_takes_into_another_group():
    pool = Pool().start(2, 3)
    pool.say(job(7), SetGroupChannel(50, (3,)))
    assert list(works(pool.say(tip(7, channel_id=3)))) == [3]
    pool.say(job(8))
    pool.say(SetGroupChannel(50, (2,)))
    with pytest.raises(RemoteProtocolError, match="names job 8"):       # of both, only one has received that
        pool.say(tip(8, channel_id=50))


@pytest.mark.parametrize("change", [
    SetGroupChannel(2, (3,)), SetGroupChannel(2, (2,)), SetGroupChannel(50, (2, 5)),
])
def test_a_group_that_cannot_be_is_refused(change):
    pool = Pool().start(2, 3)
    pool.start(5, group=9, prefix=bytes(6))
    with pytest.raises(RemoteProtocolError, match="group"):
        pool.say(change)
    assert list(works(pool.say(job(7), tip(7)))) == [2, 3]          # and nothing has changed


@pytest.mark.parametrize(("channel_id", "group", "prefix"), [
    (2, GROUP, None), (GROUP, 9, None), (4, 2, None), (4, 4, None), (4, GROUP, bytes(5)), (4, GROUP, bytes(17)),
])
def test_an_open_that_cannot_be_is_refused(channel_id, group, prefix):
    pool = Pool().start(2, 3)
    with pytest.raises(RemoteProtocolError):
        pool.open(channel_id, group, prefix)


# -- extranonces -------------------------------------------------------------------------------------------------------

def test_another_prefix_counts_for_jobs_that_come_after_it():
    pool = Pool().start(2, 3)
    pool.say(job(7), SetExtranoncePrefix(3, b"\xff\0\0\x03"), SetExtranoncePrefix(3, b"\xfe\0\0\x03"), job(8))
    mine = works(pool.say(tip(7)))
    assert [work.extranonce_prefix.hex() for work in mine.values()] == ["00000002", "00000003"]
    pool.say(job(9))
    assert [work.extranonce_prefix.hex() for work in works(pool.say(tip(9))).values()] == ["00000002", "fe000003"]


def test_a_prefix_of_another_length_fits_no_group_of_several():
    pool = Pool().start(2)
    pool.say(SetExtranoncePrefix(2, bytes(6)))                      # alone, that is the pool's affair
    with pytest.raises(RemoteProtocolError):
        pool.open(3)
    pool.open(4, prefix=bytes(6))
    with pytest.raises(RemoteProtocolError, match="whose others have 22"):
        pool.say(SetExtranoncePrefix(4, bytes(4)))
    pool.say(SetExtranoncePrefix(GROUP, bytes(32)), SetExtranoncePrefix(77, bytes(32)))     # of no channel
    with pytest.raises(RemoteProtocolError):
        pool.say(SetExtranoncePrefix(2, bytes(32)))


def test_a_standard_channel_derives_its_root_of_the_groups_job():
    pool = Pool()
    pool.open(2, prefix=bytes(range(20)), size=0)
    pool.say(NewMiningJob(2, 1, None, 0x20000000, b"\x44" * 32), tip(1, 2))
    pool.open(3)                                                    # one that rolls, in the same group
    pool.say(job(1, 3), tip(1, 3))
    mine = works(pool.say(job(7, rolls=False), tip(7)))
    coinbase = b"head\x07" + bytes(range(20)) + b"tail"
    assert mine[2].merkle_root == fold_merkle_path(double_sha256(coinbase), (b"\x22" * 32,))
    assert (mine[2].version_mask, mine[2].coinbase_tx_prefix, mine[2].extranonce_size) == (0, b"", 0)
    rolled = works(pool.say(job(8, min_ntime=NTIME)))
    assert rolled[2].version_mask == SPEC.version_mask and rolled[3].merkle_root is None
    alike = mine[3].header(bytes(range(4, 20)), 0x20000000, NTIME, 1)
    assert alike != mine[2].header(b"", 0x20000000, NTIME, 1)       # another prefix, another root


# -- what cannot be ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("message", [
    job(7, 77), tip(7, 77), job(7, 77, NTIME), SetTarget(77, target_bytes(1)), CloseChannel(77, "x"),
    SetExtranoncePrefix(77, bytes(4)), SetGroupChannel(77, ()), SetGroupChannel(77, (88, 99)),
    NewMiningJob(77, 1, None, 0x20000000, bytes(32)), job(7, 2**32 - 1),
])
def test_what_is_said_to_nobody_is_passed_over(message):
    pool = Pool().start(2, 3)
    assert pool.say(message) == []
    assert list(works(pool.say(job(8), tip(8)))) == [2, 3]


@pytest.mark.parametrize("message", [
    tip(7), NewMiningJob(GROUP, 7, None, 0x20000000, bytes(32)), job(7, path=(bytes(32),) * 33),
])
def test_what_no_group_can_be_told_ends_the_conversation(message):
    with pytest.raises(RemoteProtocolError):
        Pool().start(2, 3).say(message)


def test_future_jobs_of_a_group_are_bounded():
    pool = Pool().start(2, 3)
    pool.say(*[job(number) for number in range(100, 1000)])
    assert len(pool.client._groups.get(GROUP).future) == MAX_FUTURE_JOBS
    pool.say(*[SetExtranoncePrefix(2, number.to_bytes(4, "big")) for number in range(9)], SetGroupChannel(50, (2, 3)))
    assert all(len(channel._future) == MAX_FUTURE_JOBS for channel in pool.client._channels.values())
    assert list(works(pool.say(tip(999, 50)))) == [2, 3]
    for number in range(1000):
        pool.say(SetGroupChannel(100 + number, (2,)))
    assert len(pool.client._groups._by_id) == 2


# -- flags and extensions ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("flags", "mask"), [(0, SPEC.version_mask), (1, 0), (2, SPEC.version_mask), (3, 0)])
def test_a_pool_that_takes_no_other_version_has_it_so(flags, mask):
    pool = Pool(flags)
    assert pool.heard == [SetUp(flags)]
    pool.open(2)
    (work,) = works(pool.say(job(1, 2), tip(1, 2))).values()
    assert work.version_mask == mask


def test_extensions_are_void_where_another_peer_stands_behind_a_channel():
    pool = Pool().start(2)
    pool.client._asked_extensions = RequestExtensions(0, (2,))
    assert pool.say(ChannelEndpointChanged(2)) == [ExtensionsVoid()]
    assert pool.say(RequestExtensionsSuccess(0, (2,))) == []        # the answer to what was asked before
    pool.client._asked_extensions = RequestExtensions(0, (2,))
    assert pool.say(RequestExtensionsSuccess(0, (2,))) == [ExtensionsAgreed(frozenset({2}))]


def test_the_answer_to_an_open_says_nothing_of_its_group():
    (opened,) = Pool().open(2)
    assert opened == ChannelOpened(1, 2, TARGET, b"\0\0\0\x02", 16)

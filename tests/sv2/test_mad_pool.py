"""Ten thousand mutated inputs to the miner's session in each dialect: the peer's error or nothing; bounded memory."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.garbage import pieces
from tests.madpool import EXTENDED, GROUP, STANDARD, MadPool
from warppool.errors import RemoteProtocolError
from warppool.sv2.client import WorkReady
from warppool.sv2.dialled import ClientFrames
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.messages.mining import OpenExtendedMiningChannelSuccess, OpenStandardMiningChannelSuccess
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.work import MAX_FUTURE_JOBS

INPUTS = {WARP: 2_000, SPEC: 10_000}
MAX_TARGET = 2**256 - 1
CHANNELS = 4                    # that the miner asks for


def listener(profile: Profile) -> ClientFrames:
    """A miner that is set up, with two open channels and two that it has asked for."""
    client = ClientFrames(profile)
    session = client.session
    opens = [session.open_extended("u", 0.0, MAX_TARGET, 4), session.open_standard("u", 0.0, MAX_TARGET),
             session.open_extended("u", 0.0, MAX_TARGET, 4), session.open_standard("u", 0.0, MAX_TARGET)]
    assert len(opens) == CHANNELS
    said = (SetupConnectionSuccess(2, 0),
            OpenExtendedMiningChannelSuccess(1, EXTENDED, b"\xff" * 32, 8, bytes(4), GROUP),
            OpenStandardMiningChannelSuccess(2, STANDARD, b"\xff" * 32, bytes(12), GROUP))
    list(client.hear(b"".join(map(profile.encode, said))))
    return client


@pytest.mark.parametrize("profile", [WARP, SPEC], ids=["warp", "spec"])
def test_a_miner_refuses_what_a_mad_pool_says(profile):
    dice = random.Random(11)
    pool = MadPool(dice, profile)
    ends: Counter[str] = Counter()
    client = None
    for _ in range(INPUTS[profile]):
        client = client or listener(profile)
        try:
            for part in pieces(dice, pool.frames()):
                for event in client.hear(part):
                    ends[type(event).__name__] += 1
                    if isinstance(event, WorkReady):
                        work = event.work
                        work.header(bytes(work.extranonce_size), work.version, work.min_ntime, 0)
        except RemoteProtocolError:
            ends["refused"] += 1
            client = None
            continue
        channels, groups = client.session._channels, client.session._groups._by_id
        assert len(channels) <= CHANNELS and len(groups) <= CHANNELS
        assert all(len(channel._future) <= MAX_FUTURE_JOBS for channel in channels.values())
        assert all(len(group.future) <= MAX_FUTURE_JOBS for group in groups.values())
        if client._frames.pending and dice.random() < 0.5:          # it may wait for the rest for ever
            client = None
    wanted = ("refused", "WorkReady", "SharesAccepted", "TargetChanged", "ChannelClosed")
    assert min(ends[each] for each in wanted) > 20

"""Garbage to a server connection and to a miner, in memory: a clean refusal or patience, and nothing else.

In `warp`, whose records may be cut anywhere; `test_mutated_frames.py` has the same for the published profile.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sv2.pairs import MAX_TARGET, START, Pair, make_jobs, make_server
from warppool.errors import RemoteProtocolError
from warppool.events import Close, Send, ShareSubmitted
from warppool.sv2.client import ChannelOpened
from warppool.sv2.frame import encode_frame
from warppool.sv2.messages.mining import CloseChannel, SetTarget
from warppool.sv2.profile import WARP


def check_refusal(events):
    """Nothing but a clean Close, or patience."""
    assert all(isinstance(event, Send | Close | ShareSubmitted) or type(event).__name__ in {
        "Happened", "ShareRefused", "Holds"} for event in events)


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_before_the_handshake(data):
    check_refusal(make_server().receive(data, START))


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=4))
def test_random_records_after_the_handshake(records):
    pair = Pair()
    pair.talk()
    for record in records:
        check_refusal(pair.server.receive(len(record).to_bytes(2, "little") + record, START))


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=120)), min_size=1, max_size=4), st.booleans())
def test_random_messages_in_good_records(frames, is_set_up):
    pair = Pair()
    if not is_set_up:
        pair.miner._unsealed.clear()
    pair.talk()
    (job,) = make_jobs(1)
    pair.offer(job)
    for msg_type, payload in frames:
        frame = encode_frame(msg_type, payload)
        check_refusal(pair.server.receive(pair.miner._transport.seal(frame), START))


_GOOD = [
    lambda s: s.open_standard("alice", 0.0, MAX_TARGET), lambda s: s.open_extended("bob", 1e12, MAX_TARGET, 4),
    lambda s: CloseChannel(1, "x"), lambda s: SetTarget(1, bytes(32))]


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.lists(st.integers(0, len(_GOOD) - 1), min_size=1, max_size=4), st.integers(0, 10_000), st.integers(0, 255))
def test_mutated_messages(choices, where, value):
    """Good messages with one byte changed: an answer or a Close, never an exception, and the neighbour lives."""
    pair, neighbour = Pair(), Pair()
    pair.talk(), neighbour.talk()
    (job,) = make_jobs(1)
    pair.offer(job)
    plain = bytearray(b"".join(WARP.encode(_GOOD[choice](pair.miner.session)) for choice in choices))
    plain[where % len(plain)] = value
    check_refusal(pair.server.receive(pair.miner._transport.seal(bytes(plain)), START))
    neighbour.miner.send(neighbour.miner.session.open_standard("n", 0.0, MAX_TARGET))
    assert isinstance(neighbour.talk()[0], ChannelOpened)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=120)), min_size=1, max_size=4))
def test_a_miner_survives_a_mad_pool(frames):
    """The client side: what a pool must not send is a RemoteProtocolError and nothing else."""
    pair = Pair()
    pair.talk()
    for msg_type, payload in frames:
        try:
            pair.miner.receive(pair.server.transport.seal(encode_frame(msg_type, payload)))
        except RemoteProtocolError:
            break



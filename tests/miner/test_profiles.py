"""`warppool mine` and the first words with an upstream, once for each profile: the URL says which it is."""

from __future__ import annotations

import pytest

from tests.sv2 import pairs
from tests.sv2.pairs import MAX_TARGET, START, Pair, make_jobs, pin_in
from tests.sv2.profiles import profile  # noqa: F401
from warppool.addresses import PoolUrl
from warppool.commands.cli import main
from warppool.errors import ConfigError, HandshakeFailed, WrongServerKey
from warppool.events import Close, Send
from warppool.miner.greeting import Greeting, HealthCheck
from warppool.miner.link import EXTENDED, STANDARD, Acknowledged, PoolGone, Remark, Sv2Link, Task, check, link_to
from warppool.mining.share import weigh
from warppool.noise import secp256k1
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.profile import PROFILES, SPEC

KINDS = pytest.mark.parametrize("kind", [EXTENDED, STANDARD])
BASE58 = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"


def url(secret=None):
    """Of the pool that `pairs` makes, or that proves another key."""
    pin = pin_in(pairs.dialect(), secret)
    if pairs.dialect().suite.act_two_payload_len:
        return PoolUrl("pool.test", 34254, b"", authority_key=pin)
    return PoolUrl("pool.test", 34254, pin)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The certificate is good at the time of the scene."""
    for module in ("link", "greeting"):
        monkeypatch.setattr(f"warppool.miner.{module}.time.time", lambda: START.unix)


class Scene(Pair):
    """The link in the place of the miner."""

    def __init__(self, kind, secret=None, hash_rate=1e6):
        super().__init__()
        self.miner = self.link = link_to(url(secret), "alice.rig1", kind, hash_rate)

    def tasks(self):
        return [event for event in self.heard if isinstance(event, Task)]

    def share(self, task):
        """Send the first nonce that meets the target."""
        work = task.work
        extranonce = bytes(task.extranonce_size)
        for nonce in range(1 << 16):
            header = work.header(extranonce, work.version, task.min_ntime, nonce)
            if int.from_bytes(weigh(header, 0).share_hash, "little") <= work.target:
                self.link.submit(task, extranonce, work.version, task.min_ntime, nonce)
                return
        raise AssertionError("no share")


@KINDS
def test_a_channel_is_opened_mined_on_and_acknowledged(kind):
    scene = Scene(kind)
    first, second = make_jobs(1, 2)
    scene.offer(first)
    scene.talk()
    assert any(isinstance(event, Remark) and "channel" in event.words for event in scene.heard)
    scene.offer(second)                                     # by the group, where the profile has groups
    task = scene.tasks()[-1]
    assert task.is_new_tip and task.work.prev_hash == second.tip.prev_hash and task.work.target <= MAX_TARGET
    assert (task.extranonce_size == 0) == (kind == STANDARD)
    scene.share(task)
    scene.talk()
    scene.judge()
    scene.record()
    assert [event for event in scene.heard if isinstance(event, Acknowledged)] == [Acknowledged(1)]


@KINDS
def test_a_standard_channel_asks_for_standard_jobs(kind):
    """SRI's pool hands in blocks of such a channel with a wrong coinbase where the job was the group's."""
    scene = Scene(kind)
    scene.talk()
    assert scene.server._session._opener.requires_standard_jobs is (kind == STANDARD)


def test_a_pool_that_opens_no_standard_channels_is_told_apart():
    link = Sv2Link(url(), "alice", STANDARD, 1e6)
    (set_up,) = link._connection.session.receive(SetupConnectionSuccess(2, 2))
    with pytest.raises(PoolGone, match="use --channel extended"):
        link._translate(set_up)


def test_a_rate_that_is_not_known_is_what_the_profile_assumes():
    link = Sv2Link(url(), "alice", EXTENDED, 0.0)
    assert link._hash_rate == pairs.dialect().assumed_hash_rate_hps
    assert Sv2Link(url(), "alice", EXTENDED, 7.0)._hash_rate == 7.0


def test_another_key_is_found_out():
    scene = Scene(EXTENDED, secret=bytes(31) + b"\x09")
    with pytest.raises(WrongServerKey):
        scene.talk()


def test_a_greeting_ends_with_the_pools_answer():
    scene, greeting = Pair(), Greeting(url())
    heard = []
    while out := greeting.outgoing():
        for event in scene.server.receive(out, START):
            if isinstance(event, Send):
                heard.append(greeting.hear(event.data))
    assert heard == [False, True]


def test_a_health_check_goes_the_same_way():
    told = []
    scene, greeter = Pair(), HealthCheck(url(), told.append)
    greeter.conn_id = 7
    transport = greeter.transport(START)
    (send,) = greeter.opened(7, "pool.test", START)
    wire, ends = transport.seal(send.data), []
    while wire and not ends:
        answers = [event.data for event in scene.server.receive(wire, START) if isinstance(event, Send)]
        plaintext = b"".join(transport.open(data, 0.0) for data in answers)
        ends = greeter.receive(plaintext, START) if plaintext else []
        wire = transport.seal(b"")
    assert told == [None] and ends == [Close(7, "the health check is over")]


def test_without_the_library_the_published_profile_is_a_mistake_that_names_the_cure(monkeypatch, capsys):
    def missing():
        raise ConfigError("Stratum V2 of the published profile needs btclib-secp256k1: pip install 'warppool[spec]'")

    monkeypatch.setattr(secp256k1, "library", missing)
    if pairs.dialect() is PROFILES["warp"]:
        check(url())
        return
    with pytest.raises(ConfigError, match=r"warppool\[spec\]"):
        check(url())
    assert main(["mine", f"stratum2+tcp://127.0.0.1:1/{BASE58}", "-u", "alice"]) == 2
    assert "pip install 'warppool[spec]'" in capsys.readouterr().err


def test_a_certificate_that_is_out_of_date_is_no_other_key(monkeypatch):
    if not pairs.dialect().suite.act_two_payload_len:
        return
    monkeypatch.setattr("warppool.miner.link.time.time", lambda: START.unix + 10**8)
    scene = Scene(EXTENDED)
    with pytest.raises(HandshakeFailed):
        scene.talk()


def test_a_payload_past_what_pools_say_is_refused():
    scene = Scene(EXTENDED)
    scene.talk()
    frames = scene.link._connection._frames._frames
    assert isinstance(frames, FrameReader) and frames.max_payload == pairs.dialect().max_payload_from_pool
    assert SPEC.max_payload_from_pool < SPEC.max_payload

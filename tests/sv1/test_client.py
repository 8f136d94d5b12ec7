"""The miner's side of V1, against the pool's and against pools that talk nonsense."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import HARD_NBITS
from tests.sv1.pairs import Pair
from warppool.bitcoin.target import DIFF1, target_from_difficulty
from warppool.errors import RemoteProtocolError
from warppool.events import Send, ShareAccepted
from warppool.mining.share import weigh
from warppool.sv1.client import (
    Authorized,
    CallRefused,
    Configured,
    MiningClient,
    ReconnectAsked,
    ShareAnswered,
    Subscribed,
    WorkReady,
)

MASK = 0x1FFFE000


class Mine:
    """A client on a server connection."""

    def __init__(self, **options):
        self.pool = Pair(**options)
        self.client = MiningClient("test/1")
        self.heard = []

    def deliver(self, events):
        heard = [found for event in events if isinstance(event, Send) for found in self.client.receive(event.data)]
        self.pool.deliver(events)
        self.heard += heard
        return heard

    def talk(self):
        return self.deliver(self.pool.server.receive(self.client.outgoing(), self.pool.now))

    def offer(self, tip=1):
        self.pool.job = self.pool.jobs.make(tip, self.pool.now.unix)
        return self.deliver(self.pool.server.offer(self.pool.job, self.pool.now))


def search(work, version):
    for nonce in range(1 << 20):
        if weigh(work.header(bytes(8), version, work.ntime, nonce), 0).value <= work.target:
            return nonce
    raise AssertionError("no share")


def test_a_whole_session():
    mine = Mine(nbits=HARD_NBITS)
    client = mine.client
    client.configure(0xFFFFFFFF)
    client.subscribe()
    client.authorize("alice.rig1")
    client.subscribe_extranonce()
    configured, subscribed, authorized = mine.talk()
    assert isinstance(configured, Configured) and configured.version_mask == MASK
    assert isinstance(subscribed, Subscribed) and subscribed.extranonce2_size == 8
    assert authorized == Authorized("alice.rig1", True)
    (ready,) = mine.offer()
    assert isinstance(ready, WorkReady) and ready.is_clean
    work = ready.work
    assert (work.target, work.version_mask) == (target_from_difficulty("1e-9"), MASK)
    version = work.version | 0x2000
    request_id = client.submit("alice.rig1", work, bytes(8), version, work.ntime, search(work, version))
    mine.talk()
    mine.pool.judge()
    (share,) = [event for event in mine.pool.events if isinstance(event, ShareAccepted)]
    assert mine.deliver(mine.pool.server.recorded([share.share_id], mine.pool.now)) == [ShareAnswered(request_id, True)]
    (ready,) = mine.offer(tip=1)
    assert not ready.is_clean


def test_answers_of_one_id_go_by_their_order():
    mine = Mine()
    for user in ("alice", "", "bob"):
        mine.client.authorize(user)
    mine.client.subscribe()
    mine.talk()
    (ready,) = mine.offer()
    for _ in range(2):                          # as cpuminer does: every submit is number 4
        mine.client.submit("alice", ready.work, bytes(3), ready.work.version, ready.work.ntime, 0, request_id=4)
    assert mine.talk() == [ShareAnswered(4, False, 20, "Invalid nonce2 length")] * 2
    assert [event for event in mine.heard if isinstance(event, Authorized)] == [
        Authorized("alice", True), Authorized("", False), Authorized("bob", True)]


def test_the_difficulty_counts_from_the_next_notify():
    mine = Mine(nbits=HARD_NBITS)
    mine.client.suggest_difficulty(0.5)
    mine.client.subscribe()
    mine.client.authorize("alice")
    mine.talk()
    (ready,) = mine.offer()
    assert ready.work.target == target_from_difficulty("0.5")
    assert mine.client.receive(b'{"id":null,"method":"mining.set_difficulty","params":[4]}\n') == []
    assert mine.client.target == DIFF1 // 4
    (again,) = mine.offer()
    assert again.work.target == DIFF1 // 4


def subscribed():
    client = MiningClient("test/1")
    client.subscribe()
    client.receive(b'{"id":1,"result":[[["mining.notify","77"]],"0a0b",4],"error":null}\n')
    client.outgoing()
    return client


NOTIFY = ["j1", "00" * 32, "aa", "bb", [], "20000000", "1d00ffff", "6553f164", True]


def notify(*params):
    return json.dumps({"id": None, "method": "mining.notify", "params": params}).encode() + b"\n"


def test_what_pools_may_send_meanwhile():
    client = subscribed()
    assert client.subscription == Subscribed("77", b"\x0a\x0b", 4)
    assert client.receive(b'{"id":null,"method":"mining.set_extranonce","params":["0c",6]}\n') == [
        Subscribed("77", b"\x0c", 6)]
    assert client.receive(b'{"id":null,"method":"mining.set_version_mask","params":["00c00000"]}\n') == []
    (ready,) = client.receive(notify(*NOTIFY))
    assert (ready.work.extranonce1, ready.work.extranonce2_size, ready.work.version_mask) == (b"\x0c", 6, 0xC00000)
    assert client.receive(b'{"id":null,"method":"client.reconnect","params":["other","3334",5]}\n') == [
        ReconnectAsked("other", 3334)]
    assert client.receive(b'{"id":null,"method":"client.reconnect","params":[]}\n') == [ReconnectAsked("", 0)]
    assert client.receive(b'{"id":null,"method":"what.is.this","params":[]}\n{"id":99,"result":1,"error":null}\n') == []
    assert client.outgoing() == b""


@pytest.mark.parametrize(("line", "answer"), [
    (b'{"id":77,"method":"client.get_version","params":[]}', {"id": 77, "result": "test/1", "error": None}),
    (b'{"id":"x","method":"client.show_message","params":["hi"]}', {"id": "x", "result": True, "error": None}),
    (b'{"id":3,"method":"mining.ping","params":[]}', {"id": 3, "result": "pong", "error": None}),
    (b'{"id":3,"method":"odd"}', {"id": 3, "result": None, "error": [20, "Unknown method", None]})])
def test_what_the_pool_asks(line, answer):
    client = subscribed()
    assert client.receive(line + b"\n") == []
    assert json.loads(client.outgoing()) == answer


@pytest.mark.parametrize(("error", "code", "words"), [
    ([23, "Difficulty too low", None], 23, "Difficulty too low"), ({"code": 21, "message": "stale"}, 21, "stale"),
    ("no", 0, ""), ([1], 0, "")])
def test_errors_in_every_shape(error, code, words):
    client = subscribed()
    (ready,) = client.receive(notify(*NOTIFY))
    request_id = client.submit("a", ready.work, bytes(4), 0, 0, 0)
    line = json.dumps({"id": request_id, "result": None, "error": error}).encode() + b"\n"
    assert client.receive(line) == [ShareAnswered(request_id, False, code, words)]
    client.subscribe()
    refusal = json.dumps({"id": request_id + 1, "result": None, "error": error}).encode() + b"\n"
    assert client.receive(refusal) == [CallRefused("mining.subscribe", code, words)]


def test_a_dropped_session_is_named():
    client = MiningClient("test/1")
    client.subscribe("abcd")
    assert json.loads(client.outgoing())["params"] == ["test/1", "abcd"]


@pytest.mark.parametrize("line", [
    notify(), notify("j1"), notify(*NOTIFY[:3], 5, *NOTIFY[4:]), notify("j1", "00" * 31, *NOTIFY[2:]),
    notify(*NOTIFY[:4], ["zz"], *NOTIFY[5:]), notify(*NOTIFY[:5], "120000000", *NOTIFY[6:]),
    notify(*NOTIFY[:4], 5, *NOTIFY[5:]), b'{"id":null,"method":"mining.set_difficulty","params":[0]}\n',
    b'{"id":null,"method":"mining.set_difficulty","params":[]}\n', b"junk\n",
    b'{"id":null,"method":"mining.set_difficulty","params":["x"]}\n',
    b'{"id":null,"method":"mining.set_extranonce","params":["zz",4]}\n',
    b'{"id":null,"method":"mining.set_extranonce","params":["00",0]}\n',
    b'{"id":null,"method":"client.reconnect","params":["a","b",1]}\n'])
def test_what_a_pool_must_not_send(line):
    with pytest.raises(RemoteProtocolError):
        subscribed().receive(line)


@pytest.mark.parametrize("result", [
    None, True, [], [[], "00", 0], [[], "00", 33], [[], "zz", 4], [[], 5, 4], [5, "00", 4]])
def test_subscriptions_that_make_no_sense(result):
    client = MiningClient()
    client.subscribe()
    with pytest.raises(RemoteProtocolError):
        client.receive(json.dumps({"id": 1, "result": result, "error": None}).encode() + b"\n")


def test_a_job_before_the_subscription_and_a_configuration_that_is_none():
    with pytest.raises(RemoteProtocolError, match="before the subscription"):
        MiningClient().receive(notify(*NOTIFY))
    client = MiningClient()
    client.configure(MASK)
    with pytest.raises(RemoteProtocolError, match="no object"):
        client.receive(b'{"id":1,"result":true,"error":null}\n')


ODD = st.sampled_from([None, True, 0, 1, -1, 1.5, "", "00", "zz", "00" * 32, [], ["00"], {}, [[]], [20, "x"]])


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(["mining.notify", "mining.set_difficulty", "mining.set_extranonce", "mining.set_version_mask",
                        "client.reconnect", "client.get_version", "mining.ping", ""]), ODD, st.lists(ODD, max_size=9))
def test_odd_lines_are_refused_and_nothing_else(method, request_id, params):
    client = subscribed()
    client.configure(MASK)
    with suppress(RemoteProtocolError):
        client.receive(json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n")
    with suppress(RemoteProtocolError):
        client.receive(json.dumps({"id": 2, "result": params, "error": request_id}).encode() + b"\n")

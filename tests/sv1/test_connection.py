"""Bytes in, events out: the V1 connection against a machine in memory, against time, and against garbage."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mining.makers import HARD_NBITS
from tests.sv1.pairs import START, Jobs, Pair, make_context, with_policy
from warppool.events import BlockFound, Close, Happened, Holds, Now, Send, ShareAccepted, ShareRefused, ShareSubmitted
from warppool.mining.connection import MAX_UNANSWERED
from warppool.mining.share import weigh
from warppool.sv1.connection import AUTHORIZE_DEADLINE_S, FIRST_MESSAGE_DEADLINE_S
from warppool.sv1.lines import MAX_LINE

PING = b'{"id":1,"method":"mining.ping","params":[]}\n'


def ready(**options):
    pair = Pair(**options)
    pair.set_up()
    pair.events.clear()
    return pair


def submits(work, count, start=0):
    return b"".join(
        b'{"id":%d,"method":"mining.submit","params":["alice.rig1","%b","%b","%08x","%08x"]}\n'
        % (nonce, work.job_id.encode(), b"00" * 8, work.ntime, nonce) for nonce in range(start, start + count))


def test_what_a_call_leads_to_is_one_send():
    pair = Pair()
    pair.offer()
    (event,) = [event for event in pair.server.receive(
        b'{"id":1,"method":"mining.subscribe"}\n{"id":2,"method":"mining.authorize","params":["a"]}\n' + PING, START)
        if isinstance(event, Send)]
    assert len(event.data.splitlines()) == 5


def test_a_machine_mines():
    pair = ready()
    pair.deliver(pair.server.receive(submits(pair.work, 20), pair.now))
    assert pair.server.in_flight == 20
    pair.judge()
    blocks = sum(isinstance(event, BlockFound) for event in pair.events)
    refused = sum(isinstance(event, ShareRefused) for event in pair.events)
    assert blocks + refused == 20 and blocks
    pair.record()
    answers = [line for line in pair.said if "method" not in line][2:]
    assert [line["id"] for line in answers] == list(range(20))
    assert sum(line["result"] is True for line in answers) == blocks
    assert pair.server.in_flight == 0


@pytest.mark.parametrize("cut", range(1, 400, 13))
def test_tcp_may_cut_anywhere(cut):
    pair = ready()
    data = submits(pair.work, 5)
    events = [*pair.server.receive(data[:cut], START), *pair.server.receive(data[cut:], START)]
    assert sum(isinstance(event, ShareSubmitted) for event in events) == 5
    assert pair.server.backlog == 0


@pytest.mark.parametrize("bad", [b"x\n", b"\x16\x03\x01\x02\x00\x01\n", b"[1]\n", b"x" * (MAX_LINE + 1),
                                 b'{"id":"' + b"x" * 300 + b'","method":"mining.ping"}\n', b"[" * 9000 + b"\n",
                                 b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b'{"id":1,"id":2}\n', b"\xff\n"])
def test_shares_before_bad_bytes_are_served_and_then_the_connection_closes(bad):
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    data = json.dumps({"id": 4, "method": "mining.submit", "params": ["alice.rig1", *fields]}).encode() + b"\n"
    events = pair.server.receive(PING + data + bad + PING, START)
    assert [type(event) for event in events] == [ShareSubmitted, Send, Close]
    assert events[-1].is_peers_fault and "BadLine" in events[-1].reason
    assert len(events[1].data.splitlines()) == 1
    assert pair.server.receive(PING, START) == [] and pair.server.wakes_at == math.inf
    assert pair.server.closed(START) == []
    (accepted,) = pair.server.judged([weigh(events[0].header, events[0].network_target)], START)
    assert isinstance(accepted, ShareAccepted)           # mute, but nothing is lost
    assert pair.server.recorded([accepted.share_id], START) == [] and pair.server.in_flight == 0


# --- who is no machine ------------------------------------------------------------------------------------------------

BTC_AGENT = bytes.fromhex("7f000a000000006d6967")
TLS_HELLO = bytes.fromhex("1603010200010001fc0303")
NOISE_ACT_1 = bytes.fromhex("2000") + bytes(range(0x80, 0xA0))


@pytest.mark.parametrize(("data", "name"), [
    (BTC_AGENT, "BTCAgent"), (b"\x7f", "BTCAgent"), (TLS_HELLO, "TLS"), (b"\x16", "TLS"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP"), (b"POST", "HTTP"), (b"O", "HTTP"),
    (b"CONNECT a:1 HTTP/1.1", "HTTP"),
    (b"PRI * HTTP/2.0\r\n", "HTTP"), (b"\r\n\r\nHEAD / HTTP/1.0", "HTTP"), (b"\x05\x01\x00", "Noise"),
    (NOISE_ACT_1[2:], "Noise"), (b"\0" * 32, "Noise"), (b"\xef\xbb\xbf{}", "Noise"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_from"),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "proxy_from"),
    (b"SSH-2.0-OpenSSH_9\r\n", "no JSON"), (b"<xml/>", "no JSON"), (b"mining.subscribe\n", "no JSON")])
def test_who_speaks_something_else_is_refused_by_name_at_the_first_byte(data, name):
    for pieces in ([data], [b" ", data]):
        pair = Pair()
        events = [event for piece in pieces for event in pair.server.receive(piece, START)]
        (close,) = events
        assert isinstance(close, Close) and close.is_peers_fault
        assert close.reason.startswith("WrongProtocol: ") and name in close.reason
        assert len(close.reason) < 120 and close.reason.isprintable()


def test_the_words_for_a_stranger_are_not_his():
    reasons = {Pair().server.receive(b"GET /" + bytes([letter]) * 5000, START)[0].reason for letter in b"abc\x1b\n"}
    assert len(reasons) == 1


@pytest.mark.parametrize("before", [b"", b"\n", b" \t\r\n\x0b\x0c\n", b"\n" * 20_000])
def test_blanks_before_the_first_call_are_no_fault(before):
    pair = Pair()
    assert pair.server.receive(before, START) == []
    (event,) = pair.server.receive(PING, START)
    assert isinstance(event, Send)


def test_json_that_is_no_call_is_told_as_such_when_its_line_is_whole():
    pair = Pair()
    assert pair.server.receive(b"[1", START) == []
    (close,) = pair.server.receive(b"]\n", START)
    assert close.reason == "BadLine: no JSON object: b'[1]'"


# --- time -------------------------------------------------------------------------------------------------------------

def at(seconds):
    return Now(START.monotonic + seconds, START.unix + seconds)


def test_a_connection_that_says_nothing_is_closed_after_ten_seconds():
    server = Pair().server
    assert server.wakes_at == START.monotonic + FIRST_MESSAGE_DEADLINE_S
    assert server.receive(b'{"id":1,"meth', at(5)) == []       # the front of a message is none
    assert server.tick(at(9.9)) == []
    assert server.tick(at(10)) == [Close(7, "no message within 10 s", True)]
    assert server.receive(PING, at(11)) == []


def test_a_connection_that_does_not_authorize_is_closed_after_a_minute():
    server = Pair().server
    for second in (5, 9, 30, 59):
        server.receive(PING, at(second))
    assert server.wakes_at == START.monotonic + AUTHORIZE_DEADLINE_S
    assert server.tick(at(59.9)) == []
    assert server.tick(at(60)) == [Close(7, "not authorized within 60 s", True)]


IDLE = Close(7, "no accepted share for too long", True)


def idle_after(pair, limit_s, talk=lambda pair: None):
    """Monotonic seconds from now until it is closed as idle, looked at as its worker would."""
    start = pair.now.monotonic
    while pair.close is None and pair.server.wakes_at - start <= limit_s:
        pair.wait(max(0.0, pair.server.wakes_at - pair.now.monotonic))
        talk(pair)
        pair.settle()
        pair.tick()
    assert pair.close in (None, IDLE)
    return None if pair.close is None else pair.now.monotonic - start


def test_a_machine_with_shares_is_closed_after_twenty_of_its_mean_intervals_but_no_sooner_than_the_idle_time():
    for interval_s, patience_s in ((2, 100), (5, 100), (7, 140), (50, 1000), (3600, 72_000)):
        pair = ready(nbits=HARD_NBITS, idle_timeout_s=100.0)
        pair.send('{"id":1,"method":"mining.authorize","params":["alice.rig1","fd=1e-9"]}')
        for start in range(4):
            pair.wait(interval_s)
            pair.submit(*pair.mine(start=start << 10))
            pair.settle()
        assert idle_after(pair, 1e6) == pytest.approx(patience_s)


def junk(pair):
    pair.send(PING.strip())
    pair.submit("1", "00" * 8, "00" * 4, "00" * 4)
    if pair.work.target < 2**255:
        pair.submit(*pair.mine(pair.work, at_most=2**256 - 1, above=pair.work.target))      # too low


def test_talk_and_junk_keep_nobody():
    pair = ready(nbits=HARD_NBITS, idle_timeout_s=100.0)
    pair.submit(*(fields := pair.mine()))
    pair.settle()
    assert idle_after(pair, 1e6, lambda pair: (junk(pair), pair.submit(*fields))) == 100
    assert set(pair.refused()) >= {"difficulty-too-low", "duplicate-share"}


@pytest.mark.parametrize(("password", "minimum", "after_s"), [
    ("fd=1e-9", "1e-10", 86_400), ("d=1e-9", "1e-10", 86_400), ("x", "1e-9", 86_400),       # nothing is easier
    ("x", "1e-10", 86_400),                 # vardiff has brought it down to the least
    ("d=1e-9,th=1000000", "1e-10", 86_400),
])
def test_where_the_difficulty_cannot_fall_further_the_first_share_has_a_day(password, minimum, after_s):
    pair = Pair(with_policy(minimum=Fraction(minimum)), nbits=HARD_NBITS)
    pair.set_up(password=password)
    pair.events.clear()
    assert idle_after(pair, 1e6, junk) == after_s


def test_where_the_difficulty_would_still_fall_the_first_share_has_the_idle_time():
    pair = Pair(with_policy(start=Fraction(10**6)), nbits=0x17034219, idle_timeout_s=15.0)
    pair.set_up(password="th=1000000000")               # a declared rate counts for nothing
    pair.events.clear()
    assert idle_after(pair, 1e6) == 15


@pytest.mark.parametrize(("interval_s", "patience_s"), [(0, 100), (50, 1000)])
def test_a_machine_that_comes_back_has_its_time_anew(interval_s, patience_s):
    pair = ready(nbits=HARD_NBITS, idle_timeout_s=100.0)
    pair.wait(interval_s)
    pair.submit(*pair.mine())
    pair.settle()
    pair.drop()
    other = Pair(pair.context, pair.jobs, idle_timeout_s=100.0)
    other.wait(interval_s + 500)
    other.server = type(other.server)(7, pair.context, idle_timeout_s=100.0, now=other.now)
    other.call("mining.subscribe", "test", pair.subscription[0][1][1])
    other.call("mining.authorize", "alice.rig1", "x")
    assert other.subscription == pair.subscription
    assert idle_after(other, 1e6) == patience_s


def test_a_closed_connection_wants_nothing_any_more():
    pair = ready()
    pair.drop()
    assert pair.server.wakes_at == math.inf
    assert pair.server.tick(at(10_000)) == [] and pair.server.receive(PING, START) == []


# --- too much at a time -----------------------------------------------------------------------------------------------

def test_shares_beyond_the_bound_wait_unread_until_answers_made_room():
    pair = ready()
    work = pair.work
    pair.deliver(pair.server.receive(submits(work, MAX_UNANSWERED + 300), pair.now))
    assert pair.server.in_flight == MAX_UNANSWERED and pair.server.backlog > 0
    pair.deliver(pair.server.receive(submits(work, 10, start=5000), pair.now))
    assert pair.server.in_flight == MAX_UNANSWERED
    pair.settle()
    assert sum("result" in line for line in pair.said) == 2 + MAX_UNANSWERED + 310
    assert pair.server.backlog == 0


def test_small_calls_behind_a_share_that_waits_are_bounded_too():
    pair = ready(nbits=HARD_NBITS)
    pair.submit(*pair.mine())
    pair.judge()
    pair.deliver(pair.server.receive(PING * 3000, pair.now))
    assert pair.server.in_flight == 1
    assert pair.server.backlog == (3000 - MAX_UNANSWERED + 1) * len(PING)
    heard = pair.record()
    while pair.server.held:                             # more calls than it has saved up
        pair.wait(0.05)
        heard += pair.tick()
    assert sum(line.get("result") == "pong" for line in heard) == 3000
    assert pair.server.backlog == 0


def test_a_backlog_with_bad_bytes_in_it_closes_when_its_turn_comes():
    pair = ready()
    pair.deliver(pair.server.receive(submits(pair.work, MAX_UNANSWERED) + b"junk\n", pair.now))
    assert pair.close is None
    pair.settle()
    assert pair.close is not None and "BadLine" in pair.close.reason


def test_an_idle_connection_holds_nothing_of_what_was_said():
    pair = ready()
    assert pair.server.backlog == 0
    assert pair.server._framer._buffer == b"" and pair.server._framer._partial is None


# --- garbage ----------------------------------------------------------------------------------------------------------

KNOWN = (Send, Close, ShareSubmitted, ShareRefused, Happened, Holds)
WORDS = ["mining.submit", "mining.subscribe", "mining.authorize", "mining.configure", "mining.suggest_difficulty",
         "mining.suggest_target", "mining.extranonce.subscribe", "mining.get_transactions", "mining.ping", "", "x"]
VALUES = st.sampled_from([
    None, True, False, 0, 1, -1, 2**32, 2**70, 10**400, 1.5, 1e-300, "", "x", "alice.rig1", "1", "00" * 8, "6553f164",
    "00000000", "ffffffff", "d=1", "d=1e-400", "fd=1e999999999999999999", "d=nan", "\ud800", "\0", "é" * 200, "9" * 999,
    [], {}, [[]], ["version-rolling"], ["minimum-difficulty", "version-rolling", "info", "x", 7, None, []],
    {"minimum-difficulty.value": 0.001}, {"minimum-difficulty.value": [], "version-rolling.mask": {}}, [[[[[["x"]]]]]],
    {"version-rolling.mask": "1fffe000", "info.hw-id": "x", "info.sw-version": 5}, {"a": {"b": {"c": [{}]}}}])
REQUESTS = st.fixed_dictionaries({}, optional={
    "id": VALUES, "method": st.sampled_from(WORDS) | VALUES, "params": st.lists(VALUES, max_size=7) | VALUES,
    "result": VALUES, "error": VALUES})


def check(pair, events):
    """Nothing but clean events; and whatever was let in can be judged and recorded."""
    assert all(isinstance(event, KNOWN) for event in events)
    assert sum(isinstance(event, Close) for event in events) <= 1
    for event in events:
        if isinstance(event, Send):
            assert all(isinstance(json.loads(line), dict) for line in event.data.splitlines())
    pair.deliver(events)
    pair.settle()
    assert pair.server.in_flight == 0


CONTEXT, JOBS = make_context(), Jobs()


def pair_for(is_ready):
    pair = Pair(CONTEXT, JOBS)
    if is_ready:
        pair.set_up()
    return pair


@pytest.mark.slow
@settings(max_examples=2500, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_random_bytes(data, is_ready, is_line):
    pair = pair_for(is_ready)
    check(pair, pair.server.receive(data + b"\n" * is_line, START))


@pytest.mark.slow
@settings(max_examples=4000, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=3), st.booleans())
def test_random_requests_are_answered_in_their_order(requests, is_ready):
    pair = pair_for(is_ready)
    before = len(pair.said)
    check(pair, pair.server.receive(b"".join(json.dumps(each).encode() + b"\n" for each in requests), START))
    asked = [each for each in requests if each.get("method") is not None or not {"result", "error"} & each.keys()]
    if pair.close is None:
        answers = [line["id"] for line in pair.said[before:] if "method" not in line]
        assert answers == json.loads(json.dumps(
            [each["id"] for each in asked if each.get("id") is not None]), parse_float=str)


SUBMIT = b'{"id":4,"method":"mining.submit","params":["alice.rig1","1","0000000000000000","6553f164","00000000"]}\n'


@pytest.mark.slow
@settings(max_examples=2500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SUBMIT)), st.integers(0, 6), st.binary(max_size=6)), min_size=1,
                max_size=4))
def test_mutated_submits(changes):
    data = SUBMIT
    for where, length, replacement in changes:
        data = data[:where] + replacement + data[where + length:]
    pair = pair_for(is_ready=True)
    check(pair, pair.server.receive(data, START))


@pytest.mark.parametrize("data", [
    b"[" * MAX_LINE, b'{"id":' * 2000 + b"\n", b'{"params":' + b'[{"a":' * 2000 + b"\n", b"x" * 10 * MAX_LINE,
    b'"' * MAX_LINE + b"\n", b'\\"' * 8000 + b"\n", b'"\\' * 8000 + b"\n", b"\n" * 60_000, b" " * 60_000,
    b"\0" * 60_000, b'{"id":1e' + b"9" * 16_000 + b',"method":"mining.ping"}\n',
    b'{"id":' + b"1" * 4_000 + b',"method":"mining.ping"}\n',
    b'{"id":1,"method":"mining.suggest_difficulty","params":[1e-999999999999999999999]}\n',
    b'{"id":1,"method":"mining.suggest_difficulty","params":[1e999999999999999999999]}\n',
    b'{"id":1,"method":"mining.suggest_difficulty","params":[' + b"9" * 4_000 + b"]}\n",
    b'{"id":1,"method":"' + b"m" * 16_000 + b'","params":[]}\n',
    b'{"id":1,"method":"mining.configure","params":[[' + b'"x",' * 4_000 + b'"x"],{}]}\n',
])
@pytest.mark.parametrize("is_ready", [False, True])
def test_what_is_meant_to_hurt(data, is_ready):
    pair = pair_for(is_ready)
    check(pair, pair.server.receive(data, START))

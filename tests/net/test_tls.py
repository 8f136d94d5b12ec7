"""TLS around a connection: from bytes in memory to a live reactor, and whatever a peer may do to either."""

from __future__ import annotations

import itertools
import math
import random
import shutil
import socket
import ssl
import subprocess
import warnings
import weakref
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.net.conftest import LogLines
from tests.net.lines import LineConnection
from tests.net.pools import PATIENCE_S, Client, Pool, pool, until
from tests.net.tlsends import (
    CONN_ID,
    START,
    Ends,
    Served,
    client_context,
    closes,
    established,
    fresh_server_context,
    later,
    sent,
    server_context,
)
from warppool.events import BlockFound, Close, Happened, Now, Send, ShareAccepted, ShareSubmitted
from warppool.mining.share import weigh
from warppool.net.clients import Stack
from warppool.net.inbox import JobReady, Opened
from warppool.net.reactor import UNREAD_LIMIT
from warppool.net.tls import HANDSHAKE_DEADLINE_S, MAX_HANDSHAKE, RECORD_SIZE, Tls, new_context

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
both_versions = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


# --- handshake --------------------------------------------------------------------------------------------------------

@both_versions
def test_a_handshake_and_lines_both_ways(version):
    ends = established(client_context(version))
    assert ends.miner.tls.version() == version.name.replace("_", ".")
    assert ends.miner.open(sent(ends.pool.receive(ends.miner.seal(b"echo a\n"), START))) == b"a\n"
    assert ends.heard == [("receive", 7)]


@both_versions
def test_no_cut_of_the_handshake_changes_what_comes_of_it(version):
    """Every flight of the miner is cut at every byte; its last one has the first line behind it."""
    probe, sizes = Ends(client_context(version)), []
    flight = probe.miner.shake()
    while flight:
        sizes.append(len(flight))
        flight = probe.miner.shake(sent(probe.pool.receive(flight, START)))
    assert len(sizes) == 2 and probe.pool.is_established
    for number, size in enumerate(sizes):
        for cut in range(1, size):
            ends = Ends(client_context(version))
            flight, answer = ends.miner.shake(), b""
            for current in range(2):
                if current == 1:
                    flight += ends.miner.seal(b"echo hello\n") if version is VERSIONS[1] else b""
                parts = (flight[:cut], flight[cut:]) if current == number else (flight,)
                answer = sent([event for part in parts for event in ends.pool.receive(part, START)])
                flight = ends.miner.shake(answer) if current == 0 else b""
            if version is VERSIONS[0]:
                ends.miner.shake(answer)
                answer = sent(ends.pool.receive(ends.miner.seal(b"echo hello\n"), START))
            assert ends.miner.open(answer) == b"hello\n", (number, cut)


@both_versions
def test_byte_by_byte_is_as_good_as_all_at_once(version):
    ends = Ends(client_context(version))
    flight = ends.miner.shake()
    while not ends.pool.is_established:
        flight = ends.miner.shake(b"".join(sent(ends.pool.receive(bytes([byte]), START)) for byte in flight))
    wire = ends.miner.seal(b"echo one\n", b"echo two\n")
    answers = [sent(ends.pool.receive(bytes([byte]), START)) for byte in wire]
    assert ends.miner.open(b"".join(answers)) == b"one\ntwo\n"


@pytest.mark.parametrize("old", ["TLSv1", "TLSv1_1"])
def test_what_is_older_than_tls_1_2_is_refused(old):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")              # or OpenSSL would not even ask for it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[old]
    ends = Ends(context)
    events = ends.pool.receive(ends.miner.shake(), START)
    assert closes(events) == [Close(CONN_ID, "TLS: unsupported protocol", is_peers_fault=True)]
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        ends.miner.shake(sent(events))
    assert ends.heard == []


def test_a_client_that_asks_for_a_certificate_it_can_verify_refuses_and_the_pool_hears_why():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    ends = Ends(context)
    answer = sent(ends.pool.receive(ends.miner.shake(), START))
    ends.miner._inbound.write(answer)
    with pytest.raises(ssl.SSLCertVerificationError):
        ends.miner.tls.do_handshake()
    events = ends.pool.receive(ends.miner._outbound.read(), START)
    assert [close.reason for close in closes(events)] == ["TLS: tlsv1 alert unknown ca"]


def test_a_handshake_that_stalls_is_dropped_after_ten_seconds():
    assert HANDSHAKE_DEADLINE_S == 10
    for end in (1, 100, -1):
        ends = Ends()
        flight = ends.miner.shake()[:end]
        assert ends.pool.receive(flight, later(1)) == []
        assert ends.pool.wakes_at == START.monotonic + 10
        assert ends.pool.tick(later(9.99)) == []
        assert ends.pool.tick(later(10)) == [Close(CONN_ID, "no TLS handshake within 10 s", is_peers_fault=True)]
        assert ends.pool.wakes_at == math.inf
        assert ends.heard == []


def test_a_drop_of_bytes_now_and_then_does_not_prolong_the_handshake():
    ends = Ends()
    for second, byte in enumerate(ends.miner.shake()[:10]):
        assert ends.pool.receive(bytes([byte]), later(second)) == []
    assert len(closes(ends.pool.tick(later(10)))) == 1
    assert ends.pool.receive(b"more", later(11)) == []


def test_a_handshake_without_end_is_cut_short():
    """A ClientHello that announces 128 KiB, in whole records that OpenSSL would collect."""
    ends = Ends()
    hello = b"\x01" + (131_000).to_bytes(3, "big") + b"\x03\x03" + bytes(130_000)
    events, given_bytes = [], 0
    while not closes(events):
        piece, hello = hello[:1000], hello[1000:]
        events = ends.pool.receive(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece, START)
        given_bytes += 1005
    assert closes(events) == [Close(CONN_ID, "no end of the TLS handshake within 16384 bytes", is_peers_fault=True)]
    assert MAX_HANDSHAKE <= given_bytes < MAX_HANDSHAKE + 2 * 1005


def test_lines_in_one_read_with_the_end_of_the_handshake_count_against_no_limit():
    ends = Ends()
    finish = ends.miner.shake(sent(ends.pool.receive(ends.miner.shake(), START)))
    events = ends.pool.receive(finish + ends.miner.seal(b"echo " + b"y" * 40_000 + b"\n"), START)
    assert ends.miner.open(sent(events)) == b"y" * 40_000 + b"\n"


def test_what_the_inner_connection_says_early_waits_for_the_handshake():
    ends = Ends()
    assert ends.pool.offer("one", START) == [] and ends.pool.offer("two", START) == []     # type: ignore[arg-type]
    answer = sent(ends.pool.receive(ends.miner.shake(), START))
    events = ends.pool.receive(ends.miner.shake(answer), START)
    assert ends.miner.open(sent(events)) == b"job one\njob two\n"
    assert ends.miner.open(sent(ends.pool.offer("three", START))) == b"job three\n"       # type: ignore[arg-type]


@pytest.mark.parametrize("flight", [b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n", b'{"id":1,"method":"mining.subscribe"}\n',
                                    b"\x80\x2e\x01\x00\x02", b"\x00"])
def test_who_speaks_no_tls_is_told_nothing_and_closed(flight):
    ends = Ends()
    assert ends.pool.receive(flight, START) == [
        Close(CONN_ID, "no TLS: plain text or junk on a TLS port", is_peers_fault=True)]
    assert ends.pool.receive(flight, START) == [] and ends.heard == []


# --- established ------------------------------------------------------------------------------------------------------

@both_versions
def test_lines_in_one_record_and_a_line_in_many_records(version):
    ends = established(client_context(version))
    events = ends.pool.receive(ends.miner.seal(b"echo a\necho b\necho c\n"), START)
    assert len(events) == 1 and ends.miner.open(sent(events)) == b"a\nb\nc\n"
    events = ends.pool.receive(ends.miner.seal(*(bytes([byte]) for byte in b"echo abc\n")), START)
    assert len(events) == 1 and ends.miner.open(sent(events)) == b"abc\n"
    assert ends.heard == [("receive", 21), ("receive", 9)], "one call for one read, however many records"


@both_versions
def test_what_one_call_says_leaves_in_one_record(version):
    ends = established(client_context(version))
    [answer] = ends.pool.receive(ends.miner.seal(b"echo a\n" * 50), START)
    assert int.from_bytes(answer.data[3:5], "big") == len(answer.data) - 5
    assert ends.miner.open(answer.data) == b"a\n" * 50


@both_versions
@pytest.mark.parametrize("size", [1, RECORD_SIZE - 1, RECORD_SIZE, RECORD_SIZE + 1, 300_000])
def test_payloads_of_any_size_both_ways(version, size):
    ends = established(client_context(version))
    wire = ends.miner.seal(b"echo " + b"z" * size + b"\n")
    parts = [wire[at:at + 65536] for at in range(0, len(wire), 65536)]
    answer = b"".join(sent(ends.pool.receive(part, START)) for part in parts)
    assert ends.miner.open(answer) == b"z" * size + b"\n"


@both_versions
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_cut_of_the_stream_changes_what_is_read(version, data):
    ends = established(client_context(version))
    lines = data.draw(st.lists(st.binary(max_size=60).map(lambda raw: raw.hex().encode()), max_size=8))
    wire = ends.miner.seal(*(b"echo " + line + b"\n" for line in lines))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    parts = [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    answer = b"".join(sent(ends.pool.receive(part, START)) for part in parts if part)
    assert ends.miner.open(answer) == b"".join(line + b"\n" for line in lines)


def test_shares_are_judged_and_answered():
    ends = established()
    events = ends.pool.receive(ends.miner.seal(b"share 1\nshare 2\n"), START)
    assert [type(event) for event in events] == [ShareSubmitted, ShareSubmitted] and ends.pool.in_flight == 2
    accepted = ends.pool.judged([weigh(event.header, event.network_target) for event in events], START)
    assert [type(event) for event in accepted] == [ShareAccepted, ShareAccepted]
    assert ends.miner.open(sent(ends.pool.recorded([1], START))) == b"ok 1\n"
    assert ends.miner.open(sent(ends.pool.not_recorded([2], START))) == b"lost 2\n"
    assert ends.pool.in_flight == 0


def test_events_of_the_core_pass_and_their_order_stays():
    ends = established()
    [share] = ends.pool.receive(ends.miner.seal(b"block 5\n"), START)
    events = ends.pool.judged([weigh(share.header, share.network_target)], START)
    assert [type(event) for event in events] == [BlockFound, Send]
    assert ends.miner.open(sent(events)) == b"found 5\n"


def test_what_is_held_back_is_the_backlog_and_goes_on():
    ends = established(max_unanswered=1)
    events = ends.pool.receive(ends.miner.seal(b"share 1\nshare 2\necho x\n"), START)
    assert len(events) == 1 and ends.pool.backlog == len(b"share 2\necho x\n")
    for number in (1, 2):
        ends.pool.judged([weigh(events[0].header, 0)], START)
        assert ends.miner.open(sent(ends.pool.recorded([number], START))) == b"ok %d\n" % number
        events = ends.pool.receive(b"", START)
    assert ends.miner.open(sent(events)) == b"x\n" and ends.pool.backlog == 0


def test_deadlines_of_the_inner_connection_are_kept():
    ends = established()
    assert ends.pool.wakes_at == math.inf
    ends.pool.receive(ends.miner.seal(b"wake 30\n"), START)
    assert ends.pool.wakes_at == START.monotonic + 30
    assert ends.miner.open(sent(ends.pool.tick(later(30)))) == b"tick\n"
    assert ends.pool.wakes_at == math.inf


def test_a_nudge_of_the_inner_connection_comes_through_before_anything_is_due():
    ends = established()
    assert ends.pool.wakes_at == math.inf
    assert ends.miner.open(sent(ends.pool.nudge(later(1)))) == b"tick\n"


@pytest.mark.parametrize(("inner_s", "due_s"), [(5.0, 5.0), (15.0, 10.0)])
def test_of_two_deadlines_the_earlier_one_counts(inner_s, due_s):
    inner = LineConnection(CONN_ID)
    inner.wakes_at = START.monotonic + inner_s
    connection = Served(Tls(server_context(), START.monotonic), inner)
    assert connection.wakes_at == START.monotonic + due_s
    assert connection.tick(later(5)) == []                      # "tick" waits for the handshake
    assert len(closes(connection.tick(later(10)))) == 1


# --- the end ----------------------------------------------------------------------------------------------------------

@both_versions
def test_the_pool_says_goodbye(version):
    ends = established(client_context(version))
    events = ends.pool.receive(ends.miner.seal(b"quit\n"), START)
    assert events[1:] == [Close(CONN_ID, "asked to")]
    assert ends.miner.open(sent(events)) == b"bye\n" and ends.miner.is_told_goodbye


@both_versions
def test_the_miner_says_goodbye_and_is_answered(version):
    ends = established(client_context(version))
    events = ends.pool.receive(ends.miner.seal(b"echo last\n") + ends.miner.goodbye(), START)
    assert events[1:] == [Close(CONN_ID, "closed by the peer")]
    assert ends.miner.open(sent(events)) == b"last\n" and ends.miner.is_told_goodbye


def test_the_reason_of_the_inner_connection_wins():
    """A bad line stands before a bad record: the first fault is the one to report."""
    ends = established()
    wire = bytearray(ends.miner.seal(b"nonsense\n", b"echo x\n"))
    wire[-1] ^= 1
    assert [close.reason for close in closes(ends.pool.receive(bytes(wire), START))] == ["no such command: nonsense"]


def test_shares_before_a_bad_record_are_judged_and_recorded_mutely():
    ends = established()
    wire = bytearray(ends.miner.seal(b"share 1\n", b"echo x\n"))
    wire[-1] ^= 1
    share, *rest = ends.pool.receive(bytes(wire), START)
    assert isinstance(share, ShareSubmitted) and isinstance(rest[-1], Close)
    assert ends.pool.ended == [Happened(CONN_ID, "debug", "line.ended", (("in_flight", 1),))]
    [accepted] = ends.pool.judged([weigh(share.header, 0)], START)
    assert isinstance(accepted, ShareAccepted) and ends.pool.in_flight == 1
    assert ends.pool.recorded([1], START) == [] and ends.pool.in_flight == 0
    assert ends.inner.calls[-3:] == [("closed", None), ("judged", 1), ("recorded", (1,))]


def test_a_closed_connection_is_mute_and_wants_nothing():
    ends = established()
    ends.pool.receive(ends.miner.seal(b"wake 1\n"), START)
    wire = ends.miner.seal(b"echo x\n")
    ends.pool.closed(START)
    assert ends.pool.receive(wire, START) == ends.pool.offer("one", START) == ends.pool.tick(later(60)) == []  # type: ignore[arg-type]
    assert ends.pool.wakes_at == math.inf
    assert ("closed", None) in ends.inner.calls


def test_openssls_memory_is_given_back_though_shares_are_in_flight():
    ends = established()
    session = weakref.ref(ends.pool.client.transport._tls)
    assert closes(ends.pool.receive(ends.miner.seal(b"share 1\nquit\n"), START))
    assert ends.pool.in_flight == 1
    assert session() is None


# --- junk -------------------------------------------------------------------------------------------------------------

RECORD = st.builds(lambda kind, version, body: bytes([kind]) + version + len(body).to_bytes(2, "big") + body,
                   st.sampled_from([0x14, 0x15, 0x16, 0x17, 0x18, 0x80]),
                   st.sampled_from([b"\x03\x00", b"\x03\x01", b"\x03\x03", b"\x03\x04", b"\xff\xff"]),
                   st.binary(max_size=80))
JUNK = st.one_of(st.binary(min_size=1, max_size=120), st.lists(RECORD, min_size=1, max_size=3).map(b"".join),
                 st.binary(max_size=60).map(lambda tail: b"\x16\x03\x01" + tail), st.text(min_size=1).map(str.encode),
                 st.binary(max_size=80).map(lambda tail: b"\x16\x03\x01\x00\x54\x01\x00\x00\x50\x03\x03" + tail))


@given(st.lists(JUNK, min_size=20, max_size=20))
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_kinds_of_junk_close_and_do_nothing_else(inputs):
    for junk in inputs:
        ends = Ends()
        events = [*ends.pool.receive(junk, START), *ends.pool.tick(later(10)), *ends.pool.receive(junk, later(10)),
                  *ends.pool.tick(later(20))]
        assert isinstance(events[-1], Close) and events[-1].is_peers_fault and len(closes(events)) == 1
        assert sent(events)[:1] in (b"", b"\x15"), "an alert at most"
        assert ends.heard == []


@both_versions
def test_no_flipped_bit_reaches_the_inner_connection(version):
    size = len(established(client_context(version)).miner.seal(b"echo secret\n"))
    for at, bit in itertools.product(range(size), range(8)):
        ends = established(client_context(version))
        wire = bytearray(ends.miner.seal(b"echo secret\n"))
        is_longer = at in (3, 4) and not wire[at] & 1 << bit        # a record of more bytes is waited for, if it may be
        wire[at] ^= 1 << bit
        events = ends.pool.receive(bytes(wire), START)
        assert ends.heard == []
        assert len(closes(events)) == 1 or is_longer, (at, bit)


def test_a_record_that_announces_too_much_is_refused_at_once():
    ends = established()
    [close] = closes(ends.pool.receive(b"\x17\x03\x03\xff\xff", START))
    assert close.reason in ("TLS: packet length too long", "TLS: encrypted length too long"), "by OpenSSL's version"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")
def test_renegotiation_is_refused(tls_pool):
    """Its client asks for it when `R` is typed, and gives up at the refusal."""
    done = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{tls_pool.listeners[0].port}"],
                          input="R\n", capture_output=True, text=True, timeout=PATIENCE_S)
    assert "RENEGOTIATING" in done.stdout + done.stderr
    assert "no renegotiation" in done.stderr
    assert [transport.is_established for transport in tls_pool.transports.values()] == [True]
    client = tls_client(tls_pool)
    client.send(b"echo still here\n")
    assert client.line() == b"still here"


def test_the_rules_of_the_context():
    context = new_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION and context.options & ssl.OP_NO_COMPRESSION
    assert context.num_tickets == 0


# --- on the wire ------------------------------------------------------------------------------------------------------

class Holder:
    """What a daemon has: the context that new connections get."""

    def __init__(self) -> None:
        self.context = server_context()

    def serve(self, opened: Opened, now: Now) -> Stack:
        return Stack(Tls(self.context, now.monotonic), LineConnection(opened.conn_id))


@pytest.fixture
def holder() -> Holder:
    return Holder()


@pytest.fixture
def tls_pool(holder):
    with pool(serve=holder.serve) as running:
        yield running


def tls_client(running: Pool, context: ssl.SSLContext | None = None) -> Client:
    """A client that speaks lines over TLS; the pool closes it."""
    client = running.client()
    client.sock = (context or client_context()).wrap_socket(client.sock)
    return client


@both_versions
def test_lines_shares_and_jobs_over_a_live_reactor(tls_pool, version):
    client = tls_client(tls_pool, client_context(version))
    client.send(b"echo hi\nshare 1\nshare 2\n")
    assert client.lines(3) == [b"hi", b"ok 1", b"ok 2"]
    for inbox in tls_pool.inboxes:
        inbox.put(JobReady("job-9"))                            # type: ignore[arg-type]
    assert client.line() == b"job job-9"
    client.send(b"send 3000000\n")
    data = b""
    while len(data) < 3_000_000:
        data += client.sock.recv(1 << 20)
    assert data == b"x" * 3_000_000


def test_both_ends_of_a_socket_hear_the_goodbye(tls_pool, log_lines: LogLines):
    client = tls_client(tls_pool)
    client.send(b"quit\n")
    assert client.line() == b"bye" and client.line() == b""
    other = tls_client(tls_pool)
    other.send(b"echo x\n")
    assert other.line() == b"x"
    other.sock.unwrap()                                         # waits for the pool's close_notify
    assert 'reason="closed by the peer"' in log_lines.wait_for("closed by the peer")


def test_back_pressure_reaches_the_reactor(holder, tls_pool):
    """The worker holds shares back; the reactor stops reading; all are answered once the books answer again."""
    tls_pool.is_recording = False
    client = tls_client(tls_pool)
    client.sock.settimeout(PATIENCE_S)
    shares = 3 * UNREAD_LIMIT // 8
    client.send(b"share 1\n")
    until(lambda: tls_pool.booked)
    [connection] = tls_pool.connections.values()
    connection._max_unanswered = 1                              # type: ignore[attr-defined]
    client.sock.setblocking(False)
    wire = b"".join(b"share %d\n" % number for number in range(2, shares))
    taken = 0
    peer = next(iter(tls_pool.reactor._peers.values()))
    while peer.unread <= UNREAD_LIMIT:
        with suppress(ssl.SSLWantWriteError):
            taken += client.sock.send(wire[taken:taken + 8192])
    assert connection.backlog <= 3 * UNREAD_LIMIT
    connection._max_unanswered = 1 << 30                        # type: ignore[attr-defined]
    client.sock.settimeout(PATIENCE_S)
    tls_pool.answer()
    client.send(wire[taken:])
    assert client.lines(shares - 1) == [b"ok %d" % number for number in range(1, shares)]


def test_the_fault_of_one_closes_that_one_alone(tls_pool, log_lines: LogLines):
    honest = tls_client(tls_pool)
    plain = tls_pool.client()
    plain.send(b'{"id": 1}\n')
    assert plain.rest() == b""
    broken = tls_client(tls_pool)
    raw = socket.socket(fileno=broken.sock.detach())
    raw.settimeout(PATIENCE_S)
    broken.sock = raw
    raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert broken.rest() != b""                                 # the alert
    buggy = tls_client(tls_pool)
    buggy.send(b"boom\n")
    with pytest.raises((ssl.SSLEOFError, AssertionError)):
        assert buggy.line() != b""
    honest.send(b"echo still here\n")
    assert honest.line() == b"still here"
    log_lines.wait_for("plain text or junk on a TLS port")
    log_lines.wait_for("bad record mac")


def test_five_hundred_junk_connections_beside_honest_ones(tls_pool):
    honest = [tls_client(tls_pool) for _ in range(5)]
    luck = random.Random(3)
    junk = []
    for number in range(500):
        client = tls_pool.client()
        junk.append(client)
        client.send((b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", luck.randbytes(100))[number % 4]
                    or b"\x16")
    for client in honest:
        client.send(b"share 1\n")
        assert client.line() == b"ok 1"
    for client in junk[2::4]:
        assert client.rest() == b""
    assert tls_pool.died == []


def test_new_connections_get_the_new_certificate_and_old_ones_keep_theirs(holder, tls_pool):
    old = tls_client(tls_pool)
    before = old.sock.getpeercert(binary_form=True)
    holder.context = fresh_server_context()
    new = tls_client(tls_pool)
    after = new.sock.getpeercert(binary_form=True)
    assert before and after and before != after
    for client in (old, new):
        client.send(b"echo alive\n")
        assert client.line() == b"alive"

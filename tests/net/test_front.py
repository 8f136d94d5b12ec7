"""A real worker behind a port for all and behind proxies: who is served, with which bytes; what the reactor hears."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.net.conftest import LogLines
from tests.net.lines import LineConnection
from tests.net.test_proxyheader import IP4, IP6, LINE, LOCALS, TLVS, v2
from tests.net.test_sniff import KINDS, PUBLISHED, SUBSCRIBE, TLS_13, WARP
from tests.net.test_worker import Scene
from warppool.events import Event, Now
from warppool.net import sniff as sniff_module
from warppool.net.clients import Stack, Undecided
from warppool.net.inbox import Ended, FromReactor, Gone, JobReady, NoWork, Opened, Part, Received
from warppool.net.proxyheader import ProxyHeader
from warppool.net.sniff import Sniff
from warppool.transport import PLAIN

HEADERS = {b"": None, LINE: "2001:db8::1", v2(0x21, 0x11, IP4 + TLVS): "192.0.2.1", v2(0x21, 0x21, IP6): "2001:db8::1",
           b"PROXY UNKNOWN\r\n": "", LOCALS[0]: "", LOCALS[1]: ""}
PROTOCOLS = {SUBSCRIBE: "sv1", TLS_13: "sv1-tls", WARP: "sv2", b'\r\n{"id": 1, "method": "x"}\n{"id": 2}\n': "sv1"}
JUNK = (PUBLISHED, b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", LINE,
        b"\n" * 200)


class Heard(LineConnection):
    """Keeps what it is given and says nothing; `kind` is that of the listener, `begin` when its deadlines begin."""

    def __init__(self, opened: Opened, begin: float) -> None:
        super().__init__(opened.conn_id)
        self.kind, self.peer, self.begin = opened.listener, opened.peer, begin
        self.data = b""
        self.jobs: list[object] = []

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self.data += data
        return []

    def offer(self, job: object, now: Now) -> list[Event]:      # type: ignore[override]
        self.jobs.append(job)
        return []


class FrontScene(Scene):
    """A worker whose connections come through a port for all, or through a proxy, or both."""

    def __init__(self) -> None:
        self.heard: dict[int, Heard] = {}
        self.announced: list[tuple[int, str]] = []
        self.closed: list[int] = []
        super().__init__()

    def serve(self, opened: Opened, now: Now) -> Stack:
        if opened.is_proxied:
            return Stack(ProxyHeader(opened.listener, now.monotonic), Undecided(opened.conn_id))
        if opened.listener == "any":
            return Stack(Sniff(KINDS, now.monotonic), Undecided(opened.conn_id))
        assert opened.conn_id not in self.heard, "connected twice"
        self.heard[opened.conn_id] = Heard(opened, now.monotonic)
        return Stack(PLAIN, self.heard[opened.conn_id])

    def come(self, conn_id: int, kind: str, is_proxied: bool) -> None:
        self.tell(Opened(conn_id, kind, f"198.51.100.{conn_id}:1", is_proxied))

    def tell(self, *parts: Part) -> None:
        for output in self.turn(FromReactor(parts)):
            assert not any(data for _, data in output.sends)    # nobody has said a word
            self.announced += output.announced
            self.closed += output.closes


@pytest.fixture
def scene() -> Iterator[FrontScene]:
    made = FrontScene()
    yield made
    made.mailbox.close()


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """34 bytes that look like `warp` wait for nothing."""
    monkeypatch.setattr(sniff_module, "WARP_WAIT_S", 0.0)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    ends = [0, *sorted({min(place, len(data)) for place in at}), len(data)]
    return [data[begin:end] for begin, end in pairwise(ends) if end > begin]


@pytest.mark.usefixtures("_at_once")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(HEADERS)), st.sampled_from(list(PROTOCOLS)), st.booleans(),
       st.lists(st.integers(0, 600), max_size=12), st.booleans())
def test_each_is_served_as_what_it_is_with_all_its_bytes_wherever_they_are_cut(
        header: bytes, words: bytes, is_sniffed: bool, at: list[int], is_one_turn: bool) -> None:
    scene, address = FrontScene(), HEADERS[header]
    scene.turn(JobReady("J"))                                   # type: ignore[arg-type]
    scene.come(1, "any" if is_sniffed else "sv1", address is not None)
    parts = [Received(1, piece) for piece in cut(header + words, at)]
    if is_one_turn:
        scene.tell(*parts)
    else:
        for part in parts:
            scene.tell(part)
    scene.tell()
    heard = scene.heard[1]
    assert (heard.kind, heard.data) == (PROTOCOLS[words] if is_sniffed else "sv1", words)
    assert heard.jobs == ["J"]
    assert scene.announced == ([] if address is None else [(1, address)])
    assert scene.closed == [] and scene.stats().connections == 1
    port = 56324 if address else 1
    shown = f"[{address}]" if ":" in (address or "") else address or "198.51.100.1"
    assert heard.peer == f"{shown}:{port}"
    scene.mailbox.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(HEADERS)), st.sampled_from(JUNK) | st.binary(min_size=80, max_size=200),
       st.lists(st.integers(0, 300), max_size=12))
def test_junk_is_closed_and_nobody_serves_it(header: bytes, junk: bytes, at: list[int]) -> None:
    scene, address = FrontScene(), HEADERS[header]
    scene.come(1, "any", address is not None)
    for piece in cut(header + junk, at):
        scene.tell(Received(1, piece))
    assert scene.closed == [1] or scene.heard                   # hypothesis may find an object or a hello
    assert scene.stats().connections == len(scene.heard)
    scene.mailbox.close()


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_what_comes_from_a_proxy_without_a_header_is_closed(data: bytes, at: list[int]) -> None:
    scene = FrontScene()
    scene.come(1, "sv1", True)
    for piece in cut(data, at):
        scene.tell(Received(1, piece))
    assert not scene.heard and scene.announced == []
    assert scene.closed == [1] or data.startswith((b"P", b"\r"))
    scene.mailbox.close()


def test_deadlines_of_what_follows_count_from_the_beginning(scene: FrontScene) -> None:
    scene.come(1, "any", True)
    opened_at = scene.worker._now.monotonic
    scene.tell()
    scene.tell(Received(1, LINE + SUBSCRIBE))
    assert scene.heard[1].begin == opened_at < scene.worker._now.monotonic


def test_who_leaves_before_it_is_known_who_it_is_leaves_nothing(scene: FrontScene, log_lines: LogLines) -> None:
    for conn_id, part in enumerate((Ended(1), Gone(2, "reset")), 1):
        for words in (b"", b"{", LINE[:5]):
            scene.come(conn_id, "any", words == LINE[:5])
            scene.tell(*([Received(conn_id, words)] if words else []), part)
            assert scene.stats().connections == 0
    assert not scene.heard and scene.announced == [] and log_lines.having("INFO") == []


def test_without_work_the_undecided_go_too(scene: FrontScene) -> None:
    scene.come(1, "any", True)
    scene.come(2, "any", False)
    scene.turn(NoWork())
    assert scene.stats().connections == 0


def test_a_job_that_goes_out_slowly_comes_once(scene: FrontScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is recognised by the clock while a new job goes round gets it then, and not again when its turn comes."""
    monkeypatch.setattr(sniff_module, "WARP_WAIT_S", 0.001)
    for conn_id in range(1, 9):
        scene.come(conn_id, "any", False)
    monkeypatch.setattr(scene.worker._turns, "is_late", lambda: True)       # so that few have it after one turn
    monkeypatch.setattr(scene.worker, "_tick", lambda: None)
    scene.tell(Received(8, WARP))
    monkeypatch.undo()
    monkeypatch.setattr(scene.worker._turns, "is_late", lambda: True)
    time.sleep(0.002)
    scene.turn(JobReady("J"))                                   # type: ignore[arg-type]
    for _ in range(8):
        scene.tell()
    assert scene.heard[8].jobs == ["J"]

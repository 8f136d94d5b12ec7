"""What a real worker does with transports: what is said is sealed by the one of its connection, once and in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.conftest import LogLines
from tests.net.lines import LineConnection
from tests.net.test_worker import Scene
from tests.net.tlsends import Miner, server_context
from warppool.events import Dial, Event, Now, Send, WithoutShares
from warppool.net.clients import Stack, Undecided
from warppool.net.inbox import Connected, FromReactor, JobReady, Opened, Received, Recorded
from warppool.net.outbox import Output
from warppool.net.tls import Tls
from warppool.transport import PLAIN, Recognised, Sealed, Transport, TransportEnd


class Crossing(LineConnection):
    """`to N X` says X to connection N."""

    def _obey(self, word: str, rest: str, now: Now) -> list[Event]:
        if word != "to":
            return super()._obey(word, rest, now)
        conn_id, _, text = rest.partition(" ")
        return [Send(int(conn_id), text.encode() + b"\n")]


class Marked:
    """A transport that can be seen: `<` opens what it seals, `>` ends it; `~` from the peer asks for an answer of its
    own, `!` is a fault and `.` a goodbye.
    """

    recognised = None
    peer_key = None
    pending = 0

    def __init__(self) -> None:
        self.wakes_at = math.inf
        self.has_news = False
        self.end: TransportEnd | None = None
        self._own = b""

    def open(self, data: bytes, now: float) -> bytes:
        for mark, end in ((b"!", TransportEnd("it is broken")), (b".", TransportEnd("goodbye", is_peers_fault=False))):
            if mark in data:
                data, self.end = data.partition(mark)[0], end
        if b"~" in data:
            self._own, data = b"(own)", data.replace(b"~", b"")
        self.has_news = bool(self._own) or self.end is not None
        return data

    def seal(self, plaintext: bytes) -> Sealed:
        own, self._own = self._own, b""
        return Sealed(own + (b"<" + plaintext + b">" if plaintext else b""))

    def shut(self) -> Sealed:
        return Sealed(b"(bye)")

    def tick(self, now: float) -> None:
        self.wakes_at = math.inf
        self.end = TransportEnd("too late")
        self.has_news = True


class Finder(Marked):
    """Wants to see three bytes; the first of them is the kind: `l` for lines, plain, `m` for the marked transport."""

    def __init__(self) -> None:
        super().__init__()
        self.recognised: Recognised | None = None           # type: ignore[assignment]
        self._received = b""

    def open(self, data: bytes, now: float) -> bytes:
        self._received += data
        self.wakes_at = now if data == b"late" else math.inf
        self.has_news = True
        if len(self._received) >= 3 and data != b"late":
            self.recognised = Recognised(self._received[:1].decode(), self._received[1:], "announced")
        return b""


class Transported(Scene):
    """Connections by the listener's kind."""

    def __init__(self, max_unanswered: int = 1024) -> None:
        self.transports: dict[int, Transport] = {}
        super().__init__(max_unanswered)

    def serve(self, opened: Opened, now: Now) -> Stack:
        if opened.listener == "find":
            return Stack(Finder(), Undecided(opened.conn_id))
        transport: Transport = PLAIN
        if opened.listener == "tls":
            transport = Tls(server_context(), now.monotonic)
        elif opened.listener == "m":
            transport = Marked()
        self.transports[opened.conn_id] = transport
        self.connections[opened.conn_id] = Crossing(opened.conn_id, self._max_unanswered)
        return Stack(transport, self.connections[opened.conn_id])

    def opened(self, **kinds: str) -> None:
        """Connection `cN` on a listener of that kind."""
        assert self.turn(*(Opened(int(name[1:]), kind, f"peer-{name[1:]}") for name, kind in kinds.items())) == []

    def sends(self, *items: Any) -> dict[int, bytes]:
        """What is sent to whom in one wake-up."""
        return {conn_id: data for output in self.turn(FromReactor(items)) for conn_id, data in output.sends}


@pytest.fixture
def scene() -> Iterator[Transported]:
    made = Transported()
    yield made
    made.mailbox.close()


def test_what_another_connections_step_says_is_sealed_by_ones_own_tls(scene: Transported) -> None:
    """As plain text on a TLS wire it would be read by everybody on the way, and would end the connection."""
    scene.opened(c1="tls", c2="plain")
    miner = Miner()
    flight = miner.shake()
    while flight:
        flight = miner.shake(scene.sends(Received(1, flight)).get(1, b""))
    sent = scene.sends(Received(2, b"to 1 secret\necho plain\n"))
    assert b"secret" not in sent[1] and miner.open(sent[1]) == b"secret\n"
    assert sent[2] == b"plain\n"


def test_before_the_handshake_what_another_says_waits_for_it(scene: Transported) -> None:
    scene.opened(c1="tls", c2="plain")
    miner = Miner()
    assert scene.sends(Received(2, b"to 1 early\n")) == {}
    answer = scene.sends(Received(1, miner.shake()))[1]
    assert b"early" not in answer
    assert miner.open(scene.sends(Received(1, miner.shake(answer)))[1]) == b"early\n"


def test_all_of_a_wake_up_is_sealed_once_and_in_order_whoever_said_it(scene: Transported) -> None:
    scene.opened(c1="m", c2="m")
    sent = scene.sends(Received(1, b"echo a\nto 2 b\n"), Received(2, b"echo c\nto 1 d\n"), Received(1, b"share 1\n"))
    assert sent == {1: b"<a\nd\n>", 2: b"<b\nc\n>"}
    [output] = scene.turn(Recorded(((1, 1),)), JobReady("J"))   # type: ignore[arg-type]
    assert output.sends[0] == (1, b"<ok 1\njob J\n>")


def test_what_a_transport_says_itself_goes_before_it(scene: Transported) -> None:
    scene.opened(c1="m")
    assert scene.sends(Received(1, b"~")) == {1: b"(own)"}
    assert scene.sends(Received(1, b"~echo a\n")) == {1: b"(own)<a\n>"}


def test_a_fault_closes_behind_what_came_before_it(scene: Transported, log_lines: LogLines) -> None:
    scene.opened(c1="m")
    assert scene.turn(Received(1, b"echo a\nshare 1\n!echo never\n")) == [
        Output(((1, Sealed(b"<a\n>(bye)")),), closes=(1,))]
    assert scene.log == [("record", [1])]
    assert log_lines.having("event=conn.closed") == [
        'INFO event=conn.closed conn=1 peer=peer-1 reason="it is broken"']
    assert scene.turn(Recorded(((1, 1),))) == [] and scene.stats().connections == 0


def test_shares_that_are_held_before_a_fault_are_weighed_all_the_same() -> None:
    """One of them may be a block."""
    scene = Transported(max_unanswered=1)
    try:
        scene.opened(c1="m")
        [output] = scene.turn(Received(1, b"share 1\nblock 2\necho never\n!"))
        assert output == Output(((1, Sealed(b"(bye)")),), closes=(1,))
        assert scene.turn(Recorded(((1, 1),))) == []
        scene.turn()
        assert [entry for entry in scene.log if entry[0] == "found"] == [("found", "user-1")]
        assert scene.turn(Recorded(((1, 2),))) == [] and scene.stats().connections == 0
    finally:
        scene.mailbox.close()


def test_who_says_goodbye_gets_the_answers_that_are_due(scene: Transported) -> None:
    scene.opened(c1="m", c2="m")
    assert scene.turn(Received(1, b"share 1\n."), Received(2, b".")) == [
        Output(((2, Sealed(b"(bye)")),), closes=(2,))]
    [output] = scene.turn(Recorded(((1, 1),)))
    assert output == Output(((1, Sealed(b"<ok 1\n>(bye)")),), closes=(1,))
    assert scene.stats().connections == 0


@pytest.mark.parametrize("cuts", [(3,), (1, 2), (1, 1, 1), (2, 7), (10,)])
def test_a_transport_that_finds_out_what_comes_gives_way(scene: Transported, cuts: tuple[int, ...],
                                                         log_lines: LogLines) -> None:
    scene.opened(c1="find")
    data, sent = b"mecho a\n", b""
    for size in (*cuts, len(data)):
        piece, data = data[:size], data[size:]
        sent += scene.sends(Received(1, piece)).get(1, b"") if piece else b""
    assert sent == b"<a\n>"
    scene.turn(Received(1, b"quit\n"))
    assert "peer=announced" in log_lines.having("event=conn.closed")[0]


def test_it_gets_the_latest_job_once_it_is_known_who_it_is(scene: Transported) -> None:
    scene.turn(JobReady("J"))                               # type: ignore[arg-type]
    scene.opened(c1="find")
    assert scene.sends(Received(1, b"mec"), Received(1, b"ho a\n")) == {1: b"<job J\na\n>"}


def test_a_transport_has_deadlines_of_its_own(scene: Transported, log_lines: LogLines) -> None:
    scene.opened(c1="find")
    assert scene.turn(Received(1, b"late")) == [Output(((1, Sealed(b"(bye)")),), closes=(1,))]     # it was due at once
    assert "too late" in log_lines.having("event=conn.closed")[0]


def test_a_transport_that_raises_costs_its_own_connection_alone(scene: Transported, log_lines: LogLines) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("a bug of this transport")

    scene.opened(c1="m", c2="m", c3="m")
    scene.transports[1].open = fail                         # type: ignore[method-assign]
    scene.transports[2].seal = fail                         # type: ignore[method-assign]
    [output] = scene.turn(Received(1, b"echo a\n"), Received(2, b"echo b\n"), Received(3, b"echo c\n"))
    assert dict(output.sends)[3] == b"<c\n>" and set(output.closes) == {1, 2}
    assert len(log_lines.having("event=conn.failed")) == 2


def test_ciphertext_is_what_the_reactor_is_told_of(scene: Transported) -> None:
    scene.opened(c1="m")
    [output] = scene.turn(Received(1, b"~" * 20_000 + b"echo a\n"))
    assert output.consumed == ((1, 20_007),)


def test_a_dialled_connection_has_its_own_transport_which_speaks_first(scene: Transported) -> None:
    upstream = _Upstream()
    scene.turn(Dial(0, "pool.example", 3333, upstream))
    assert scene.turn(Connected(1, 9, "192.0.2.1:3333")) == [Output(((9, Sealed(b"(own)<hello>")),))]
    assert scene.turn(Received(9, b"up!")) == [Output(((9, Sealed(b"(bye)")),), closes=(9,))]
    assert upstream.told == ["opened 192.0.2.1:3333", "up", "it is broken", "closed"]


def test_a_transport_that_cannot_be_made_costs_its_dial_alone(scene: Transported, log_lines: LogLines) -> None:
    upstream = _Upstream()
    upstream.transport = lambda now: 1 // 0                 # type: ignore[method-assign]
    scene.opened(c1="m")
    scene.turn(Dial(0, "pool.example", 3333, upstream))
    [output] = scene.turn(Connected(1, 9, "192.0.2.1:3333"), Received(1, b"echo a\n"))
    assert output == Output(((1, Sealed(b"<a\n>")),), closes=(9,))
    assert "ZeroDivisionError" in log_lines.having("event=conn.failed conn=9")[0]


class _Upstream(WithoutShares):
    """Says hello once it stands, and notes what it is told."""

    wakes_at = math.inf

    def __init__(self) -> None:
        self.conn_id = 0
        self.told: list[str] = []

    def transport(self, now: Now) -> Transport:
        transport = Marked()
        transport._own, transport.has_news = b"(own)", True
        return transport

    def opened(self, conn_id: int, peer: str, now: Now) -> list[Event]:
        self.told.append(f"opened {peer}")
        return [Send(conn_id, b"hello")]

    def receive(self, data: bytes, now: Now) -> list[Event]:
        self.told.append(data.decode())
        return []

    def broken(self, end: TransportEnd, now: Now) -> list[Event]:
        self.told.append(end.reason)
        return []

    def failed(self, reason: str, now: Now) -> list[Event]:
        raise AssertionError("it stands")

    def tick(self, now: Now) -> list[Event]:
        return []

    def closed(self, now: Now) -> list[Event]:
        self.told.append("closed")
        return []

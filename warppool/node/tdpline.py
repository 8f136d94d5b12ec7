"""The connection to one template provider: a socket that never blocks, under Noise, and what came of its bytes."""

from __future__ import annotations

import os
import select
import socket
import time

from warppool import __version__
from warppool.addresses import ProviderUrl
from warppool.bitcoin.header import Header
from warppool.errors import NodeError, RemoteProtocolError
from warppool.events import Now
from warppool.node.bell import Bell
from warppool.node.httpline import NodeAway
from warppool.node.solutions import OfferSolution
from warppool.noise.ends import initiator
from warppool.noise.primitives import new_buffer
from warppool.sv2.messages.template import SubmitSolution
from warppool.sv2.profile import Profile
from warppool.sv2.templateclient import TemplateClientSession, TemplateEvent
from warppool.sv2.templatelink import TemplateLink
from warppool.sv2.types import Message

CONNECT_TIMEOUT_S = 5.0
MESSAGES_PER_S = 40.0       # that are taken, in the long run: 20 new tips a second; what is more waits unread
MOST_AT_ONCE = 80.0         # the same, at one time
MAX_UNSENT = 1 << 20        # bytes that the provider does not take
_READ_SIZE = 65_536


class ProviderMistake(NodeError):
    """The provider said what cannot be, or is another one than it should be: trying again soon does not help."""


class ProviderLine:
    """One provider's connection. It belongs to one thread; `cut` alone may come from any other.

    `url.pin` is what the provider is held to (32 bytes), b"" for whoever answers. Every trouble is a NodeError.
    """

    def __init__(self, url: ProviderUrl, profile: Profile, bell: Bell) -> None:
        self.link: TemplateLink | None = None
        self._url = url
        self._profile = profile
        self._bell = bell
        self._buffer = new_buffer()
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._tokens = MOST_AT_ONCE
        self._filled_at = time.monotonic()
        self._fault: NodeError | None = None        # behind the events that came before it
        self._is_cut = False

    @property
    def is_up(self) -> bool:
        """Whether it is connected, be the provider set up or not."""
        return self._sock is not None

    @property
    def is_set_up(self) -> bool:
        """Whether the provider has accepted the connection."""
        return self.link is not None and self.link.session.is_set_up

    @property
    def is_cut(self) -> bool:
        """Whether `cut` was called."""
        return self._is_cut

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the provider to take it."""
        return bool(self._unsent)

    # --- coming and going ---------------------------------------------------------------------------------------------

    def dial(self, session: TemplateClientSession) -> None:
        """Connect, and have the handshake and the set-up on their way."""
        self.hang_up()
        sock = self._connect()
        self._sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = initiator(self._profile.suite, self._url.pin or None, os.urandom(32), self._buffer, _now())
        setup = session.setup(host=self._url.host, port=self._url.port, vendor="warppool", firmware=__version__)
        self.link = TemplateLink(self._profile, transport, session, setup)
        self._tokens, self._filled_at = MOST_AT_ONCE, time.monotonic()
        self._unsent = self.link.outgoing()

    def hang_up(self) -> None:
        """Drop the connection, with all that waits in it."""
        sock, self._sock, self.link = self._sock, None, None
        self._unsent, self._fault = b"", None
        if sock is not None:
            sock.close()

    def cut(self) -> None:
        """Any thread: no more connections; a wait that runs ends."""
        self._is_cut = True
        self._bell.ring()

    def _connect(self) -> socket.socket:
        error: OSError | None = None
        try:
            places = socket.getaddrinfo(self._url.host, self._url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            raise NodeError(f"cannot look up {self._url.host}: {_words(exc)}: mend the name in node.url") from exc
        for family, kind, proto, _, where in places:
            sock = socket.socket(family, kind, proto)
            try:
                sock.setblocking(False)
                sock.connect_ex(where)
                self._await_connect(sock)
            except OSError as exc:
                sock.close()
                error = exc
            else:
                return sock
        fault = NodeAway if isinstance(error, ConnectionRefusedError) else NodeError
        raise fault(f"cannot connect to {self._url.place}: {_words(error)}: does a template provider listen there, and "
                    "is node.url right?") from error

    def _await_connect(self, sock: socket.socket) -> None:
        """Wait until `sock` stands; OSError says why it does not. A ring alone does not end the wait."""
        until = time.monotonic() + CONNECT_TIMEOUT_S
        poll, both = select.poll(), select.poll()
        poll.register(sock, select.POLLOUT)
        both.register(sock, select.POLLOUT)
        both.register(self._bell.fileno(), select.POLLIN)
        both.poll(CONNECT_TIMEOUT_S * 1000)
        if self._is_cut or not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError
        if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))

    # --- what goes out and comes in -----------------------------------------------------------------------------------

    def send(self, *messages: Message) -> None:
        """Put messages on their way, as far as the provider takes them now."""
        assert self.link is not None
        self.link.send(*messages)
        self.flush()

    def ask_transactions(self, template_id: int) -> None:
        """Ask for a template's transactions."""
        assert self.link is not None
        self.link.ask_transactions(template_id)
        self.flush()

    def offer(self, solution: OfferSolution) -> None:
        """Hand a block in."""
        assert solution.template_id is not None
        header = Header.unpack(solution.header)
        self.send(SubmitSolution(solution.template_id, header.version, header.ntime, header.nonce,
                                 solution.coinbase_tx))

    def await_room(self, timeout_s: float) -> None:
        """Write what waits, once the provider takes more."""
        assert self._sock is not None
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        poll.poll(max(1, round(timeout_s * 1000)))
        self.flush()

    def flush(self) -> None:
        """Write what waits; what the provider does not take stays, up to a bound."""
        if self.link is None or self._sock is None:
            return
        self._unsent += self.link.outgoing()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent):]
        except BlockingIOError:
            if len(self._unsent) > MAX_UNSENT:
                raise ProviderMistake("the provider takes nothing that we send") from None
        except OSError as exc:
            raise NodeError(f"the connection to {self._url.place} broke: {_words(exc)}") from exc

    def wait(self, timeout_s: float) -> list[TemplateEvent]:
        """Wait for the provider or the bell, and take what it says; NodeError once what came before is taken."""
        if self._fault is not None:
            raise self._fault
        assert self._sock is not None
        pause_s = self._until_token()
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        wish = (select.POLLIN if pause_s == 0.0 else 0) | (select.POLLOUT if self._unsent else 0)
        poll.register(self._sock, wish)
        timeout_s = min(timeout_s, pause_s or timeout_s)
        ready = dict(poll.poll(max(1, round(timeout_s * 1000)) if timeout_s > 0 else 0))
        if self._bell.fileno() in ready:
            self._bell.hear()
        seen = ready.get(self._sock.fileno(), 0)
        if seen & select.POLLOUT:
            self.flush()
        return self._take() if pause_s == 0.0 and seen & ~select.POLLOUT else []

    def _take(self) -> list[TemplateEvent]:
        assert self._sock is not None and self.link is not None
        try:
            data = self._sock.recv(_READ_SIZE)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise NodeError(f"the connection to {self._url.place} broke: {_words(exc)}") from exc
        if not data:
            raise NodeError(f"the provider at {self._url.place} hung up"
                            + ("" if self.is_set_up else " before the set-up: is it a template provider, and does it "
                               f"speak the profile {self._profile.name}?"))
        events: list[TemplateEvent] = []
        before = self.link.messages
        try:
            events.extend(self.link.receive(data, _now()))
        except RemoteProtocolError as exc:
            self._fault = ProviderMistake(str(exc))
        self._tokens -= self.link.messages - before
        if self._fault is None:
            self.flush()                            # the handshake and the session may have something to say
        elif not events:
            raise self._fault
        return events

    def _until_token(self) -> float:
        """Seconds until another message may be taken: a provider that says more than that is read no faster."""
        now = time.monotonic()
        self._tokens = min(MOST_AT_ONCE, self._tokens + (now - self._filled_at) * MESSAGES_PER_S)
        self._filled_at = now
        return 0.0 if self._tokens > 0 else (0.001 - self._tokens) / MESSAGES_PER_S


def _now() -> Now:
    return Now(time.monotonic(), time.time())


def _words(exc: BaseException | None) -> str:
    """What an operator can read of an error: `Connection refused`, without the number."""
    if isinstance(exc, TimeoutError):
        return "timed out"
    return getattr(exc, "strerror", None) or str(exc) or "no address"

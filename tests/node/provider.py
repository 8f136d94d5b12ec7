"""A template provider that does what a test says, on a loopback port: one client at a time, under Noise."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.noise.specends import AUTHORITY, AUTHORITY_SECRET, STATIC, STATIC_XONLY
from tests.patience import PATIENCE_S
from warppool.addresses import ProviderUrl
from warppool.authority import authority_key_text
from warppool.events import Now
from warppool.noise.certificate import issue
from warppool.noise.ends import Identity, responder
from warppool.noise.primitives import new_buffer
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection, SetupConnectionSuccess
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    RequestTransactionData,
    RequestTransactionDataError,
)
from warppool.sv2.profile import WARP, Profile, Subprotocol
from warppool.sv2.types import Message
from warppool.transport import Sealed

SECRET = bytes(range(1, 33))


class ScriptedProvider:
    """Answers set-up and questions for life by itself; the rest is said by the test. `heard` is all that came.

    `answer` is asked about every other message, and returns what is said to it. Used by `with`.
    """

    def __init__(self, profile: Profile = WARP, *, is_set_up: bool = True) -> None:
        self.profile = profile
        self.heard: queue.Queue[Message] = queue.Queue()
        self.connections = 0
        self.life_code = "template-id-not-found"
        self.answer: Callable[[Message], list[Message]] = lambda message: []
        self._is_set_up = is_set_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._orders: queue.Queue[bytes] = queue.Queue()
        self._sock: socket.socket | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="scripted-provider")

    def url(self, key: bytes | None = None) -> ProviderUrl:
        """Where it is, with its own key or another one; b"" for none."""
        own = AUTHORITY if self.profile.suite is not WARP.suite else WARP.suite.key_pair(SECRET).public
        pin = own if key is None else key
        return ProviderUrl("127.0.0.1", self.port, pin, self.profile.name if pin else "")

    def text(self) -> str:
        """The same as text."""
        url = self.url()
        key = url.pin.hex() if self.profile is WARP else authority_key_text(url.pin)
        return f"stratum2+tcp://127.0.0.1:{self.port}/{key}"

    def __enter__(self) -> ScriptedProvider:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self.hang_up()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(PATIENCE_S)
        self._listener.close()

    def say(self, *messages: Message) -> None:
        """Said as soon as a client is set up; after a connection has ended, wait for the constraints of the next."""
        self.say_bytes(b"".join(map(self.profile.encode, messages)))

    def say_bytes(self, plaintext: bytes) -> None:
        """The same, of what need not be a message."""
        self._orders.put(plaintext)

    def hang_up(self) -> None:
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def await_message(self, kind: type[Message]) -> Any:
        """The next message of that kind."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            message = self.heard.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(message, kind):
                return message

    def _identity(self) -> Identity:
        if self.profile is WARP:
            return Identity(WARP.suite.key_pair(SECRET))
        return Identity(STATIC, lambda unix: issue(AUTHORITY_SECRET, STATIC_XONLY, int(unix) - 3600,
                                                   int(unix) + 3600).encode())

    def _run(self) -> None:
        while not self._is_over:
            sock, _ = self._listener.accept()
            if self._is_over:
                sock.close()
                return
            self._sock = sock
            with sock, suppress(OSError):
                self.connections += 1
                self._serve(sock)
            self._orders = queue.Queue()

    def _serve(self, sock: socket.socket) -> None:
        transport = responder(self.profile.suite, self._identity(), os.urandom(32), new_buffer(), Now(0.0, time.time()))
        reader = FrameReader(4096 * 64)
        sock.settimeout(0.01)
        is_set_up = False
        while True:
            with suppress(queue.Empty):
                while is_set_up or not self._is_set_up:
                    self._send(sock, transport.seal(self._orders.get_nowait()))
            try:
                data = sock.recv(65_536)
            except TimeoutError:
                continue
            if not data:
                return
            for frame in reader.feed(transport.open(data, 0.0)):
                subprotocol = Subprotocol.TEMPLATE_DISTRIBUTION if is_set_up else Subprotocol.COMMON
                message = self.profile.decode(subprotocol, frame)
                assert message is not None
                answers = self._answers(message)
                is_set_up = is_set_up or isinstance(message, SetupConnection)
                self._send(sock, transport.seal(b"".join(map(self.profile.encode, answers))))
                self.heard.put(message)
            self._send(sock, transport.seal(b""))

    def _answers(self, message: Message) -> list[Message]:
        if isinstance(message, SetupConnection) and self._is_set_up:
            return [SetupConnectionSuccess(2, 0)]
        if isinstance(message, RequestTransactionData) and message.template_id == 0 and self.life_code:
            return [RequestTransactionDataError(0, self.life_code)]
        return self.answer(message) if not isinstance(message, CoinbaseOutputConstraints) else []

    @staticmethod
    def _send(sock: socket.socket, sealed: Sealed) -> None:
        sock.settimeout(PATIENCE_S)
        if sealed:
            sock.sendall(sealed)
        sock.settimeout(0.01)

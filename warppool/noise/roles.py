"""The two roles of a handshake, each as one step for a transport: what opens it, and what the one message leads to."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from warppool.events import Now
from warppool.noise.cipherstate import CipherState
from warppool.noise.handshakestate import Initiator, Responder
from warppool.noise.primitives import Buffer
from warppool.noise.symmetricstate import KeyPair, Suite


class Shaken(NamedTuple):
    """What a finished handshake leaves: `reply` is still to be sent, `peer_key` is what the peer has proved to hold."""

    reply: bytes
    receive: CipherState
    send: CipherState
    peer_key: bytes | None


class Role(Protocol):
    """A handshake that waits for one message, of `message_len` bytes; `opening` is to be sent at once."""

    @property
    def message_len(self) -> int: ...

    @property
    def opening(self) -> bytes: ...

    def finish(self, message: bytes, now: float) -> Shaken:
        """HandshakeFailed, WrongServerKey among them, ends it. One call only, at `now`, monotonic seconds."""


class Answering:
    """The pool's role: act one comes, act two goes. Nothing is computed for a stranger who sends no act one.

    `payload` has `suite.act_two_payload_len` bytes.
    """

    __slots__ = ("_buffer", "_ephemeral_secret", "_payload", "_static", "_suite")

    opening = b""

    def __init__(self, suite: Suite, static: KeyPair, payload: bytes, ephemeral_secret: bytes, buffer: Buffer) -> None:
        self._suite = suite
        self._static = static
        self._payload = payload
        self._ephemeral_secret = ephemeral_secret
        self._buffer = buffer

    @property
    def message_len(self) -> int:
        """Bytes of act one."""
        return self._suite.act_one_len

    def finish(self, message: bytes, now: float) -> Shaken:
        """Answer act one. The miner proves no key: the pattern NX gives it none."""
        suite = self._suite
        state = Responder(suite, self._static, suite.key_pair(self._ephemeral_secret), self._buffer)
        state.read_act_one(message)
        act_two, receive, send = state.write_act_two(self._payload)
        return Shaken(act_two, receive, send, None)


class Asking:
    """The miner's role: act one goes, act two comes, and the server is held to `pin`; None takes any server.

    Its clock is read at `since`, when it was made, and goes on from there with the monotonic one.
    """

    __slots__ = ("_pin", "_since", "_state", "opening")

    def __init__(self, suite: Suite, pin: bytes | None, ephemeral_secret: bytes, buffer: Buffer,
                 since: Now) -> None:
        self._state = Initiator(suite, suite.key_pair(ephemeral_secret), buffer)
        self._pin = pin
        self._since = since
        self.opening = self._state.write_act_one()

    @property
    def message_len(self) -> int:
        """Bytes of act two."""
        return self._state.message_len

    def finish(self, message: bytes, now: float) -> Shaken:
        """Read act two, and see whose it is."""
        state = self._state
        payload, receive, send = state.read_act_two(message)
        if self._pin is not None:
            unix_time = self._since.unix + max(0.0, now - self._since.monotonic)
            state.suite.check_server(state.rs, payload, self._pin, unix_time)
        return Shaken(b"", receive, send, state.rs)

"""The miner's end of an Sv2 connection, bytes in and bytes out: Noise initiator, frames, and the client session."""

from __future__ import annotations

from collections.abc import Iterator

from warppool.noise.primitives import Buffer
from warppool.noise.transport import InitiatorTransport
from warppool.sv2.client import ClientEvent, MiningClientSession
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import Profile
from warppool.sv2.types import Message


class DialledConnection:
    """One connection to a pool: put `outgoing()` on the wire, give `receive` what comes back.

    `server_public` is the pool's static key (32 bytes), which the handshake holds it to; `ephemeral_secret` 32 fresh
    random bytes; `buffer` the thread's own. `setup` goes out as soon as the handshake is done.
    """

    def __init__(self, profile: Profile, *, server_public: bytes, ephemeral_secret: bytes, buffer: Buffer,
                 setup: SetupConnection) -> None:
        self.session = MiningClientSession(profile)
        self._profile = profile
        self._transport = InitiatorTransport(profile.suite, server_public, ephemeral_secret, buffer)
        self._frames = FrameReader(profile.max_payload)
        self.messages = 0                               # that have come; shows that the pool lives
        self._setup: SetupConnection | None = setup
        self._outgoing = [self._transport.take_handshake()]

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the pool's bytes lead to; RemoteProtocolError when they are not Sv2 or not from the pinned key."""
        return list(self.hear(data))

    def hear(self, data: bytes) -> Iterator[ClientEvent]:
        """The same one by one, so that what comes before a fault is not lost by it; to be taken to its end."""
        session, profile = self.session, self._profile
        for plaintext in self._transport.open(data):
            for frame in self._frames.feed(plaintext):
                self.messages += 1
                message = profile.decode(session.subprotocol, frame)
                if message is not None:
                    yield from session.receive(message)
        if self._setup is not None and self._transport.is_established:
            setup, self._setup = self._setup, None
            self.send(setup)

    def send(self, *messages: Message) -> None:
        """Put messages into the next `outgoing`, in one piece."""
        self._outgoing.append(self.seal(b"".join(map(self._profile.encode, messages))))

    def seal(self, frames: bytes) -> bytes:
        """Frames as they go on the wire, in one piece, after all that `outgoing` has given out."""
        return self._transport.seal(frames)

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now; b"" for none."""
        out = b"".join(self._outgoing)
        self._outgoing.clear()
        return out

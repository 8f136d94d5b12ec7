"""The miner's end of an Sv2 connection: frames and the client session, and what seals them where no worker does."""

from __future__ import annotations

from collections.abc import Iterator

from warppool.errors import RemoteProtocolError
from warppool.events import Now
from warppool.noise.ends import initiator
from warppool.noise.primitives import Buffer
from warppool.sv2.client import ClientEvent, MiningClientSession
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import Profile
from warppool.sv2.types import Message


class ClientFrames:
    """A client session that hears the plaintext of its connection."""

    __slots__ = ("_frames", "_profile", "messages", "session")

    def __init__(self, profile: Profile) -> None:
        self.session = MiningClientSession(profile)
        self.messages = 0                               # that have come; shows that the pool lives
        self._profile = profile
        self._frames = FrameReader(profile.max_payload_from_pool)

    def hear(self, plaintext: bytes) -> Iterator[ClientEvent]:
        """What the pool's bytes lead to, one by one, so that what comes before a fault is not lost by it.

        To be taken to its end; RemoteProtocolError when the bytes are not Sv2.
        """
        session, profile = self.session, self._profile
        for frame in self._frames.feed(plaintext):
            self.messages += 1
            message = profile.decode(session.subprotocol, frame)
            if message is not None:
                yield from session.receive(message)


class DialledConnection:
    """One connection to a pool, bytes in and bytes out: put `outgoing()` on the wire, give `receive` what comes back.

    `server_public` is what the handshake holds the pool to (the `pin` of `noise.ends.initiator`); `ephemeral_secret` 32
    fresh random bytes; `buffer` the thread's own. `setup` goes out as soon as the handshake is done. `unix_time` is our
    clock, in seconds, for the times of a certificate.
    """

    def __init__(self, profile: Profile, *, server_public: bytes | None, ephemeral_secret: bytes,
                 buffer: Buffer, setup: SetupConnection, unix_time: float = 0.0) -> None:
        self._frames = ClientFrames(profile)
        self.session = self._frames.session
        self._profile = profile
        self._transport = initiator(profile.suite, server_public, ephemeral_secret, buffer, Now(0.0, unix_time))
        self._unsealed = [profile.encode(setup)]

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the pool's bytes lead to; RemoteProtocolError when they are not Sv2 or not from the pinned key."""
        heard = list(self._frames.hear(self._transport.open(data, 0.0)))
        end = self._transport.end
        if end is not None:
            raise end.error or RemoteProtocolError(end.reason)
        return heard

    def send(self, *messages: Message) -> None:
        """Put messages into the next `outgoing`."""
        self._unsealed += map(self._profile.encode, messages)

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now, sealed in one piece; b"" for none."""
        unsealed, self._unsealed = self._unsealed, []
        return self._transport.seal(b"".join(unsealed))

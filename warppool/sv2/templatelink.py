"""The pool's end of a template connection: bytes in, events out; what is to be sent waits until it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from warppool.errors import RemoteProtocolError
from warppool.events import Now
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.profile import Profile
from warppool.sv2.templateclient import NO_TEMPLATE, TemplateClientSession, TemplateEvent
from warppool.sv2.types import Message
from warppool.transport import Sealed, Transport

MAX_PAYLOAD = 1_048_576
"""Bytes of any message but the transactions that were asked for; the largest has 73,991."""


class TemplateLink:
    """One connection to a template provider. Put `outgoing()` on the wire, and give `receive` what comes back.

    `setup` goes out with the handshake. The longest message, a template's transactions, is taken only where it was
    asked for, so a provider cannot make us hold 16 MB whenever it likes.
    """

    def __init__(self, profile: Profile, transport: Transport, session: TemplateClientSession,
                 setup: SetupConnection) -> None:
        self.session = session
        self.messages = 0                           # that have come
        self._profile = profile
        self._transport = transport
        self._all_longer = profile.longer_numbers(session.subprotocol)
        self._longer: dict[int, int] = {}           # what the reader lets pass now
        self._reader = FrameReader(min(profile.max_payload, MAX_PAYLOAD), self._longer)
        self._unsealed = [profile.encode(setup)]

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        return self._reader.pending + self._transport.pending

    def receive(self, data: bytes, now: Now) -> Iterator[TemplateEvent]:
        """What the provider's bytes lead to, one by one, so that what comes before a fault is not lost by it.

        To be taken to its end; RemoteProtocolError where they are not Sv2, say what cannot be, or prove another key.
        """
        session, profile = self.session, self._profile
        for frame in self._reader.feed(self._transport.open(data, now.monotonic)):
            self.messages += 1
            message = profile.decode(session.subprotocol, frame)
            if message is None:
                continue
            for step in session.receive(message, now.unix):
                if isinstance(step, Message):
                    self.send(step)
                else:
                    yield step
            if session.asked is None:
                self._longer.clear()
        if (end := self._transport.end) is not None:
            raise end.error or RemoteProtocolError(end.reason)

    def ask_transactions(self, template_id: int) -> None:
        """Put the question for a template's transactions into the next `outgoing`."""
        self.send(self.session.ask_transactions(template_id))
        if template_id != NO_TEMPLATE:
            self._longer.update(self._all_longer)

    def send(self, *messages: Message) -> None:
        """Put messages into the next `outgoing`."""
        self._unsealed += map(self._profile.encode, messages)

    def outgoing(self) -> Sealed:
        """The bytes to be put on the wire now, sealed; b"" for none."""
        unsealed, self._unsealed = self._unsealed, []
        return self._transport.seal(b"".join(unsealed))

"""Which protocol a peer speaks, told by the first bytes of its connection: for ports that take any of them.

Text tells itself, and so does TLS. The first message of Noise is random to look at, but for its length: a `warp` client
sends 34 bytes (a length of 32, and a key whose last bit is clear) and then waits for the answer; a client of the
published profile sends 64. The first 34 bytes of one published client in 2^17 look like `warp`. That client is taken
for `warp` only if they come alone and the 35th is late; it connects anew, with another key.

Source: docs/warp.rst#warp-noise; docs/decisions.rst#decision-any-port; RFC 8446 §4.1.2, §5.1 (TLS).
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Final

from warppool.net.proxyheader import FIRST_MESSAGE_DEADLINE_S, FORGED, opens_proxy_header
from warppool.transport import NOTHING, Recognised, Sealed, TransportEnd

WARP_WAIT_S: Final = 0.1
"""How long 34 bytes that look like `warp` wait for a 35th. A message of 64 bytes that TCP cuts comes whole within that,
but for a packet that was lost."""

TEXT_NEEDED: Final = 24
"""Bytes of text, the brace included, that are Stratum V1 though the line has not ended: by chance one first message of
the published profile in 10^12 begins so."""

TLS_NEEDED: Final = 11
"""Bytes of a TLS hello: header of the record, header of the message, version."""

WARP_SIZE: Final = 34
"""Bytes of the first message of `warp`: a length of two bytes, little-endian, and a key of 32."""

PUBLISHED_SIZE: Final = 64
"""Bytes of the first message of the published profile: a key. No client sends a 65th before it has an answer."""

_WARP_OPENS = b"\x20\x00"
_BLANKS = b" \t\r\n\x0b\x0c"            # Stratum V1 machines may send blank lines
_MAX_RECORD = 0x4000                    # bytes that one TLS record holds
_HTTP_VERBS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"TRACE ",
               b"PRI ")


class Guess(Enum):
    """What a connection speaks, as far as its first bytes tell."""

    NOT_YET = "not yet"             # more bytes are needed
    MAYBE_WARP = "maybe warp"       # `warp`, if no 35th byte comes within WARP_WAIT_S, or none can come any more
    V1 = "v1"
    TLS = "tls"
    PUBLISHED = "published"         # Noise of the published profile, or anything else that is no text
    HTTP = "http"                   # a browser or a health check
    PROXY = "proxy"                 # a PROXY header, in a place where none is wanted


_REFUSALS: Final = {
    Guess.V1: "Stratum V1, which this port does not serve",
    Guess.TLS: "TLS, which this port does not serve, or no certificate is there: name one by stratum.tls_cert and "
               "stratum.tls_key",
    Guess.MAYBE_WARP: "Stratum V2 in the profile warp, which this port does not serve: see stratum.sv2_listen",
    Guess.PUBLISHED: "neither Stratum V1 nor TLS nor warp: junk, or the published profile of Stratum V2, which this "
                     "port does not serve: see stratum.sv2_spec_listen",
    Guess.HTTP: "HTTP: a browser or a health check, and no miner",
    Guess.PROXY: FORGED,
}

_JUNK: Final = "neither Stratum V1 nor TLS nor Stratum V2: junk"


class Sniff:
    """The transport of a connection on `any_listen` or `sv2_spec_listen`, until its first bytes say what it speaks.

    `kinds` are the kinds of listeners (`Opened.listener`) that serve it from then on; what stands not there is refused.
    """

    __slots__ = ("_held", "_kinds", "_since", "end", "recognised", "wakes_at")

    has_news: Final = True
    peer_key: Final = None

    def __init__(self, kinds: Mapping[Guess, str], now: float) -> None:
        self._kinds = kinds
        self._held = b""
        self._since = now
        self.wakes_at = now + FIRST_MESSAGE_DEADLINE_S
        self.end: TransportEnd | None = None
        self.recognised: Recognised | None = None

    @property
    def pending(self) -> int:
        """Bytes from the wire that are held."""
        return len(self._held)

    def open(self, data: bytes, now: float) -> bytes:
        """Keep `data`; `recognised` or `end` once it is enough."""
        self._held += data
        guess = sniff(self._held)
        if guess is Guess.MAYBE_WARP:
            self.wakes_at = min(self._since + FIRST_MESSAGE_DEADLINE_S, now + WARP_WAIT_S)
        elif guess is not Guess.NOT_YET:
            self._decide(guess)
        return b""

    def tick(self, now: float) -> None:
        """Nothing more has come in time."""
        if now < self.wakes_at:
            return
        if sniff(self._held) is Guess.MAYBE_WARP:
            self._decide(Guess.MAYBE_WARP)
        else:
            self._end(f"no protocol known within {FIRST_MESSAGE_DEADLINE_S:.0f} s")

    def _decide(self, guess: Guess) -> None:
        if guess is Guess.PUBLISHED and len(self._held) > PUBLISHED_SIZE:
            self._end(_JUNK)
        elif guess in self._kinds:
            self.recognised = Recognised(self._kinds[guess], self._held, since=self._since)
            self.wakes_at = math.inf
        else:
            self._end(_REFUSALS[guess])

    def _end(self, reason: str) -> None:
        self.end = TransportEnd(reason)
        self.wakes_at = math.inf
        self._held = b""

    def seal(self, plaintext: bytes) -> Sealed:
        """Nothing: it is not known how to say anything."""
        return NOTHING

    def shut(self) -> Sealed:
        """Nothing."""
        return NOTHING


def sniff(data: bytes) -> Guess:
    """The protocol whose first bytes are `data`, all that came so far."""
    text = data.lstrip(_BLANKS)
    if text.startswith(b"{") and len(data) - len(text) <= WARP_SIZE:
        guess = _as_text(text[:TEXT_NEEDED])
        if guess is not None:
            return guess
    if data.startswith(b"\x16"):
        if _opens_tls(data[:TLS_NEEDED]):
            return Guess.TLS if len(data) >= TLS_NEEDED else Guess.NOT_YET
    elif data.startswith(_HTTP_VERBS):
        return Guess.HTTP
    elif opens_proxy_header(data):
        return Guess.PROXY
    if len(data) > WARP_SIZE:
        return Guess.PUBLISHED
    if len(data) == WARP_SIZE and data.startswith(_WARP_OPENS) and data[-1] < 0x80:
        return Guess.MAYBE_WARP
    return Guess.NOT_YET


def _as_text(text: bytes) -> Guess | None:
    """What the front of a line is, which opens with a brace; None where Stratum V1 does not look so."""
    line, end, _ = text.partition(b"\n")
    if end:
        return Guess.V1 if _is_object(line) else None
    if not _is_text(text):
        return None
    return Guess.V1 if len(text) >= TEXT_NEEDED else Guess.NOT_YET


def _is_text(front: bytes) -> bool:
    """Whether it is UTF-8 without control characters, but for those that JSON has between words.

    The last character may be cut.
    """
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(front)
    except UnicodeDecodeError:
        return False
    return all(letter >= " " or letter in "\t\r" for letter in text)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except ValueError:                          # not UTF-8, or no JSON
        return False


def _opens_tls(head: bytes) -> bool:
    """Whether up to eleven bytes may begin a ClientHello: the front of a record that holds the front of a message.

    Bytes: type, version (2), length of the record (2, big-endian); type, length of the message (3), version (2).
    """
    if head[1:2] not in (b"", b"\x03") or (len(head) > 2 and head[2] > 4):
        return False
    if len(head) >= 5 and not TLS_NEEDED - 5 <= int.from_bytes(head[3:5], "big") <= _MAX_RECORD:
        return False
    if head[5:6] not in (b"", b"\x01"):
        return False
    if len(head) >= 9 and int.from_bytes(head[6:9], "big") > _MAX_RECORD:
        return False
    return head[9:10] in (b"", b"\x03") and (len(head) <= 10 or head[10] <= 4)

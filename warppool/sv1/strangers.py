"""Other protocols on a Stratum V1 port: known by their first bytes, so that they are refused at once and by name."""

from __future__ import annotations

_BLANKS = b" \t\r\n\x0b\x0c"
_OPENS_JSON = frozenset(b'{["-0123456789tfn')
_TLS_HANDSHAKE = 0x16
_BTC_AGENT = 0x7F
_PROXY_HEADERS = (b"PROXY ", b"\x00\r\nQUIT\n")        # of version 2 the first four bytes are blank
_HTTP_VERBS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"TRACE ",
               b"PRI ")

TLS = "TLS on a port without it: give the machine a port of tls_listen, or stratum+tcp:// for this one"
BTC_AGENT = "a BTCAgent frame (0x7f): let the agent speak plain Stratum V1"
HTTP = "HTTP: a browser or a health check, and no miner"
PROXY = "a PROXY header from an address that is not in stratum.proxy_from: add it, if it is your proxy's"
BINARY = "no text: Stratum V2 (Noise) has ports of its own, sv2_listen"
TEXT = "no JSON: Stratum V1 is lines of JSON"


def stranger_by(data: bytes) -> str | None:
    """What the peer speaks, in words for the log, by the first bytes of its connection; "" if it is Stratum V1.

    None while all that came is blank, so that nothing can be told yet. The words are always the same for one protocol
    and quote nothing of the peer's.
    """
    data = data.lstrip(_BLANKS)
    if not data:
        return None
    first = data[0]
    if first in _OPENS_JSON:
        return ""
    if first == _TLS_HANDSHAKE:
        return TLS
    if first == _BTC_AGENT:
        return BTC_AGENT
    if any(data.startswith(verb) or verb.startswith(data) for verb in _HTTP_VERBS):
        return HTTP
    if data.startswith(_PROXY_HEADERS):
        return PROXY
    return TEXT if first in range(0x20, 0x7F) else BINARY

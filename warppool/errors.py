"""What can go wrong; the class says whose fault it is.

Everything raised on purpose is a `WarppoolError`. Whoever catches one knows from its class alone what to do: tell the
operator, close one connection, try a node again, or report a bug.
"""


class WarppoolError(Exception):
    """Everything raised on purpose."""


class ConfigError(WarppoolError):
    """The operator can mend it: names the key, what it holds and what it may hold."""


class MissingExtra(ConfigError):
    """A part needs a package that is not installed: names the extra that brings it."""


class NotNow(WarppoolError):
    """Trouble of the moment, and no mistake of the file: a port, an address, a lock or a mount. A start waits for it.

    Names the key and what can be done, should it stay.
    """


class LocalProtocolError(WarppoolError):
    """We asked the core for what the protocol forbids: a bug of ours."""


class RemoteProtocolError(WarppoolError):
    """The peer broke the protocol: its connection closes and nothing else does."""


class HandshakeFailed(RemoteProtocolError):
    """The Noise handshake cannot be completed: wrong length, wrong key, failed tag."""


class WrongServerKey(HandshakeFailed):
    """The server proved another static key than the one that was pinned: no network trouble, somebody must look."""


class BadRecord(RemoteProtocolError):
    """A transport record has length 0, fails its tag, or comes after the last nonce."""


class BadFrame(RemoteProtocolError):
    """A frame header announces more than this phase of the session allows."""


class BadLine(RemoteProtocolError):
    """A V1 line is too long, nested too deep, or no JSON object."""


class WrongProtocol(RemoteProtocolError):
    """The first byte says that the peer speaks something else than this port does; the text names what."""


class BadProxyHeader(RemoteProtocolError):
    """A connection from a proxy that we trust does not begin with a PROXY header, or with one that is broken."""


class MalformedPayload(RemoteProtocolError):
    """The payload of a frame is not the message that its number names."""


class Truncated(MalformedPayload):
    """The bytes end inside a field, a length or a count."""


class LengthExceeded(MalformedPayload):
    """A length is above the bound of its type."""


class BadOption(MalformedPayload):
    """The count byte of an OPTION is neither 0 nor 1."""


class UnexpectedMessage(RemoteProtocolError):
    """A message that this phase of the session has no place for."""


class NodeError(WarppoolError):
    """The node refused or was silent; the caller tries again, later each time."""


class LedgerError(WarppoolError):
    """The books cannot be read or written; says what the database said and what to do."""


class LedgerBusy(LedgerError, NotNow):
    """Another program holds the books locked."""

"""What can go wrong. The class of an error says whose fault it is.

Everything that is raised on purpose is a `WarppoolError`. Whoever catches one knows by its class what to do: tell the
operator, close one connection, ask the node again, or report a bug (docs/style.rst#style-errors).
"""


class WarppoolError(Exception):
    """Everything raised on purpose."""


class ConfigError(WarppoolError):
    """The operator can mend it. The text names the key, what the key holds, and what it may hold."""


class MissingExtra(ConfigError):
    """A part needs a package that is not installed. The text names the extra that brings the package."""


class NotNow(WarppoolError):
    """A port, an address, a lock or a mount is in the way for the moment. The configuration is right, so a start waits.

    The text names the key, and what can be done if the trouble stays.
    """


class LocalProtocolError(WarppoolError):
    """We asked the core for what the protocol forbids: a bug of ours."""


class RemoteProtocolError(WarppoolError):
    """The peer broke the protocol: its connection is closed, and no other."""


class HandshakeFailed(RemoteProtocolError):
    """The Noise handshake cannot be completed: wrong length, wrong key, failed tag."""


class WrongServerKey(HandshakeFailed):
    """The server proved another static key than the pinned one. Trying again does not help: somebody must look."""


class BadRecord(RemoteProtocolError):
    """A transport record is shorter than a tag, has a wrong tag, or comes after the last nonce."""


class BadFrame(RemoteProtocolError):
    """A frame header announces more than this phase of the session allows."""


class BadLine(RemoteProtocolError):
    """A V1 line is too long, nested too deep, or no JSON object."""


class WrongProtocol(RemoteProtocolError):
    """The first byte shows that the peer speaks another protocol than this port; the text names that protocol."""


class BadProxyHeader(RemoteProtocolError):
    """A connection from a proxy that we trust does not begin with a PROXY header, or with one that is broken."""


class MalformedPayload(RemoteProtocolError):
    """The payload of a frame is not a message of the kind that the frame's number says."""


class Truncated(MalformedPayload):
    """The bytes end inside a field, a length or a count."""


class LengthExceeded(MalformedPayload):
    """A length is greater than its type allows."""


class BadOption(MalformedPayload):
    """The count byte of an OPTION is neither 0 nor 1."""


class UnexpectedMessage(RemoteProtocolError):
    """A message that may not come in this phase of the session."""


class NodeError(WarppoolError):
    """The node refused or did not answer. The caller tries again, after longer pauses each time."""


class LedgerError(WarppoolError):
    """The books cannot be read or written. The text has the database's own words, and what to do."""


class UnusableLedger(LedgerError, ConfigError):
    """What `ledger.url` names is no ledger, or not one for this warppool. Waiting does not help."""


class LedgerBusy(LedgerError, NotNow):
    """Another program has locked the books."""

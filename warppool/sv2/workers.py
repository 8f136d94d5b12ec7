"""Worker names that come with the shares of one connection (extension 0x0002), under the user of the share's channel.

A name tells the machines of one user apart, and never leads to another user: the part before the first dot is always
that of the channel's own name.
"""

from __future__ import annotations

from warppool.mining.channel import Channel
from warppool.mining.identity import read_identity, user_of
from warppool.mining.names import NameRule
from warppool.sv2.messages.extensions import (
    RequestExtensions,
    RequestExtensionsError,
    RequestExtensionsSuccess,
)
from warppool.sv2.profile import Profile
from warppool.sv2.tlv import MAX_WORKER_SIZE, WORKER_NAMES, worker_in
from warppool.sv2.types import Message

MAX_NAMES = 1000
"""Worker names on one connection: as many as it may have channels, and a bound on what one peer can make us hold."""

MAX_ECHOED = 2048
"""Extensions that are named in a refusal, so that it has at most 4 KiB: a machine may read no more than 8."""


class WorkerNames:
    """What a connection's shares say of their workers; `is_agreed` once the peer may say it.

    `ignored` counts the names that were no names: too long, with a control character, one too many, or an address that
    is another account than the channel's.
    """

    __slots__ = ("_known", "_names", "ignored", "is_agreed")

    def __init__(self, names: NameRule) -> None:
        self.is_agreed = False
        self._names = names
        self.ignored = 0
        self._known: dict[tuple[str, bytes], str] | None = None     # by the channel's user and the TLV's value

    def agree(self, m: RequestExtensions, profile: Profile) -> Message:
        """Answer what the peer asks for."""
        granted = [each for each in dict.fromkeys(m.requested_extensions) if each in profile.extensions]
        self.is_agreed = WORKER_NAMES in granted
        if granted:
            return RequestExtensionsSuccess(request_id=m.request_id, supported_extensions=tuple(granted))
        return RequestExtensionsError(request_id=m.request_id, required_extensions=(),
                                      unsupported_extensions=m.requested_extensions[:MAX_ECHOED])

    def user_of(self, channel: Channel, area: bytes) -> str:
        """Whose share on `channel` it is; `area` has the TLVs that came with the share. The account is the channel's,
        whatever the TLVs say.
        """
        user, worker = channel.user, worker_in(area)
        if worker == b"":
            return user
        known = self._known
        name = known.get((user, worker)) if known is not None and worker is not None else None
        if name is not None:
            return name
        name = named(user, worker) if worker is not None else None
        if (worker is None or name is None or (known is not None and len(known) >= MAX_NAMES)
                or self._is_other(worker, channel)):
            self.ignored += 1
            return user
        if known is None:
            self._known = known = {}
        known[user, worker] = name
        return name

    def _is_other(self, worker: bytes, channel: Channel) -> bool:
        """Whether the name is that of another account's worker."""
        said = read_identity(worker.decode("utf-8", "surrogateescape"))
        return said is not None and channel.payee is not None and self._names.is_other(said, channel.payee.account)


def named(user: str, worker: bytes) -> str | None:
    """The whole name of `worker` under the user of a channel; None where that is no name.

    The same bytes are a name here as in an open: UTF-8, and single bytes that are none by `surrogateescape`, without
    blanks and invisible characters at the ends.
    """
    if len(worker) > MAX_WORKER_SIZE:
        return None
    account = user_of(user)
    name = read_identity(f"{account}.{worker.decode('utf-8', 'surrogateescape')}")
    return name if name is not None and name != f"{account}." else None


def is_news(count: int) -> bool:
    """Whether the `count`-th of something is to be said: the first, and then each that doubles the count."""
    return count & (count - 1) == 0

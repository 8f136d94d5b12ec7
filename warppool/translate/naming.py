"""Under which name a machine's channel is opened, and whether the machine may mine on it.

The account of a name is the address in it, of whichever network. A machine mines on a channel of its own account alone,
and names of several accounts are not taken on one connection (`translator.own_names`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from warppool.mining.account import address_in
from warppool.mining.identity import MAX_AGENT, read_identity
from warppool.mining.names import BAD_ADDRESS, BAD_NAME, OTHER_ACCOUNT, OTHER_ADDRESS
from warppool.sv1.resume import SESSION_ID_SIZE
from warppool.translate.channel import UpstreamChannel
from warppool.translate.context import TranslatorContext
from warppool.translate.waitingnames import WAITING_S, Awaited, Origin

REFUSALS: Mapping[str, tuple[int, str]] = MappingProxyType({BAD_NAME: BAD_ADDRESS, OTHER_ACCOUNT: OTHER_ADDRESS})
"""Code and words of the answer to a name, by the reason for the log: as a pool has them whose blocks pay its machines.
"""


class Naming:
    """Owned by one machine's session; `address` is where the machine comes from, `now` is monotonic seconds."""

    __slots__ = ("_address", "_back", "_context", "_origin", "_refused", "session_id")

    def __init__(self, context: TranslatorContext, address: str) -> None:
        self.session_id = b""                       # from the first subscribe on
        self._context = context
        self._address = address
        self._origin = Origin(address, "")
        self._back: Awaited | None = None           # who the machine is that comes back
        self._refused = ""                          # the identity of `_back`, where the upstream does not take that

    # -- a machine comes -----------------------------------------------------------------------------------------

    def subscribe(self, agent: str, session: str, now: float) -> None:
        """The machine begins a session, or goes on with the one that it names."""
        self._origin = Origin(self._address, agent[:MAX_AGENT])
        if self.session_id:
            return
        self._back = self._claim(session, now) if self._context.own_names else None
        self.session_id = self._context.random_bytes(SESSION_ID_SIZE) if self._back is None else self._back.session_id

    def _claim(self, session: str, now: float) -> Awaited | None:
        try:
            return self._context.names.claim(bytes.fromhex(session), now)
        except ValueError:
            return None

    # -- its channel ---------------------------------------------------------------------------------------------

    def may_open_at(self, otherwise: float) -> float:
        """When the channel may be asked for: at once where the machine's name is known by its session."""
        return -math.inf if self._back is not None and not self._refused else otherwise

    def identity(self, user: str | None, unnamed: str, now: float) -> tuple[str, bool]:
        """What the upstream is to be told of the machine, whose name is `user`, None until it has said one; and whether
        that is a name of the machine's own. `unnamed` is what the upstream calls machines without one.
        """
        if user is not None:
            return self._context.identity_of(user), True
        if self._back is None and self._context.own_names:
            self._back = self._context.names.claim_at(self._origin, now)
        if self._back is None or self._refused:
            return unnamed, False
        return self._context.identity_of(self._back.name), True

    def refuse(self, identity: str, user: str | None) -> bool:
        """The upstream does not take `identity`. True where the machine said so on this connection, and is to be told;
        what it said on an earlier one is refused when it says so again.
        """
        if self._back is not None and self._context.identity_of(self._back.name) == identity:
            self._refused = identity
        return user is not None and self._context.identity_of(user) == identity

    # -- its names -----------------------------------------------------------------------------------------------

    def is_fit(self, name: str) -> bool:
        """Whether `name` can go upstream."""
        return read_identity(self._context.identity_of(name)) is not None

    def why_not(self, name: str, user: str | None) -> str:
        """Why the worker `name` is not let in, a key of REFUSALS; "" for one that may be. `user` is the first worker of
        the connection.
        """
        identity = self._context.identity_of(name)
        if identity == self._refused:
            return BAD_NAME
        if user is not None and not self._is_one_account(identity, self._context.identity_of(user)):
            return OTHER_ACCOUNT
        return ""

    def may_mine(self, channel: UpstreamChannel | None, user: str | None) -> bool:
        """Whether `channel` is of the account of `user`."""
        return channel is None or user is None or self._is_one_account(
            channel.identity, self._context.identity_of(user))

    def _is_one_account(self, identity: str, other: str) -> bool:
        return not self._context.own_names or identity == other or address_in(identity) == address_in(other)

    # -- it goes -------------------------------------------------------------------------------------------------

    def send_back(self, user: str, now: float) -> None:
        """The machine is closed, and will come back."""
        identity = self._context.identity_of(user)
        self._context.names.keep(Awaited(self.session_id, user, address_in(identity) or identity, self._origin,
                                         now + WAITING_S))

    def closed(self, user: str | None, now: float) -> None:
        """The machine is gone: one that came back before may do so again."""
        if self._back is not None and user is not None:
            self.send_back(user, now)

"""What a worker's name means for the coins: a rule that is made once, of the configuration.

In mode pool a name is a user of the books, and all coins go to the pool. In modes solo and pplns a name leads to an
account, and a name that leads to none is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from warppool.events import Happened
from warppool.mining.account import Account, NoAccount, account_of
from warppool.mining.channel import Channel
from warppool.mining.identity import MAX_AGENT, unpaid, user_of
from warppool.mining.job import Job
from warppool.mining.payee import POOL, Payee

ANYBODY: Final = Account("", b"")
"""The one account of all names where the coinbase pays the pool."""

_CRAMPED: Final = "what there is no room for goes to pool.payout_address, and is owed until a later block pays it"

BAD_NAME: Final = "invalid-user-identity"
"""Why a name is refused, in the log and on V2: it is none, or leads to no account."""

OTHER_ACCOUNT: Final = "other-account"
"""Why a name is refused, in the log: it leads to another account than that of its connection."""

BAD_ADDRESS: Final = (24, "Invalid Bitcoin address")
"""Code and words of V1's answer to a name that leads to no account, as other solo pools have them."""

OTHER_ADDRESS: Final = (24, "Another address is mined for here")
"""The same for OTHER_ACCOUNT."""


def _is_no_news(said: str, now: float) -> bool:
    """The answer where the log is told of nobody."""
    return False


def cramped(names: NameRule, conn_id: int, job: Job | None, channel: Channel, agent: str, now: float
            ) -> list[Happened]:
    """What the log hears where a machine that has begun holds too small a coinbase to pay what it should."""
    payee = channel.payee
    if job is None or payee is None or not payee.room or not job.rule.serves(payee) or not job.rule.is_cramped(payee):
        return []
    if not names.is_cramped_news(agent, now):
        return []
    return [Happened(conn_id, "warning", "coinbase.cramped", (
        ("agent", agent), ("bytes", payee.room), ("meaning", _CRAMPED)))]


class NameRule(Protocol):
    """What names mean. `refusal` is code and words of V1's answer to a refused one, None for a plain `false`; with
    `has_rooms` a payee depends on how large a coinbase the machine can hold.
    """

    refusal: ClassVar[tuple[int, str] | None]

    @property
    def has_rooms(self) -> bool:
        """Whether `payee` asks for the room."""

    def account(self, name: str) -> Account:
        """The account of a name that `read_identity` gave; NoAccount."""

    def payee(self, account: Account, room: int) -> Payee:
        """Who is paid for a channel of `account`; `room` is the size class of its machine (`rooms.py`)."""

    def is_other(self, text: str, address: str) -> bool:
        """Whether `text`, which should name a worker of the account with this address, leads to another account."""

    def said(self, conn_id: int, name: str, address: str, now: float) -> list[Happened]:
        """What the log hears of a name that is let in, at monotonic `now`; `address` is its account's."""

    def is_cramped_news(self, agent: str, now: float) -> bool:
        """Whether the log is to hear that machines of this firmware hold too little of a coinbase: once for each."""


@dataclass(frozen=True, slots=True)
class FreeNames:
    """Mode pool: every name is good, and none is paid. `is_unpaid` says who is to be warned of that."""

    is_unpaid: Callable[[str, float], bool] = _is_no_news

    refusal: ClassVar[tuple[int, str] | None] = None
    has_rooms: ClassVar[bool] = False

    def account(self, name: str) -> Account:
        """The pool's books have users, and the coinbase has none of them."""
        return ANYBODY

    def payee(self, account: Account, room: int) -> Payee:
        """The pool, for all."""
        return POOL

    def is_other(self, text: str, address: str) -> bool:
        """Names lead nowhere."""
        return False

    def said(self, conn_id: int, name: str, address: str, now: float) -> list[Happened]:
        """Who calls himself by an address may wait for coins that never come."""
        return [unpaid(conn_id, name)] if self.is_unpaid(user_of(name), now) else []

    def is_cramped_news(self, agent: str, now: float) -> bool:
        """No machine holds less than the one output there is."""
        return False


@dataclass(frozen=True, slots=True)
class PaidNames:
    """Modes solo and pplns: a name leads to an account on `network`.

    A name that is clearly no address leads to `fallback`, where the operator gave one; `is_news` says whether the log
    is to hear of such a user. Who seems to have meant an address is refused all the same: he would miss his coins.
    """

    network: str
    fallback: Account | None = None
    has_rooms: bool = False
    is_news: Callable[[str, float], bool] = _is_no_news
    is_agent_news: Callable[[str, float], bool] = _is_no_news

    refusal: ClassVar[tuple[int, str] | None] = BAD_ADDRESS

    def account(self, name: str) -> Account:
        """The account that the name leads to; NoAccount."""
        try:
            return account_of(name, self.network)
        except NoAccount as exc:
            if self.fallback is None or exc.is_meant:
                raise
            return self.fallback

    def payee(self, account: Account, room: int) -> Payee:
        """The account; with the room where its share of a coinbase depends on that."""
        return Payee(account.address, account.script, room if self.has_rooms else 0)

    def is_other(self, text: str, address: str) -> bool:
        """Whether the text is a name of another account by itself."""
        try:
            return account_of(text, self.network).address != address
        except NoAccount:
            return False

    def said(self, conn_id: int, name: str, address: str, now: float) -> list[Happened]:
        """The fallback is said once for each user."""
        if self.fallback is None or address != self.fallback.address or self._has_account(name) or not self.is_news(
                user_of(name), now):
            return []
        return [Happened(conn_id, "info", "payout.fallback", (("user", user_of(name)), ("address", address)))]

    def is_cramped_news(self, agent: str, now: float) -> bool:
        """What nobody says of himself is one firmware, too."""
        return self.is_agent_news(agent[:MAX_AGENT], now)

    def _has_account(self, name: str) -> bool:
        try:
            account_of(name, self.network)
        except NoAccount:
            return False
        return True

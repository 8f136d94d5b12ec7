"""The web of the pool: what it shows besides the numbers is made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from warppool.config.options import Config
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.payout.moves import Purse
from warppool.rewards.balances import purses_of
from warppool.rewards.parts import parts_of
from warppool.service.about import about_of
from warppool.service.faces import StoppableThread
from warppool.service.patience import Patience
from warppool.service.ports import Ports
from warppool.service.web import web_of
from warppool.stats.snapshot import StatsSnapshot
from warppool.web.books import AccountPayment, Balance, PayoutBooks


def pool_web(config: Config, latest: Callable[[], StatsSnapshot], ports: Ports, patience: Patience,
             resources: ExitStack) -> Sequence[StoppableThread]:
    """The threads of the web, none where the operator wants none; ConfigError."""
    pool, url = config.pool, config.ledger.url
    authority = b"" if ports.spec is None else ports.spec.voucher.authority
    return web_of(
        config.web, latest, partial(open_reader, url, pool.data_dir), patience, resources,
        fee_percent=pool.fee_basis_points / 100,
        payout=pool.payout, about=about_of(config, ports.listeners, authority),
        payouts=PayoutBooks(balances_of, partial(payments_of, pool.network)))


def balances_of(reader: Reader) -> list[Balance]:
    """What each account is owed; LedgerError."""
    sums = purses_of(reader)
    found = (Balance(account, *(sums[account, purse] for purse in (Purse.PAYABLE, Purse.MATURING, Purse.CLAIMED)))
             for account in {account for account, _ in sums})
    return [each for each in found if any(each[1:])]


def payments_of(network: str, reader: Reader, block_hash: bytes) -> list[AccountPayment] | None:
    """Who got what of this block, None for one that is not in the books; LedgerError."""
    position = reader.payout_block(block_hash)
    return None if position is None else [AccountPayment(*part) for part in parts_of(reader, position, network)]

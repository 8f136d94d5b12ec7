"""What names of workers mean under the operator's configuration."""

from __future__ import annotations

from warppool.bitcoin.address import canonical
from warppool.config.options import PoolConfig
from warppool.mining.account import Account
from warppool.mining.names import FreeNames, NameRule, PaidNames
from warppool.service.onceperuser import OncePerUser
from warppool.service.unpaid import UnpaidNames


def names_of(pool: PoolConfig) -> NameRule:
    """The rule of `pool.payout`, for all workers together."""
    if pool.payout == "pool":
        return FreeNames(UnpaidNames(pool.network, pool.payout_script).is_news)
    fallback = Account(canonical(pool.fallback_address), pool.fallback_script) if pool.fallback_script else None
    return PaidNames(pool.network, fallback, pool.payout == "pplns", OncePerUser().is_news,
                     OncePerUser().is_news)

"""Who is paid: the rule of the configuration's mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from warppool.config.options import PoolConfig
from warppool.errors import ConfigError
from warppool.mining.payrule import Payer, ToFinder, ToPool

_PAYERS: Mapping[str, Callable[[PoolConfig], Payer]] = MappingProxyType({
    "pool": lambda pool: ToPool(pool.payout_script),
    "solo": lambda pool: ToFinder(pool.payout_script, pool.fee_basis_points),
})


def payer_of(pool: PoolConfig) -> Payer:
    """What says who is paid by each job; ConfigError for a mode that this version cannot serve."""
    make = _PAYERS.get(pool.payout)
    if make is None:
        raise ConfigError(f"pool.payout: this version does not serve {pool.payout!r}")
    return make(pool)

"""Who is paid: the rule of the configuration's mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from warppool.config.options import PoolConfig
from warppool.mining.byweights import ByWeights
from warppool.mining.payrule import Payer, ToFinder, ToPool

_PAYERS: Mapping[str, Callable[[PoolConfig], Payer]] = MappingProxyType({
    "pool": lambda pool: ToPool(pool.payout_script),
    "solo": lambda pool: ToFinder(pool.payout_script, pool.fee_basis_points),
    "pplns": lambda pool: ByWeights(pool.payout_script),
})


def payer_of(pool: PoolConfig) -> Payer:
    """What says who is paid by each job."""
    return _PAYERS[pool.payout](pool)

"""What upstreams are told of a machine: the easiest target that it takes, and what it hashes."""

from __future__ import annotations

from typing import NamedTuple

from warppool.sv1.words import Preference
from warppool.translate.upstream import Upstream

SHARE_EVERY_S = 10.0
"""How often pools want a share: what a machine with a wanted difficulty hashes is reckoned by that."""

MAX_HASH_RATE_HPS = 1e30
"""Far above all machines of the world, and within what the message can hold."""

_HASHES = float(1 << 256)


class Wish(NamedTuple):
    """`hash_rate_hps` is 0.0 where nothing is known, and the upstream takes that."""

    max_target: int
    hash_rate_hps: float


def wish_of(preference: Preference, upstream: Upstream) -> Wish:
    """A machine's wish, in words for `upstream`.

    The network's target wins over the machine's, where it is known, as in the pool: a machine that asks for more than
    that would pass over blocks. A difficulty that the machine names is where the upstream is to begin: it makes its
    targets of hash rates.
    """
    return Wish(max(preference.easiest, upstream.newest.network_target), _hash_rate_hps(preference, upstream))


def _hash_rate_hps(preference: Preference, upstream: Upstream) -> float:
    assumed_hps = upstream.config.profile.assumed_hash_rate_hps
    if not assumed_hps:
        return 0.0
    if preference.hash_rate:
        return min(preference.hash_rate, MAX_HASH_RATE_HPS)
    if preference.start is None:
        return assumed_hps
    target = max(preference.start, upstream.newest.network_target)
    return min(_HASHES / (target * SHARE_EVERY_S), MAX_HASH_RATE_HPS)

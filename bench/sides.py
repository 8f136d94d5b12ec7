"""Both ends of a connection in one dialect: who the server of a bench is, and what its miners hold it to."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from warppool.noise.certificate import issue
from warppool.noise.ends import Identity
from warppool.noise.secp256k1 import xonly_of_ellswift, xonly_of_secret
from warppool.sv2.profile import Profile

VALID_S = 86_400


class Side(NamedTuple):
    """A dialect, its server's `identity`, and the `pin` of a miner: the server's key, or that of its authority."""

    profile: Profile
    identity: Identity
    pin: bytes


def side_of(profile: Profile) -> Side:
    """A server of its own, with keys that nobody else has."""
    static = profile.suite.key_pair(os.urandom(32))
    if not profile.suite.act_two_payload_len:
        return Side(profile, Identity(static), static.public)
    authority, now = os.urandom(32), int(time.time())
    certificate = issue(authority, xonly_of_ellswift(static.public), now - 3_600, now + VALID_S).encode()
    return Side(profile, Identity(static, lambda unix_time: certificate), xonly_of_secret(authority))

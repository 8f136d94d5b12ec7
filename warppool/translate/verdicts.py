"""Verdicts: what an upstream says of a share, in V1's words and as a reason to count."""

from __future__ import annotations

from typing import NamedTuple

from warppool.mining.share import Reject

UPSTREAM_LOST = "upstream-lost"
"""The reason of a share that came while there was no upstream."""

OTHER = "other"
"""The reason for all codes that are not known here: an upstream is not to fill our memory with names."""


class Rejection(NamedTuple):
    """Why a share does not count: the reason to count, V1's code and V1's words."""

    reason: str
    v1_code: int
    v1_words: str


LOST = Rejection(UPSTREAM_LOST, Reject.STALE.v1_code, Reject.STALE.v1_words)
_OTHER = Rejection(OTHER, 20, "Rejected by the upstream pool")


def rejection_of(reject: Reject) -> Rejection:
    """Our own verdict."""
    return _BY_REJECT[reject]


def rejection_for(sv2_code: str) -> Rejection:
    """The upstream's, by the code of its SubmitShares.Error."""
    return _BY_CODE.get(sv2_code, _OTHER)


_BY_REJECT = {reject: Rejection(reject.sv2_code, reject.v1_code, reject.v1_words) for reject in Reject}
_BY_CODE = {reject.sv2_code: rejection for reject, rejection in _BY_REJECT.items()} | {
    "invalid-user-identity": _BY_REJECT[Reject.UNAUTHORIZED],
    # an upstream does not say what is wrong with it, and only our own says it of ntime alone
    "invalid-share": Rejection("invalid-share", 20, "Invalid share"),
}

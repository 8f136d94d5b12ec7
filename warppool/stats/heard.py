"""Shares that were heard of and are not counted yet: of each worker, and sums of the pool."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from warppool.bitcoin.target import DIFF1
from warppool.events import ShareAccepted


class ShareSum(NamedTuple):
    """Shares of one worker, their difficulty, the lowest of their hashes in header order, and the Unix time of the
    newest.
    """

    shares: int
    difficulty: float
    lowest: bytes
    at: float


class HeardShares:
    """`by_name` has of each worker the share itself while there is one, since most workers have no second one before
    their turn comes: with many workers each value that is touched is a wait for the memory.

    `shares` and `difficulty` are of the pool, since `begin_anew`, and `by_protocol` has both.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, ShareAccepted | ShareSum] = {}
        self.shares = 0
        self.difficulty = 0.0
        self.by_protocol: dict[str, tuple[int, float]] = {}
        self.best = 0.0                         # of those who are not told apart
        self.at = 0.0

    def take(self, shares: Sequence[ShareAccepted], known: Container[str], meet: Callable[[str], object | None]
             ) -> None:
        """Add up `shares`. A name that is not among the `known` is told to `meet`; where that gives None, its shares
        are the pool's alone.
        """
        by_name = self.by_name
        for share in shares:
            name = share.user
            found = by_name.get(name)
            if found is not None:
                by_name[name] = _sum(found, share)
            elif name in known or meet(name) is not None:
                by_name[name] = share
            else:
                self.best = max(self.best, met(share.share_hash))
        protocols = {share.protocol for share in shares}
        for protocol in protocols:
            of_it = shares if len(protocols) == 1 else [share for share in shares if share.protocol == protocol]
            difficulty = sum([share.difficulty for share in of_it])
            before = self.by_protocol.get(protocol, (0, 0.0))
            self.by_protocol[protocol] = before[0] + len(of_it), before[1] + difficulty
            self.shares += len(of_it)
            self.difficulty += difficulty
        if shares:
            self.at = shares[-1].time

    def pop(self, name: str) -> ShareSum:
        """What was heard of a worker is to be counted now."""
        found = self.by_name.pop(name)
        return found if isinstance(found, ShareSum) else ShareSum(1, found.difficulty, found.share_hash, found.time)

    def begin_anew(self) -> None:
        """The pool's are counted."""
        self.shares, self.difficulty, self.best = 0, 0.0, 0.0
        self.by_protocol = {}


def met(share_hash: bytes) -> float:
    """The difficulty that a hash in header order meets."""
    return DIFF1 / max(1, int.from_bytes(share_hash, "little"))


def _sum(found: ShareAccepted | ShareSum, share: ShareAccepted) -> ShareSum:
    count, lowest = (found.shares, found.lowest) if isinstance(found, ShareSum) else (1, found.share_hash)
    if share.share_hash[::-1] < lowest[::-1]:
        lowest = share.share_hash
    return ShareSum(count + 1, found.difficulty + share.difficulty, lowest, share.time)

"""Shares that were heard of and are not counted yet: sums of each worker, and of the pool."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from warppool.bitcoin.target import DIFF1
from warppool.events import ShareAccepted


class HeardShares:
    """`by_name` has of each worker a list: shares, their difficulty, the lowest of their hashes in header order, and
    the Unix time of the newest. `shares` and `difficulty` are of the pool, since `begin_anew`,
    and `by_protocol` has both.

    Nothing of a worker is touched before its turn comes: with many workers each touch is a wait for the memory.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, list[Any]] = {}
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
        by_name, at, done, run, spoken = self.by_name, self.at, 0.0, 0, ""
        for _, _, at, protocol, _, name, difficulty, _, _, share_hash, _ in shares:
            if protocol is not spoken:          # seldom: shares of one protocol come together
                self._add(spoken, run, done)
                done, run, spoken = 0.0, 0, protocol
            done += difficulty
            run += 1
            found = by_name.get(name)
            if found is not None:
                found[0] += 1
                found[1] += difficulty
                if share_hash[::-1] < found[2][::-1]:
                    found[2] = share_hash
                found[3] = at
            elif name in known or meet(name) is not None:
                by_name[name] = [1, difficulty, share_hash, at]
            else:
                self.best = max(self.best, met(share_hash))
        self._add(spoken, run, done)
        self.at = at

    def _add(self, protocol: str, shares: int, difficulty: float) -> None:
        if shares:
            before = self.by_protocol.get(protocol, (0, 0.0))
            self.by_protocol[protocol] = before[0] + shares, before[1] + difficulty
            self.shares += shares
            self.difficulty += difficulty

    def begin_anew(self) -> None:
        """The pool's are counted."""
        self.shares, self.difficulty, self.best = 0, 0.0, 0.0
        self.by_protocol = {}


def met(share_hash: bytes) -> float:
    """The difficulty that a hash in header order meets."""
    return DIFF1 / max(1, int.from_bytes(share_hash, "little"))

"""What the books know at a start, so that numbers go on where they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from warppool.mining.identity import user_of


class Sums(NamedTuple):
    """Accepted shares, what they were credited with, and the best difficulty that a hash met."""

    accepted: int = 0
    difficulty: float = 0.0
    best: float = 0.0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(self.accepted + other.accepted, self.difficulty + other.difficulty, max(self.best, other.best))


NOTHING = Sums()


class Piece(NamedTuple):
    """What each worker did from `start` on, and before `end` (Unix seconds)."""

    start: float
    end: float
    workers: Mapping[str, Sums]


class PastShares(NamedTuple):
    """`ever` is of all time, by worker; `round` of the round that goes on; `pieces` are of the last seven days. Nothing
    is known from before `began`.
    """

    began: float
    ever: Mapping[str, Sums]
    round: Mapping[str, Sums]
    pieces: tuple[Piece, ...]


def by_user(workers: Mapping[str, Sums]) -> dict[str, Sums]:
    """The sums of each user's workers."""
    users: dict[str, Sums] = defaultdict(Sums)
    for name, sums in workers.items():
        user = user_of(name)
        users[user] = users[user].plus(sums)
    return dict(users)


def total(all_sums: Iterable[Sums]) -> Sums:
    """All together."""
    accepted, difficulty, best = 0, 0.0, 0.0
    for sums in all_sums:
        accepted += sums.accepted
        difficulty += sums.difficulty
        best = max(best, sums.best)
    return Sums(accepted, difficulty, best)


def pieces_of(since: Sequence[tuple[float, Mapping[str, Sums]]], now: float) -> tuple[Piece, ...]:
    """`since` has, the latest first, a time and what each worker did from then on up to `now`."""
    pieces = []
    end = now
    later: dict[str, Sums] = {}
    for start, sums in since:
        workers = {name: Sums(each.accepted - before.accepted, each.difficulty - before.difficulty, each.best)
                   for name, each in sums.items()
                   if each.accepted > (before := later.get(name, NOTHING)).accepted}
        pieces.append(Piece(start, end, workers))
        end, later = start, dict(sums)
    return tuple(pieces)

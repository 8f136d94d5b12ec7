"""What waits for a commit in the ledger's thread, and what became of it."""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from warppool.events import ShareAccepted
from warppool.ledger.items import Row
from warppool.ledger.payoutitems import SharesBooked
from warppool.net.inbox import GivenUp, NotRecorded, Recorded


class WaitingShares(NamedTuple):
    """Shares that came in one item, and when they are given up."""

    shares: tuple[ShareAccepted, ...]
    reply_to: queue.Queue[Any] | None
    deadline: float


class CommitDoubt(NamedTuple):
    """A commit that may be in the books or not. Its `groups` wait on, or were given up from the left."""

    first_id: int
    groups: tuple[WaitingShares, ...]
    refusals: Counter[tuple[str, str, int]]
    rows: list[Row]


class LedgerTrouble:
    """The time from a first failed commit to the next one that succeeds."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.retry_at = now
        self.failures = 0
        self.shares_lost = 0
        self.rows_lost = 0          # counts of refusals, rows of blocks, bookings
        self.said: set[str] = set()


def ids_of(shares: Iterable[ShareAccepted]) -> tuple[tuple[int, int], ...]:
    return tuple([share[:2] for share in shares])           # conn_id, share_id


def answer_groups(groups: Iterable[WaitingShares], kind: type[Recorded | NotRecorded | GivenUp]) -> None:
    """One answer to each queue, with the ids of all its shares in their order."""
    ids: dict[queue.Queue[Any], list[tuple[int, int]]] = {}
    for group in groups:
        if group.reply_to is not None:
            ids.setdefault(group.reply_to, []).extend(ids_of(group.shares))
    for reply_to, answered in ids.items():
        reply_to.put(kind(tuple(answered)))


def booked_of(groups: tuple[WaitingShares, ...], waiting: tuple[WaitingShares, ...], first_id: int,
              commit_s: float | None, new_deadline: float) -> SharesBooked:
    """A commit had the shares of `groups`, the first under `first_id`; those of `waiting`, the last ones, stay. The
    commit took `commit_s`; `new_deadline` is what shares would have that came now.
    """
    booked, written = joined(waiting), sum(len(group.shares) for group in groups)
    waited_s = next((new_deadline - group.deadline for group in waiting if group.reply_to is not None), None)
    return SharesBooked(first_id + written - len(booked), booked, commit_s, waited_s)


def joined(groups: tuple[WaitingShares, ...]) -> tuple[ShareAccepted, ...]:
    """The shares of all groups in their order."""
    return groups[0].shares if len(groups) == 1 else tuple([share for group in groups for share in group.shares])

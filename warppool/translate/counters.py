"""What became of every share: each is in exactly one counter, at every moment.

    received = accepted + rejected (by reason) + filtered + pending + unconfirmed
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class ShareCounts(NamedTuple):
    """The counters of one worker at one moment.

    `filtered` shares met what the machine was told and not the target of their job upstream: the machine heard
    "accepted", and the upstream never heard of them. `unconfirmed` ones were answered by our own verdict, and the
    upstream's has not come. `late` of the accepted and rejected had been unconfirmed first. `unnamed` shares went
    upstream without the name of their worker, since it is no name there; they stand in the others too.
    """

    received: int
    accepted: int
    rejected: tuple[tuple[str, int], ...]       # by reason, sorted
    filtered: int
    pending: int
    unconfirmed: int
    late: int
    unnamed: int = 0

    @property
    def is_balanced(self) -> bool:
        """No share is missing and none is counted twice."""
        refused = sum(count for _, count in self.rejected)
        return self.received == self.accepted + refused + self.filtered + self.pending + self.unconfirmed


class Counters:
    """Owned by one worker, whose sessions count here; others learn of it by the worker's report.

    Those that nearly every share changes (`received`, `pending`, `accepted`), `ShareForwarder` changes itself.
    A reason is an Sv2 error code or one of `verdicts`; there are few of them, whatever an upstream says.
    """

    __slots__ = ("accepted", "filtered", "late", "pending", "received", "rejected", "unconfirmed", "unnamed")

    def __init__(self) -> None:
        self.received = 0
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.filtered = 0                       # never sent upstream, whose target they miss
        self.pending = 0                        # sent upstream, within the time for a verdict
        self.unconfirmed = 0                    # sent upstream, answered by us, and no verdict came yet
        self.late = 0
        self.unnamed = 0

    def refuse(self, reason: str) -> None:
        """A share came that never goes upstream."""
        self.received += 1
        self.rejected[reason] += 1

    def filter(self) -> None:
        """A share came that is good for the machine and worth nothing upstream."""
        self.received += 1
        self.filtered += 1

    def accept_late(self) -> None:
        """The upstream took one that was unconfirmed."""
        self.unconfirmed -= 1
        self.late += 1
        self.accepted += 1

    def reject(self, reason: str, is_late: bool) -> None:
        """The upstream refused one that was pending; `is_late`: one that was unconfirmed."""
        if is_late:
            self.unconfirmed -= 1
            self.late += 1
        else:
            self.pending -= 1
        self.rejected[reason] += 1

    def give_up(self) -> None:
        """No verdict on one that was pending came in time."""
        self.pending -= 1
        self.unconfirmed += 1

    def counts(self) -> ShareCounts:
        """All of them as they are."""
        return ShareCounts(self.received, self.accepted, tuple(sorted(self.rejected.items())), self.filtered,
                           self.pending, self.unconfirmed, self.late, self.unnamed)

"""What a node tells of the tip that its template builds on: the work of the chain up to it, and its time."""

from __future__ import annotations

from typing import Any, NamedTuple

from warppool.mining.template import Tip

_WORK_DIGITS = 64                   # hex digits of a chain's work: a number of 256 bits


class Facts(NamedTuple):
    """What a node tells of a block: the work of the chain up to it in expected hashes, and its Unix time."""

    chainwork: int | None
    time: int | None


NO_FACTS = Facts(None, None)


class SeenTip(NamedTuple):
    """A tip that the node had, and what it told of it."""

    tip: Tip
    facts: Facts
    endings: int            # how often the node had ended its connection by then

    def has_more_work_than(self, other: SeenTip) -> bool:
        """By what the node tells; by height where it does not tell."""
        if self.facts.chainwork is not None and other.facts.chainwork is not None:
            return self.facts.chainwork > other.facts.chainwork
        return self.tip.height > other.tip.height


def work_of(header: dict[str, Any]) -> int | None:
    """The chain's work that a block header tells, in expected hashes; None for none, or one that cannot be."""
    text = header.get("chainwork")
    try:
        work = int(text, 16) if isinstance(text, str) and len(text) <= _WORK_DIGITS else -1
    except ValueError:
        return None
    return work if work >= 0 else None

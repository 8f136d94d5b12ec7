"""What notices look at: a few frozen values of one moment. `seen.py` takes them out of the snapshot of all numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

UP: Final = "up"
BEHIND: Final = "behind"
LOST: Final = "lost"

FOUND: Final = "found"
ACCEPTED: Final = "accepted"
ORPHANED: Final = "orphaned"
SETTLED: Final = "settled"


class SeenNode(NamedTuple):
    """A node, or in the translator an upstream; `state` is UP, BEHIND or LOST, and `reason` says why in both others."""

    name: str
    state: str
    reason: str = ""


class SeenOwnBlock(NamedTuple):
    """A block of ours; `block_hash` as people read it, `state` is FOUND, ACCEPTED, ORPHANED or SETTLED."""

    block_hash: str
    height: int
    worker: str
    state: str


class SeenMachine(NamedTuple):
    """A machine by its whole name. `seen_at` is when it was last connected, or had its last share, in Unix seconds."""

    name: str
    is_connected: bool
    seen_at: float
    agent: str = ""


class SeenCertificate(NamedTuple):
    """A certificate that machines verify, and its end in Unix seconds."""

    name: str
    ends_at: float


@dataclass(frozen=True, slots=True)
class View:
    """One moment. `at` is in Unix seconds. `has_work` is None until the first template (of the translator: upstream).

    `trouble` is why the books cannot be written, "" while they can. `other_version` is installed and does not run, ""
    where there is none. `machines` is gone through only by who wants to hear of machines.
    """

    at: float
    has_work: bool | None
    nodes: tuple[SeenNode, ...] = ()
    blocks: tuple[SeenOwnBlock, ...] = ()
    machines: Iterable[SeenMachine] = ()
    certificates: tuple[SeenCertificate, ...] = ()
    trouble: str = ""
    other_version: str = ""

"""What a notice may be about, and the notice itself: a frozen value, before anybody writes it as text."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

BLOCK_FOUND: Final = "block_found"
BLOCK_ACCEPTED: Final = "block_accepted"
BLOCK_ORPHANED: Final = "block_orphaned"
BLOCK_SETTLED: Final = "block_settled"
NODE_LOST: Final = "node_lost"
NODE_BACK: Final = "node_back"
NODE_BEHIND: Final = "node_behind"
NO_WORK: Final = "no_work"
WORK_BACK: Final = "work_back"
MACHINE_GONE: Final = "machine_gone"
MACHINE_BACK: Final = "machine_back"
CERTIFICATE_EXPIRING: Final = "certificate_expiring"
LEDGER_TROUBLE: Final = "ledger_trouble"
LEDGER_BACK: Final = "ledger_back"
UPDATE: Final = "update"
DIGEST: Final = "digest"
TEST: Final = "test"
"""What `warppool check --notice` sends. It is no event that can be asked for."""

TITLES: Final = MappingProxyType({
    BLOCK_FOUND: "Block found",
    BLOCK_ACCEPTED: "Block accepted by a node",
    BLOCK_ORPHANED: "Block orphaned",
    BLOCK_SETTLED: "Block settled",
    NODE_LOST: "Node lost",
    NODE_BACK: "Node back",
    NODE_BEHIND: "Node behind",
    NO_WORK: "No work: machines are sent away",
    WORK_BACK: "Work is back",
    MACHINE_GONE: "Machine gone",
    MACHINE_BACK: "Machine back",
    CERTIFICATE_EXPIRING: "Certificate about to end",
    LEDGER_TROUBLE: "The books cannot be written",
    LEDGER_BACK: "The books are written again",
    UPDATE: "Another version is installed: restart to run it",
    DIGEST: "The last 24 hours",
    TEST: "Test",
})
"""Each event and what its notice is called: our own words, in ASCII, so that a title needs no escape anywhere."""

EVENTS: Final = tuple(event for event in TITLES if event != TEST)
"""What `[[notice]] events` may name."""

MAX_FACT: Final = 200
"""Characters of one fact: strangers choose names, and the longest message that Discord takes has 2,000."""

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened at Unix time `at`, in seconds.

    `facts` are names of ours and values that anybody may have chosen: names of machines, reasons of nodes. `count` is
    how many events of this kind it stands for, of which the facts are those of the last.
    """

    event: str
    at: float
    facts: tuple[tuple[str, Fact], ...] = ()
    count: int = 1

    @property
    def title(self) -> str:
        """What it is called, in our own words."""
        return TITLES[self.event]

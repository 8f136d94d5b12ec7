"""What a notice may be about, and the notice itself: a frozen value, before anybody writes it as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

BLOCK_FOUND: Final = "block.found"
BLOCK_ACCEPTED: Final = "block.accepted"
BLOCK_ORPHANED: Final = "block.orphaned"
BLOCK_SETTLED: Final = "block.settled"
NODE_LOST: Final = "node.lost"
NODE_BACK: Final = "node.back"
NODE_BEHIND: Final = "node.behind"
WORK_NONE: Final = "work.none"
WORK_BACK: Final = "work.back"
MACHINE_GONE: Final = "machine.gone"
MACHINE_BACK: Final = "machine.back"
CERTIFICATE_EXPIRING: Final = "certificate.expiring"
LEDGER_TROUBLE: Final = "ledger.trouble"
LEDGER_BACK: Final = "ledger.back"
UPDATE_THERE: Final = "update.there"
DIGEST_DAILY: Final = "digest.daily"
TEST: Final = "notice.test"

TITLES: Final = MappingProxyType({
    BLOCK_FOUND: "Block found",
    BLOCK_ACCEPTED: "Block accepted by a node",
    BLOCK_ORPHANED: "Block orphaned",
    BLOCK_SETTLED: "Block settled",
    NODE_LOST: "Node lost",
    NODE_BACK: "Node back",
    NODE_BEHIND: "Node behind",
    WORK_NONE: "No work: machines are sent away",
    WORK_BACK: "Work is back",
    MACHINE_GONE: "Machine gone",
    MACHINE_BACK: "Machine back",
    CERTIFICATE_EXPIRING: "Certificate about to end",
    LEDGER_TROUBLE: "The books cannot be written",
    LEDGER_BACK: "The books are written again",
    UPDATE_THERE: "Another version is installed: restart to run it",
    DIGEST_DAILY: "The last 24 hours",
    TEST: "Test",
})
"""Each kind and what its notice is called: our own words, in ASCII, so that a title needs no escape anywhere."""

TRANSLATOR: Final = "warppool-translator"
"""The program whose nodes are upstreams."""

_TITLES_OF: Final = MappingProxyType({TRANSLATOR: MappingProxyType({
    BLOCK_FOUND: "Block found, and sent to the upstream",
    NODE_LOST: "Upstream lost",
    NODE_BACK: "Upstream back",
    WORK_NONE: "No work: no upstream is there, and machines wait",
})})
"""By the program that tells: what it calls by another title than a pool."""

_FACTS_OF: Final[Mapping[tuple[str, str], str]] = MappingProxyType({(TRANSLATOR, "node"): "upstream"})
"""By the program that tells: names of facts for people; programs read the same names of all."""

_GOES_WITH: Final = MappingProxyType({WORK_BACK: WORK_NONE, LEDGER_BACK: LEDGER_TROUBLE})
"""Kinds that cannot be asked for by name: whoever hears of the trouble hears of its end."""

EVENTS: Final = tuple(kind for kind in TITLES if kind not in _GOES_WITH and kind != TEST)
"""What `[[notice]] events` may name. TEST is none of them: `warppool check --notice` sends it."""

MAX_FACT: Final = 200
"""Characters of one fact: strangers choose names, and the longest message that Discord takes has 2,000."""

Fact = str | int | float | bool | None


def fact_name(name: str, program: str) -> str:
    """What people read in front of a fact that `program` tells."""
    return _FACTS_OF.get((program, name), name).replace("_", " ")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened at Unix time `at`, in seconds; `kind` is one of TITLES.

    `facts` are names of ours and values that anybody may have chosen: names of machines, reasons of nodes. `count` is
    how many notices of this kind it stands for, of which the facts are those of the last.
    """

    kind: str
    at: float
    facts: tuple[tuple[str, Fact], ...] = ()
    count: int = 1

    def title(self, program: str) -> str:
        """What `program` calls it, in our own words."""
        return _TITLES_OF.get(program, TITLES).get(self.kind) or TITLES[self.kind]

    @property
    def event(self) -> str:
        """The event that it is sent for, one of EVENTS."""
        return _GOES_WITH.get(self.kind, self.kind)

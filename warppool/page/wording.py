"""What differs in the words of the page between the programs that have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The program; who gives work, one and many of them; headings; and what is said of work and of blocks.

    Work that is older than `old_work_s` is worth a warning.
    """

    program: str
    giver: str
    givers: str
    speed: str
    of_givers: str
    column: str
    no_job: str
    trouble: str
    blocks: str
    is_sent: str
    is_refused: str
    old_work_s: float


POOL: Final = Wording(
    program="pool", giver="Bitcoin node", givers="nodes", speed="Nodes and speed",
    of_givers="Bitcoin nodes of this pool", column="Node", no_job="None: no node has given any yet.",
    trouble="The books cannot be written now. A share waits ten seconds for them, and is refused then.",
    blocks="Blocks of this pool", is_sent="sent to the nodes", is_refused="refused by the nodes", old_work_s=120.0)
"""A node answers every 25 s with fresh work."""

TRANSLATOR: Final = Wording(
    program="translator", giver="upstream", givers="upstreams", speed="Upstreams and speed",
    of_givers="Upstream pools, the best first", column="Upstream",
    no_job="None: no machine is here, or no upstream gives any.",
    trouble="The books cannot be written now. Machines mine on, and their shares may be missing here later.",
    blocks="Blocks that machines here found",
    is_sent="sent to the upstream", is_refused="refused by the upstream", old_work_s=1800.0)
"""Most pools have something new every 30 s; some have nothing before the next block of the network."""

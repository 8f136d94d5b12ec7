"""What crosses between the threads `jobs` and `payout`, all frozen: who is to be paid, and what is mined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warppool.mining.template import Tip

if TYPE_CHECKING:
    from warppool.payout.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class SnapshotReady:
    """To `jobs`: pay by `snapshot` from now on; it is in the ledger.

    With `is_paying` the jobs on the tip that it names pay balances, too. `replaces` is the tip (hash, header order)
    whose jobs machines are to drop, b"" for none.
    """

    snapshot: Snapshot
    is_paying: bool
    replaces: bytes = b""


@dataclass(frozen=True, slots=True)
class Mining:
    """To `payout`: work on `tip`, as node number `node` gave it, is out since `unix` (seconds, by that node's clock).

    `job_id` is None where the work waits for the first snapshot. `snapshot_id` is what the job pays by, b"" where it
    needs none.
    """

    node: int
    tip: Tip
    unix: float
    job_id: int | None
    snapshot_id: bytes
    is_paying: bool

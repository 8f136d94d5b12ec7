"""By which snapshot jobs pay, where rewards are shared: the part of the job maker that the thread `payout` tells.

The first job of every tip pays by the last snapshot's weights, with all balances as 0: nothing waits for the books when
a tip moves. Balances are paid only by jobs of a snapshot that was made for that very tip.
"""

from __future__ import annotations

from collections.abc import Callable

from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template, Tip
from warppool.node.snapshotitems import Mining, SnapshotReady


def _nobody(_: Mining) -> None:
    """For pools in which nobody asks."""


class JobSnapshots:
    """Owned by the thread `jobs`. `tell` hears of every job; where `is_needed`, no job goes out without a snapshot."""

    def __init__(self, tell: Callable[[Mining], None] = _nobody, *, is_needed: bool = False) -> None:
        self._tell = tell
        self._is_needed = is_needed
        self._newest: SnapshotReady | None = None
        self._is_paying = False                     # the newest came for the tip of the last job, and pays balances
        self._prev_hash = b""                       # of the last job
        self._waiting: Tip | None = None            # what was said to wait for the first snapshot

    def take(self, ready: SnapshotReady) -> bool:
        """Pay by this from now on; whether jobs on the tip of the last one pay other balances by it."""
        before, was_paying = self._newest, self._is_paying
        self._newest, self._is_paying = ready, ready.is_paying and ready.snapshot.tip == self._prev_hash
        if before is None or not self._is_paying:
            return was_paying
        return not was_paying or ready.snapshot.balances != before.snapshot.balances

    def make(self, factory: JobFactory, template: Template, unix: float) -> Job | None:
        """A job of `template`; None where it must wait for the first snapshot."""
        if not self._is_needed:
            return factory.make(template, unix)
        if self._newest is None:
            return None
        if template.tip.prev_hash != self._prev_hash:
            self._prev_hash, self._is_paying = template.tip.prev_hash, False
        return factory.make(template, unix, self._newest.snapshot, self._is_paying)

    def has_given(self, node: int, job: Job, unix: float) -> None:
        """`job`, of that node, is with the workers."""
        self._tell(Mining(node, job.tip, unix, job.job_id, job.snapshot_id, job.pays_balances))

    def has_waited(self, node: int, tip: Tip, unix: float) -> None:
        """No job goes out on `tip` before the first snapshot; said once."""
        if self._waiting != tip:
            self._waiting = tip
            self._tell(Mining(node, tip, unix, None, b"", False))

"""Snapshots that the books keep, read when a block needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from warppool.errors import LedgerError
from warppool.payout.snapshot import Snapshot
from warppool.rewards.reading import BooksReading

NEWEST: Final = 256
"""More than are kept of two hours, one a minute."""


class StoredSnapshots:
    """Owned by the thread `payout`. LedgerError where the books cannot be read."""

    def __init__(self, reading: BooksReading) -> None:
        self._reading = reading

    def snapshot(self, snapshot_id: bytes) -> Snapshot | None:
        """The snapshot with this id, None if it is not kept."""
        body = self._reading().snapshot(snapshot_id)
        return None if body is None else read_snapshot(body)

    def of_tips(self, tips: Sequence[bytes]) -> Sequence[Snapshot]:
        """The snapshots that name one of `tips` (block hashes, header order), in the order of the tips, newest first.
        """
        reader = self._reading()
        return self._read([each for tip in tips for each in reader.snapshot_ids(tip)])

    def newest(self) -> Sequence[Snapshot]:
        """The NEWEST ones, the newest first."""
        return self._read(self._reading().snapshot_ids()[:NEWEST])

    def _read(self, ids: Sequence[bytes]) -> Sequence[Snapshot]:
        bodies = map(self._reading().snapshot, ids)
        return [read_snapshot(body) for body in bodies if body is not None]


def read_snapshot(body: bytes) -> Snapshot:
    """The snapshot of which the books hold this body; LedgerError if it is damaged."""
    try:
        return Snapshot.of_blob(body)
    except ValueError as exc:
        raise LedgerError(f"a snapshot of the books cannot be read ({exc}): put back a copy of the books") from exc

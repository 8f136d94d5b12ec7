"""The rows of `marks`: up to where the sums of the books are made, so that what is above them can be added.

- `rolled_id`: the shares from this id on are in no roll-up that counts. `open_slot` is the slot of ten minutes that is
  open. While `closing_end` is above `rolled_id`, the shares below it are of `closing_slot`, whose rows are written up
  to the worker `closing_worker`; they count once all are there.
- `live_id`, `live_slot`: the first share, and its slot, that was booked since there are roll-ups. The older ones, from
  `backlog_id` on, are still to be rolled up, in slots from the time `backlog_time` on; the rows of the first one are
  written up to the worker `backlog_worker`.
- `hour`, `day`: the first hour and day whose sums are not made of finer ones yet.
- `pruned_600`, `pruned_3600`: the first slot of that resolution whose rows are not deleted.
- `refused_from`: refusals of this Unix second and later are in no roll-up; `refused_hour` and `refused_day` as above.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

_GET = "SELECT value FROM marks WHERE name = ?"
_SET = "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


def mark(connection: sqlite3.Connection, name: str) -> int | None:
    """Where it stands, None if it was never set."""
    row = connection.execute(_GET, (name,)).fetchone()
    return None if row is None else int(row[0])


def marks(connection: sqlite3.Connection) -> dict[str, int]:
    """All of them by name."""
    return {name: int(value) for name, value in connection.execute("SELECT name, value FROM marks")}


def first_open(at: Mapping[str, int]) -> int:
    """The first slot of ten minutes whose rows are not all there."""
    return at["closing_slot"] if at.get("closing_end", 0) > at["rolled_id"] else at.get("open_slot", 0)


def set_marks(connection: sqlite3.Connection, **values: int) -> None:
    """Set them, inside the transaction that is open."""
    connection.executemany(_SET, list(values.items()))

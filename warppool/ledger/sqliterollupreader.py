"""Reading roll-ups from the SQLite file: `rolluprows.py` says what each method gives."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from warppool.ledger.opensums import OpenSums
from warppool.ledger.rolluprows import (
    BookedBlock,
    RefusalSum,
    Segment,
    SlotRefusals,
    SlotSum,
    WorkerSum,
    segments_for,
    segments_of,
)
from warppool.ledger.slots import NO_WORK, TEN_MINUTES, WorkSum, total_of
from warppool.ledger.sqlitemarks import first_open, marks
from warppool.ledger.sqlitenames import encode
from warppool.ledger.sqliteslots import WORK_OF
from warppool.payout.weight import joined

_ENDLESS: Final = (1 << 63) - 1
_SUMS: Final = "sum(accepted), sum(whole), sum(fraction), max(best)"
_ROWS: Final = """
    SELECT worker, accepted, whole, fraction, best FROM rollups WHERE resolution = ? AND slot >= ? AND slot < ?"""
_BY_WORKER: Final = f"SELECT worker, {_SUMS} FROM ({{}}) GROUP BY worker"
_OF_ALL: Final = """
    SELECT slot, accepted, whole, fraction, best FROM slots WHERE resolution = ? AND slot >= ? AND slot < ?"""
_IDS: Final = "SELECT id FROM workers WHERE name = CAST(? AS TEXT) OR user = CAST(? AS TEXT)"
_OF_USER: Final = " AND user = CAST(? AS TEXT)"
_OF_WORKERS: Final = f"""
    SELECT slot, {_SUMS} FROM rollups
    WHERE resolution = ? AND slot IN (SELECT slot FROM slots WHERE resolution = ? AND slot >= ? AND slot < ?)
        AND worker IN ({_IDS}) GROUP BY slot"""
_REFUSED: Final = """
    SELECT worker, reason, sum(count) FROM refusal_rollups WHERE resolution = ? AND slot >= ? AND slot < ?
    GROUP BY worker, reason"""
_REFUSED_REST: Final = "SELECT worker, reason, sum(count) FROM refusals WHERE minute_unix >= ? GROUP BY worker, reason"
_REFUSED_SLOTS: Final = """
    SELECT slot * ? / ?, reason, sum(count) FROM refusal_rollups WHERE resolution = ? AND slot >= ? AND slot < ?{}
    GROUP BY 1, reason"""
_REFUSED_REST_SLOTS: Final = """
    SELECT minute_unix / ?, reason, sum(count) FROM refusals WHERE minute_unix >= ? AND minute_unix >= ?
        AND minute_unix < ?{} GROUP BY 1, reason"""
_BLOCKS: Final = """
    SELECT b.hash, b.height, w.name, b.time_ms / 1000.0, b.difficulty, coalesce(b.outcome, ''), coalesce(b.detail, '')
    FROM blocks b JOIN workers w ON w.id = b.worker ORDER BY b.time_ms DESC, b.hash LIMIT ?"""


class SqliteRollupReader:
    """The part of a read-only connection that is about work by slots of time.

    The sums of what is not rolled up are carried from one call to the next, so that a call reads only the shares since.
    """

    _connection: sqlite3.Connection

    def __init__(self) -> None:
        self._rest: dict[int, tuple[OpenSums, int]] = {}    # by the first share, with the first that is not in them
        self._rest_rows: tuple[list[tuple[int, int]], list[tuple[int, WorkSum]]] = [], []
        self._names: dict[int, str] = {}

    def _translated(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def worker_sums(self, since: float) -> list[WorkerSum]:
        with self._one_state() as at:
            segments = [(resolution, first, first_open(at) if end is None else end)
                        for resolution, first, end in segments_of(since, at)]
            found = self._connection.execute(_BY_WORKER.format(" UNION ALL ".join([_ROWS] * len(segments))),
                                             [value for segment in segments for value in segment])
            sums = {worker: WorkSum(accepted, joined(whole, fraction), best)
                    for worker, accepted, whole, fraction, best in found}
            earliest = min(first * resolution for resolution, first, _ in segments)
            for worker, work in self._rest_by_worker(at, earliest // TEN_MINUTES):
                sums[worker] = sums[worker].plus(work) if worker in sums else work
            names = self._all_names()
        return [WorkerSum(names[worker], *sums[worker]) for worker in sorted(sums)]

    def history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None) -> list[SlotSum]:
        of_name = () if name is None else (encode(name), encode(name))
        with self._one_state() as at:
            sums: dict[int, WorkSum] = defaultdict(lambda: NO_WORK)
            for segment in segments_for(resolution, first_slot, last_slot, at):
                found = (self._connection.execute(_OF_ALL, _values(segment)) if name is None else
                         self._connection.execute(_OF_WORKERS, (segment.resolution, *_values(segment), *of_name)))
                for slot, *columns in found:
                    coarse = slot * segment.resolution // resolution
                    sums[coarse] = sums[coarse].plus(_work(columns))
            ids = None if name is None else [each for (each,) in self._connection.execute(_IDS, of_name)]
            tens = resolution // TEN_MINUTES
            for slot, rest in self._rest_of(at, first_slot * tens, (last_slot + 1) * tens - 1):
                coarse = slot // tens
                sums[coarse] = sums[coarse].plus(rest.total() if ids is None else total_of(map(rest.of, ids)))
        return [SlotSum(slot, *work) for slot, work in sorted(sums.items()) if work.accepted]

    def refusal_sums(self, since: float) -> list[RefusalSum]:
        with self._one_state() as at:
            sums: dict[tuple[int, str], int] = defaultdict(int)
            for segment in segments_of(since, at, "refused_hour", "refused_day"):
                _count(sums, self._connection.execute(_REFUSED, _values(segment)))
            _count(sums, self._connection.execute(
                _REFUSED_REST, (max(at.get("refused_from", 0), int(since) // TEN_MINUTES * TEN_MINUTES),)))
            names = self._all_names()
        return [RefusalSum(names[worker], reason, count) for (worker, reason), count in sorted(sums.items())]

    def refusal_history(self, resolution: int, first_slot: int, last_slot: int, name: str | None = None
                        ) -> list[SlotRefusals]:
        of_name = () if name is None else (encode(name), encode(name))
        only = "" if name is None else f" AND worker IN ({_IDS})"
        with self._one_state() as at:
            sums: dict[tuple[int, str], int] = defaultdict(int)
            for segment in segments_for(resolution, first_slot, last_slot, at, "refused_hour", "refused_day"):
                _count(sums, self._connection.execute(
                    _REFUSED_SLOTS.format(only), (segment.resolution, resolution, *_values(segment), *of_name)))
            rest = (resolution, at.get("refused_from", 0), first_slot * resolution, (last_slot + 1) * resolution)
            _count(sums, self._connection.execute(_REFUSED_REST_SLOTS.format(only), (*rest, *of_name)))
        return [SlotRefusals(slot, reason, count) for (slot, reason), count in sorted(sums.items())]

    def workers(self, user: str | None = None) -> list[str]:
        query = f"SELECT name FROM workers WHERE name != ''{'' if user is None else _OF_USER} ORDER BY id"
        with self._translated():
            return [name for (name,) in self._connection.execute(query, () if user is None else (encode(user),))]

    def blocks(self, limit: int | None = None) -> list[BookedBlock]:
        with self._translated():
            found = self._connection.execute(_BLOCKS, (-1 if limit is None else limit,)).fetchall()
        return list(map(BookedBlock._make, found))

    def _rest_of(self, at: dict[str, int], first_slot: int = 0, last_slot: int = _ENDLESS
                 ) -> list[tuple[int, OpenSums]]:
        """What is above the mark, by the slot of ten minutes that it belongs to; of these slots alone."""
        middle, end = max(at["rolled_id"], at.get("closing_end", 0)), self._next_id()
        parts = [part for part in ((first_open(at), at["rolled_id"], middle), (at.get("open_slot", 0), middle, end))
                 if part[1] < part[2]]
        rest = self._rest
        self._rest = {first: rest[first] for _, first, end in parts if first in rest and rest[first][1] <= end}
        return [(slot, self._read_rest(first, end)) for slot, first, end in parts if first_slot <= slot <= last_slot]

    def _rest_by_worker(self, at: dict[str, int], first_slot: int) -> list[tuple[int, WorkSum]]:
        """What each worker has above the mark in slots from `first_slot` on: one that is open may be over for long,
        where nothing was committed since.
        """
        parts = self._rest_of(at, first_slot)
        read = [*((slot, 0) for slot, _ in parts), *((first, end) for first, (_, end) in self._rest.items())]
        if self._rest_rows[0] != read:
            self._rest_rows = read, [row for _, sums in parts for row in sums.by_worker()]
        return self._rest_rows[1]

    def _all_names(self) -> dict[int, str]:
        """Of all workers, by id."""
        newest = next(reversed(self._names), 0)
        self._names.update(self._connection.execute("SELECT id, name FROM workers WHERE id > ? ORDER BY id", (newest,)))
        return self._names

    def _read_rest(self, first: int, end: int) -> OpenSums:
        sums, done = self._rest.get(first, (OpenSums(), first))
        sums.add(self._connection.execute(WORK_OF, (done, end - 1)))
        self._rest[first] = sums, end
        return sums

    def _next_id(self) -> int:
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM shares").fetchone()
        return int(newest) + 1

    @contextmanager
    def _one_state(self) -> Iterator[dict[str, int]]:
        """All that is read inside is of one moment; yields the marks."""
        with self._translated():
            self._connection.execute("BEGIN")
            try:
                yield marks(self._connection)
            finally:
                self._connection.execute("COMMIT")


def _values(segment: Segment) -> tuple[int, int, int]:
    return segment.resolution, segment.first, _ENDLESS if segment.end is None else segment.end


def _work(columns: Iterable[Any]) -> WorkSum:
    accepted, whole, fraction, best = columns
    return WorkSum(accepted, joined(whole, fraction), best)


def _count(sums: dict[Any, int], rows: Iterable[tuple[Any, str, int]]) -> None:
    for first, reason, count in rows:
        sums[first, reason] += count

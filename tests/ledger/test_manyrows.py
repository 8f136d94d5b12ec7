"""Rows by the many: each is written once, in its order, whatever their number."""

import sqlite3
from contextlib import closing

import pytest

from warppool.ledger.manyrows import insert_into


@pytest.mark.parametrize("count", [*range(40), 255, 256, 257, 511, 512, 513, 1_000])
def test_any_number_of_rows_is_written_in_its_order(count):
    statements = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE pairs (one INTEGER PRIMARY KEY, two TEXT)")
        connection.set_trace_callback(statements.append)
        values = [value for row in range(count) for value in (row, f"{row}")]
        insert_into("pairs", ("one", "two")).execute(connection, values)
        connection.set_trace_callback(None)
        assert connection.execute("SELECT * FROM pairs").fetchall() == [(row, f"{row}") for row in range(count)]
    assert len(statements) <= count // 256 + 4

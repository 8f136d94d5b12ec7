"""An export holds all that a block's distribution follows from: the audit needs nothing else, and sees each change."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from tests.ledger.books import opened
from tests.rewards.world import ALICE, BLOCK, CAROL, mine, some_shares
from warppool.errors import LedgerError
from warppool.ledger.payoutitems import Booking
from warppool.ledger.sqlitereader import SqliteReader
from warppool.payout.audit import audit
from warppool.payout.auditheader import AuditError
from warppool.payout.window import WindowEnd
from warppool.rewards.export import export_lines


def exported(path) -> list[str]:
    with SqliteReader(path) as reader:
        return list(export_lines(reader, reader.payout_block(BLOCK)))


@pytest.mark.parametrize("balances", [{}, {CAROL: 5_000_000}])
@pytest.mark.parametrize(("window", "ended_by"), [("100", WindowEnd.BEGINNING), ("8", WindowEnd.WEIGHT),
                                                  ("0.1", WindowEnd.WEIGHT)])
def test_the_audit_of_an_export_finds_what_the_coinbase_pays(path, window, ended_by, balances):
    mined = mine(path, some_shares(), window=window, balances=balances)
    report = audit(exported(path))
    assert mined.snapshot.window.ended_by is ended_by
    assert report.snapshot_id == mined.snapshot.id
    assert report.remainder_sat == mined.distribution.remainder_sat
    assert {each.account: each.weight for each in report.accounts} == dict(mined.snapshot.weights)


def test_whole_hours_are_sums_and_both_ends_are_single_shares(path):
    shares = some_shares(hours=6)
    mined = mine(path, shares, window="12")
    first, last = mined.snapshot.window.first_id, mined.snapshot.window.last_id
    hours, singles = [], []
    for line in exported(path)[1:]:
        read = json.loads(line)
        (hours if isinstance(read, list) else singles).append(read)
    first_hour, last_hour = shares[first - 1].hour, shares[last - 1].hour
    assert {shares[one["id"] - 1].hour for one in singles} == {first_hour, last_hour}
    assert len(hours) == 3 * (last_hour - first_hour - 1) > 0 and all(hour[0] == 7 for hour in hours)
    assert [one["id"] for one in singles] == sorted(one["id"] for one in singles)
    assert all(one.keys() == {"server", "id", "account", "difficulty"} for one in singles), "no names of workers"


def test_each_share_stands_in_an_export_once(path):
    mined = mine(path, some_shares(), window="9")
    ids = []
    for line in exported(path)[1:]:
        read = json.loads(line)
        ids += [read["id"]] if isinstance(read, dict) else range(read[1], read[2] + 1)
    window = mined.snapshot.window
    assert sorted(set(ids)) == list(range(window.first_id, window.last_id + 1))
    singles = [json.loads(line)["id"] for line in exported(path)[1:] if line.startswith("{")]
    assert len(singles) == len(set(singles))


def test_a_changed_line_is_found_by_the_audit(path):
    mined = mine(path, some_shares(), window="9")
    lines = exported(path)
    for at in range(1, len(lines)):
        read = json.loads(lines[at])
        if isinstance(read, dict):
            read["difficulty"] *= 2
        else:
            read[4] += 1
        if isinstance(read, list) or read["id"] != mined.snapshot.window.first_id:      # which is cut in any case
            with pytest.raises(AuditError):
                audit([*lines[:at], json.dumps(read), *lines[at + 1:]])
        with pytest.raises(AuditError):
            audit([*lines[:at], *lines[at + 1:]])


def test_a_block_that_was_paid_as_in_solo_has_no_export(path):
    mined = mine(path, some_shares())
    with closing(opened(path)) as books:
        solo = replace(mined.block, hash=b"\x0b" * 32, snapshot_id=b"", account=ALICE)
        assert books.write([], {}, [Booking((solo,))]) == []
    with SqliteReader(path) as reader, pytest.raises(LedgerError, match="not shared by weights"):
        list(export_lines(reader, reader.payout_block(b"\x0b" * 32)))

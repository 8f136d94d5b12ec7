import csv
import io
import json
import os
import subprocess
import sys

import pytest

from tests.ledger.books import START, book, share
from warppool.commands.shares import COLUMNS, parse_since, write_shares
from warppool.errors import ConfigError
from warppool.ledger.sqlitereader import SqliteReader

NAMES = ["alice.rig1", 'bob "the, rig".2', "=cmd|x", "älice", "\udcff\udc80.x", "\ud800.y", "\U0001f600", ""]
PRINTED = [*NAMES[:2], "'=cmd|x", NAMES[3], r"\udcff\udc80.x", r"\udced\udca0\udc80.y", *NAMES[6:]]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "shares.db"
    book(path, *(share(number, user=name) for number, name in enumerate(NAMES)))
    return path


def written(path, format="jsonl", since=None, user=None, encoding="utf-8"):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    with SqliteReader(path) as reader:
        write_shares(reader, out, format, since, user)
    return out.buffer.getvalue().decode(encoding)


def test_a_line_of_json_is_exactly_this(path):
    assert written(path).splitlines()[0] == (
        '{"time":"2026-11-22T10:00:00.123Z","protocol":"sv2","channel":1,"user":"alice","worker":"alice.rig1",'
        '"difficulty":1e-09,"job":17,"height":5,"hash":"' + share(0).share_hash[::-1].hex() + '",'
        '"id":1,"server":null,"account":null}'
    )


def test_json_carries_every_name_whole_in_ascii(path):
    text = written(path, encoding="ascii")
    workers = [json.loads(line)["worker"] for line in text.splitlines()]
    assert workers == [name if name != "\ud800.y" else "\udced\udca0\udc80.y" for name in NAMES]


def test_csv_is_quoted_where_needed_and_odd_bytes_are_spelled_out(path):
    text = written(path, "csv")
    assert text.splitlines()[0] == ",".join(COLUMNS) == (
        "time,protocol,channel,user,worker,difficulty,job,height,hash,id,server,account")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["worker"] for row in rows] == PRINTED
    assert rows[0] == {
        "time": "2026-11-22T10:00:00.123Z", "protocol": "sv2", "channel": "1", "user": "alice", "worker": "alice.rig1",
        "difficulty": "1e-09", "job": "17", "height": "5", "hash": share(0).share_hash[::-1].hex(),
        "id": "1", "server": "", "account": "",
    }


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1.rig", "@SUM(1)", "\t=1", "\uff1d1", '=HYPERLINK("http://x")'])
def test_no_name_is_a_formula_to_a_spreadsheet(tmp_path, name):
    book(tmp_path / "shares.db", share(1, user=name))
    (row,) = csv.DictReader(io.StringIO(written(tmp_path / "shares.db", "csv"), newline=""))
    assert row["worker"] == f"'{name}" and row["user"].startswith("'")
    assert json.loads(written(tmp_path / "shares.db"))["worker"] == name, "JSON is for programs, and keeps it"


def test_csv_goes_through_a_terminal_that_knows_ascii_alone(path):
    rows = list(csv.DictReader(io.StringIO(written(path, "csv", encoding="ascii"), newline="")))
    assert [row["worker"] for row in rows][3] == r"\xe4lice"
    assert len(rows) == len(NAMES)


def test_csv_into_text_without_an_encoding(path):
    out = io.StringIO(newline="")
    with SqliteReader(path) as reader:
        write_shares(reader, out, "csv", None, None)
    assert out.getvalue() == written(path, "csv")


def test_books_without_shares_are_a_header_or_nothing(tmp_path):
    path = tmp_path / "shares.db"
    book(path)
    assert written(path) == ""
    assert written(path, "csv") == ",".join(COLUMNS) + "\n"


def test_since_and_user_choose(path):
    assert written(path, user="alice").count("\n") == 1
    assert written(path, user="alice.rig1").count("\n") == 1
    assert written(path, user="\udcff\udc80").count("\n") == 1
    assert written(path, user="rig1") == ""
    assert written(path, since="2026-11-22T10:00:00.123Z").count("\n") == len(NAMES)
    assert written(path, since="2026-11-22T10:00:00.124Z") == ""
    assert written(path, since="2026-11-22T11:00:00+01:00").count("\n") == len(NAMES)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0), ("2026-11-22T10:00:00.123Z", 1_795_341_600_123),
        ("2026-11-22t10:00:00.1z", 1_795_341_600_100), ("2026-11-22 10:00:00.12Z", 1_795_341_600_120),
        ("2026-11-22T11:30:00+01:30", 1_795_341_600_000), ("2026-11-22T00:00:00-10:00", 1_795_341_600_000),
        ("2026-11-22T10:00:00.1230Z", 1_795_341_600_123), ("2026-11-22T10:00:00.1230001Z", 1_795_341_600_124),
        ("2026-11-22T10:00:00.9999Z", 1_795_341_601_000), ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("1969-12-31T23:59:59.5Z", -500), ("0001-01-01T00:00:00Z", -62_135_596_800_000),
    ],
)
def test_since_is_a_time_of_rfc_3339(text, milliseconds):
    assert parse_since(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "2026-11-22T10:00Z", "20261122T100000Z",
        "2026-W47-7T10:00:00Z", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:00Z", "2026-11-22T10:00:61Z", "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00+01:60", "0000-01-01T00:00:00Z", "2026-11-22T10:00:00Z\n", "٢٠٢٦-11-22T10:00:00Z",
        "1795341600",
    ],
)
def test_any_other_since_is_the_operators_to_mend(text, path):
    with pytest.raises(ConfigError, match=r"--since is .* RFC 3339, as 2026-11-22T10:00:00Z"):
        written(path, since=text)


def test_an_unknown_format_is_the_operators_to_mend(path):
    with pytest.raises(ConfigError, match="--format is 'xml': it may be jsonl or csv"):
        written(path, "xml")


PRINTING = """
import pathlib, sys
from warppool.commands.shares import write_shares
from warppool.ledger.sqlitereader import SqliteReader
with SqliteReader(pathlib.Path(sys.argv[1])) as reader:
    write_shares(reader, sys.stdout, sys.argv[2], None, None)
"""


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize("count", [0, 5, 5_000])
def test_a_reader_that_goes_away_ends_it_quietly(tmp_path, format, count):
    path = tmp_path / "shares.db"
    book(path, *(share(number) for number in range(count)))
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PRINTING, str(path), format], stdout=write_end, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_goes_away_in_the_middle_ends_it_quietly(tmp_path):
    path = tmp_path / "shares.db"
    book(path, *(share(number) for number in range(5_000)))
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING, str(path), "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as printing:
        first = json.loads(printing.stdout.readline())
        printing.stdout.close()
        assert printing.stderr.read() == b""
    assert first["hash"] == share(0).share_hash[::-1].hex() and printing.returncode == 0


def test_memory_does_not_grow_with_the_books(tmp_path):
    path = tmp_path / "shares.db"
    book(path, *(share(number) for number in range(40_000)))
    measuring = PRINTING + "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    peaks = []
    for user, lines in (("None", 40_000), ("'nobody'", 0)):
        command = [sys.executable, "-c", measuring.replace("None, None", f"None, {user}"), str(path), "jsonl"]
        done = subprocess.run(command, capture_output=True, check=True)
        assert done.stdout.count(b"\n") == lines
        peaks.append(int(done.stderr))
    assert peaks[0] - peaks[1] < 8 * 1024       # KiB; the rows as objects would take some 20 MiB


def test_start_is_the_time_of_the_example():
    assert parse_since("2026-11-22T10:00:00.123Z") == round(START * 1000)

"""Lines out of a stream, whichever way TCP cuts it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.errors import BadLine
from warppool.sv1.lines import MAX_LINE, LineReader

WIRE = b'{"id":1}\r\n\n  \n{"id":2}  \n[]\n' + b"x" * 40 + b"\nrest"


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_lines_do_not_depend_on_where_tcp_cuts_them(cut):
    reader = LineReader()
    lines = [*reader.feed(WIRE[:cut]), *reader.feed(WIRE[cut:])]
    assert lines == [b'{"id":1}', b'{"id":2}', b"[]", b"x" * 40]
    assert reader.pending == 4
    assert [*reader.feed(b"\n")] == [b"rest"]
    assert reader.pending == 0


def test_byte_by_byte():
    reader = LineReader()
    assert [line for byte in WIRE for line in reader.feed(bytes([byte]))] == [*LineReader().feed(WIRE)]


def test_whoever_stops_early_goes_on_later():
    reader = LineReader()
    lines = reader.feed(b"a\nb\nc\nd")
    assert next(lines) == b"a"
    assert reader.pending == 5
    assert next(reader.feed(b"")) == b"b"
    assert [*reader.feed(b"e\nf\n")] == [b"c", b"de", b"f"]


@pytest.mark.parametrize("pieces", [(b"a\n",), (b"a\nb", b"c\n"), (b"a", b"b\n", b"c"), (b"", b"a\n", b"")])
def test_what_is_held_is_kept_until_somebody_asks_for_its_lines(pieces):
    reader, whole = LineReader(), b"".join(pieces)
    for piece in pieces:
        reader.hold(piece)
    assert reader.pending == len(whole)
    assert [*reader.feed(b"")] == whole.split(b"\n")[:-1]


def test_a_line_that_is_held_comes_before_the_next():
    reader = LineReader()
    reader.hold(b"a\n")
    assert [*reader.feed(b"b\n")] == [b"a", b"b"]


def test_held_data_that_is_too_long_for_a_line_is_refused_when_asked_for():
    reader = LineReader()
    for _ in range(2):
        reader.hold(b"x" * MAX_LINE)
    with pytest.raises(BadLine):
        list(reader.feed(b""))


@pytest.mark.parametrize("size", [MAX_LINE, MAX_LINE + 1])
@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_the_longest_line(size, pieces):
    wire = b"first\n" + b"x" * size + b"\n"
    reader, lines = LineReader(), []
    step = -(-len(wire) // pieces)
    with suppress(BadLine):
        for at in range(0, len(wire), step):
            lines.extend(reader.feed(wire[at:at + step]))       # what came before the error counts
    assert lines == ([b"first", b"x" * size] if size == MAX_LINE else [b"first"])


def test_a_line_that_comes_alone_and_is_too_long_is_refused():
    assert [*LineReader().feed(b"x" * MAX_LINE + b"\n")] == [b"x" * MAX_LINE]
    with pytest.raises(BadLine, match="more than 16384 bytes"):
        list(LineReader().feed(b"x" * (MAX_LINE + 1) + b"\n"))


def test_an_endless_line_is_refused_once_it_is_too_long():
    reader = LineReader()
    assert [*reader.feed(b"x" * MAX_LINE)] == []
    with pytest.raises(BadLine, match="more than 16384 bytes"):
        list(reader.feed(b"x"))


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes(pieces):
    reader = LineReader()
    lines = [line for piece in pieces for line in reader.feed(piece)]
    whole = b"".join(pieces)
    assert lines == [line.strip() for line in whole.split(b"\n")[:-1] if line.strip()]
    assert reader.pending == len(whole) - whole.rfind(b"\n") - 1

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


def test_data_is_taken_in_even_if_nobody_asks_for_its_lines():
    reader = LineReader()
    reader.feed(b"a\nb")
    assert [*reader.feed(b"c\n")] == [b"a", b"bc"]


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

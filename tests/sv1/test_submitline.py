"""Submit lines of the usual shape: read as the parser of any JSON would read them, or not at all."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import BadLine
from warppool.sv1.lines import read_submit_line
from warppool.sv1.messages import Request, encode_id, parse
from warppool.sv1.shares import read_submit

ESP_MINER = b'{"id": 7, "method": "mining.submit", "params": ["bc1q.rig", "1a", "00000001", "65a1b2c3", "1b2c3d4e", ' \
            b'"00c0e000"]}'
NERD_MINER = b'{"id":0,"method":"mining.submit","params":["bc1q","ff","0000000000000001","65A1B2C3","d4e"]}'
CGMINER = b'{"params": ["u[.1", "1a", "0000000000000001", "65a1b2c3", "1b2c3d4e"], "id": 12, "method": "mining.submit"}'
CPUMINER = b'{"method": "mining.submit", "params": ["u", "1a", "00000001", "65a1b2c3", "1b2c3d4e"], "id":4}'


def read_by_parser(line):
    """(id, fields) by way of JSON; None where that finds no readable submit."""
    message = parse(line)
    if not isinstance(message, Request) or message.method != "mining.submit":
        return None
    fields = read_submit(message.params)
    return None if fields is None else (encode_id(message.id), fields)


@pytest.mark.parametrize(("line", "found"), [
    (ESP_MINER, (b"7", ("bc1q.rig", 0x1A, bytes.fromhex("00000001"), 0x65A1B2C3, 0x1B2C3D4E, 0xC0E000))),
    (NERD_MINER, (b"0", ("bc1q", 0xFF, bytes.fromhex("0000000000000001"), 0x65A1B2C3, 0xD4E, -1))),
    (CGMINER, (b"12", ("u[.1", 0x1A, bytes.fromhex("0000000000000001"), 0x65A1B2C3, 0x1B2C3D4E, -1))),
    (CPUMINER, (b"4", ("u", 0x1A, bytes.fromhex("00000001"), 0x65A1B2C3, 0x1B2C3D4E, -1))),
])
def test_what_machines_print_is_read(line, found):
    assert read_submit_line(line) == found == read_by_parser(line)


@pytest.mark.parametrize("line", [
    CPUMINER.replace(b"4}", b'"4"}'), CPUMINER.replace(b"4}", b"04}"), CPUMINER.replace(b"4}", b"-4}"),
    CPUMINER.replace(b"4}", b"4.0}"), CPUMINER.replace(b"4}", b'4,"id":5}'), CPUMINER.replace(b"}", b"} "),
    CPUMINER.replace(b'"u"', b'"\\u0075"'), CPUMINER.replace(b'"u"', b'"\xc3\xa9"'),
    CPUMINER.replace(b'"u"', b'"\x01"'), CPUMINER.replace(b'"u"', b'"u","v"'), CPUMINER.replace(b'"u"', b"1"),
    CPUMINER.replace(b"00000001", b"000000001"), CPUMINER.replace(b"00000001", b"0000 001"),
    CPUMINER.replace(b"1b2c3d4e", b""), CPUMINER.replace(b"1b2c3d4e", b"01b2c3d4e"), CPUMINER.replace(b"1a", b"0x1a"),
    CPUMINER.replace(b"submit", b"subMit"), CPUMINER.replace(b"mining.submit", b"mining_submit"), CPUMINER + b"\n",
    b"", b"{}",
])
def test_everything_else_is_left_alone(line):
    assert read_submit_line(line) is None


HEX = st.text("0123456789abcdefABCDEF", max_size=18)
FIELD = st.one_of(HEX, st.text(max_size=6), st.sampled_from(["00000001", "65a1b2c3", "1a", "u", "0x1a", "1_0", " 1"]))
PARAMS = st.one_of(
    st.tuples(st.text(max_size=6), HEX, HEX, HEX, HEX), st.lists(FIELD, min_size=4, max_size=7),
    st.tuples(st.just("u"), st.just("1a"), st.integers(0, 2**64 - 1).map("{:016x}".format),
              st.integers(0, 2**32 - 1).map("{:08x}".format), st.integers(0, 2**32 - 1).map("{:x}".format)))


@given(st.data(), st.one_of(st.integers(0, 2**40), st.text(max_size=3)), PARAMS)
def test_what_it_reads_the_parser_reads_alike(data, request_id, params):
    members = data.draw(st.permutations([("id", request_id), ("method", "mining.submit"), ("params", list(params))]))
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    line = json.dumps(dict(members), separators=separators, ensure_ascii=data.draw(st.booleans())).encode()
    found = read_submit_line(line)
    assert found is None or found == read_by_parser(line)


@settings(max_examples=500)
@given(st.sampled_from([ESP_MINER, NERD_MINER, CGMINER, CPUMINER]), st.data())
def test_a_line_that_is_bent_is_never_read_otherwise(line, data):
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line)))
        line = line[:at] + data.draw(st.binary(max_size=2)) + line[at + data.draw(st.integers(0, 2)):]
    found = read_submit_line(line)
    if found is not None:
        assert found == read_by_parser(line)
    else:
        with suppress(BadLine):
            read_by_parser(line)

"""Lines read and written: requests, answers, and what is neither."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warppool.errors import BadLine, RemoteProtocolError
from warppool.sv1 import messages
from warppool.sv1.messages import MAX_ID_SIZE, MAX_NESTING, Number, Request, Response, dump, encode_id, number, parse


@pytest.mark.parametrize(("line", "message"), [
    ('{"id":1,"method":"mining.ping","params":[]}', Request(1, "mining.ping", [])),
    ('{"method":"a","params":["x",{"y":[1,null,true]}],"id":"s"}', Request("s", "a", ["x", {"y": [1, None, True]}])),
    ('{"method":"a"}', Request(None, "a", [])),
    ('{"method":"a","params":null,"id":null}', Request(None, "a", [])),
    ('{"method":"a","params":{"b":1},"id":2}', Request(2, "a", None)),
    ('{"method":"a","params":"b","id":2}', Request(2, "a", None)),
    ('{"id":3}', Request(3, "", [])),
    ('{"id":3,"method":null}', Request(3, "", [])),
    ('{"id":3,"method":["mining.submit"],"params":[]}', Request(3, "", [])),
    ('{"jsonrpc":"2.0","id":3,"method":"a","params":["é\\u00e9"]}', Request(3, "a", ["éé"])),
    ('{"id":77,"error":null,"result":"cpuminer/2.5.1"}', Response(77, "cpuminer/2.5.1", None)),
    ('{"id":78,"result":null,"error":[20,"no",null]}', Response(78, None, [20, "no", None])),
    ('{"id":78,"method":null,"result":true}', Response(78, True, None)),
    ("{}", Request(None, "", [])),
    ('{"password":"[[[[[[[[[[[[[[[[[[[[","method":"a"}', Request(None, "a", [])),
    ('{"p":"\\"[[[[[[[[[[[\\\\\\"[[[[[[[[[[[[","method":"a"}', Request(None, "a", [])),
])
def test_lines_that_are_read(line, message):
    assert parse(line.encode()) == message


@pytest.mark.parametrize("line", [
    b"x", b"[]", b"1", b'"text"', b"null", b"{", b'{"id":1', b"{'id':1}", b'{"id":1}{"id":2}', b'{"id":1},', b"\xff",
    b'{"id":"\xff"}', b'{"id":NaN}', b'{"id":Infinity}', b'{"id":-Infinity}', b'{"id":1,"id":2}', b'{"id":01}',
    b'{"a":{"b":1,"b":2}}', b'{"id":' + b"9" * 5000 + b"}", b'{"id":"\x01"}', b"GET / HTTP/1.1", b"\x16\x03\x01\x02",
    b'{"params":' + b"[" * 17 + b"]" * 17 + b"}", b"[" * 8000, b'{"a":' * 3000,
])
def test_lines_that_close(line):
    with pytest.raises(BadLine):
        parse(line)


def test_nesting_is_counted_before_anything_recurses():
    deepest = b'{"params":' + b"[" * (MAX_NESTING - 1) + b"]" * (MAX_NESTING - 1) + b"}"
    assert isinstance(parse(deepest), Request)
    with pytest.raises(BadLine, match="more than 16 brackets"):
        parse(b'{"params":' + b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"}")
    wide = b'{"params":[' + b",".join([b"[{}]"] * 1000) + b"]}"
    assert isinstance(parse(wide), Request)


def test_numbers_keep_their_text():
    request = parse(b'{"id":1.50,"method":"a","params":[0.001,1e-5,7]}')
    assert request.params == ["0.001", "1e-5", 7] and type(request.params[0]) is Number
    assert encode_id(request.id) == b"1.50"


@pytest.mark.parametrize("text", [
    "4", '"s"', "true", "-1", "1.50", "1e3", '["a",{"b":[]}]', "12345678901234567890", '"\\u00fc\\""', "{}"])
def test_ids_are_echoed_as_they_came(text):
    assert encode_id(parse(b'{"id":%b}' % text.encode()).id) == text.encode()


def test_an_id_that_is_too_long_closes():
    assert len(encode_id("x" * (MAX_ID_SIZE - 2))) == MAX_ID_SIZE
    with pytest.raises(BadLine, match="an id of 257 bytes"):
        encode_id("x" * (MAX_ID_SIZE - 1))


def test_what_we_say_is_one_line_of_json():
    assert messages.encode_id(None) == b""              # a notification: it gets no answer
    assert messages.accepted(b"") == messages.result(b"", 1) == messages.error(b"", 20, "x") == b""
    assert messages.accepted(b"4") == b'{"id":4,"result":true,"error":null}\n'
    assert messages.error(b'"x"', 23, "Difficulty too low") == (
        b'{"id":"x","result":null,"error":[23,"Difficulty too low",null]}\n')
    assert messages.result(b"1", [["a"], 8, False]) == b'{"id":1,"result":[["a"],8,false],"error":null}\n'
    assert messages.request(1, "mining.submit", "a\n", None) == (
        b'{"id":1,"method":"mining.submit","params":["a\\n",null]}\n')
    assert messages.notification("mining.set_difficulty", Number("0.5")) == (
        b'{"id":null,"method":"mining.set_difficulty","params":[0.5]}\n')
    with pytest.raises(TypeError):
        dump(1.5)


@pytest.mark.parametrize(("value", "found"), [
    (5, Decimal(5)), ("0.001", Decimal("0.001")), (Number("1e-5"), Decimal("1e-5")),
    ("1e9999999", Decimal("1e9999999")), ("x", None), ("", None), ("NaN", None), ("Infinity", None), (True, None),
    (None, None), ([1], None), ("1" * 65, None)])
def test_numbers(value, found):
    assert number(value) == found


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
                    max_leaves=12)


@given(JSON)
def test_dump_is_what_json_says(value):
    assert json.loads(dump(value)) == value


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ntrue0123.eE-+idmethodparams', max_size=80).map(str.encode))
def test_garbage_is_refused_and_nothing_else(line):
    with suppress(RemoteProtocolError):
        parse(line.strip())

"""Messages: one JSON object on one line, read and written.

A line that is no JSON object closes the connection, since nobody could answer it. Whatever is wrong inside an object
is answered by the session. Numbers with a fraction or an exponent keep their text, since a difficulty must not pass
through a float.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from json import JSONDecoder
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from warppool.errors import BadLine

MAX_NESTING = 16
"""Brackets within brackets of one line; `mining.configure` has 3."""

MAX_ID_SIZE = 256
"""Bytes of an id as it is echoed. Answers wait in memory, and the id is the part of an answer that a peer chooses."""

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)      # an open string ends with the line


class Number(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


class Request(NamedTuple):
    """A call; or a notification, which gets no answer, if `id` is None.

    `method` is "" where the object has no text there. `params` is None where it has no list there. `id` is echoed.
    """

    id: object
    method: str
    params: list[object] | None


class Response(NamedTuple):
    """The answer to the request with this `id`; `error` is None where it succeeded."""

    id: object
    result: object
    error: object


Message = Request | Response


def parse(line: bytes) -> Message:
    """Read one line (no white space around it); BadLine if it is not UTF-8, not JSON, nested too deep, no object, or
    has one key twice.
    """
    if line.count(b"[") + line.count(b"{") > MAX_NESTING:
        _check_nesting(line)
    try:
        text = line.decode()
        value, end = _scan(text)
        if type(value) is dict and line.count(b":") > len(value):       # an object in it, or a key twice
            _scan_strictly(text)
    except ValueError as exc:                           # not UTF-8; not JSON; a number of more than 4,300 digits
        raise BadLine(f"no JSON: {_start_of(line)}") from exc
    if end != len(text):
        raise BadLine(f"more than one JSON value: {_start_of(line)}")
    if type(value) is not dict:
        raise BadLine(f"no JSON object: {_start_of(line)}")
    method = value.get("method")
    if method is None and ("result" in value or "error" in value):
        return Response(value.get("id"), value.get("result"), value.get("error"))
    params = value.get("params")
    if type(params) is not list:
        params = [] if params is None else None
    return Request(value.get("id"), method if type(method) is str else "", params)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object without double keys: where a key stands twice, two readers would not agree on its value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_scan = JSONDecoder(parse_float=Number, parse_constant=_refuse_constant).raw_decode
_scan_strictly = JSONDecoder(object_pairs_hook=_unique).raw_decode


def _check_nesting(line: bytes) -> None:
    """BadLine for too many open brackets; found by counting, since the parser would recurse into them."""
    depth = 0
    for token in _TOKENS.finditer(line):
        first = line[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_NESTING:
                raise BadLine(f"more than {MAX_NESTING} brackets within each other")
        elif first in b"]}":
            depth -= 1


def _start_of(line: bytes) -> str:
    return repr(line[:40])


def dump(value: object) -> str:
    """`value` as compact JSON in ASCII: what came in by `parse`, and what we say ourselves."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(key)}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump, value)) + "]"
    raise TypeError(f"{type(value).__name__} is no JSON")


def encode_id(request_id: object) -> bytes:
    """An id as it came; b"" for that of a notification, which has none; BadLine if it is too long to be kept."""
    if request_id is None:
        return b""
    if type(request_id) is int and 0 <= request_id <= 0xFFFFFFFF:
        return b"%d" % request_id
    text = dump(request_id)
    if len(text) > MAX_ID_SIZE:
        raise BadLine(f"an id of {len(text)} bytes")
    return text.encode()


ACCEPTED = b'{"id":%b,"result":true,"error":null}\n'
"""`accepted`, for shares: without a call for each."""


def accepted(request_id: bytes) -> bytes:
    """`true`, to a request whose id is encoded already; b"" to a notification."""
    return request_id and ACCEPTED % request_id


def result(request_id: bytes, value: object) -> bytes:
    """A success, to a request whose id is encoded already; b"" to a notification."""
    return b"" if not request_id else b'{"id":%b,"result":%b,"error":null}\n' % (request_id, dump(value).encode())


def error(request_id: bytes, code: int, words: str) -> bytes:
    """A failure, to a request whose id is encoded already: the array that V1 wants; b"" to a notification."""
    if not request_id:
        return b""
    return b'{"id":%b,"result":null,"error":[%d,%b,null]}\n' % (request_id, code, dump(words).encode())


def refusal(request_id: bytes, code: int, words: str) -> bytes:
    """A `false` that says why, to a request whose id is encoded already; b"" to a notification."""
    if not request_id:
        return b""
    return b'{"id":%b,"result":false,"error":[%d,%b,null]}\n' % (request_id, code, dump(words).encode())


def notification(method: str, *params: object) -> bytes:
    """A call that wants no answer."""
    return request(None, method, *params)


def request(request_id: object, method: str, *params: object) -> bytes:
    """A call that wants one."""
    return f'{{"id":{dump(request_id)},"method":"{method}","params":{dump(params)}}}\n'.encode()


def number(value: object) -> Decimal | None:
    """`value` as an exact number if it is one, or the text of one; else None. Never NaN or an infinity."""
    if type(value) is not int and not isinstance(value, str):
        return None
    if isinstance(value, str) and len(value) > 64:
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None

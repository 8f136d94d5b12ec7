"""Lines: cut out of the byte stream, whichever way TCP delivers it; and the line that comes most, read by a pattern."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator

from warppool.errors import BadLine
from warppool.sv1.shares import Fields

MAX_LINE = 16 * 1024
"""Bytes of the longest line, its end not counted. A notify with a full merkle path has 2 KiB, a request 300 bytes."""


class LineReader:
    """Cuts lines out of a stream that arrives in any pieces, without their ends and white space.

    Blank ones are left out: some machines send one now and then to keep a connection alive.
    """

    __slots__ = ("_at", "_buffer", "_max_line", "_partial")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._buffer = b""                          # b"" between lines: an idle connection holds nothing
        self._at = 0                                # where the next line begins in the buffer
        self._partial: bytearray | None = None      # in the place of the buffer while it holds no end of a line, so
                                                    # that small pieces are copied, and searched, once

    @property
    def pending(self) -> int:
        """Bytes held: lines not taken yet, and the beginning of one that is not whole."""
        return len(self._buffer) - self._at if self._partial is None else len(self._partial)

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Take `data` in and return the lines that are whole, without their ends; the first is to be taken at once.

        The iterator raises BadLine behind the lines before the one that is too long. Whoever stops early goes on later
        with `feed(b"")`, or with more data.
        """
        if data and not self._buffer and self._partial is None and len(data) <= self._max_line and (
                data.find(b"\n") + 1 == len(data)):
            line = data.strip()                     # one whole line, as nearly always
            return (line,) if line else ()
        self.hold(data)
        return self._lines() if self._partial is None else ()

    def hold(self, data: bytes) -> None:
        """Take `data` in and cut nothing yet."""
        if self._partial is not None:
            self._partial += data
            if b"\n" in data or len(self._partial) > self._max_line:
                self._buffer, self._partial = bytes(self._partial), None
        elif data:
            self._buffer = self._buffer[self._at:] + data if self._buffer else data
            self._at = 0

    def _lines(self) -> Iterator[bytes]:
        buffer, at = self._buffer, self._at
        while (end := buffer.find(b"\n", at)) >= 0:
            if end - at > self._max_line:
                break
            self._at = end + 1
            line = buffer[at:end].strip()
            if line:
                yield line
            at = end + 1
        if len(buffer) - at > self._max_line:
            raise BadLine(f"a line of more than {self._max_line} bytes")
        if at < len(buffer):
            self._partial = bytearray(buffer[at:])
        self._buffer, self._at = b"", 0


_ID = rb'"id": ?(0|[1-9][0-9]{0,8})'
_METHOD = rb'"method": ?"mining\.submit"'
# user, job, extranonce2, ntime, nonce, version bits
_PARAMS = (rb'"params": ?\["([ !#-\[\]-~]*)", ?"([0-9a-f]{1,16})", ?"([0-9a-fA-F]{8,16})"'
           rb', ?"([0-9a-fA-F]{8})", ?"([0-9a-fA-F]{1,8})"(?:, ?"([0-9a-fA-F]{8})")?\]')


def _line(*members: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\{" + rb", ?".join(members) + rb"\}")


_SHAPES = {
    b'{"id': (_line(_ID, _METHOD, _PARAMS).fullmatch, True),    # ESP-Miner, NerdMiner, proxies
    b'{"pa': (_line(_PARAMS, _ID, _METHOD).fullmatch, False),   # cgminer and the many who took it over
    b'{"me': (_line(_METHOD, _PARAMS, _ID).fullmatch, False),   # cpuminer
}
"""By how a line begins: its pattern, and whether the id comes first among its groups."""


def read_submit_line(line: bytes) -> tuple[bytes, Fields] | None:
    """A submit as machines print it: the id as it is echoed, and the fields. None for any other line.

    Nearly every line is one. The pattern takes less than half of the time of a JSON parser, which is a tenth of what a
    share costs. Whatever it reads, `messages.parse` and `shares.read_submit` read alike (a property test holds them
    together); what it does not read is theirs.
    """
    shape = _SHAPES.get(line[:4])
    if shape is None:
        return None
    match, is_id_first = shape
    found = match(line)
    if found is None:
        return None
    if is_id_first:
        request_id, user, job, extranonce2, ntime, nonce, bits = found.groups()
    else:
        user, job, extranonce2, ntime, nonce, bits, request_id = found.groups()
    if len(extranonce2) % 2:
        return None
    return request_id, (user.decode(), int(job, 16), unhexlify(extranonce2), int(ntime, 16), int(nonce, 16),
                        -1 if bits is None else int(bits, 16))

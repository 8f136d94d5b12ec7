"""Frames: a header of six bytes and a payload, cut out of the byte stream inside Noise.

The header is the extension (U16, whose bit 15 marks the message of a channel), the message's number (U8) and the length
of the payload (U24), little-endian. Frames owe nothing to records: one may span several, and one record hold several.

Source: Sv2 Protocol Overview §3.2; docs/sv2-wire.rst#wire-frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from warppool.errors import BadFrame, LocalProtocolError

CHANNEL_BIT = 0x8000
"""Bit 15 of the extension; it names none, and is masked off on receipt."""

HEADER_SIZE = 6
"""Bytes of extension, number and length."""

MAX_U24 = 0xFFFFFF
"""The longest payload that a header can announce."""

HEADER_FORMAT = "<HI"
"""A header for `struct`; the I is number and length, with the number in its low byte."""

_HEADER = struct.Struct(HEADER_FORMAT)
_NONE_LONGER: Final[Mapping[int, int]] = MappingProxyType({})


class Frame(NamedTuple):
    """One whole frame; `extension_type` is without the channel bit."""

    extension_type: int
    msg_type: int
    payload: bytes


def encode_frame(msg_type: int, payload: bytes, extension_type: int = 0) -> bytes:
    """The bytes of one frame; `extension_type` goes out as it is, with the channel bit if it has one."""
    if len(payload) > MAX_U24:
        raise LocalProtocolError(f"a payload of {len(payload)} bytes, a frame ends at {MAX_U24}")
    return _HEADER.pack(extension_type, msg_type | len(payload) << 8) + payload


def with_tlvs(frame: bytes, area: bytes) -> bytes:
    """`frame`, which is whole, with a TLV area behind its payload."""
    extension_type, number_and_length = _HEADER.unpack_from(frame)
    return b"".join((_HEADER.pack(extension_type, number_and_length + (len(area) << 8)), frame[HEADER_SIZE:], area))


class FrameReader:
    """Cuts frames out of a stream that arrives in any pieces.

    `max_payload` may be set between any two frames; a longer one is refused as soon as its header is there. `longer`
    has the numbers of messages that may have more, and how much.
    """

    __slots__ = ("_at", "_buffer", "_longer", "_partial", "_wanted", "max_payload")

    def __init__(self, max_payload: int, longer: Mapping[int, int] = _NONE_LONGER) -> None:
        self.max_payload = max_payload
        self._longer = longer
        self._buffer = b""                          # b"" between frames: an idle connection holds nothing
        self._at = 0                                # where the next frame begins in the buffer
        self._partial: bytearray | None = None      # in the place of the buffer while one frame is not whole,
        self._wanted = 0                            # until it has so many bytes: small pieces are copied once

    @property
    def pending(self) -> int:
        """Bytes held: frames not taken yet, and the beginning of one that is not whole."""
        return len(self._buffer) - self._at if self._partial is None else len(self._partial)

    def feed(self, data: bytes) -> Iterable[Frame]:
        """Take `data` in and return the frames that are whole; the first is to be taken at once.

        The iterator raises BadFrame behind the frames before the bad one. Whoever stops early goes on later with
        `feed(b"")`, or with more data.
        """
        if self._partial is None and not self._buffer and len(data) >= HEADER_SIZE:
            extension_type, number_and_length = _HEADER.unpack_from(data)
            if number_and_length >> 8 == len(data) - HEADER_SIZE <= self.max_payload:
                # one whole frame, as nearly always
                return (Frame(extension_type & ~CHANNEL_BIT, number_and_length & 0xFF, data[HEADER_SIZE:]),)
        self.hold(data)
        return self._frames() if self._partial is None else ()

    def hold(self, data: bytes) -> None:
        """Take `data` in and cut nothing yet."""
        if self._partial is not None:
            self._partial += data
            if len(self._partial) >= self._wanted:
                self._buffer, self._partial = bytes(self._partial), None
        elif data:
            self._buffer = self._buffer[self._at:] + data if self._buffer else data
            self._at = 0

    def _frames(self) -> Iterator[Frame]:
        buffer, at = self._buffer, self._at
        end = len(buffer)
        while True:
            stop = start = at + HEADER_SIZE
            if start <= end:
                extension_type, number_and_length = _HEADER.unpack_from(buffer, at)
                length = number_and_length >> 8
                if length > self.max_payload:
                    allowed = max(self.max_payload, self._longer.get(number_and_length & 0xFF, 0))
                    if length > allowed:
                        raise BadFrame(f"a payload of {length} bytes is announced, {allowed} are allowed")
                stop += length
            if stop > end:
                break
            self._at = stop
            yield Frame(extension_type & ~CHANNEL_BIT, number_and_length & 0xFF, buffer[start:stop])
            at = stop
        if at < end:
            self._partial, self._wanted = bytearray(buffer[at:]), stop - at
        self._buffer, self._at = b"", 0

"""The wire types of Stratum V2: what the annotations of a message's fields mean in bytes.

A field is annotated with one of the aliases at the end (`channel_id: U32`): to the type checker an `int`, `bytes` or
`str`, to the codec the `WireType` inside it. All numbers are little-endian. A wire type reads at an offset, and raises
MalformedPayload for what its type forbids. A length or a count is compared with the bytes that are left before memory
is taken for it.

Source: Sv2 Protocol Overview §3.1; docs/sv2-wire.rst#wire-types. PUBKEY, SIGNATURE and MAC are the handshake's, U24 is
the frame's.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import Annotated, Generic, TypeVar

from warppool.errors import BadOption, LengthExceeded, LocalProtocolError, Truncated

T = TypeVar("T")


class Message:
    """What every message is: a frozen, slotted dataclass whose annotations are wire types, in wire order."""

    __slots__ = ()


class WireType(ABC, Generic[T]):
    """How one wire type is read and written; `min_size` is the fewest bytes that one value takes."""

    min_size: int

    @abstractmethod
    def read(self, payload: bytes, offset: int) -> tuple[T, int]:
        """The value at `offset` and the offset behind it; MalformedPayload if there is none."""

    @abstractmethod
    def write(self, value: T) -> bytes:
        """The bytes of `value`; LocalProtocolError if the type cannot hold it."""


class Packed(WireType[T]):
    """A type of fixed width that `struct` knows by `code`, so that the codec can take neighbours at one stroke."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._struct = struct.Struct("<" + code)
        self.min_size = self._struct.size

    def read(self, payload: bytes, offset: int) -> tuple[T, int]:
        try:
            (value,) = self._struct.unpack_from(payload, offset)
        except struct.error:
            raise Truncated(f"{self.min_size} bytes wanted, {len(payload) - offset} left") from None
        return value, offset + self.min_size

    def write(self, value: T) -> bytes:
        try:
            return self._struct.pack(value)
        except (struct.error, OverflowError) as exc:
            raise LocalProtocolError(f"{value!r} in {self.min_size} bytes: {exc}") from None


class UInt(Packed[int]):
    """An unsigned number of 1, 2, 4 or 8 bytes."""

    def __init__(self, size: int) -> None:
        super().__init__({1: "B", 2: "H", 4: "I", 8: "Q"}[size])


class Float32(Packed[float]):
    """IEEE-754 binary32. NaN and the infinities pass: whether a number makes sense is the session's question."""

    def __init__(self) -> None:
        super().__init__("f")


class Fixed(Packed[bytes]):
    """Exactly `size` bytes as they are: a hash or a target, little-endian."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size}s")

    def write(self, value: bytes) -> bytes:
        if len(value) != self.min_size:     # struct would pad or cut in silence
            raise LocalProtocolError(f"{len(value)} bytes, the type has {self.min_size}")
        return super().write(value)


class Bool(WireType[bool]):
    """One byte, written 0 or 1; read by its bit 0 alone."""

    min_size = 1

    def read(self, payload: bytes, offset: int) -> tuple[bool, int]:
        if offset >= len(payload):
            raise Truncated("1 byte wanted, 0 left")
        return payload[offset] & 1 == 1, offset + 1

    def write(self, value: bool) -> bytes:
        return b"\x01" if value else b"\x00"


class Bytes(WireType[bytes]):
    """At most `limit` bytes behind their length, which is a number of `prefix` bytes."""

    def __init__(self, prefix: int, limit: int) -> None:
        self.min_size = prefix
        self.limit = limit

    def read(self, payload: bytes, offset: int) -> tuple[bytes, int]:
        length, start = _read_prefix(payload, offset, self.min_size)
        if length > self.limit:     # first, since no byte that could follow would mend it
            raise LengthExceeded(f"a length of {length}, the type ends at {self.limit}")
        end = start + length
        if end > len(payload):
            raise Truncated(f"a length of {length}, {len(payload) - start} left")
        return payload[start:end], end

    def write(self, value: bytes) -> bytes:
        if len(value) > self.limit:
            raise LocalProtocolError(f"{len(value)} bytes, the type ends at {self.limit}")
        return len(value).to_bytes(self.min_size, "little") + value


class Text(WireType[str]):
    """At most 255 bytes behind a length of one byte; UTF-8 is usual and not enforced.

    Bytes that are no UTF-8 become lone surrogates (`surrogateescape`) and go out again as they came.
    """

    min_size = 1
    _bytes = Bytes(1, 255)

    def read(self, payload: bytes, offset: int) -> tuple[str, int]:
        value, end = self._bytes.read(payload, offset)
        return value.decode("utf-8", "surrogateescape"), end

    def write(self, value: str) -> bytes:
        try:
            return self._bytes.write(value.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError as exc:
            raise LocalProtocolError(f"text that is no bytes: {exc}") from None


class Maybe(WireType[T | None]):
    """A count byte of 0 (None) or 1, then the value."""

    min_size = 1

    def __init__(self, value: WireType[T]) -> None:
        self._value = value

    def read(self, payload: bytes, offset: int) -> tuple[T | None, int]:
        count, offset = _read_prefix(payload, offset, 1)
        if count > 1:
            raise BadOption(f"an option counts {count} values")
        return self._value.read(payload, offset) if count else (None, offset)

    def write(self, value: T | None) -> bytes:
        return b"\x00" if value is None else b"\x01" + self._value.write(value)


class Seq(WireType[tuple[T, ...]]):
    """A count of `prefix` bytes, then so many values back to back."""

    def __init__(self, prefix: int, value: WireType[T]) -> None:
        self.min_size = prefix
        self._value = value
        self._limit = 256**prefix - 1

    def read(self, payload: bytes, offset: int) -> tuple[tuple[T, ...], int]:
        count, offset = _read_prefix(payload, offset, self.min_size)
        if count * self._value.min_size > len(payload) - offset:    # before there is room for any
            raise Truncated(f"{count} values of {self._value.min_size} bytes or more, {len(payload) - offset} left")
        values = []
        for _ in range(count):
            value, offset = self._value.read(payload, offset)
            values.append(value)
        return tuple(values), offset

    def write(self, value: tuple[T, ...]) -> bytes:
        if len(value) > self._limit:
            raise LocalProtocolError(f"{len(value)} values, the type ends at {self._limit}")
        return len(value).to_bytes(self.min_size, "little") + b"".join(map(self._value.write, value))


class Tail(WireType[T | None]):
    """A last field that older peers leave out: None where the payload ends before it, and then not written either."""

    min_size = 0

    def __init__(self, value: WireType[T]) -> None:
        self._value = value

    def read(self, payload: bytes, offset: int) -> tuple[T | None, int]:
        return self._value.read(payload, offset) if offset < len(payload) else (None, offset)

    def write(self, value: T | None) -> bytes:
        return b"" if value is None else self._value.write(value)


def _read_prefix(payload: bytes, offset: int, size: int) -> tuple[int, int]:
    """The length or count of `size` bytes at `offset`, and the offset behind it."""
    start = offset + size
    if start > len(payload):
        raise Truncated(f"a length of {size} bytes wanted, {len(payload) - offset} left")
    return payload[offset] if size == 1 else int.from_bytes(payload[offset:start], "little"), start


BOOL = Annotated[bool, Bool()]
U8 = Annotated[int, UInt(1)]
U16 = Annotated[int, UInt(2)]
U32 = Annotated[int, UInt(4)]
U64 = Annotated[int, UInt(8)]
U256 = Annotated[bytes, Fixed(32)]
F32 = Annotated[float, Float32()]
STR0_255 = Annotated[str, Text()]
B0_32 = Annotated[bytes, Bytes(1, 32)]
B0_255 = Annotated[bytes, Bytes(1, 255)]
B0_64K = Annotated[bytes, Bytes(2, 65_535)]
OPTION_U32 = Annotated[int | None, Maybe(UInt(4))]
SEQ0_255_U256 = Annotated[tuple[bytes, ...], Seq(1, Fixed(32))]
SEQ0_64K_U16 = Annotated[tuple[int, ...], Seq(2, UInt(2))]
SEQ0_64K_U32 = Annotated[tuple[int, ...], Seq(2, UInt(4))]
SEQ0_64K_B0_16M = Annotated[tuple[bytes, ...], Seq(2, Bytes(3, 16_777_215))]
TAIL_U16 = Annotated[int | None, Tail(UInt(2))]
TAIL_U32 = Annotated[int | None, Tail(UInt(4))]

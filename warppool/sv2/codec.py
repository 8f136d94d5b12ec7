"""One codec for every message: a class of annotated fields compiled into a reader and a writer.

A `Layout` is compiled once a class, at its first use: runs of fields of fixed width go through one `struct`, other
fields through their `WireType`. `decode` and `encode` are for those who have no profile. A profile holds layouts
itself, since a dialect may write a message without its optional tail. What comes with every share, a profile reads and
writes at one stroke.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import fields, make_dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_type_hints

from warppool.errors import LocalProtocolError, MalformedPayload, Truncated
from warppool.sv2.types import Fixed, Message, Packed, Tail, WireType

M = TypeVar("M", bound=Message)

_layouts: dict[tuple[type[Message], bool], Layout[Any]] = {}     # immutable ones, so any thread may add its own


def encode(message: Message) -> bytes:
    """The payload of `message`; LocalProtocolError names the field that its type cannot hold."""
    return layout_of(type(message)).encode(message)


def decode(cls: type[M], payload: bytes) -> tuple[M, bytes]:
    """Build one `cls` from the front of `payload`; MalformedPayload names the field where it went wrong.

    What follows the last field is the extension (TLV) area, handed back as it came.
    """
    return layout_of(cls).decode(payload)


def layout_of(cls: type[M], writes_tail: bool = True) -> Layout[M]:
    """The layout of `cls`, compiled once; without `writes_tail` its optional tail is read but never written."""
    try:
        return _layouts[cls, writes_tail]
    except KeyError:
        return _layouts.setdefault((cls, writes_tail), Layout(cls, writes_tail))


class Layout(Generic[M]):
    """What the annotations of `cls` say, compiled."""

    __slots__ = ("_reads", "_writes", "cls", "draft", "kinds")

    def __init__(self, cls: type[M], writes_tail: bool = True) -> None:
        self.cls = cls
        self.kinds = kinds_of(cls)
        steps = _steps(self.kinds.items())
        self._reads = tuple(step.read for step in steps)
        self._writes = tuple(step.write for step in steps if writes_tail or not step.is_tail)
        # The frozen __init__ of seven fields costs 1 µs, that of a mutable twin with the same slots, which then becomes
        # the message, a third.
        names = [(name, Any) for name in self.kinds]
        self.draft: Callable[..., Any] = make_dataclass(
            cls.__name__, names, bases=(Message,), slots=True, eq=False, repr=False
        )

    def decode(self, payload: bytes) -> tuple[M, bytes]:
        """One message from the front of `payload`, and what follows its last field."""
        values: list[Any] = []
        offset = 0
        try:
            for read in self._reads:
                offset = read(payload, offset, values)
        except MalformedPayload as exc:
            raise type(exc)(f"{self.cls.__name__}.{list(self.kinds)[len(values)]}: {exc}") from None
        return self.make(*values), payload[offset:]

    def make(self, *values: Any) -> M:
        """One message of these values, in wire order: the same as its class makes, in a third of the time."""
        message: M = self.draft(*values)
        message.__class__ = self.cls
        return message

    def encode(self, message: M) -> bytes:
        """The payload of `message`."""
        if len(self._writes) == 1:
            return self._writes[0](message)
        return b"".join([write(message) for write in self._writes])


def kinds_of(cls: type[Message]) -> dict[str, WireType[Any]]:
    """The kind of every field of `cls`, in wire order."""
    hints = get_type_hints(cls, include_extras=True)
    dataclass: Any = cls            # by its contract; the type says only that it is a Message
    return {field.name: hints[field.name].__metadata__[0] for field in fields(dataclass)}


def _steps(kinds: Iterable[tuple[str, WireType[Any]]]) -> list[_Run | _Single]:
    """The fields in wire order, neighbours of fixed width as one."""
    steps: list[_Run | _Single] = []
    run: dict[str, Packed[Any]] = {}
    for name, kind in kinds:
        if isinstance(kind, Packed):
            run[name] = kind
            continue
        steps += [_Run(run), _Single(name, kind)] if run else [_Single(name, kind)]
        run = {}
    return [*steps, _Run(run)] if run else steps


class _Single:
    """One field of any kind."""

    def __init__(self, name: str, kind: WireType[Any]) -> None:
        self.is_tail = isinstance(kind, Tail)
        self._name = name
        self._kind = kind
        self._get = attrgetter(name)

    def read(self, payload: bytes, offset: int, values: list[Any]) -> int:
        value, offset = self._kind.read(payload, offset)
        values.append(value)
        return offset

    def write(self, message: Message) -> bytes:
        try:
            return self._kind.write(self._get(message))
        except LocalProtocolError as exc:
            raise LocalProtocolError(f"{type(message).__name__}.{self._name}: {exc}") from None


class _Run:
    """Neighbouring fields of fixed width: one precompiled struct."""

    is_tail = False

    def __init__(self, kinds: dict[str, Packed[Any]]) -> None:
        self._struct = struct.Struct("<" + "".join(kind.code for kind in kinds.values()))
        self._singles = [_Single(name, kind) for name, kind in kinds.items()]
        self._get = attrgetter(*kinds)
        self._is_checked = any(isinstance(kind, Fixed) for kind in kinds.values()) or len(kinds) == 1

    def read(self, payload: bytes, offset: int, values: list[Any]) -> int:
        try:
            values += self._struct.unpack_from(payload, offset)
        except struct.error:
            raise Truncated(f"{self._struct.size} bytes wanted, {len(payload) - offset} left") from None
        return offset + self._struct.size

    def write(self, message: Message) -> bytes:
        if not self._is_checked:
            try:
                return self._struct.pack(*self._get(message))
            except (struct.error, OverflowError):
                pass                # the same again field by field, to name the one
        return b"".join([single.write(message) for single in self._singles])

"""How a key of a configuration is declared: an option rides on a field of a frozen dataclass, which is its section.

The sections stand in `options.py` (the pool's) and `translatoroptions.py`; readers, errors, the example files and the
tables of the README all come from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, cast

from warppool.config.kinds import Kind


class Effect(Enum):
    """When a key takes effect that was changed before a SIGHUP: the word of log and reference, and a sentence."""

    NOW = ("at once", "a reload makes it count at once")
    NEXT_JOB = ("next job", "a reload makes it count from the next job on")
    NEWCOMERS = ("newcomers", "a reload makes it count for who comes then")
    RESTART = ("restart", "it needs a restart")

    def __init__(self, word: str, words: str) -> None:
        self.word = word
        self.words = words


T = TypeVar("T")
TomlValue = str | int | Decimal | list[str]


@dataclass(frozen=True, slots=True)
class Option:
    """What is declared of one key; `default` is a TOML value, None where the key has no fixed one.

    `default_of` works the value out of the environment where nobody wrote it.
    """

    kind: Kind[Any]
    default: TomlValue | None
    sentence: str
    is_required: bool = False
    is_secret: bool = False
    on_reload: Effect = Effect.RESTART
    default_of: Callable[[Mapping[str, str]], object] | None = None


def option(kind: Kind[T], default: TomlValue, sentence: str, *, on_reload: Effect = Effect.RESTART,
           is_secret: bool = False) -> T:
    """A field that is a key."""
    declared = Option(kind, default, sentence, is_secret=is_secret, on_reload=on_reload)
    return field(default=kind.read(default), metadata={"option": declared}, repr=not is_secret)


def required(kind: Kind[T], sentence: str, *, on_reload: Effect = Effect.RESTART) -> T:
    """A field that is a key which must be written."""
    declared = Option(kind, None, sentence, is_required=True, on_reload=on_reload)
    return cast("T", field(metadata={"option": declared}))


def optional(kind: Kind[T], sentence: str, *, key: str, is_secret: bool = False,
             on_reload: Effect = Effect.RESTART) -> T | None:
    """A field that is a key without a default; `key` is its name in the file."""
    declared = Option(kind, None, sentence, is_secret=is_secret, on_reload=on_reload)
    return cast("T | None", field(default=None, metadata={"option": declared, "key": key}, repr=not is_secret))


def by_machine(kind: Kind[T], default_of: Callable[[Mapping[str, str]], T], sentence: str) -> T:
    """A field that is a key whose default depends on the machine; `default_of` gets the environment."""
    declared = Option(kind, None, sentence, default_of=default_of)
    return cast("T", field(metadata={"option": declared}))


def derived(default: T, *, of: str, is_secret: bool = False) -> T:
    """A field that `pool.py` works out from keys, first of all from the field `of`, and that changes with that."""
    return field(default=default, metadata={"of": of}, repr=not is_secret)


def as_in(section: type[Any], name: str) -> Any:
    """A field that is the same key as the field `name` of another section, where it is declared."""
    item = next(item for item in fields(section) if item.name == name)
    return field(default=item.default, metadata=item.metadata, repr=item.repr)


def options_of(section: type[Any]) -> Iterator[tuple[str, str, Option]]:
    """(key, field name, option) of each key of a section, in the order of declaration."""
    for item in fields(section):
        if "option" in item.metadata:
            yield item.metadata.get("key", item.name), item.name, item.metadata["option"]


@dataclass(frozen=True, slots=True)
class Form:
    """What a configuration file may hold: its sections by name, of which `many` may stand there more than once.

    `some` names the section that may stand there more than once, or not at all. `off` names one that does nothing while
    its heading does not stand there, whatever its defaults are.
    """

    file: str
    sections: Mapping[str, type[Any]]
    many: str
    secrets: type[Any] | None = None
    some: str = ""
    off: str = ""

    def is_list(self, name: str) -> bool:
        """Whether that section is a list of tables."""
        return name in (self.many, self.some)

    def heading(self, name: str) -> str:
        """The line above the keys of a section."""
        return f"[[{name}]]" if self.is_list(name) else f"[{name}]"

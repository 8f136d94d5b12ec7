"""How a key of a configuration is declared: an option rides on a field of a frozen dataclass, which is its section.

The sections stand in `options.py` (the pool's) and `translatoroptions.py`; readers, errors, the example files and the
tables of the README all come from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Option:
    """What is declared of one key; `default` is a TOML value, None where the key has no fixed one."""

    kind: Kind
    default: object
    sentence: str
    is_required: bool
    is_secret: bool
    on_reload: Effect


def option(kind: Kind, default: object, sentence: str, *, on_reload: Effect = Effect.RESTART, key: str = "",
           is_required: bool = False, is_secret: bool = False) -> Any:
    """A field that is a key; `key` where it is not called like the field."""
    metadata = {"option": Option(kind, default, sentence, is_required, is_secret, on_reload), "key": key}
    if is_required:
        return field(metadata=metadata, repr=not is_secret)
    return field(default=None if default is None else kind.read(default), metadata=metadata, repr=not is_secret)


def derived(default: object, *, of: str, is_secret: bool = False) -> Any:
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
            yield item.metadata["key"] or item.name, item.name, item.metadata["option"]


@dataclass(frozen=True, slots=True)
class Form:
    """What a configuration file may hold: its sections by name, of which `many` may stand there more than once."""

    file: str
    sections: Mapping[str, type[Any]]
    many: str
    secrets: type[Any] | None = None

"""What the tests of the wire share: the samples of vectors.json, and any values for any message.

`tests/vectors/vectors.json` and `messages.json` are the project's own, made from the published specification; the
samples were decoded and encoded again, byte for byte, by the reference implementation in Rust.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from warppool.sv2 import codec, types
from warppool.sv2.messages import common, mining, template
from warppool.sv2.types import Message

VECTORS = Path(__file__).parent.parent / "vectors"
MODULES = {"common": common, "mining": mining, "template_distribution": template}

TABLE = [row for row in json.loads((VECTORS / "messages.json").read_text()) if row["subprotocol"] in MODULES]
"""The rows of messages.json whose messages are implemented."""


def class_for(subprotocol: str, name: str) -> type[Message]:
    """The class of a message by its published name: `SubmitShares.Success` is `mining.SubmitSharesSuccess`."""
    cls: type[Message] = getattr(MODULES[subprotocol], name.replace(".", ""))
    return cls


CLASSES = [class_for(row["subprotocol"], row["name"]) for row in TABLE]

_CODEC = [sample for sample in json.loads((VECTORS / "vectors.json").read_text())["codec"]
          if sample["subprotocol"] in MODULES]
_TYPES = {(row["subprotocol"], row["name"]): {field["name"]: field["type"] for field in row["fields"]} for row in TABLE}


def _value(wire_type: str, value: Any) -> Any:
    """A value of vectors.json, where every byte string is hex, as the dataclass holds it."""
    if wire_type == "STR0_255":
        return bytes.fromhex(value).decode()
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return tuple(bytes.fromhex(item) if isinstance(item, str) else item for item in value)
    return value


SAMPLES: dict[type[Message], tuple[dict[str, Any], bytes]] = {
    class_for(sample["subprotocol"], sample["name"]): (
        {name: _value(_TYPES[sample["subprotocol"], sample["name"]][name], value)
         for name, value in sample["values"].items()},
        bytes.fromhex(sample["payload"]),
    )
    for sample in _CODEC
}
"""By class: the values of a sample and its payload, in the published layout."""

_NUMBERS = {size: st.integers(0, 256**size - 1) for size in (1, 2, 4, 8)}
_HASHES = st.binary(min_size=32, max_size=32)
_STRATEGIES: dict[Any, st.SearchStrategy[Any]] = {
    types.BOOL: st.booleans(),
    types.U8: _NUMBERS[1],
    types.U16: _NUMBERS[2],
    types.U32: _NUMBERS[4],
    types.U64: _NUMBERS[8],
    types.U256: _HASHES,
    types.F32: st.floats(width=32, allow_nan=False),
    types.STR0_255: st.binary(max_size=255).map(lambda data: data.decode("utf-8", "surrogateescape")),
    types.B0_32: st.binary(max_size=32),
    types.B0_255: st.binary(max_size=255),
    types.B0_64K: st.binary(max_size=300),
    types.OPTION_U32: st.none() | _NUMBERS[4],
    types.SEQ0_255_U256: st.lists(_HASHES, max_size=5).map(tuple),
    types.SEQ0_64K_U16: st.lists(_NUMBERS[2], max_size=20).map(tuple),
    types.SEQ0_64K_U32: st.lists(_NUMBERS[4], max_size=20).map(tuple),
    types.SEQ0_64K_B0_16M: st.lists(st.binary(max_size=60), max_size=5).map(tuple),
    types.TAIL_U16: st.none() | _NUMBERS[2],
    types.TAIL_U32: st.none() | _NUMBERS[4],
}
_STRATEGY_OF_KIND = {alias.__metadata__[0]: strategy for alias, strategy in _STRATEGIES.items()}


def messages_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Any `cls`, with lengths that keep a test quick."""
    return st.builds(cls, **{name: _STRATEGY_OF_KIND[kind] for name, kind in codec.kinds_of(cls).items()})


def fields_of(message: Message) -> dict[str, Any]:
    """The values of a message by field."""
    return {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}  # type: ignore[arg-type]

"""Holds a JSON value against a schema: as much of JSON Schema as `openapi.json` uses, written from its text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),)}
KNOWN: Final = {"type", "description", "properties", "required", "additionalProperties", "items", "enum", "minimum",
                "maximum", "maxItems", "minLength", "default", "$ref"}


def faults(value: Any, schema: Mapping[str, Any], document: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """What of `value` the schema does not allow."""
    if "$ref" in schema:
        yield from faults(value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, at)
        return
    assert schema.keys() <= KNOWN, f"the reader of schemas does not know {schema.keys() - KNOWN}"
    if "type" in schema and not _is_of(value, schema["type"]):
        yield f"{at}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from _faults_of_object(value, schema, document, at)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{at}: too many"
        for index, item in enumerate(value):
            yield from faults(item, schema["items"], document, f"{at}[{index}]")
    elif (isinstance(value, int | float) and not isinstance(value, bool)
          and not schema.get("minimum", value) <= value <= schema.get("maximum", value)):
        yield f"{at}: {value!r} is out of bounds"


def _faults_of_object(value: dict[str, Any], schema: Mapping[str, Any], document: Mapping[str, Any], at: str
                      ) -> Iterator[str]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    yield from (f"{at}: {key} is missing" for key in schema.get("required", ()) if key not in value)
    for key, item in value.items():
        if key in properties:
            yield from faults(item, properties[key], document, f"{at}.{key}")
        elif more is False:
            yield f"{at}: {key} is too much"
        elif isinstance(more, dict):
            yield from faults(item, more, document, f"{at}.{key}")


def _is_of(value: Any, kinds: str | list[str]) -> bool:
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return True
    return False

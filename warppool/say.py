"""How every thread writes to the journal: one event is one line of `key=value` (docs/style.rst#style-logs)."""

import json
import logging
import re

MAX_TEXT = 64
"""Characters of a name or an agent in the journal: a stranger chooses them, and must not fill the journal."""

_MORE = "..."
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,\[\]-]+\Z")


def say(log: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log one event as key=value pairs on one line.

    Bytes print as hex. Text with any but plain characters is quoted and escaped, so that no name can forge a line.
    """
    if log.isEnabledFor(level):
        pairs = (f"{key}={_plain(value)}" for key, value in fields.items())
        log.log(level, "%s", " ".join((f"event={event}", *pairs)))


def clip(text: str, most: int = MAX_TEXT) -> str:
    """`text`, cut so that the journal shows at most `most` characters. An escaped character counts as it is printed."""
    if len(text) <= most and _PLAIN.match(text):
        return text
    size = 0
    for at, letter in enumerate(text):
        size += len(json.dumps(letter)) - 2
        if size > most:
            return _cut(text[:at], most)
    return text


def _cut(text: str, most: int) -> str:
    while len(json.dumps(text)) - 2 > most - len(_MORE):
        text = text[:-1]
    return text + _MORE


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, ".6g")
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text)     # ASCII only: control and odd characters are escaped

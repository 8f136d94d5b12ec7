"""One event, one line, `key=value`: how every thread of the shell writes to the journal."""

import json
import logging
import re

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+,\[\]-]+\Z")


def say(log: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log one event as key=value pairs on one line.

    Bytes print as hex. Text is quoted unless plain, so that no worker name can forge a line.
    """
    if log.isEnabledFor(level):
        pairs = (f"{key}={_plain(value)}" for key, value in fields.items())
        log.log(level, "%s", " ".join((f"event={event}", *pairs)))


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, ".6g")
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text)     # ASCII only: control and odd characters are escaped

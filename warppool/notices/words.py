"""A notice as bytes: JSON for programs, plain text, and what Telegram and Discord take.

A stranger chooses what stands in facts. So nothing in a fact is ever markup: control characters, line breaks and marks
that turn the direction of writing are replaced, and each chat service's own signs are escaped. Both show a fact as
code, in which they make no link of an address and call nobody by a name.
"""

from __future__ import annotations

import html
import json
import math
import time
from typing import Final, NamedTuple

from warppool.notices.kinds import MAX_FACT, Fact, Notice, fact_name

JSON: Final = "json"
TEXT: Final = "text"
TELEGRAM: Final = "telegram"
DISCORD: Final = "discord"
FORMATS: Final = (JSON, TEXT, TELEGRAM, DISCORD)
"""What `[[notice]] format` may name."""

MAX_BODY: Final = 1_900
"""Characters of a message; Discord refuses more than 2,000, Telegram more than 4,096."""

STAND_IN: Final = "\N{REPLACEMENT CHARACTER}"


class NoticeBody(NamedTuple):
    """What is posted: the body, and what the headers say of it. `title` is for services that take one (ntfy)."""

    body: bytes
    content_type: str
    title: str = ""


def message_of(notice: Notice, form: str, program: str) -> NoticeBody:
    """`notice` in `form`, one of FORMATS. `program` is who says it, such as `warppool`, in ASCII."""
    title = f"{program}: {notice.title(program)}"
    if form == TEXT:
        return NoticeBody(_fitting([_line(name, value) for name, value in _lines(notice, program)]).encode(),
                       "text/plain; charset=utf-8", title)
    if form == TELEGRAM:
        lines = [f"<b>{html.escape(title)}</b>", *(_html_line(name, value) for name, value in _lines(notice, program))]
        return _json({"text": _fitting(lines), "parse_mode": "HTML", "link_preview_options": {"is_disabled": True}})
    if form == DISCORD:
        lines = [f"**{title}**", *(_code_line(name, value) for name, value in _lines(notice, program))]
        return _json({"content": _fitting(lines), "allowed_mentions": {"parse": []}})
    return _json(document_of(notice, program))


def document_of(notice: Notice, program: str) -> dict[str, object]:
    """What programs read: every value as it is, and the text for people."""
    lines = [f"{program}: {notice.title(program)}", *(_line(name, value) for name, value in _lines(notice, program))]
    return {
        "program": program, "event": notice.event, "kind": notice.kind, "title": notice.title(program),
        "time": _time(notice.at), "at": round(notice.at), "count": notice.count,
        "facts": {name: _json_fact(value) for name, value in notice.facts}, "text": _fitting(lines)}


def shown(value: Fact) -> str:
    """A fact as people read it, on one line: what cannot be seen, or turns the text round, is replaced."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, ".4g")
    text = "none" if value is None else str(value)
    cut = text if len(text) <= MAX_FACT else text[:MAX_FACT - 3] + "..."
    return "".join(letter if letter.isprintable() else STAND_IN for letter in cut) or '""'


def _lines(notice: Notice, program: str) -> list[tuple[str, Fact]]:
    """The facts that people read, with the time first and how often it was last."""
    lines: list[tuple[str, Fact]] = [
        ("time", _time(notice.at)), *((fact_name(name, program), value) for name, value in notice.facts)]
    if notice.count > 1:
        lines.append(("times", f"{notice.count}, of which this is the last"))
    return lines


def _line(name: str, value: Fact) -> str:
    return f"{name}: {shown(value)}"


def _html_line(name: str, value: Fact) -> str:
    return f"{name}: <code>{html.escape(shown(value))}</code>"


def _code_line(name: str, value: Fact) -> str:
    """Between backticks Discord knows no markup, and no backslash: a backtick is the one sign that would end it."""
    return f"{name}: `{shown(value).replace('`', chr(39))}`"


def _fitting(lines: list[str]) -> str:
    """As many whole lines as fit: a line that is cut might end amid an escape."""
    size, kept = 0, []
    for line in lines:
        size += len(line) + 1
        if size > MAX_BODY:
            break
        kept.append(line)
    return "\n".join(kept)


def _json_fact(value: Fact) -> Fact:
    """Numbers and flags as they are; text without what cannot be seen; null for a number that JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return shown(value) if isinstance(value, str) else value


def _json(document: dict[str, object]) -> NoticeBody:
    return NoticeBody(json.dumps(document).encode(), "application/json")


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

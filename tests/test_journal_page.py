"""docs/journal.rst has every event that asks for attention, and no other event."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from warppool.node.items import Verdict

ROOT = Path(__file__).parent.parent
EVENT = r"[a-z]+\.[a-z_]+"
LOUD = [
    re.compile(rf'logging\.(?:WARNING|ERROR|CRITICAL)[^"\n]*,\s*"({EVENT})"'),
    re.compile(rf'"(?:warning|error|critical)",\s*"({EVENT})"'),
    re.compile(rf'log\.(?:exception|warning|error|critical)\(\s*"event=({EVENT})'),
    re.compile(rf'Repeats\(log, "({EVENT})"'),
    re.compile(rf'Trouble\("({EVENT})"'),
]
"""How the package says such an event; where the level is a variable, only the page can know."""


def loud_events(source: str) -> Iterator[str]:
    """The events of level warning and above in a module."""
    for pattern in LOUD:
        yield from pattern.findall(source)


def page() -> set[str]:
    """All events that the page names."""
    return {event for event in re.findall(rf"``({EVENT})``", (ROOT / "docs/journal.rst").read_text())
            if not event.endswith((".toml", ".rst"))}


def package() -> str:
    """All modules."""
    return "\n".join(path.read_text() for path in sorted((ROOT / "warppool").rglob("*.py")))


def test_every_event_that_asks_for_attention_is_on_the_page() -> None:
    said = set(loud_events(package()))
    assert len(said) > 50
    assert sorted(said - page()) == []


def test_every_event_on_the_page_is_said_somewhere() -> None:
    source = package() + "".join(f'"block.{verdict.value}"' for verdict in Verdict)
    assert [event for event in sorted(page()) if not re.search(rf'"(?:event=)?{re.escape(event)}\b', source)] == []


@pytest.mark.parametrize("line", [
    'say(log, logging.WARNING, "new.event", key=1)', 'log.exception("event=new.event conn=%d", 1)',
    'Happened(self.conn_id, "error", "new.event")', 'Repeats(log, "new.event")',
    'say(\n    log, logging.CRITICAL, "new.event")'])
def test_an_event_is_found_however_it_is_said(line: str) -> None:
    assert list(loud_events(line)) == ["new.event"]

"""Reads a page as a browser would, as far as tests need it: elements, attributes, and what is shown."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

VOID = {"meta", "link", "img", "input", "br"}
INLINE = {"a", "bdi", "span", "strong", "time", "data", "code"}


def plain(text: str) -> str:
    """`text` with each space that breaks no line as a space like others."""
    return text.replace("\u00a0", " ")


class Element(NamedTuple):
    tag: str
    attributes: dict[str, str]


class Reading(HTMLParser):
    """A page that was read to its end; an end tag that fits no begin, or a missing one, is an AssertionError."""

    def __init__(self, body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(body.decode("utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in INLINE:
            self.texts.append(" ")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [element.attributes for element in self.elements if element.tag == tag]

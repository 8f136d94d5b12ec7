"""Answers by HTTP: what a route returns, and how it goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"

HEADERS: Final = (
    ("Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),             # an address in a path is nobody else's business
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""On every answer: a name that got past the escaping of a page still loads nothing and runs nothing."""

_REASONS: Final = {200: "OK", 303: "See Other", 304: "Not Modified", 400: "Bad Request", 404: "Not Found",
                   405: "Method Not Allowed", 421: "Misdirected Request", 429: "Too Many Requests",
                   500: "Internal Server Error", 503: "Service Unavailable"}


class BadField(Exception):
    """A field of the query holds what it may not; the text says what it takes."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a route returns: `body` of Content-Type `kind`.

    `max_age_s` is how long a browser may keep it without asking. `headers` are further ones.
    """

    body: bytes
    kind: str = JSON
    status: int = 200
    max_age_s: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SentAnswer:
    """An answer as it goes out, made once and sent often."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    etag: str

    @classmethod
    def of(cls, answer: HttpAnswer) -> SentAnswer:
        """Put the head together."""
        etag = f'"{blake2s(answer.body, digest_size=12).hexdigest()}"'
        kept = f"max-age={answer.max_age_s}, immutable" if answer.max_age_s else "no-cache"
        headers = [("Content-Type", answer.kind), ("Content-Length", str(len(answer.body))),
                   ("Cache-Control", kept), *HEADERS, *answer.headers]
        if answer.status == 200:
            headers.append(("ETag", etag))
        return cls(status_line(answer.status), tuple(headers), answer.body, etag)

    @property
    def unchanged(self) -> tuple[tuple[str, str], ...]:
        """The headers of 304, for who has the body already."""
        return tuple(header for header in self.headers if header[0] not in ("Content-Type", "Content-Length"))


def status_line(status: int) -> str:
    """`404 Not Found` for 404."""
    return f"{status} {_REASONS[status]}"


def json_answer(value: object, status: int = 200) -> HttpAnswer:
    """`value` as JSON; a number that is not finite is a bug, and never gets out."""
    return HttpAnswer(json.dumps(value, allow_nan=False, separators=(",", ":")).encode(), JSON, status)


def error(status: int, words: str, headers: Sequence[tuple[str, str]] = ()) -> HttpAnswer:
    """A refusal, for programs and people alike."""
    body = json.dumps({"error": words}).encode()
    return HttpAnswer(body, JSON, status, headers=tuple(headers))


def not_found() -> HttpAnswer:
    """There is no such thing here."""
    return error(404, "not found")


def see_other(path: str) -> HttpAnswer:
    """What is asked for is at `path`, percent-encoded, of this server."""
    return HttpAnswer(b"", TEXT, 303, headers=(("Location", path),))


def shown(name: str) -> str:
    """`name` as JSON may hold it: what is no character (a byte that is no UTF-8, a lone surrogate) becomes U+FFFD."""
    return name if name.isascii() else "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in name)


def number_of(query: Mapping[str, str], key: str, default: int, low: int, high: int) -> int:
    """A whole number of the query, brought to between `low` and `high`; BadField for what is none."""
    text = query.get(key, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise BadField(f"{key} takes a whole number")
    return min(high, max(low, int(text)))

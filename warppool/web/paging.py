"""Lists by pages: `?offset=0&limit=25`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from warppool.web.answers import HttpAnswer, json_answer, number_of
from warppool.web.requests import Asked

MAX_PAGE: Final = 100
FIRST_PAGE: Final = 25
PAGED: Final = ("offset", "limit")
"""The fields of the query that say which page."""

Row = TypeVar("Row")
Json = dict[str, Any]


def place_of(asked: Asked) -> tuple[int, int]:
    """Offset and limit; BadField."""
    return number_of(asked.query, "offset", 0, 0, 1 << 40), number_of(asked.query, "limit", FIRST_PAGE, 1, MAX_PAGE)


def page_of(asked: Asked, rows: Sequence[Row], json_of: Callable[[Row], Json]) -> HttpAnswer:
    """A page of rows that are all at hand."""
    offset, limit = place_of(asked)
    return page(offset, limit, len(rows), rows[offset:offset + limit], json_of)


def page(offset: int, limit: int, total: int, rows: Iterable[Row], json_of: Callable[[Row], Json]) -> HttpAnswer:
    """The page that has these rows."""
    return json_answer({"offset": offset, "limit": limit, "total": total, "items": [json_of(row) for row in rows]})

"""Which path gives which answer: a table, and how a path is found in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from warppool.web.answers import HttpAnswer
from warppool.web.requests import Asked
from warppool.web.view import WebView

_ANY: Final = None                      # stands for `{name}` in a key of the table


@dataclass(frozen=True, slots=True)
class WebRoute:
    """One path; each `{name}` in it is one segment. `answer` is called at most once per snapshot for one question.

    `query`: the fields of the query that the answer depends on; others are left out before it is asked.
    `has_html`: a browser gets another answer. `is_watched`: programs that watch the pool ask here, and have answers of
    their own in each second, which no visitor can use up. `any_host`: whatever name the server is called by.
    `reads_books`: the answer costs a question to the books, of which there are few in a second.
    Without `is_kept` it is asked for each request anew.
    """

    path: str
    answer: Callable[[Asked, WebView], HttpAnswer]
    query: tuple[str, ...] = ()
    has_html: bool = False
    is_watched: bool = False
    any_host: bool = False
    reads_books: bool = False
    is_kept: bool = True


class FoundRoute(NamedTuple):
    """A route, and what stands in the path for its names."""

    route: WebRoute
    names: Mapping[str, str]


class RouteTable:
    """All routes. A path without names wins over one with names."""

    def __init__(self, routes: Iterable[WebRoute]) -> None:
        self._routes: dict[tuple[str | None, ...], tuple[WebRoute, tuple[str, ...]]] = {}
        self._shapes: dict[int, list[tuple[bool, ...]]] = {}
        for route in routes:
            parts = route.path[1:].split("/")
            is_name = tuple(part.startswith("{") for part in parts)
            key = tuple(_ANY if named else part for part, named in zip(parts, is_name, strict=True))
            if key in self._routes:
                raise ValueError(f"{route.path} is there twice")
            self._routes[key] = (route, tuple(part[1:-1] for part in parts if part.startswith("{")))
            shapes = self._shapes.setdefault(len(parts), [])
            if is_name not in shapes:
                shapes.append(is_name)
                shapes.sort()

    def find(self, segments: tuple[str, ...]) -> FoundRoute | None:
        """The route of a path, by its decoded segments; an empty segment is no name."""
        for is_name in self._shapes.get(len(segments), ()):
            key = tuple(_ANY if named else part for part, named in zip(segments, is_name, strict=True))
            found = self._routes.get(key)
            if found is not None:
                values = [part for part, named in zip(segments, is_name, strict=True) if named]
                if all(values):
                    return FoundRoute(found[0], dict(zip(found[1], values, strict=True)))
        return None

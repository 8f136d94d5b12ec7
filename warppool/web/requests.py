"""A request by HTTP, read strictly: what is asked for, and by which name this server was called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from warppool.addresses import Address

_TARGET: Final = re.compile(r"(?:https?://(?P<authority>[^/?#]*))?(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]/@]+)(?::[0-9]{0,5})?")
MAX_FIELDS: Final = 16                  # of a query; no route has more than a few


class Asked(NamedTuple):
    """One request, decoded. Names are whatever a machine or a stranger chose: a page escapes them.

    `names`: what stands in the path for each `{name}` of the route. `query`: its fields, the last of each name.
    `wants_html`: the caller is a browser.
    """

    names: Mapping[str, str]
    query: Mapping[str, str]
    wants_html: bool = False


class HttpRequest(NamedTuple):
    """A request as it came: `segments` of the path, each decoded by itself, so that `%2F` stays within one name."""

    method: str
    segments: tuple[str, ...]
    query: str
    host: str                           # without the port, in small letters; "" for none, or one that cannot be read
    wants_html: bool
    etag: str                           # If-None-Match

    @classmethod
    def read(cls, environ: Mapping[str, Any]) -> HttpRequest:
        """From WSGI's environment, as waitress makes it; ValueError for what is no request of a path."""
        found = _TARGET.fullmatch(environ["REQUEST_URI"])
        if found is None or (found["path"] is None and found["authority"] is None):
            raise ValueError("no path")
        authority = environ.get("HTTP_HOST", "") if found["authority"] is None else found["authority"]
        path = found["path"] or "/"
        segments = tuple(unquote_to_bytes(part.encode("latin-1")).decode("utf-8", "surrogateescape")
                         for part in path[1:].split("/"))
        return cls(environ["REQUEST_METHOD"], segments, found["query"] or "", host_of(authority),
                   "text/html" in environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_IF_NONE_MATCH", ""))

    def fields(self) -> dict[str, str]:
        """The fields of the query; ValueError where there are too many."""
        return dict(parse_qsl(self.query, max_num_fields=MAX_FIELDS, errors="surrogateescape"))


def host_of(authority: str) -> str:
    """The name in `name:port`, in small letters and without the dot at its end; "" for anything else."""
    found = _HOST.fullmatch(authority.strip())
    return "" if found is None else found["name"].strip("[]").lower().removesuffix(".")


def default_hosts(listen: Iterable[Address]) -> frozenset[str]:
    """By which names browsers call a server that listens there, where the operator says nothing."""
    return frozenset({"localhost", *(address.host for address in listen)})


def is_address(host: str) -> bool:
    """Whether `host` is an IP address: no page from elsewhere can make a browser call this server by one."""
    return bool(re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", host)) or (":" in host)

"""The files beside the page: style, script, the charts' library with its licence, the icon.

They are read once, when this module is imported, and are named with their fingerprint, so that a browser keeps them for
good and still gets a new one after an update.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple

FOLDER: Final = "/static/"

_TYPES: Final = {
    "icon.svg": "image/svg+xml",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
    "uPlot-LICENSE.txt": "text/plain; charset=utf-8",
}


class Asset(NamedTuple):
    """A file as it is served; `etag` is 16 hex digits without quotes."""

    body: bytes
    content_type: str
    etag: str


def _read() -> Mapping[str, Asset]:
    folder = files("warppool.page") / "static"
    bodies = {name: (folder / name).read_bytes() for name in _TYPES}
    return MappingProxyType({FOLDER + name: Asset(body, _TYPES[name], sha256(body).hexdigest()[:16])
                             for name, body in bodies.items()})


ASSETS: Final[Mapping[str, Asset]] = _read()
"""By path. A query behind the path means nothing."""

FRAME: Final = (files("warppool.page") / "page.html").read_text("utf-8")
"""The one HTML file: what stands around every page."""


def address(name: str) -> str:
    """The path of the asset `name` with its fingerprint."""
    return f"{FOLDER}{name}?v={ASSETS[FOLDER + name].etag}"

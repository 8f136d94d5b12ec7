"""Pages of long lists: all machines, and the newest blocks."""

from __future__ import annotations

from warppool.page import parts
from warppool.page.markup import NOTHING, Html, fill, join
from warppool.page.poolpage import SHORT_NAMES, blocks_table, miners_table
from warppool.page.view import SHOWN_WORKERS, ListView


def machines_page(view: ListView) -> bytes:
    """Who mines here, UTF-8."""
    hint = parts.paragraph(SHORT_NAMES, "quiet") if view.is_short else NOTHING
    return _page(view, "Machines", "/machines", miners_table(view.miners, view.total, view.site.at, view.first), hint)


def blocks_page(view: ListView) -> bytes:
    """The newest blocks of the pool, UTF-8."""
    return _page(view, view.site.wording.blocks, "/blocks", blocks_table(view.blocks, view.site.at))


def _page(view: ListView, title: str, place: str, *content: Html) -> bytes:
    pager = parts.pager(place, view.first, SHOWN_WORKERS, view.total)
    return parts.page(view.site, f"{title} \u00b7 {view.site.pool}", fill(
        "<h1>{}</h1>\n<section>\n{}</section>\n", title, join((*content, pager))))

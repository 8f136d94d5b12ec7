"""The parts that pages are made of: tiles, sections, tables, pairs, charts. Each gives HTML without style or script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from warppool.page import words
from warppool.page.assets import FRAME, address
from warppool.page.markup import NOTHING, Html, fill, join, name
from warppool.page.view import PageLink, Point, Site, State
from warppool.stats.snapshot import Rates

WINDOWS: Final = ("1 minute", "5 minutes", "15 minutes", "1 hour", "6 hours", "1 day", "7 days")


class Column(NamedTuple):
    """A column of a table. One that `is_minor` is left out on a phone, one that `is_rare` on a tablet, too."""

    head: str
    is_figure: bool = False
    is_minor: bool = False
    is_rare: bool = False


class Tile(NamedTuple):
    """A number that is seen first, with what it is called and a word about it."""

    label: str
    number: object
    note: object = ""


def page(site: Site, title: str, content: Html) -> bytes:
    """A whole page, UTF-8: the frame with `content` in it, and of when its numbers are."""
    return framed(site.pool, title, content, fill(
        '{}Running for <time datetime="{}">{}</time>. Numbers of the {}\'s books at <time datetime="{}">{}</time>. '
        "All times are UTC.", f"Bitcoin network: {site.network}. " if site.network else "",
        words.machine_instant(site.started), words.span(site.at - site.started), site.wording.program,
        words.machine_instant(site.at), words.clock(site.at)))


def framed(pool: str, title: str, content: Html, footer: Html) -> bytes:
    """The frame, UTF-8."""
    return fill(
        FRAME, title=title, pool=pool, content=content, footer=footer,
        icon=address("icon.svg"), style=address("page.css"), script=address("page.js"),
        chart_style=address("uPlot.min.css"), chart_script=address("uPlot.iife.min.js"),
        chart_licence=address("uPlot-LICENSE.txt")).encode("utf-8")


def state_line(state: State) -> Html:
    """Whether it works: the first line. A screen reader says its word again when that changes, and is silent about the
    ages in the sentence, which change all the time.
    """
    return fill('<p class="state {}"><strong role="status">{}</strong> <span>{}</span></p>\n',
                state.level, state.word, state.sentence)


def tiles(each: Iterable[Tile]) -> Html:
    """The numbers that are seen first."""
    shown = list(each)
    return fill('<dl class="tiles{}">\n{}</dl>\n', Html("" if len(shown) % 3 == 0 else " even"), join(
        fill('<div><dt>{}</dt><dd class="number">{}</dd><dd class="note">{}</dd></div>\n', *tile) for tile in shown))


def section(key: str, title: str, *content: Html, is_wide: bool = False) -> Html:
    """A part with a heading, which names it for a screen reader, too; `key` is its id."""
    return fill('<section id="{}" aria-labelledby="{}-title"{}>\n<h2 id="{}-title">{}</h2>\n{}</section>\n',
                key, key, Html(' class="wide"') if is_wide else NOTHING, key, title, join(content))


def paragraph(text: object, kind: str = "") -> Html:
    """A line of text."""
    return fill('<p class="{}">{}</p>\n', kind, text) if kind else fill("<p>{}</p>\n", text)


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Html:
    """A table whose first column names the row. On a narrow screen it scrolls, by keyboard as well."""
    head = join(fill("<th scope=\"col\"{}>{}</th>", _classes(column), column.head) for column in columns)
    body = join(_row(columns, row) for row in rows)
    return fill('<div class="scroll" role="region" aria-label="{}" tabindex="0">\n<table>\n<caption>{}</caption>\n'
                "<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table>\n</div>\n", caption, caption, head, body)


def _row(columns: Sequence[Column], row: Sequence[object]) -> Html:
    cells = list(zip(columns, row, strict=True))
    first = fill('<th scope="row"{}>{}</th>', _classes(cells[0][0]), cells[0][1])
    return fill("<tr>{}{}</tr>\n", first, join(fill("<td{}>{}</td>", _classes(column), cell)
                                                for column, cell in cells[1:]))


def _classes(column: Column) -> Html:
    classes = " ".join(["figure"] * column.is_figure + ["minor"] * column.is_minor + ["rare"] * column.is_rare)
    return fill(' class="{}"', classes) if classes else NOTHING


def pairs(each: Iterable[tuple[str, object]]) -> Html:
    """Label and value, line by line."""
    return fill('<dl class="pairs">\n{}</dl>\n', join(fill("<dt>{}</dt><dd>{}</dd>\n", *pair) for pair in each))


def link(to: PageLink) -> Html:
    """A name, which leads to its page where there is one to lead to."""
    return fill('<a href="{}">{}</a>', to.path, name(to.name)) if to.path else name(to.name)


def pager(place: str, first: int, size: int, total: int) -> Html:
    """To the pages before and behind a part of a list at the path `place`; nothing where all of it is here."""
    if total <= size and not first:
        return NOTHING
    steps = [(first - size, "prev", "Before these")] if first else []
    if first + size < total:
        steps.append((first + size, "next", "Behind these"))
    return fill('<nav class="pager" aria-label="Pages of the list"><span>{} to {} of {}</span>{}</nav>\n',
                words.count(min(first + 1, total)), words.count(min(first + size, total)), words.count(total),
                join(fill('<a rel="{}" href="{}?offset={}">{}</a>', rel, place, max(0, at), text)
                     for at, rel, text in steps))


def more(place: str, text: str) -> Html:
    """To the page that has the whole list."""
    return fill('<p class="more"><a href="{}">{}</a></p>\n', place, text)


def moment(unix_s: float, now: float) -> Html:
    """How long ago; the exact time is in the markup."""
    return fill('<time datetime="{}" title="{}">{}</time>',
                words.machine_time(unix_s), words.utc(unix_s), words.ago(unix_s, now))


def level_word(level: str, text: str) -> Html:
    """A word in the colour of its level. The word alone says it as well."""
    return fill('<span class="{}-word">{}</span>', level, text) if level else fill("{}", text)


def meter(value: float, label: str) -> Html:
    """A bar from nothing to 1.0; `label` says the same in words."""
    return fill('<meter min="0" max="1" value="{}" aria-label="{}">{}</meter>\n', f"{min(max(value, 0.0), 1.0):.6f}",
                label, label)


def rates_table(rates: Rates) -> Html:
    """The hash rate of every window."""
    return table("Hash rate, averaged over", (Column("Window"), Column("Hash rate", is_figure=True)),
                 ((window, words.rate(rate)) for window, rate in zip(WINDOWS, rates, strict=True)))


def chart_section(points: Sequence[Point] | None) -> Html:
    """The chart under its heading. Where there is no history at hand, the script leaves an older chart as it is."""
    title = "Hash rate of the last day"
    if points is None:
        text = paragraph("The chart is not at hand now. It comes by itself, soon.", "quiet absent")
        return section("hash-rate", title, text, is_wide=True)
    return section("hash-rate", title, chart(points), is_wide=True)


def chart(points: Sequence[Point]) -> Html:
    """The hash rate of the last day: a table, of which the script draws a chart."""
    if len(points) < 2:
        return paragraph("The chart begins once there are twenty minutes of shares.", "quiet")
    top = max(points, key=lambda point: point.rate)
    label = (f"Chart of the hash rate from {words.utc(points[0].time)} to {words.utc(points[-1].time)}. "
             f"Highest: {words.rate(top.rate)}. Last: {words.rate(points[-1].rate)}. The numbers follow in a table.")
    rows = ((fill('<time datetime="{}">{}</time>', words.machine_time(point.time), words.utc(point.time)),
             fill('<data value="{}">{}</data>', f"{point.rate:.6g}", words.rate(point.rate))) for point in points)
    return fill('<figure>\n<div class="plot" data-plot role="img" aria-label="{}"></div>\n'
                "<details><summary>The chart as a table</summary>\n{}</details>\n</figure>\n", label, table(
                    "Hash rate by the beginning of each ten minutes",
                    (Column("Time"), Column("Hash rate", is_figure=True)), rows))

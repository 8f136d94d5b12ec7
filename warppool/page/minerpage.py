"""The page of one user, or of one worker: how fast, how lucky, and what was refused."""

from __future__ import annotations

from warppool.page import parts, words
from warppool.page.markup import NOTHING, Html, fill, join, name, path
from warppool.page.parts import Tile
from warppool.page.poolpage import best_bar, miners_table, next_block, of_a_block, rates_note, work_part
from warppool.page.view import SHOWN_WORKERS, MinerView, Site, State


def miner_page(view: MinerView) -> bytes:
    """The whole page, UTF-8."""
    content = (
        fill("<h1>{} {}</h1>\n", "Machine" if view.is_worker else "Miner", name(view.name)),
        parts.state_line(view.state),
        parts.tiles(_tiles(view)),
        fill('<div class="sections">\n{}</div>\n', join(_sections(view))),
    )
    return parts.page(view.site, f"{view.name} · {view.site.pool}", join(content))


def unknown_page(site: Site, asked: str) -> bytes:
    """Nobody of this name has mined here."""
    content = (
        fill("<h1>{}</h1>\n", name(asked)),
        parts.state_line(State("warn", "Not found.", "Nobody of this name has had a share accepted here.")),
        parts.paragraph("Is the name or address written whole, as the machine has it? A new machine is shown a few "
                        "seconds after its first accepted share."),
    )
    return parts.page(site, f"Not found · {site.pool}", join(content))


def _tiles(view: MinerView) -> tuple[Tile, ...]:
    rates = view.rates
    never = "none yet" if not view.best_ever else "before the start"
    last = fill("{}", never) if view.last_share is None else parts.moment(view.last_share, view.site.at)
    return (
        Tile("Hash rate", words.rate(rates.h1), rates_note(rates)),
        Tile("Next block", next_block(rates.h1, view.network_difficulty), "on average, mining alone at this hash rate"),
        Tile("Best share ever", words.scaled(view.best_ever), of_a_block(view.best_ever, view.network_difficulty)),
        Tile("Last share", last, "that was accepted"),
    )


def _sections(view: MinerView) -> tuple[Html, ...]:
    at = view.site.at
    return (
        parts.section("paid", "Who is paid", parts.paragraph(view.site.paid),
                      parts.pairs(view.payout) if view.payout else NOTHING, is_wide=True),
        parts.chart_section(view.history),
        NOTHING if view.is_worker else parts.section(
            "miners", "Machines", miners_table(view.miners, view.workers, at, view.first),
            parts.pager(path("user", view.name), view.first, SHOWN_WORKERS, view.workers), is_wide=True),
        parts.section("facts", "About", parts.pairs(_facts(view))),
        parts.section("best", "Best share", parts.pairs((("Ever", words.scaled(view.best_ever)),
                                                         ("Since the last block", words.scaled(view.best_now)))),
                      best_bar(view.best_ever, view.network_difficulty)),
        parts.section("shares", "Shares", work_part(view.work, view.site)),
        parts.section("averages", "Averages", parts.rates_table(view.rates)),
    )


def _facts(view: MinerView) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = []
    if view.user is not None:
        facts.append(("Belongs to", parts.link(view.user)))
    if view.since is not None:
        facts.append(("Connected since", parts.moment(view.since, view.site.at)))
    return facts + list(view.facts)

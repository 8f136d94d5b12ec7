"""The first page: whether the pool works, how fast it is, when a block may come, who is paid, and how to mine here.

It is read from the top: the state and six numbers answer these questions, and the sections below are for who asks on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from warppool.page import parts, words
from warppool.page.markup import NOTHING, Html, fill, join, name
from warppool.page.parts import Column, Tile
from warppool.page.view import FoundBlockRow, JobView, MinerRow, NodeRow, PoolView, ShareSums, Site
from warppool.page.wording import Wording
from warppool.stats.snapshot import Rates
from warppool.stats.windows import HASHES_PER_DIFFICULTY

SHORT_NAMES: Final = ("Names are shortened here. Who writes the whole name of a machine, or its address, into the "
                      "field at the top sees its own page.")


def pool_page(view: PoolView) -> bytes:
    """The whole page, UTF-8."""
    content = (
        fill('<h1 class="unseen">{}: overview</h1>\n', view.site.pool),
        parts.state_line(view.state),
        parts.tiles(_tiles(view)),
        fill('<div class="sections">\n{}</div>\n', join(_sections(view))),
    )
    return parts.page(view.site, f"{words.rate(view.rates.h1)} · {view.site.pool}", join(content))


def _tiles(view: PoolView) -> tuple[Tile, ...]:
    rates = view.rates
    by_protocol = ", ".join(f"{count} {protocol}" for protocol, count in view.machines if count)
    return (
        Tile("Hash rate", words.rate(rates.h1), rates_note(rates)),
        Tile("Next block", next_block(rates.h1, _difficulty(view)), "on average, at this hash rate"),
        Tile("Machines", words.count(sum(count for _, count in view.machines)),
             f"of {_number_of(view.users, 'user')}{by_protocol and ': '}{by_protocol}"),
        Tile("Best share ever", words.scaled(view.best_ever), of_a_block(view.best_ever, _difficulty(view))),
        Tile("Blocks found", words.count(view.blocks_found), _last_block(view)),
        Tile("Work since the last block", words.percent(view.effort, 1.0), "100 % is what a block takes on average"),
    )


def rates_note(rates: Rates) -> str:
    """Of what time the rate of a tile is, and two others beside it."""
    return f"last hour. Now {words.rate(rates.m5)}, last day {words.rate(rates.d1)}"


def next_block(hps: float, difficulty: float) -> str:
    """How long a block takes on average: `in about 4 days`."""
    if hps <= 0 or difficulty <= 0:
        return "not yet known"
    wait = words.span(difficulty * HASHES_PER_DIFFICULTY / hps)
    return f"in about {wait}" if wait[0].isdigit() else f"in {wait}"


def of_a_block(difficulty: float, network: float) -> str:
    """A share beside the difficulty that a block needs."""
    if network <= 0:
        return ""
    if difficulty >= network:
        return "enough for a block"
    return f"{words.percent(difficulty, network)} of what a block needs"


def _difficulty(view: PoolView) -> float:
    return view.job.network_difficulty if view.job else 0.0


def _number_of(count: int, word: str) -> str:
    return f"{words.count(count)} {word}{'' if count == 1 else 's'}"


def _last_block(view: PoolView) -> Html:
    if not view.blocks:
        return fill("{}", "none yet")
    return fill("the last one {}", parts.moment(view.blocks[0].time, view.site.at))


def _sections(view: PoolView) -> tuple[Html, ...]:
    at = view.site.at
    return (
        parts.section("paid", "Who is paid", parts.paragraph(view.site.paid),
                      parts.pairs(view.window) if view.window else NOTHING),
        parts.section("connect", "Mine here", _connect(view)),
        parts.chart_section(view.history),
        parts.section("miners", "Machines", miners_table(view.miners, view.workers, at), _all_machines(view),
                      is_wide=True),
        parts.section("blocks", view.site.wording.blocks, blocks_table(view.blocks, at), _all_blocks(view),
                      is_wide=True),
        parts.section("shares", "Shares", work_part(view.work, view.site)),
        parts.section("averages", "Averages", parts.rates_table(view.rates)),
        parts.section("best", "Best share", _best(view)),
        parts.section("nodes", view.site.wording.speed, _nodes(view.nodes, view.site.wording),
                      parts.pairs(view.timings)),
        parts.section("work", "Work that is mined now", _job(view.job, view.site.wording), is_wide=True),
    )


def _all_machines(view: PoolView) -> Html:
    hint = parts.paragraph(SHORT_NAMES, "quiet") if view.is_short and view.miners else NOTHING
    if view.workers <= len(view.miners):
        return hint
    return join((parts.more("/machines", f"All {words.count(view.workers)} machines"), hint))


def _all_blocks(view: PoolView) -> Html:
    if view.all_blocks <= len(view.blocks):
        return NOTHING
    return parts.more("/blocks", f"The newest {words.count(view.all_blocks)} blocks")


def _connect(view: PoolView) -> Html:
    if not view.connect:
        return parts.paragraph("This pool has not said its addresses.", "quiet")
    return join(fill('<p class="quiet">{}</p>\n<p class="copy" data-label="{}"><code>{}</code></p>\n',
                     each.label, each.label, each.url) for each in view.connect)


def miners_table(rows: Sequence[MinerRow], total: int, now: float, first: int = 0) -> Html:
    """Workers, a row each; `total` of them there are, and `first` of them stand before these."""
    if not rows:
        return parts.paragraph("No machine has had a share accepted yet.", "quiet")
    columns = (Column("Name"), Column("Last 5 min", is_figure=True), Column("Last day", is_figure=True, is_minor=True),
               Column("Best share", is_figure=True, is_minor=True), Column("Connected", is_figure=True, is_rare=True),
               Column("Last share"), Column("Program", is_rare=True))
    caption = "Most work of the last seven days first"
    if total > len(rows) and not first:
        caption = f"The {len(rows)} of {words.count(total)} with the most work of the last seven days"
    return parts.table(caption, columns, (
        (parts.link(row.who), words.rate(row.rate_5m), words.rate(row.rate_1d), words.scaled(row.best), row.machines,
         NOTHING if row.last_share is None else parts.moment(row.last_share, now), row.agent) for row in rows))


def blocks_table(rows: Sequence[FoundBlockRow], now: float) -> Html:
    if not rows:
        return parts.paragraph("No block yet. The first one will stand here.", "quiet")
    columns = (Column("Height", is_figure=True), Column("Found"), Column("By", is_minor=True), Column("State"),
               Column("Work it took", is_figure=True, is_minor=True), Column("Hash", is_rare=True))
    return parts.table("The newest blocks, newest first", columns, (
        (words.count(row.height), parts.moment(row.time, now), name(row.finder),
         parts.level_word(row.level, row.state),
         "" if row.effort is None else words.percent(row.effort, 1.0), fill("<code>{}</code>", row.hash))
        for row in rows))


def _best(view: PoolView) -> Html:
    network = _difficulty(view)
    return join((
        parts.pairs((("Ever", words.scaled(view.best_ever)),
                     ("Since the last block", words.scaled(view.best_now)),
                     ("Needed for a block", words.scaled(network) if network else "not yet known"))),
        best_bar(view.best_ever, network)))


def best_bar(best: float, network: float) -> Html:
    """How near the best share came to a block."""
    if network <= 0:
        return NOTHING
    return parts.meter(best / network, f"The best share is {of_a_block(best, network)}.") if best < network else (
        parts.paragraph("The best share was enough for a block.", "good-word"))


def work_part(work: ShareSums, site: Site) -> Html:
    """Shares accepted and refused since the start, and why."""
    total = work.accepted + work.refused
    summary = parts.pairs((
        ("Accepted", f"{words.count(work.accepted)} ({words.percent(work.accepted, total)})"),
        ("Refused", f"{words.count(work.refused)} ({words.percent(work.refused, total)})"),
        ("Credited work", words.scaled(work.difficulty)),
    ))
    since = parts.paragraph(f"Since the {site.wording.program} was started.", "quiet")
    if not work.refused:
        return join((since, summary))
    columns = (Column("Reason"), Column("Shares", is_figure=True), Column("Of all", is_figure=True))
    return join((since, summary, parts.table("Why shares were refused", columns, (
        (each.reason, words.count(each.shares), words.percent(each.shares, total)) for each in work.refusals))))


def _job(job: JobView | None, wording: Wording) -> Html:
    if job is None:
        return parts.paragraph(wording.no_job, "bad-word")
    lines = [("Block height", words.count(job.height)),
             ("Age of the work", "none yet" if job.template_age is None else parts.level_word(
                 "warn" if job.template_age > wording.old_work_s else "", words.span(job.template_age))),
             ("Last block of the network",
              "not yet known" if job.tip_age is None else f"{words.span(job.tip_age)} ago"),
             *([("Worth", words.coins(job.value_sat))] if job.value_sat else []),
             ("Network difficulty", words.scaled(job.network_difficulty))]
    if job.transactions is not None:
        lines.append(("Transactions", words.count(job.transactions)))
    if job.tag:
        lines.append(("Text in the coinbase", name(job.tag)))
    if not job.outputs:
        return parts.pairs(lines)
    columns = (Column("Coinbase pays to"), Column("Amount", is_figure=True))
    return fill('<div class="split">\n<div>{}</div>\n<div>{}</div>\n</div>\n', parts.pairs(lines), parts.table(
        "The outputs of this block's coinbase", columns,
        ((fill("<code>{}</code>", output.to), words.coins(output.sat)) for output in job.outputs)))


def _nodes(rows: Sequence[NodeRow], wording: Wording) -> Html:
    if not rows:
        return NOTHING
    return parts.table(wording.of_givers, (Column(wording.column), Column("State")),
                       ((row.name, parts.level_word(row.level, row.state)) for row in rows))

"""`warppool status`: how a running daemon is, on one screen or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from warppool.commands.tables import ago, amount, plain
from warppool.config.anyfile import books_of, read_any
from warppool.config.translatoroptions import PROGRAM as TRANSLATOR
from warppool.errors import WarppoolError
from warppool.stats.ratewords import human_rate
from warppool.status.client import ask
from warppool.status.place import known_path

WATCH_S: Final = 2.0
UNWELL: Final = 1
"""The exit status where the daemon answers and has no work that is worth mining."""

_GIVERS: Final = {TRANSLATOR: "upstream"}
"""By the program that answers: what gives it work, where that is no node."""

_HOME_AND_CLEAR: Final = "\x1b[H\x1b[2J"


def status(args: argparse.Namespace) -> int:
    """Print the daemon's numbers once, or every two seconds; 0 where it is well."""
    _, data_dir = books_of(read_any(args.config, with_secrets=False))
    path = known_path(data_dir)
    is_screen = args.watch and not args.json and sys.stdout.isatty()
    answer: Mapping[str, Any] = ask(path, "summary")
    while True:
        print(f"{_HOME_AND_CLEAR if is_screen else ''}{_text(answer, as_json=args.json)}", flush=True)
        if not args.watch:
            return 0 if answer.get("ok") else UNWELL
        time.sleep(WATCH_S)
        answer = _asked_again(path)


def _asked_again(path: Path) -> Mapping[str, Any]:
    """The answer; who watches a daemon sees that it restarts, and then the new one."""
    try:
        return ask(path, "summary")
    except WarppoolError as exc:
        return {"ok": False, "reason": str(exc)}


def _text(answer: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(answer)
    if answer.keys() == {"ok", "reason"}:
        return plain(answer["reason"])
    try:
        return screen(answer, time.time())
    except (KeyError, TypeError) as exc:
        raise WarppoolError("the daemon is of another version than this command: restart the daemon, or run its own "
                            "warppool status") from exc


def screen(answer: Mapping[str, Any], now: float) -> str:
    """The answer to `summary` as lines of a name and what it is; `now` is in Unix seconds."""
    return "\n".join(f"{name:<9}  {words}" for name, words in _lines(answer, now) if words)


def _lines(answer: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    pool, work, round_ = answer["pool"], answer["work"], answer["round"]
    well = "well" if answer["ok"] else f"not well: {plain(answer['reason'])}"
    network = f" on {plain(answer['network'])}" if answer["network"] else ""
    rest = "" if answer["is_whole"] else "; the books are being read: numbers are those since the start"
    total = pool["accepted"] + pool["refused"]
    part = f" ({100 * pool['refused'] / total:.2f} %)" if total else ""
    return [
        (answer["program"], f"{well}; {plain(answer['version'])}{network}, up {ago(now - answer['started'])}{rest}"),
        ("hash rate", "   ".join(f"{window} {human_rate(rate)}" for window, rate in pool["hashrate"].items())),
        ("machines", f"{answer['machines']} connected{_counts(answer['connections'])}, {answer['idle']} idle, "
                     f"{answer['gone']} gone; {answer['users']} users"),
        ("shares", f"{pool['accepted']} accepted, {pool['refused']} refused{part}{_counts(answer['refused'])}; "
                   f"{answer['shares_per_second']['1m']:.3g} a second"),
        ("best", f"{amount(pool['best'])} in this round, {amount(pool['best_ever'])} ever"),
        ("round", f"{100 * round_['effort']:.1f} % of a block's work, for {ago(now - round_['since'])}"
         if round_["since"] else f"{100 * round_['effort']:.1f} % of a block's work"),
        ("work", _work(work)),
        *((_GIVERS.get(answer["program"], "node"), _node(node, now)) for node in answer["nodes"]),
        ("blocks", f"{answer['blocks_found']} found{_newest(answer['newest_block'], now)}"),
        ("payouts", _payout(answer.get("payout"))),
        ("books", "cannot be written now" if answer["ledger"]["is_troubled"]
         else f"{answer['ledger']['waiting_shares']} shares wait"),
        ("times", ", ".join(f"{name.replace('_', ' ')} {times['p99']:g} s" for name, times
                            in answer["seconds"].items() if times["count"])),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    words = ", ".join(f"{plain(name)} {count}" for name, count in counts.items() if count)
    return f" ({words})" if words else ""


def _work(work: Mapping[str, Any]) -> str:
    if not work["has_work"]:
        return "none"
    if not work["height"]:
        return "none is asked for by a machine now"
    value = f"{work['value_sat']} sat, " if work["value_sat"] else ""
    return (f"height {work['height']} by {plain(work['node'] or 'a node')}, template {_age(work['template_age_s'])}, "
            f"tip {_age(work['tip_age_s'])}, {value}"
            f"network difficulty {amount(work['network_difficulty'])}")


def _age(seconds: float | None) -> str:
    return "of no age" if seconds is None else f"{ago(seconds)} old"


def _node(node: Mapping[str, Any], now: float) -> str:
    mined = ", mined" if node["is_mined"] else ""
    reason = f": {plain(node['reason'])}" if node["reason"] else ""
    since = f" for {ago(now - node['since'])}" if node["since"] else ""
    return f"{plain(node['name'])} {node['state']}{since}{mined}{reason}"


def _newest(block: Mapping[str, Any] | None, now: float) -> str:
    if block is None:
        return ""
    return (f"; the newest {ago(now - block['time'])} ago at height {block['height']} by {plain(block['worker'])}: "
            f"{block['state']}, {block['confirmations']} confirmations")


def _payout(payout: Mapping[str, Any] | None) -> str:
    if payout is None:
        return ""
    window = "" if not payout["is_shared"] else ", window " + (
        "is being read" if payout["window_percent"] is None
        else f"{payout['window_percent']:.1f} % full, {payout['accounts']} accounts")
    return f"{payout['unsettled']} blocks not settled{window}, {payout['payable_sat']} sat payable"

"""The numbers in ckpool's form: `pool/pool.status` and `users/<user>`, as programs that read these expect them.

Such programs read whole numbers where ckpool writes whole numbers (`shares`, `bestever`, `lastshare`), and a hash rate
as a text that is either a whole number or a mantissa with one of the letters K to Z behind it. They stumble over
anything else, so these forms are kept to the byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from warppool.stats.snapshot import Rates, ShareTally, StatsSnapshot, UserStats

MOST_USERS: Final = 10_000
"""Users with a file of their own, those with the most work of seven days."""

MOST_WORKERS: Final = 1_000
"""Workers in the file of one user, those with the most work."""

KEPT_S: Final = 604_800.0
"""A user without a share for so long has no file, and is not found."""

_UNITS: Final = tuple((999.5 * 10.0**power, 10.0**power, suffix)
                      for power, suffix in zip(range(3, 24, 3), "KMGTPEZ", strict=True))
"""Of each suffix: the rate that three digits would round to 1e+03 of it, its unit, and its letter."""

_ZETTA: Final = 1e21

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def pool_status(snapshot: StatsSnapshot) -> bytes:
    """The whole pool: three JSON objects, one a line.

    `accepted` and `rejected` are work since the last own block. A refused share has no difficulty in the books:
    `rejected` takes it to be as hard as those that were accepted. `diff` is the effort in percent.
    """
    pool, done = snapshot.pool, snapshot.round
    refused_part = pool.refused / pool.accepted if pool.accepted else 0.0
    first = {
        "runtime": max(0, int(snapshot.at - snapshot.started)), "lastupdate": int(snapshot.at),
        "Users": sum(1 for user in snapshot.users if user.machines), "Workers": snapshot.machines,
        "Idle": snapshot.idle, "Disconnected": snapshot.gone}
    third: dict[str, object] = {
        "diff": _digits(done.effort * 100, 4), "accepted": int(done.difficulty),
        "rejected": int(done.difficulty * refused_part), "bestshare": int(pool.best)}
    third |= {f"SPS{window}": _digits(rate, 3)
              for window, rate in zip(("1m", "5m", "15m", "1h"), snapshot.shares_per_second, strict=True)}
    return "".join(f"{json.dumps(line)}\n" for line in (first, _all_rates(pool.rates), third)).encode("ascii")


def shown_users(snapshot: StatsSnapshot) -> Iterator[UserStats]:
    """The users who have a file, those with the most work of seven days first."""
    return islice((user for user in snapshot.users if is_shown(user, snapshot.at)), MOST_USERS)


def is_shown(user: UserStats, at: float) -> bool:
    """Whether this user has had a share accepted in the last seven days before `at`, in Unix seconds."""
    return user.tally.last_share > at - KEPT_S or user.tally.rates.d7 > 0


def user_status(user: UserStats, most_workers: int = MOST_WORKERS) -> bytes:
    """One user with his workers: a JSON object, indented by 1.

    `workers` counts those that are connected, `shares` is the difficulty that was credited.
    """
    workers = ",".join([_worker(worker.name, worker.tally) for worker in user.workers[:most_workers]])
    tally = user.tally
    return (_USER % (*_rates(tally.rates), tally.last_share, user.machines, tally.total_difficulty, tally.best,
                     tally.best_ever, user.since, f"[{workers}\n ]" if workers else "[]")).encode("ascii")


def suffixed(rate: float) -> str:
    """A hash rate as ckpool's: `1.23T`, three digits; below 1,000 a whole number, rounded down.

    What three digits would round to 1000 goes to the next suffix: `1M` for 999,999.
    """
    if rate < 1000.0:
        return str(int(rate))
    for end, unit, suffix in _UNITS:
        if rate < end:
            return f"{rate / unit:.3g}{suffix}"
    return f"{rate / _ZETTA:.3g}Z"


def _all_rates(rates: Rates) -> dict[str, str]:
    return {"hashrate1m": suffixed(rates.m1), "hashrate5m": suffixed(rates.m5), "hashrate15m": suffixed(rates.m15),
            "hashrate1hr": suffixed(rates.h1), "hashrate6hr": suffixed(rates.h6), "hashrate1d": suffixed(rates.d1),
            "hashrate7d": suffixed(rates.d7)}


def _rates(rates: Rates) -> tuple[str, str, str, str, str]:
    """The windows of users and workers, as in _OF_RATES."""
    return suffixed(rates.m1), suffixed(rates.m5), suffixed(rates.h1), suffixed(rates.d1), suffixed(rates.d7)


def _worker(name: str, tally: ShareTally) -> str:
    return _WORKER % (json.dumps(_text(name)), *_rates(tally.rates), tally.last_share, tally.total_difficulty,
                      tally.best, tally.best_ever)


def _digits(value: float, digits: int) -> float:
    """`value` with so many significant digits."""
    return float(f"{value:.{digits}g}")


def _text(name: str) -> str:
    """A name without lone surrogates, at which strict readers of JSON stop."""
    return name if name.isascii() else _SURROGATES.sub("\ufffd", name)


def _form(indent: str, lines: Iterable[tuple[str, str]]) -> str:
    """A JSON object of these keys and places for values, indented by 1 within `indent`."""
    return "{" + ",".join(f'\n{indent} "{key}": {place}' for key, place in lines) + f"\n{indent}}}"


# Ten thousand users' files are made in a minute, on an interpreter that machines wait for. An encoder that indents is
# one in Python, and took four times as long.
_OF_RATES: Final = tuple((f"hashrate{window}", '"%s"') for window in ("1m", "5m", "1hr", "1d", "7d"))
_OF_WORK: Final = (("shares", "%d"), ("bestshare", "%r"), ("bestever", "%d"))
_USER: Final = _form("", (*_OF_RATES, ("lastshare", "%d"), ("workers", "%d"), *_OF_WORK, ("authorised", "%d"),
                          ("worker", "%s"))) + "\n"
_WORKER: Final = "\n  " + _form("  ", (("workername", "%s"), *_OF_RATES, ("lastshare", "%d"), *_OF_WORK))

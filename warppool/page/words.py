"""Numbers as people read them: rates, difficulties, amounts, times. Every word here is plain text, not HTML.

A number and its unit stay in one line: the space between them is U+00A0.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

SAT_PER_BTC: Final = 100_000_000
_MINUTE, _HOUR, _DAY, _YEAR = 60.0, 3600.0, 86_400.0, 365.25 * 86_400.0
_STEPS: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def scaled(value: float, unit: str = "") -> str:
    """Three digits and a prefix: `12.3 T` and the unit. `0` for what is nothing; never NaN, never `1000 k`.

    Difficulties of test networks are far below 1: `0.00146`, `4.66e-10`.
    """
    if not math.isfinite(value) or value <= 0:
        return with_unit("0", unit)
    if value < 0.995:
        return with_unit(f"{value:.3g}", unit)
    for step in _STEPS:
        digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
        if round(value, digits) < 1000 or step == _STEPS[-1]:
            return with_unit(_trimmed(value, digits), step + unit)
        value /= 1000
    raise AssertionError("the last step returns")


def with_unit(number: str, unit: str) -> str:
    """A number with its unit, of which the line is not broken; `unit` may be empty."""
    return f"{number}\u00a0{unit}" if unit else number


def _trimmed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate(hps: float) -> str:
    """Hashes a second: `12.3 TH/s`."""
    return scaled(hps, "H/s")


def count(value: float) -> str:
    """A whole number with thin groups of three: `1,234,567`."""
    return f"{int(value):,}"


def percent(part: float, whole: float) -> str:
    """`part` of `whole`: `0.12 %`; `0 %` where there is no whole."""
    if whole <= 0 or part <= 0:
        return with_unit("0", "%")
    value = 100 * part / whole
    if value < 0.01:
        return with_unit("<\u00a00.01", "%")
    return with_unit(_trimmed(value, 2 if value < 10 else 1 if value < 99.95 else 0), "%")


def coins(sat: int) -> str:
    """`3.125 BTC`: all digits that there are, no zero behind them."""
    whole, rest = divmod(abs(sat), SAT_PER_BTC)
    text = f"{'-' if sat < 0 else ''}{whole}.{rest:08d}"
    return with_unit(text.rstrip("0").rstrip("."), "BTC")


def span(seconds: float) -> str:
    """How long, in one or two units that matter: `40 s`, `5 min`, `3 h 20 min`, `4 days`, `1,200 years`."""
    if not seconds < 1e9 * _YEAR:
        return "more than a billion years"
    seconds = max(0.0, seconds)
    if seconds < 99.5:
        return with_unit(f"{seconds:.0f}", "s")
    if seconds < 99.5 * _MINUTE:
        return with_unit(f"{seconds / _MINUTE:.0f}", "min")
    if seconds < 2 * _DAY:
        hours, minutes = divmod(round(seconds / _MINUTE), 60)
        if minutes and hours < 10:
            return f"{with_unit(str(hours), 'h')} {with_unit(str(minutes), 'min')}"
        return with_unit(str(round(seconds / _HOUR)), "h")
    if seconds < 2 * _YEAR:
        return with_unit(str(round(seconds / _DAY)), "days")
    years = seconds / _YEAR
    if years < 99.5:
        return with_unit(f"{years:.0f}", "years")
    return with_unit(f"{float(f'{years:.2g}'):,.0f}", "years")


def ago(then: float, now: float) -> str:
    """How long before `now`: `3 min ago`. Both are Unix seconds."""
    return f"{span(now - then)} ago"


def utc(unix_s: float) -> str:
    """`2026-11-28 09:00 UTC`."""
    return f"{_moment(unix_s):%Y-%m-%d %H:%M} UTC"


def machine_time(unix_s: float) -> str:
    """The same for the attribute `datetime`: `2026-11-28T09:00:00Z`."""
    return f"{_moment(unix_s):%Y-%m-%dT%H:%M:%SZ}"


def machine_instant(unix_s: float) -> str:
    """To the millisecond: `2026-11-28T09:00:00.250Z`."""
    return f"{_moment(unix_s).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def clock(unix_s: float) -> str:
    """`09:00:00`."""
    return f"{_moment(unix_s):%H:%M:%S}"


def _moment(unix_s: float) -> datetime:
    return datetime.fromtimestamp(min(max(unix_s, 0.0), 253_402_300_799.0), UTC)      # year 9999

"""How programs read ckpool's files, from what their source does: strict where they are strict.

Written from the readers' side, and sharing nothing with the writer. Two dashboards are meant: ckstats, and its fork for
several pools. One of their users whose numbers cannot be read is called inactive, and is not asked for again.
"""

from __future__ import annotations

import json
import re
from typing import Any

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?)([ZEPTGMK])")
_ADDRESS = re.compile(r"[a-zA-Z0-9]+")
_WHOLE = re.compile(r"-?[0-9]+")
_POWERS = {"K": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "Z": 21}


def whole(value: Any) -> int:
    """As BigInt() takes a value that JSON.parse gave: a whole number, or a text of one; anything else throws."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{value!r} is no whole number")
    if isinstance(value, str):
        if not _WHOLE.fullmatch(value):
            raise ValueError(f"{value!r} is no whole number")
        return int(value)
    if float(value) != int(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def rate(value: Any) -> int:
    """Hashes a second of a text such as `1.23T`; what has no letter must be a whole number."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    if match := _RATE.fullmatch(value):
        return round(float(match[1]) * float(f"1e{_POWERS[match[2]]}"))
    return whole(value)


def count(value: Any) -> int:
    """A number for a column of whole numbers of 32 bits; a database refuses anything else."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no count")
    return value


def is_asked_for(name: str) -> bool:
    """Whether a dashboard asks for this user at all: it takes any name for an address."""
    return bool(_ADDRESS.fullmatch(name))


def read_pool(text: str) -> dict[str, Any]:
    """Both dashboards, which must see the same."""
    merged = _joined(text)
    if merged != _by_lines(text):
        raise ValueError("an object is not on a line of its own")
    read = {key: count(merged[key]) for key in ("runtime", "Users", "Workers", "Idle", "Disconnected", "lastupdate")}
    read |= {f"hashrate{window}": rate(merged[f"hashrate{window}"])
             for window in ("1m", "5m", "15m", "1hr", "6hr", "1d", "7d")}
    read |= {key: whole(merged[key]) for key in ("accepted", "rejected", "bestshare")}
    return read | {key: float(merged[key]) for key in ("diff", "SPS1m", "SPS5m", "SPS15m", "SPS1h")}


def _joined(text: str) -> dict[str, Any]:
    """A dashboard that takes the line ends out, joins the objects, and keeps one of all of them."""
    joined = "[" + re.sub(r"}\s*{", "},{", re.sub(r"\r?\n", "", text)) + "]"
    merged: dict[str, Any] = {}
    for each in json.loads(joined, parse_constant=_refuse):
        merged |= each
    return merged


def _by_lines(text: str) -> dict[str, Any]:
    """The other one reads each line that is not empty as an object."""
    merged: dict[str, Any] = {}
    for line in filter(None, text.split("\n")):
        merged |= json.loads(line, parse_constant=_refuse)
    return merged


def read_user(text: str) -> dict[str, Any]:
    """A dashboard that follows a user and its workers."""
    given = json.loads(text, parse_constant=_refuse)
    text.encode("utf-8")                    # a strict reader wants Unicode, and no half of a pair
    json.dumps(given, ensure_ascii=False).encode("utf-8")
    read = _read_one(given) | {"workers": count(given["workers"]), "authorised": whole(str(given["authorised"]))}
    read["worker"] = [_read_one(each) | {"name": _rig(each["workername"])} for each in given["worker"]]
    return read


def _read_one(given: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = {f"hashrate{window}": rate(given[f"hashrate{window}"])
                            for window in ("1m", "5m", "1hr", "1d", "7d")}
    return read | {key: whole(given[key]) for key in ("lastshare", "shares", "bestever")} | {
        "bestshare": float(given["bestshare"])}


def _rig(name: str) -> str:
    for mark in (".", "_"):
        if mark in name:
            return name.split(mark)[1]
    return name


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")

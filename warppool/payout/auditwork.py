"""The work in an export, added up: hours that are sums already, and the single shares of the hours at both ends."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from warppool.payout.auditheader import AuditError, whole_number
from warppool.payout.export import HOUR_COLUMNS, SHARE_COLUMNS
from warppool.payout.rules import script_of_account
from warppool.payout.weight import FRACTION_BITS, joined, weight_of
from warppool.payout.window import WindowEnd, WindowFacts


class WorkSums(NamedTuple):
    """The weight of each account in the window (none is 0), and how many ids of the window no line stands for."""

    weights: dict[str, int]
    ids_without_share: int


class _Work:
    """What the lines so far have said. Only ids within `window` count: the hours at its ends may stand there whole."""

    def __init__(self, window: WindowFacts, network: str) -> None:
        self._window = window
        self._network = network
        self._servers: set[int] = set()
        self._hours: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)      # shares by account, of each hour
        self._shares: set[int] = set()
        self._weights: dict[str, int] = defaultdict(int)
        self._checked: set[str] = set()

    def add_hour(self, values: list[object]) -> None:
        """One account's sum of one hour."""
        if len(values) != len(HOUR_COLUMNS):
            raise ValueError(f"an hour has {len(HOUR_COLUMNS)} values")
        server, first_id, last_id, account, whole, fraction, count = values
        first, last = whole_number(first_id, "first_id"), whole_number(last_id, "last_id")
        self._see_server(server)
        name = self._account(account)
        is_cut = self._window.ended_by is WindowEnd.WEIGHT
        if not self._window.first_id + is_cut <= first <= last <= self._window.last_id:
            raise ValueError(f"the hour of the shares {first} to {last} is not within the window, "
                             f"{self._window.first_id} to {self._window.last_id}")
        counts = self._hours[first, last]
        if name in counts:
            raise ValueError(f"{name} has that hour twice")
        counts[name] = whole_number(count, "count")
        part = whole_number(fraction, "fraction")
        if part >> FRACTION_BITS:
            raise ValueError(f"fraction is below 2^{FRACTION_BITS}")
        self._weights[name] += joined(whole_number(whole, "whole"), part)

    def add_share(self, values: dict[str, object]) -> None:
        """One share; the first one of a window that ended by weight counts with what its cut has left."""
        if set(values) != set(SHARE_COLUMNS):
            raise ValueError(f"a share has {', '.join(SHARE_COLUMNS)}")
        share_id = whole_number(values["id"], "id")
        self._see_server(values["server"])
        difficulty = values["difficulty"]
        if not isinstance(difficulty, (int, float)) or isinstance(difficulty, bool):
            raise ValueError("difficulty is a number")
        name, weight = self._account(values["account"]), weight_of(difficulty)
        if not self._window.first_id <= share_id <= self._window.last_id:
            return
        if share_id in self._shares:
            raise ValueError(f"share {share_id} stands there twice")
        self._shares.add(share_id)
        if self._window.ended_by is WindowEnd.WEIGHT and share_id == self._window.first_id:
            if weight < self._window.cut_weight:
                raise ValueError(f"share {share_id} weighs {weight}, and cannot count {self._window.cut_weight}")
            weight = self._window.cut_weight
        self._weights[name] += weight

    def sums(self) -> WorkSums:
        """What all lines come to; AuditError where they overlap, or where the share that is cut is not there."""
        spans = sorted(self._hours)
        for (first, last), (other_first, other_last) in pairwise(spans):
            if other_first <= last:
                raise AuditError(f"the hours {first} to {last} and {other_first} to {other_last} overlap")
        for share_id in self._shares:
            at = bisect_right(spans, (share_id, self._window.last_id)) - 1
            if at >= 0 and share_id <= spans[at][1]:
                raise AuditError(f"share {share_id} is in the hour {spans[at][0]} to {spans[at][1]}, too")
        window = self._window
        if window.ended_by is WindowEnd.WEIGHT and window.first_id not in self._shares:
            raise AuditError(f"share {window.first_id}, which is cut, is not there")
        counted = len(self._shares)
        for (first, last), counts in self._hours.items():
            counted += (count := sum(counts.values()))
            if count > last - first + 1:
                raise AuditError(f"the hour {first} to {last} has {count} shares, more than ids")
        ids = window.last_id - window.first_id + 1 if window.first_id else 0
        return WorkSums({name: weight for name, weight in self._weights.items() if weight}, ids - counted)

    def _see_server(self, server: object) -> None:
        self._servers.add(whole_number(server, "server"))
        if len(self._servers) > 1:
            raise ValueError("the shares of two servers have no order in common")

    def _account(self, account: object) -> str:
        if not isinstance(account, str):
            raise ValueError("account is a text")
        if account not in self._checked:
            script_of_account(account, self._network)
            self._checked.add(account)
        return account


def add_up(numbered: Iterable[tuple[int, str]], window: WindowFacts, network: str) -> WorkSums:
    """The work of the lines (number, text) behind the header; AuditError names the first line that is wrong."""
    work = _Work(window, network)
    for number, line in numbered:
        try:
            values = json.loads(line)
            if isinstance(values, list):
                work.add_hour(values)
            elif isinstance(values, dict):
                work.add_share(values)
            else:
                raise ValueError("neither an hour nor a share")
        except (ValueError, RecursionError) as exc:
            raise AuditError(f"line {number}: {exc}") from None
    return work.sums()

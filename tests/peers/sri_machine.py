"""A V1 machine on SRI's translator, which keeps other rules than our ports do: they are looser here."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from tests.peers.foreign_v1 import Answer, Job, Machine, unswapped


class SriMachine(Machine):
    """One connection to the translator. A difficulty may come at any time, and counts for the next notify."""

    def read(self) -> Answer | None:
        line = json.loads(self._line(), parse_float=Decimal)
        if "method" in line:
            self._called(line["method"], line["params"])
            return None
        return Answer(line["id"], line.get("result"), line.get("error"))

    def _called(self, method: str, params: list[Any]) -> None:
        if method == "mining.set_difficulty":
            self.difficulties.append(Decimal(params[0]))
        elif method == "mining.notify":
            self._notified(*params)

    def _notified(self, name: str, prev_hash: str, head: str, tail: str, branches: list[str], version: str, nbits: str,
                  ntime: str, is_clean: bool) -> None:
        assert self.difficulties, "work before there is a difficulty"
        self.jobs.append(Job(
            name, unswapped(prev_hash), bytes.fromhex(head), bytes.fromhex(tail), tuple(map(bytes.fromhex, branches)),
            int(version, 16), int(nbits, 16), int(ntime, 16), is_clean, self.difficulties[-1], self.extranonce1))

    def subscribed(self, answer: Answer) -> None:
        _, extranonce1, self.size = answer.result
        self.session = "-"
        self.extranonce1 = bytes.fromhex(extranonce1)

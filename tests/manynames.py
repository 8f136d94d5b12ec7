"""Names of workers and the account of each: one table for V1, V2 and the translator (`vectors/names.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest


class Named(NamedTuple):
    """`account` is the canonical address on NETWORK that the name leads to, "" for none; `why` is for people."""

    name: str
    account: str
    why: str


_TABLE = json.loads((Path(__file__).parent / "vectors/names.json").read_text(encoding="ascii"))

NETWORK: str = _TABLE["network"]
NAMES = [Named(row["name"], row["account"] or "", row["why"]) for row in _TABLE["names"]]
GOOD = [row for row in NAMES if row.account]
BAD = [row for row in NAMES if not row.account]

each_name = pytest.mark.parametrize("row", NAMES, ids=[row.why for row in NAMES])

"""Names of workers and the account of each: one table for V1, V2 and the translator (`vectors/names.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from warppool.bitcoin.address import script_of
from warppool.mining.payee import Payee


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

ADDRESSES = {kind: next(row.account for row in GOOD if row.why.startswith(kind))
             for kind in ("P2WPKH", "P2WSH", "P2TR", "P2PKH", "P2SH")}
"""An address of each kind, by the name of the kind."""

ALICE, BOB, CAROL = (ADDRESSES[kind] for kind in ("P2WPKH", "P2TR", "P2PKH"))
"""Addresses of three people, each of another kind."""

each_name = pytest.mark.parametrize("row", NAMES, ids=[row.why for row in NAMES])


def payee_at(address: str, room: int = 0) -> Payee:
    """The payee of an address on NETWORK."""
    return Payee(address, script_of(address, NETWORK), room)

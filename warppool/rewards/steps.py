"""What follows from what is heard of own blocks, for thread `payout` to do; all frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from warppool.ledger.items import BlockOutcome, BlockRow
from warppool.ledger.payoutitems import Booking
from warppool.node.chainitems import AskChain
from warppool.node.steps import LogLine


@dataclass(frozen=True, slots=True)
class AskNode:
    """Put the question into the inbox of the thread that hands blocks to node number `node`."""

    node: int
    question: AskChain


@dataclass(frozen=True, slots=True)
class ToBooks:
    """Put `item` into the ledger's inbox, in the order of these steps and before any snapshot that follows."""

    item: Booking | BlockRow | BlockOutcome


@dataclass(frozen=True, slots=True)
class ReplaceJobs:
    """Balances are others now: jobs by older snapshots may pay what is gone."""


@dataclass(frozen=True, slots=True)
class TipCleared:
    """Jobs on `tip` (block hash, header order) may pay balances now."""

    tip: bytes


@dataclass(frozen=True, slots=True)
class BlocksSettled:
    """The books have these blocks as settled, so nothing of them changes any more."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SettlingToken:
    """The mark of a booking of own blocks and claims; `number` rises."""

    number: int


SettlingStep = AskNode | ToBooks | ReplaceJobs | TipCleared | BlocksSettled | LogLine


class ClaimReply(NamedTuple):
    """What the operator hears of a request about a claim, once the booking `token` is answered; at once for None."""

    steps: tuple[SettlingStep, ...]
    is_done: bool
    sentence: str
    token: SettlingToken | None = None

"""How a snapshot is made: window, balances and rules of one moment, for one tip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from warppool.ledger.database import Reader
from warppool.ledger.payoutitems import SharesBooked
from warppool.mining.template import Tip
from warppool.payout.rules import GONE_DAYS, PayoutRules
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowFacts, weight_wanted
from warppool.rewards.lastseen import LastSeen
from warppool.rewards.tips import Tips
from warppool.rewards.window import Window

DAY_MINUTES: Final = 24 * 60


class SnapshotMaker:
    """Owned by the thread `payout`. `reader` gives the books for reading; LedgerError."""

    def __init__(self, rules: PayoutRules, reader: Callable[[], Reader]) -> None:
        self.tips = Tips()
        self.is_built = False                       # the window is whole
        self._rules = rules
        self._reader = reader
        self._seen = LastSeen()
        self._window = Window(self._seen)
        self._heard_id = 0                          # the newest share that is in the books for good

    @property
    def network(self) -> str:
        """Whose addresses the accounts are."""
        return self._rules.network

    @property
    def payout_address(self) -> str:
        """Who gets the fee, and what is not paid to accounts."""
        return self._rules.payout_address

    @property
    def last_id(self) -> int:
        """The newest share in the window."""
        return self._window.last_id

    @property
    def floor(self) -> int:
        """The oldest id that epoch and days allow: the window may grow back to it."""
        return self._window.floor

    def begin(self, last_id: int) -> None:
        """Before the ledger's thread runs: the newest share of the books."""
        self._heard_id = last_id

    def build(self, tip: Tip, unix: float, settled: int) -> None:
        """Read the window from the books; LedgerError."""
        reader = self._reader()
        self._seen.load(reader)
        oldest_minute, now = self._minutes(unix)
        wanted = weight_wanted(self._rules, self.tips.highest(tip.height), settled)
        self._window.rebuild(reader, wanted, oldest_minute, self._heard_id, now)
        self.is_built = True

    def add(self, booked: SharesBooked) -> None:
        """These shares are in the ledger. Before the window is built they are read from there."""
        self._heard_id = max(self._heard_id, booked.first_id + len(booked.shares) - 1)
        if self.is_built:
            self._window.add(booked)

    def make(self, tip: Tip, unix: float, payable: Mapping[str, int], settled: int) -> Snapshot:
        """The snapshot of this moment, for jobs on `tip`; LedgerError.

        `unix` is the time of the node that is mined, `payable` what each account is owed, and `settled` how many own
        blocks were settled since the first pplns epoch.
        """
        highest_nbits = self.tips.highest(tip.height)
        wanted = weight_wanted(self._rules, highest_nbits, settled)
        self.is_built = False                       # amid trouble with the books the sums are of no use: read anew
        span = self._window.fit(self._reader(), wanted, *self._minutes(unix))
        self.is_built = True
        facts = WindowFacts(
            first_id=span.first_id, last_id=span.last_id, cut_weight=span.cut_weight, wanted=wanted,
            ended_by=span.ended_by, blocks_settled=settled, highest_nbits=highest_nbits)
        weights = self._window.weights(span)
        return Snapshot.make(
            tip=tip.prev_hash, tip_height=tip.height - 1, rules=self._rules, window=facts, weights=weights,
            balances=payable,
            gone=self._seen.gone(weights.keys() | payable.keys(), int(unix) // 60 - GONE_DAYS * DAY_MINUTES))

    def _minutes(self, unix: float) -> tuple[int, int]:
        """The first minute that counts, and that of now."""
        now = int(unix) // 60
        return now - self._rules.window_days * DAY_MINUTES, now

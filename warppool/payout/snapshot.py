"""A snapshot: all that a distribution is computed from, in one value with one text.

The text is canonical JSON. Its SHA-256 names the snapshot, so nobody can change a snapshot and keep its name. A job
carries the id of a snapshot that is in the books already; a block that comes of the job can be recomputed for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from types import MappingProxyType

from warppool.bitcoin.hashes import HASH_SIZE, from_display, to_display
from warppool.payout.rules import PayoutRules, script_of_account
from warppool.payout.weight import weight_of_text
from warppool.payout.window import WindowEnd, WindowFacts, weight_wanted

SNAPSHOT_ID_SIZE = 16       # bytes
ORDER = "id"                # of the shares in a window; a file with any other order is not for this program
_VERSION = 1

Amounts = tuple[tuple[str, int], ...]
"""A number for each of some accounts; sorted by account, no account twice."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What each account has done and is owed at one moment; made by `make` or `of_blob`.

    Jobs that pay balances build on `tip` (block hash, header order), whose height is `tip_height`. `weights` are of the
    window, `balances` payable sat, `gone` has the accounts that have been away for GONE_DAYS, each with the id of its
    last share (0: no share is known any more).
    """

    tip: bytes
    tip_height: int
    rules: PayoutRules
    window: WindowFacts
    weights: Amounts
    balances: Amounts
    gone: Amounts
    blob: bytes = field(init=False, repr=False)
    id: bytes = field(init=False)
    total_weight: int = field(init=False)
    scripts: Mapping[str, bytes] = field(init=False, repr=False, compare=False)     # of all its accounts
    payout_account: str = field(init=False, repr=False, compare=False)  # which of them payout_address is; "" for none

    def __post_init__(self) -> None:
        if len(self.tip) != HASH_SIZE or self.tip_height < 0:
            raise ValueError("a snapshot names a block and its height")
        accounts = dict(self.weights).keys() | dict(self.balances).keys()
        scripts = {account: script_of_account(account, self.rules.network) for account in accounts}
        self._check_amounts(scripts)
        object.__setattr__(self, "scripts", MappingProxyType(scripts))
        payout_script = self.rules.payout_script
        object.__setattr__(self, "payout_account", next(
            (account for account, script in scripts.items() if script == payout_script), ""))
        blob = _canonical(self._texts())
        object.__setattr__(self, "blob", blob)
        object.__setattr__(self, "id", sha256(blob).digest()[:SNAPSHOT_ID_SIZE])
        object.__setattr__(self, "total_weight", sum(weight for _, weight in self.weights))
        if self.window.wanted != weight_wanted(self.rules, self.window.highest_nbits, self.window.blocks_settled):
            raise ValueError(f"a window of {self.window.wanted} is not what the rules say")
        if self.total_weight > self.window.wanted or (
                self.window.ended_by is WindowEnd.WEIGHT and self.total_weight != self.window.wanted):
            raise ValueError(f"a window of {self.window.wanted} cannot hold {self.total_weight}")

    @classmethod
    def make(cls, *, tip: bytes, tip_height: int, rules: PayoutRules, window: WindowFacts, weights: Mapping[str, int],
             balances: Mapping[str, int], gone: Mapping[str, int]) -> Snapshot:
        """The snapshot of these numbers; zeros may be among weights and balances, and are left out.

        A balance of the account that `payout_address` is falls, too: what this address is owed it has already. So does
        the mark of a gone account that has neither weight nor balance. AddressError for an account of another network.
        """
        payout_script, network = rules.payout_script, rules.network
        owed = {account: sat for account, sat in balances.items()
                if sat and script_of_account(account, network) != payout_script}
        kept = {account: weight for account, weight in weights.items() if weight}
        marks = {account: last_id for account, last_id in gone.items() if account in owed or account in kept}
        return cls(tip, tip_height, rules, window, _sorted(kept), _sorted(owed), _sorted(marks))

    @classmethod
    def of_blob(cls, blob: bytes) -> Snapshot:
        """The snapshot whose `blob` this is, to the byte; ValueError for any other bytes."""
        try:
            read = json.loads(blob)
            window = read["window"]
            snapshot = cls(
                tip=from_display(read["tip"]), tip_height=_whole(read["tip_height"]),
                rules=PayoutRules.of_texts(read["rules"]),
                window=WindowFacts(
                    first_id=_whole(window["first_id"]), last_id=_whole(window["last_id"]),
                    cut_weight=weight_of_text(window["cut_weight"]), wanted=weight_of_text(window["wanted"]),
                    ended_by=WindowEnd(window["ended_by"]), blocks_settled=_whole(window["blocks_settled"]),
                    highest_nbits=int(window["highest_nbits"], 16),
                ),
                weights=tuple((account, weight_of_text(text)) for account, text in read["weights"].items()),
                balances=tuple((account, _whole(sat)) for account, sat in read["balances"].items()),
                gone=tuple((account, _whole(last_id)) for account, last_id in read["gone"].items()),
            )
        except (KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise ValueError(f"no snapshot: {exc!r}") from None
        if snapshot.blob != blob:
            raise ValueError("a snapshot that is not in its one form")
        return snapshot

    def _check_amounts(self, scripts: Mapping[str, bytes]) -> None:
        for amounts, least in ((self.weights, 1), (self.balances, 1), (self.gone, 0)):
            if any(first[0] >= second[0] for first, second in pairwise(amounts)):
                raise ValueError("accounts are sorted, and none stands there twice")
            if any(amount < least for _, amount in amounts):
                raise ValueError("weights and balances are above 0")
        if len(set(scripts.values())) != len(scripts):
            raise ValueError("two accounts with one output script")
        if not scripts.keys() >= dict(self.gone).keys():
            raise ValueError("a gone account with neither weight nor balance")
        if any(scripts[account] == self.rules.payout_script for account, _ in self.balances):
            raise ValueError("payout_address has no balance")

    def _texts(self) -> dict[str, object]:
        window = self.window
        return {
            "version": _VERSION,
            "order": ORDER,
            "tip": to_display(self.tip),
            "tip_height": self.tip_height,
            "rules": self.rules.texts(),
            "window": {
                "first_id": window.first_id, "last_id": window.last_id, "cut_weight": str(window.cut_weight),
                "wanted": str(window.wanted), "ended_by": window.ended_by.value,
                "blocks_settled": window.blocks_settled, "highest_nbits": f"{window.highest_nbits:08x}",
            },
            "weights": {account: str(weight) for account, weight in self.weights},
            "balances": dict(self.balances),
            "gone": dict(self.gone),
        }


def _canonical(texts: Mapping[str, object]) -> bytes:
    """JSON in one form only: sorted keys, no spaces, ASCII. Weights are text, since many read numbers as floats."""
    return json.dumps(texts, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _sorted(amounts: Mapping[str, int]) -> Amounts:
    return tuple(sorted(amounts.items()))


def _whole(number: object) -> int:
    if type(number) is not int or not 0 <= number < 2**63:
        raise ValueError(f"{str(number)[:40]} is no number of 0 to 63 bits")
    return number

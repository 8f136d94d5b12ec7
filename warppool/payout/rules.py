"""The rules of a payout, as the operator set them: who gets the fee, how much work is paid, how small an output may be.

They stand in every snapshot and every export as text, so that whoever reads these needs no configuration file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache

from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import MAX_MONEY_SAT
from warppool.payout.fee import DUST

GONE_DAYS = 30
"""An account without a share for so many days is gone: its balance is paid before all others, whatever it is."""

BASIS_POINTS = 10_000

_MAX_WINDOW = 1_000
_MAX_DAYS = 3_650
_MAX_TEXT = 1_000           # characters of a rule: a configuration may have many decimals
_NUMBER = re.compile(r"(?:0|[1-9]\d{0,15})(?:\.\d*[1-9])?", re.ASCII)
_WORDS = {"false": False, "true": True}

_script_of = lru_cache(maxsize=1 << 18)(script_of)
"""50 us each otherwise, in every snapshot. So many, since a stranger may bring shares under very many addresses: if
these pushed each other out, each snapshot would cost their decoding.
"""


def script_of_account(account: str, network: str) -> bytes:
    """The output script of an account, which is a canonical address of `network`; AddressError for any other text."""
    return _script_of(account, network)


@dataclass(frozen=True, slots=True)
class PayoutRules:
    """All that a distribution follows besides work and balances. Each value is as its key of `[pool]` says.

    `payout_address` gets the fee and what a coinbase leaves. `fee_bp` is in basis points of a block's value. `window`
    is in network difficulties, `window_rampup` whether a young pool's is shorter. `min_payout_sat` is the least output.
    `min_paid_ratio` bounds how small a coinbase may be against the largest. ValueError for what no configuration holds.
    """

    network: str
    payout_address: str
    fee_bp: int
    window: Decimal
    window_days: int
    window_rampup: bool
    min_payout_sat: int
    min_paid_ratio: Decimal

    def __post_init__(self) -> None:
        script_of_account(self.payout_address, self.network)
        for name, least, most in (("fee_bp", 0, BASIS_POINTS), ("window_days", 1, _MAX_DAYS),
                                  ("min_payout_sat", DUST, MAX_MONEY_SAT)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}: it may be {least}..{most}")
        if not 0 < self.window <= _MAX_WINDOW or not 0 <= self.min_paid_ratio <= 1:
            raise ValueError(f"a window of {self.window} and a ratio of {self.min_paid_ratio} are no rules")
        self.texts()

    @property
    def payout_script(self) -> bytes:
        """The output script of `payout_address`."""
        return script_of_account(self.payout_address, self.network)

    def texts(self) -> dict[str, str]:
        """Each rule as text, in one form only: whoever has the same rules gets the same text."""
        return {field.name: _text(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> PayoutRules:
        """The rules that `texts` gave this text of; ValueError for any other."""
        if not isinstance(texts, Mapping) or set(texts) != {field.name for field in fields(cls)}:
            raise ValueError("rules are " + ", ".join(field.name for field in fields(cls)))
        if not all(isinstance(text, str) and len(text) <= _MAX_TEXT for text in texts.values()):
            raise ValueError("each rule is a short text")
        if texts["window_rampup"] not in _WORDS:
            raise ValueError("window_rampup is true or false")
        rules = cls(
            network=texts["network"], payout_address=texts["payout_address"],
            fee_bp=_whole(texts["fee_bp"]), window=_decimal(texts["window"]),
            window_days=_whole(texts["window_days"]), window_rampup=_WORDS[texts["window_rampup"]],
            min_payout_sat=_whole(texts["min_payout_sat"]), min_paid_ratio=_decimal(texts["min_paid_ratio"]),
        )
        if rules.texts() != dict(texts):
            raise ValueError("the rules are not in their one form")
        return rules


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, Decimal):
        return str(value)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    _decimal(text)
    return text


def _decimal(text: str) -> Decimal:
    if len(text) > _MAX_TEXT or not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no number in its one form")
    return Decimal(text)


def _whole(text: str) -> int:
    number = _decimal(text)
    if number != int(number):
        raise ValueError(f"{text!r} is no whole number")
    return int(number)

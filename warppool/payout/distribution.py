"""Distribution: who gets how much of a block, from a snapshot, the block's value, and the room for outputs.

A block's value without the fee is divided by weight, to the satoshi (`divide`). That is done once for a job. Which of
the accounts then get an output depends on how many outputs the coinbase of a size class holds (`Division.take`). What
a coinbase does not pay goes to payout_address, and is owed: the books keep it as the balance of the account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from types import MappingProxyType
from typing import NamedTuple

from warppool.payout.fee import DUST, fee_of
from warppool.payout.snapshot import Snapshot

LONGEST_OUTPUT = 43
"""Bytes of the longest output that an account has: value 8, length 1, script 34 (P2WSH, P2TR)."""

GONE_PART = 4
"""One output of so many is for accounts that are gone: thousands of balances that were left behind would otherwise
crowd out those who mine."""


class Entitlement(NamedTuple):
    """What one account has a claim to in a block: its fair share of the block, and its balance where balances are
    paid. Both in sat, neither below 0.
    """

    account: str
    script: bytes
    fair_sat: int
    balance_sat: int

    @property
    def target_sat(self) -> int:
        """What it gets where there is an output for it, and as long as the value lasts."""
        return self.fair_sat + self.balance_sat


class Payment(NamedTuple):
    """An output for an account."""

    entitlement: Entitlement
    paid_sat: int


class BalanceChange(NamedTuple):
    """What a block does to the balance of an account: it rises by fair - paid, or falls where that is below 0."""

    account: str
    fair_sat: int
    paid_sat: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one coinbase pays, and to whom.

    `room` is in bytes. `payments` stand in the order of their outputs, before that of payout_address, which gets
    `remainder_sat`: the fee, its own fair share, and what is left unpaid, less the balances that are paid.
    """

    division: Division
    room: int
    payments: tuple[Payment, ...]
    remainder_sat: int

    @property
    def paid_sat(self) -> int:
        """What accounts other than payout_address get."""
        return self.division.value_sat - self.remainder_sat

    @property
    def outputs(self) -> tuple[tuple[int, bytes], ...]:
        """(sat, script) of the pool's outputs as they stand in the coinbase. One of 0 sat is left out, but for the only
        one, since a transaction has at least one output.
        """
        paid = tuple((payment.paid_sat, payment.entitlement.script) for payment in self.payments)
        return paid if paid and not self.remainder_sat else (*paid, (self.remainder_sat, self.division.payout_script))

    def changes(self) -> Iterator[BalanceChange]:
        """The accounts whose balance this block changes, sorted by account.

        All their fair - paid together are what payout_address holds for users by this block: the remainder less the fee
        and less its own fair share, which may be below 0.
        """
        paid = {payment.entitlement.account: payment.paid_sat for payment in self.payments}
        for each in self.division.entitlements:
            paid_sat = paid.get(each.account, 0)
            if each.fair_sat != paid_sat:
                yield BalanceChange(each.account, each.fair_sat, paid_sat)


@dataclass(frozen=True, slots=True)
class Division:
    """How the value of a block is divided, whatever room there is; made by `divide`, once for a job.

    `fair` has the fair share of each account with a weight but payout_address, whose own is `payout_fair_sat`. Of those
    that may get an output, `waiting` has the accounts that mine: by target, the highest first, then by script. `gone`
    has those that are gone: the longest gone first, then by script.
    """

    value_sat: int
    fee_sat: int
    payout_script: bytes
    payout_fair_sat: int
    min_payout_sat: int
    fair: Mapping[str, int]
    balances: Mapping[str, int]
    scripts: Mapping[str, bytes]
    waiting: tuple[Entitlement, ...]
    gone: tuple[Entitlement, ...]

    @property
    def entitlements(self) -> tuple[Entitlement, ...]:
        """What all accounts but payout_address have a claim to, sorted by account. Made when it is asked for: a job has
        no use for the many that get no output.
        """
        return tuple(Entitlement(account, self.scripts[account], self.fair.get(account, 0),
                                 self.balances.get(account, 0))
                     for account in sorted(self.fair.keys() | self.balances.keys()))

    def take(self, room: int) -> Distribution:
        """The outputs for which a coinbase has `room` bytes (all of the pool's own, without their count).

        Those who are gone come first, in at most a quarter of the outputs of LONGEST_OUTPUT bytes that `room` holds.
        Everybody gets the target while the whole value lasts, which may take from the fee. The first output that does
        not fit ends the list. ValueError where there is no room for payout_address, whose place is always kept.
        """
        bytes_left = room - output_size(self.payout_script)
        if bytes_left < 0:
            raise ValueError(f"{room} bytes have no room for the output of payout_address")
        sat_left, payments = self.value_sat, []
        gone_places = room // LONGEST_OUTPUT // GONE_PART
        for entitlement, least_sat in chain(zip(self.gone[:gone_places], repeat(DUST), strict=False),
                                            zip(self.waiting, repeat(self.min_payout_sat), strict=False)):
            paid_sat = min(entitlement.target_sat, sat_left)
            bytes_left -= output_size(entitlement.script)
            if paid_sat < least_sat or bytes_left < 0:      # each target is high enough, so the value is used up
                break
            payments.append(Payment(entitlement, paid_sat))
            sat_left -= paid_sat
        return Distribution(self, room, tuple(payments), sat_left)


def output_size(script: bytes) -> int:
    """Bytes of a serialized output with `script`, whose length is one byte: no script of an address has more."""
    return 9 + len(script)


def divide(snapshot: Snapshot, value_sat: int, pays_balances: bool) -> Division:
    """Divide `value_sat` among the accounts of `snapshot`; `pays_balances` says whether their balances are paid, too.

    Each fair share is rounded down, and the satoshis that are left go to the largest remainders, ties by script.
    ValueError where nobody has a weight: such a block is paid as in solo mining.
    """
    rules = snapshot.rules
    if not snapshot.total_weight:
        raise ValueError("a snapshot without weights divides nothing")
    fee_sat = fee_of(value_sat, rules.fee_bp)
    fair = _fair_shares(snapshot, value_sat - fee_sat)
    payout_fair_sat = fair.pop(snapshot.payout_account, 0)
    balances = dict(snapshot.balances) if pays_balances else {}
    gone_ids = dict(snapshot.gone) if pays_balances else {}
    targets = dict(fair)
    for account, balance_sat in balances.items():
        targets[account] = targets.get(account, 0) + balance_sat
    waiting, gone = [], []
    for account, target_sat in targets.items():
        gone_id = gone_ids.get(account)
        if target_sat < (rules.min_payout_sat if gone_id is None else DUST):
            continue                        # most of them, where somebody works under thousands of addresses
        script = snapshot.scripts[account]
        entitlement = Entitlement(account, script, fair.get(account, 0), balances.get(account, 0))
        if gone_id is None:
            waiting.append((-target_sat, script, entitlement))
        else:
            gone.append((gone_id, script, entitlement))
    return Division(
        value_sat=value_sat, fee_sat=fee_sat, payout_script=rules.payout_script,
        payout_fair_sat=payout_fair_sat, min_payout_sat=rules.min_payout_sat, fair=MappingProxyType(fair),
        balances=MappingProxyType(balances), scripts=snapshot.scripts,
        waiting=tuple(entitlement for _, _, entitlement in sorted(waiting)),
        gone=tuple(entitlement for _, _, entitlement in sorted(gone)),
    )


def distribute(snapshot: Snapshot, value_sat: int, room: int, pays_balances: bool) -> Distribution:
    """What a coinbase with `room` bytes for the pool's outputs pays of `value_sat`; ValueError as in `divide` and
    `Division.take`.
    """
    return divide(snapshot, value_sat, pays_balances).take(room)


def _fair_shares(snapshot: Snapshot, reward_sat: int) -> dict[str, int]:
    """`reward_sat` divided by weight: the fair share of each account. The shares are `reward_sat` in all."""
    total = snapshot.total_weight
    parts = [divmod(reward_sat * weight, total) for _, weight in snapshot.weights]
    left = reward_sat - sum([share for share, _ in parts])
    bar = sorted([remainder for _, remainder in parts], reverse=True)[left - 1] if left else total
    fair, level = {}, []                    # level: whose remainder is that of the last satoshi
    for (account, _), (share, remainder) in zip(snapshot.weights, parts, strict=True):
        if remainder > bar:
            share += 1
            left -= 1
        elif remainder == bar:
            level.append(account)
        fair[account] = share
    for account in sorted(level, key=snapshot.scripts.__getitem__)[:left]:
        fair[account] += 1
    return fair

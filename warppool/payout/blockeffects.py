"""What a found block does to balances: computed from its snapshot, and compared with what its coinbase pays.

The coinbase wins wherever the two differ: it is what the chain pays. A block that no journal knows is compared with the
snapshots that its job may have had (`match`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from warppool.bitcoin.addresstext import address_of
from warppool.payout.distribution import GONE_PART, LONGEST_OUTPUT, Distribution, Division, divide, output_size
from warppool.payout.fee import fee_of
from warppool.payout.moves import effects_of
from warppool.payout.snapshot import Snapshot

Outputs = Sequence[tuple[int, bytes]]
"""(sat, script) of the outputs of a coinbase: the pool's own first, then the template's, which are worth nothing."""

MOST_ROOM: Final = 16_000
"""Bytes of outputs that the largest coinbase may have."""

_SHORTEST_OUTPUT = 31


class BlockEffects(NamedTuple):
    """What a block does to each account (below 0 a debit, above 0 a credit), and how the coinbase differs from what was
    to be paid: a sentence, "" for not at all.
    """

    effects: tuple[tuple[str, int], ...]
    difference: str = ""


class SnapshotMatch(NamedTuple):
    """The job that a coinbase is of, as far as what it pays goes.

    `room` is in bytes for outputs. `distribution` is None for a snapshot without weights, which pays as solo does.
    """

    snapshot: Snapshot
    room: int
    pays_balances: bool
    distribution: Distribution | None


def effects_by(distribution: Distribution, outputs: Outputs, network: str) -> BlockEffects:
    """The effects of a block whose job paid by `distribution`, and whose coinbase has `outputs`."""
    due = distribution.outputs
    if difference := difference_of(due, outputs):
        paid = paid_to(outputs, network, distribution.division.payout_script)
        return BlockEffects(effects_of(distribution.division.fair, paid), difference)
    return BlockEffects(tuple((account, fair_sat - paid_sat) for account, fair_sat, paid_sat in distribution.changes()))


def solo_outputs(payee_script: bytes, payout_script: bytes, value_sat: int, fee_sat: int) -> Outputs:
    """What a block pays to one payee, less the fee: an output of 0 sat is left out, but for the only one."""
    both = ((value_sat - fee_sat, payee_script), (fee_sat, payout_script))
    return tuple(each for each in both if each[0]) or both[:1]


def difference_of(due: Outputs, outputs: Outputs) -> str:
    """How a coinbase with `outputs` differs from what was `due`, as a sentence; "" where it pays just that."""
    for number, (is_due, found) in enumerate(zip(due, outputs, strict=False)):
        if tuple(is_due) != tuple(found):
            return (f"output {number} was to pay {is_due[0]} sat to {is_due[1].hex()}, and pays {found[0]} sat to "
                    f"{found[1].hex()}")
    if len(outputs) < len(due):
        return f"{len(due)} outputs were due, and there are {len(outputs)}"
    extra = sum(sat for sat, _ in outputs[len(due):])
    return f"{extra} sat more than was due are paid" if extra else ""


def paid_to(outputs: Outputs, network: str, payout_script: bytes) -> Mapping[str, int]:
    """What a coinbase pays to each account but payout_address. Scripts that no address has are nobody's."""
    paid: dict[str, int] = defaultdict(int)
    for sat, script in outputs:
        if sat and script != payout_script and (account := address_of(script, network)):
            paid[account] += sat
    return dict(paid)


def least_effects(outputs: Outputs, network: str, payout_script: bytes, payable: Mapping[str, int]
                  ) -> tuple[tuple[str, int], ...]:
    """The effects of a block that nothing explains: each account's balance is taken for paid as far as it goes."""
    paid = paid_to(outputs, network, payout_script)
    return tuple((account, -debit) for account, sat in sorted(paid.items())
                 if (debit := min(sat, payable.get(account, 0))))


def match(outputs: Outputs, parent: bytes, snapshots: Iterable[Snapshot]) -> SnapshotMatch | None:
    """The snapshot, flag and room by which a job on `parent` pays just these outputs; None for none.

    Of several the one whose block pays out most of balances, so that none is paid out again; of equal ones the first.
    """
    return max(_matches(outputs, parent, snapshots), key=_debit_of, default=None)


def _matches(outputs: Outputs, parent: bytes, snapshots: Iterable[Snapshot]) -> Iterator[SnapshotMatch]:
    """One for each snapshot and flag that fits; those without weights last, which fit any coinbase with one payee."""
    value_sat = sum(sat for sat, _ in outputs)
    for snapshot in sorted(snapshots, key=lambda each: not each.total_weight):
        if not snapshot.total_weight:
            if _is_solo(outputs, value_sat, snapshot):
                yield SnapshotMatch(snapshot, 0, False, None)
            continue
        for pays_balances in (True, False) if snapshot.tip == parent else (False,):
            division = divide(snapshot, value_sat, pays_balances)
            fitting = (distribution for room in _rooms(outputs, division)
                       if not difference_of((distribution := division.take(room)).outputs, outputs))
            if (found := next(fitting, None)) is not None:
                yield SnapshotMatch(snapshot, found.room, pays_balances, found)


def _debit_of(found: SnapshotMatch) -> int:
    """How much the block pays out of balances."""
    if found.distribution is None:
        return 0
    return sum(max(0, change.paid_sat - change.fair_sat) for change in found.distribution.changes())


def _is_solo(outputs: Outputs, value_sat: int, snapshot: Snapshot) -> bool:
    """Whether the first output pays all but the fee, to whomever."""
    rules = snapshot.rules
    due = solo_outputs(outputs[0][1], rules.payout_script, value_sat, fee_of(value_sat, rules.fee_bp))
    return not difference_of(due, outputs)


def _rooms(outputs: Outputs, division: Division) -> Iterator[int]:
    """Bytes for outputs that such a coinbase may have had: they bound how many outputs there are, and of these how many
    are for accounts that are gone.
    """
    paid = [script for sat, script in outputs if sat and script != division.payout_script]
    least = sum(map(output_size, paid)) + output_size(division.payout_script)
    yield from (least, least + _SHORTEST_OUTPUT - 1, least + LONGEST_OUTPUT - 1)
    step = LONGEST_OUTPUT * GONE_PART                   # from here on one more gone account may have an output
    yield from range((least // step + 1) * step, min(MOST_ROOM, len(division.gone) * step + 1), step)
    yield max(least, MOST_ROOM)

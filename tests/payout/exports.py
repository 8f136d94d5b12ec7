"""Exports of blocks that a pool of the tests has mined, made from single shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tests.payout.makers import NBITS, make_rules
from warppool.bitcoin.coinbase import INPUT_SEQUENCE, coinbase_halves, commitment_output, height_push, restore_witness
from warppool.bitcoin.transaction import serialize_output
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.export import header_line, hour_line, share_line
from warppool.payout.rules import PayoutRules
from warppool.payout.snapshot import Snapshot
from warppool.payout.weight import halves, weight_of
from warppool.payout.window import TakenWork, WindowEnd, WindowFacts, WorkPart, take, weight_wanted

HEIGHT = 840_000
COMMITMENT = commitment_output(b"\x05" * 32)


class BookedWork(NamedTuple):
    """A share as the books have it."""

    id: int
    account: str
    difficulty: float


class MinedBlock(NamedTuple):
    """What the books have of a block, and the work that it was paid by."""

    shares: tuple[BookedWork, ...]
    snapshot: Snapshot
    distribution: Distribution
    coinbase: bytes
    lines: list[str]


def window_of(shares: tuple[BookedWork, ...], rules: PayoutRules, nbits: int = NBITS, settled: int = 0,
              otherwise: WindowEnd = WindowEnd.BEGINNING) -> tuple[TakenWork, WindowFacts]:
    """The window over all these shares, share by share."""
    wanted = weight_wanted(rules, nbits, settled)
    taken = take((WorkPart(each.id, each.id, {each.account: weight_of(each.difficulty)}) for each in reversed(shares)),
                 wanted, lambda part: [], otherwise)
    return taken, WindowFacts(taken.first_id, taken.last_id, taken.cut_weight, wanted, taken.ended_by, settled, nbits)


def coinbase_of(outputs: tuple[tuple[int, bytes], ...], height: int = HEIGHT, more: bytes = COMMITMENT,
                more_count: int = 1) -> bytes:
    """A stripped coinbase that pays these, and then what a template adds."""
    prefix, suffix = coinbase_halves(
        version=2, input_sequence=INPUT_SEQUENCE, locktime=height - 1, script_prefix=height_push(height) + b"\x08",
        extranonce_size=8, outputs=b"".join(serialize_output(*each) for each in outputs) + more,
        outputs_count=len(outputs) + more_count)
    return prefix + bytes(8) + suffix


def mine(shares: tuple[BookedWork, ...], *, rules: PayoutRules | None = None, value: int = 312_500_000,
         room: int = 16_000, pays: bool = True, balances: Mapping[str, int] | None = None,
         gone: Mapping[str, int] | None = None, hour: int = 10, settled: int = 0, is_segwit: bool = False,
         ) -> MinedBlock:
    """A block on a window of these shares, exported with `hour` ids an hour."""
    rules = rules or make_rules()
    taken, facts = window_of(shares, rules, settled=settled)
    snapshot = Snapshot.make(tip=b"\x09" * 32, tip_height=HEIGHT - 1, rules=rules, window=facts, weights=taken.weights,
                             balances=balances or {}, gone=gone or {})
    distribution = distribute(snapshot, value, room, pays)
    stripped = coinbase_of(distribution.outputs)
    coinbase = restore_witness(stripped) if is_segwit else stripped
    header = header_line(snapshot, height=HEIGHT, block_hash=b"\x0a" * 32, coinbase=coinbase, value_sat=value,
                         nbits=NBITS, room=room, pays_balances=pays)
    return MinedBlock(shares, snapshot, distribution, coinbase,
                      [header, *work_lines(shares, facts.first_id, facts.last_id, hour)])


def work_lines(shares: tuple[BookedWork, ...], first_id: int, last_id: int, hour: int) -> list[str]:
    """Hours that are whole and within the window as sums, the shares of those at both ends one by one."""
    lines, singles = [], []
    for start in range(1, last_id + 1, hour):
        ids = range(start, start + hour)
        inside = [each for each in shares if each.id in ids]
        if ids[0] <= first_id or ids[-1] > last_id:
            singles += [share_line(0, *each) for each in inside if first_id - hour < each.id <= last_id]
            continue
        sums: Counter[str] = Counter()
        for each in inside:
            sums[each.account] += weight_of(each.difficulty)
        counts = Counter(each.account for each in inside)
        lines += [hour_line(0, ids[0], ids[-1], account, *halves(sums[account]), counts[account])
                  for account in sorted(counts)]
    return lines + singles

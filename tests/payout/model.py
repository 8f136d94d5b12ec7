"""A pool, its books and its chain in one small world, for the worked cases and for the model test.

The pool is made of what the package has: window, snapshots, distributions, settlement, claims, clearing. The chain and
the books are the simplest that can be: a tree of blocks of which the node follows one branch, and rows that a kill may
cut off at the end. The world keeps accounts of its own, from coinbases and fair shares alone, to compare with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tests.payout.makers import NBITS, NETWORK, account, script
from warppool.bitcoin.transaction import parse_outputs, serialize_output
from warppool.payout.balances import Balances
from warppool.payout.blockeffects import BlockEffects, effects_by, match, solo_outputs
from warppool.payout.claims import Claims, OpenClaim
from warppool.payout.clearing import Clearing
from warppool.payout.distribution import Distribution, distribute
from warppool.payout.fee import fee_of
from warppool.payout.moves import (
    BookEntry,
    Move,
    PayoutState,
    Purse,
    Step,
    booked_from,
    moves_of,
    shortfall,
)
from warppool.payout.rules import PayoutRules
from warppool.payout.settlement import SETTLED_AT, Settlement, Standing, Watched
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd, WindowFacts, WorkPart, take, weight_wanted

Outputs = tuple[tuple[int, bytes], ...]


class ChainBlock(NamedTuple):
    """A block of the tree; `outputs` of one that is not ours are empty."""

    parent: bytes
    height: int
    outputs: Outputs = ()


class ModelJob(NamedTuple):
    """What machines work on: `snapshot` is None where a job pays one payee."""

    parent: bytes
    height: int
    snapshot: Snapshot | None
    pays_balances: bool


class OwnBlock(NamedTuple):
    """A block of ours as the world knows it. `distribution` is None for one that paid one payee."""

    job: ModelJob
    outputs: Outputs
    distribution: Distribution | None
    changes: tuple[tuple[str, int], ...] = ()       # fair less paid, by account
    term: int = 0                                   # remainder less fee less payout_address's own fair share

    @classmethod
    def make(cls, job: ModelJob, outputs: Outputs, distribution: Distribution | None) -> OwnBlock:
        if distribution is None:
            return cls(job, outputs, None)
        division = distribution.division
        return cls(job, outputs, distribution,
                   tuple((name, fair - paid) for name, fair, paid in distribution.changes()),
                   distribution.remainder_sat - division.fee_sat - division.payout_fair_sat)


class World:
    """One pool in mode pplns (or solo, for a while) and the chain that it mines on."""

    def __init__(self, rules: PayoutRules, value: int = 312_500_000) -> None:
        self.rules = rules
        self.value = value
        self.blocks = {b"genesis".ljust(32, b"\0"): ChainBlock(bytes(32), 0)}
        self.chain = list(self.blocks)                      # the branch that the node follows, by height
        self.own: dict[bytes, OwnBlock] = {}
        self.is_solo = False
        self.gone_after = 60                                # shares
        self.shares: list[tuple[int, str, int]] = []        # of the present epoch
        self.next_share_id = 1
        self.epoch_end = WindowEnd.BEGINNING
        self.last_ids: dict[str, int] = {}
        self.paid_by_hand: Counter[str] = Counter()
        self.rows: list[tuple[Move, ...]] = []              # the books: transactions
        self.pending: list[tuple[Move, ...]] = []           # not committed yet
        self.states: dict[bytes, PayoutState] = {}          # what both say of each block and claim
        self.is_checked = False                             # nothing was booked since the last check
        self.journal: dict[bytes, None] = {}                # own blocks in the block journal
        self.snapshots: list[Snapshot] = []
        self.claim_heights: dict[bytes, int] = {}
        self.txids: set[tuple[str, str]] = set()
        self.jobs: list[ModelJob] = []
        self.settling = Settlement(Balances(), Claims())
        self.clearing = Clearing()
        self.clearing.has_journal = True
        self.see_tip()

    # --- the chain ----------------------------------------------------------------------------------------------------

    @property
    def tip(self) -> bytes:
        return self.chain[-1]

    def is_on_chain(self, block: bytes) -> bool:
        height = self.blocks[block].height
        return height < len(self.chain) and self.chain[height] == block

    def add_block(self, parent: bytes, outputs: Outputs = ()) -> bytes:
        """A block on `parent`; the node follows it where its branch is the longest."""
        block = len(self.blocks).to_bytes(32, "big")
        self.blocks[block] = ChainBlock(parent, self.blocks[parent].height + 1, outputs)
        if parent == self.tip:
            self.chain.append(block)
        elif self.blocks[block].height >= len(self.chain):
            self._follow(block)
        return block

    def foreign(self, count: int = 1, parent: bytes | None = None) -> bytes:
        """Blocks of somebody else, on the tip or on `parent`."""
        block = parent or self.tip
        if block != self.tip:
            for _ in range(count):
                block = self.add_block(block)
            return block
        first = len(self.blocks)
        hashes = [number.to_bytes(32, "big") for number in range(first, first + count)]
        heights = range(len(self.chain), len(self.chain) + count)
        self.blocks.update(zip(hashes, map(ChainBlock, (block, *hashes), heights), strict=False))
        self.chain += hashes
        return self.chain[-1]

    def reorganise(self, depth: int) -> None:
        """The node follows a branch of others that begins `depth` blocks below its tip."""
        depth = min(depth, len(self.chain) - 1)
        self.foreign(depth + 1, self.chain[-1 - depth])

    def _follow(self, block: bytes) -> None:
        branch = []
        while not self.is_on_chain(block):
            branch.append(block)
            block = self.blocks[block].parent
        del self.chain[self.blocks[block].height + 1:]
        self.chain += reversed(branch)

    # --- the pool -----------------------------------------------------------------------------------------------------

    def share(self, name: str, weight: int) -> None:
        self.last_ids[name] = self.next_share_id
        self.shares.append((self.next_share_id, name, weight))
        del self.shares[:-60]
        self.next_share_id += 1

    def change_mode(self, is_solo: bool) -> None:
        """A restart in another mode. Work of before does not count in a window that begins afterwards."""
        self.kill()
        self.is_solo, self.epoch_end = is_solo, WindowEnd.EPOCH
        self.shares.clear()
        self.see_tip()

    def see_tip(self) -> None:
        """The pool hears of the node's tip: its first job has the last snapshot's weights and no balances."""
        if not self.jobs or self.jobs[-1].parent != self.tip:
            self.jobs = [job for job in self.jobs if self.jobs and job.parent == self.jobs[-1].parent]  # late shares
            self.clearing.move(self.tip)
            self.jobs.append(self._job(self.snapshots[-1] if self.snapshots else None, False))

    def clear(self, is_looking: bool = True, some: int | None = None) -> None:
        """All that has to be known of this tip is asked, or only a part of it.

        Where it is all known there is a snapshot of this tip, and jobs that pay balances.
        """
        self.see_tip()
        self.hear(some)
        if is_looking:
            self.look()
            self.hear(some)                     # what the look has found is asked, too
        if self.clearing.is_clear(self.tip, self.settling.watched):
            self.snapshot()
            self.jobs.append(self._job(self.snapshots[-1], True))

    def hear(self, some: int | None = None) -> list[Step]:
        """The node's word on all own blocks that are watched, or on the first `some` of them."""
        asked = list(self.settling.watched)[:some]
        top = len(self.chain) - 1
        standings = [Standing(block, len(self.chain) - self.blocks[block].height if self.is_on_chain(block) else 0)
                     for block in asked]
        steps = self.settling.hear(top, standings)
        self._book(steps)
        if self.clearing.tip == self.tip:
            self.clearing.ask(asked)
        return steps

    def look(self) -> None:
        """The last blocks of the chain: what is ours and in no journal is booked by the snapshots that are kept."""
        looked = self.clearing.looked
        blocks = [block for block in self.chain[-144:] if block not in looked]
        for block in blocks:
            if block in self.own and block not in self.states:
                self._find(block, self.recognise(block))
        self.clearing.look(blocks)

    def recognise(self, block: bytes) -> BlockEffects:
        """What a block does whose journal entry was lost. From then on it is booked as one of the snapshot found."""
        known = self.blocks[block]
        if self.own[block].distribution is None:
            return BlockEffects(())
        near = (known.parent, self.blocks[known.parent].parent)
        kept = self.snapshots[::-1]
        found = match(known.outputs, known.parent, [each for each in kept if each.tip in near])
        if found is None or found.distribution is None:         # the pool has made none on these two that fits
            found = match(known.outputs, known.parent, kept)
        assert found is not None and found.distribution is not None
        self.own[block] = OwnBlock.make(self.own[block].job, known.outputs, found.distribution)
        return effects_by(found.distribution, known.outputs, NETWORK)

    def snapshot(self) -> Snapshot:
        """What each account has done and is owed now; in the books before any job carries it."""
        settled = sum(state is PayoutState.SETTLED for state in self.states.values())
        wanted = weight_wanted(self.rules, NBITS, settled)
        taken = take((WorkPart(number, number, {name: weight}) for number, name, weight in reversed(self.shares)),
                     wanted, lambda part: (), self.epoch_end)
        facts = WindowFacts(taken.first_id, taken.last_id, taken.cut_weight, wanted, taken.ended_by, settled, NBITS)
        gone = {name: last for name, last in self.last_ids.items() if last + self.gone_after < self.next_share_id}
        made = Snapshot.make(tip=self.tip, tip_height=len(self.chain) - 1, rules=self.rules, window=facts,
                             weights=taken.weights, balances=self.settling.balances.payable, gone=gone)
        self.rows += self.pending
        self.pending = []
        self.snapshots.append(made)
        return made

    def find(self, room: int = 16_000, job: ModelJob | None = None, payee: int = 1, is_journaled: bool = True) -> bytes:
        """A machine whose coinbase has `room` bytes for outputs finds a block on `job`, else on the newest."""
        job = job or self.jobs[-1]
        distribution = None
        if job.snapshot is not None and job.snapshot.total_weight:
            distribution = distribute(job.snapshot, self.value, room, job.pays_balances)
            outputs: Outputs = distribution.outputs
        else:
            fee = fee_of(self.value, self.rules.fee_bp)
            outputs = tuple(solo_outputs(script(account(payee)), self.rules.payout_script, self.value, fee))
        self._check_coinbase(outputs, distribution)
        block = len(self.blocks).to_bytes(32, "big")
        self.own[block] = OwnBlock.make(job, outputs, distribution)
        if is_journaled:
            self.journal[block] = None
            self.blocks[block] = ChainBlock(job.parent, job.height, outputs)    # the books may ask for its height
            self._find(block, self._effects(block))                             # before any node has it
            del self.blocks[block]
        assert self.add_block(job.parent, outputs) == block
        if is_journaled:
            self.see_tip()
        return block

    def kill(self) -> None:
        """The process ends with what is not committed, and starts again from the books and the journal."""
        self.pending, self.is_checked = [], False
        turns: dict[bytes, int] = {}
        entries: dict[bytes, list[tuple[int, BookEntry]]] = {}
        self.states = {}
        for moves in self.rows:
            for move in moves:
                assert turns.get(move.key, -1) == move.turn - 1
                turns[move.key], self.states[move.key] = move.turn, move.after
                entries.setdefault(move.key, []).extend([(move.turn, entry) for entry in move.entries])
        booked = {key: booked_from(key, state, turns[key], entries[key]) for key, state in self.states.items()
                  if state in (PayoutState.FOUND, PayoutState.REVERSED, PayoutState.CLAIMED)}
        watched = [Watched(key, self.blocks[key].parent, self.blocks[key].height, position)
                   for key, position in booked.items() if key in self.blocks]
        claims = [OpenClaim(position, self.claim_heights[key]) for key, position in booked.items()
                  if position.state is PayoutState.CLAIMED]
        self.settling = Settlement(Balances(entry for rows in entries.values() for _, entry in rows),
                                   Claims(claims, self.txids), watched)
        self.clearing = Clearing()
        self.jobs = []
        for block in self.journal:                          # its entries are booked before balances are paid
            if block not in self.states:
                self._find(block, self._effects(block))
        self.clearing.has_journal = True
        self.see_tip()

    def claim(self, name: str) -> None:
        """The operator takes the account's payable balance out of later snapshots, and replaces the jobs."""
        sat = self.settling.balances.of(name, Purse.PAYABLE)
        if sat and name not in self.settling.claims.open:
            key = len(self.claim_heights).to_bytes(16, "big")
            self.claim_heights[key] = len(self.chain) - 1
            step = self.settling.claims.make(key, name, sat, len(self.chain) - 1)
            self.settling.balances.apply(moves_of([step]))
            self._book([step])
            if self.jobs[-1].pays_balances:
                self.clear()

    def pay(self, name: str) -> bool:
        """The operator says that he has paid what stands in the claim."""
        open_claim = self.settling.claims.open.get(name)
        if open_claim is None or self.settling.claims.why_not(name, open_claim.sat, len(self.chain) - 1,
                                                              self.settling.is_debited(name)):
            return False
        step = self.settling.claims.pay(name, open_claim.sat, "txid")
        self.settling.balances.apply(moves_of([step]))
        self._book([step])
        self.rows += self.pending                           # the operator hears of it once it is booked
        self.pending = []
        self.paid_by_hand[name] += open_claim.sat
        return True

    def bury(self) -> None:
        """A hundred blocks of others: what stands on the chain is settled."""
        self.foreign(SETTLED_AT)
        self.clear()

    # --- what must be so ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """The invariant, account by account and in all, where something was booked."""
        if self.is_checked:
            return
        self.is_checked = True
        owed: dict[str, int] = {}
        term = 0
        for key, state in self.states.items():
            if state in (PayoutState.FOUND, PayoutState.SETTLED):
                own = self.own[key]
                term += own.term
                for name, sat in own.changes:
                    owed[name] = owed.get(name, 0) + sat
        balances = self.settling.balances
        assert sum(map(balances.total, Purse)) == term
        assert balances.total(Purse.PAID) == sum(self.paid_by_hand.values())
        for name, sat in owed.items():
            assert sum(balances.of(name, purse) for purse in Purse) == sat >= 0

    def check_chain(self) -> None:
        """Nobody has more of the chain, and by hand, than the weight of his work was worth in its blocks."""
        fair, paid = self.totals()
        for name in paid | self.paid_by_hand:
            assert paid[name] + self.paid_by_hand[name] <= fair[name], name

    def totals(self) -> tuple[Counter[str], Counter[str]]:
        """What accounts were due, and what they got, in the shared blocks of the chain, by account."""
        fair: Counter[str] = Counter()
        paid: Counter[str] = Counter()
        for block, own in self.own.items():
            if own.distribution is not None and self.is_on_chain(block):
                names = {each.script: each.account for each in own.distribution.division.entitlements}
                for each in own.distribution.division.entitlements:
                    fair[each.account] += each.fair_sat
                for sat, to in self.blocks[block].outputs:
                    if to in names:
                        paid[names[to]] += sat
        return fair, paid

    def _check_coinbase(self, outputs: Outputs, distribution: Distribution | None) -> None:
        assert sum(sat for sat, _ in outputs) == self.value
        raw = b"".join(serialize_output(*output) for output in outputs)
        assert parse_outputs(raw, len(outputs)) == outputs
        assert len({to for _, to in outputs}) == len(outputs)
        if distribution is not None:
            assert len(raw) <= distribution.room
            assert all(payment.paid_sat >= 546 for payment in distribution.payments)

    # --- insides ------------------------------------------------------------------------------------------------------

    def _job(self, snapshot: Snapshot | None, pays_balances: bool) -> ModelJob:
        return ModelJob(self.tip, len(self.chain), None if self.is_solo else snapshot, pays_balances)

    def _effects(self, block: bytes) -> BlockEffects:
        own = self.own[block]
        return BlockEffects(()) if own.distribution is None else effects_by(own.distribution, own.outputs, NETWORK)

    def _find(self, block: bytes, effects: BlockEffects) -> None:
        assert not effects.difference
        known = self.blocks[block]
        self._book(self.settling.find(block, known.parent, known.height, effects.effects))

    def _book(self, steps: Iterable[Step]) -> None:
        steps = list(steps)
        assert not any(shortfall(position) for position, _ in steps if position.key in self.own)
        if steps:
            self.is_checked = False
            self.pending.append(moves_of(steps))
            self.states.update((move.key, move.after) for move in self.pending[-1])

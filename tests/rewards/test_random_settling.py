"""Random courses of a pool: forks, rivals, lost blocks, kills, starts. Memory and books agree, nobody is overpaid."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.payout.makers import ONE, POOL, account, make_rules, make_snapshot, script
from tests.rewards.settlingpool import PoolBooks, events, paid_by
from tests.rewards.test_settling import lose
from warppool.bitcoin.transaction import outputs_of
from warppool.ledger.sqlitereader import SqliteReader
from warppool.node.chainitems import OwnBlock
from warppool.payout.distribution import divide
from warppool.payout.moves import PayoutState, Purse

MINERS = tuple(account(number, number % 5) for number in range(1, 5))
RULES = make_rules(fee_bp=2_000, min_payout_sat=20_000)
VALUE = 400_000
ROOMS = (43, 43 + 31, 43 + 43 + 31, 1_000)


class Course:
    """One pool, and what is true of it: the blocks that were found, and what each was to pay."""

    def __init__(self, path: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.pool = PoolBooks(path)
        self.journal: list[OwnBlock] = []
        self.found: dict[bytes, OwnBlock] = {}
        self.number = 0
        self.pool.do(self.pool.settling.journal_told(self.pool.now))
        self.pool.grow(3)

    def step(self) -> None:
        """The node may give its answers too late, or after the next block only."""
        if self.random.random() < 0.2:
            self.pool.is_deaf = not self.pool.is_deaf
        choice = self.random.random()
        if choice < 0.45:
            self.find()
        elif choice < 0.75:
            self.grow(self.random.choice((1, 2, 101)))
        elif choice < 0.9:
            self.reorganise()
        else:
            self.start()

    def block(self, room: int) -> OwnBlock:
        """A block on a job of the tip, which pays balances where that is allowed. One tip has one set of weights."""
        pool, pays = self.pool, self.pool.settling.may_pay(self.pool.tip)
        work = random.Random(pool.tip)
        weights = {miner: work.randint(1, 9) * ONE // 10 for miner in work.sample(MINERS, 3)}
        snapshot = pool.keep(make_snapshot(weights, dict(pool.settling.payable), rules=RULES, tip=pool.tip))
        self.number += 1
        block = paid_by(snapshot, pool.tip, len(pool.chain), self.number, pays, room, VALUE)
        self.found[block.block_hash] = block
        return block

    def find(self) -> None:
        """One block or two on one tip; what becomes of them; and perhaps a kill in between.

        A block that is lost pays everybody: one with fewer outputs may fit several snapshots, and nobody knows which.
        """
        fate = self.random.random()
        rooms = ROOMS[-1:] if fate < 0.15 else ROOMS
        blocks = [self.block(self.random.choice(rooms)) for _ in range(self.random.choice((1, 1, 2)))]
        for block in blocks:
            if fate < 0.15:                                 # killed before the journal had it
                lose(self.pool, block)
                continue
            self.journal.append(block)
            if fate < 0.3:                                  # killed before the books had it
                self.pool.settling.own_block(block, self.pool.now)
            else:
                self.pool.find(block)
        if fate < 0.3:
            self.start(is_quiet=True)
        if self.random.random() < 0.8:
            self.pool.extend(self.random.choice(blocks).block_hash)
        else:
            self.pool.grow(1)

    def grow(self, count: int) -> None:
        """Blocks of others. The look along the chain reaches no further than a day back, so the node answers before."""
        if count > 100:
            self.pool.is_deaf = False
            self.pool.grow(1)
        self.pool.grow(count)

    def find_one(self) -> None:
        """A block that becomes the tip."""
        self.journal.append(block := self.block(ROOMS[-1]))
        self.pool.find(block)
        self.pool.extend(block.block_hash)

    def reorganise(self) -> None:
        """Another branch, or the one from before."""
        pool = self.pool
        height = max(3, len(pool.chain) - self.random.randint(2, 6))
        before = pool.chain[:]
        pool.fork(height, len(before) - height, b"%d" % self.random.getrandbits(32))
        if self.random.random() < 0.5:
            pool.chain[:] = before
            pool.grow(1)

    def start(self, is_quiet: bool = False) -> None:
        """The journal says its blocks again, perhaps after the first block of this start."""
        pool = self.pool
        pool.start()
        if not is_quiet and self.random.random() < 0.5:
            pool.mine()
            self.find_one()
        for block in self.journal[-12:]:
            pool.find(block)
        pool.do(pool.settling.journal_told(pool.now))
        if not is_quiet:
            pool.mine()

    def check(self) -> None:
        """Purses are the same in memory and in the books, and are what the standing blocks have left over."""
        for miner in MINERS:
            self.pool.purses(miner)
        balances = self.pool.settling._settlement.balances
        held = 0
        with SqliteReader(self.pool.path) as reader:
            for row, state, _ in reader.payout_blocks((PayoutState.FOUND, PayoutState.SETTLED)):
                division = divide(self.pool.kept[row.snapshot_id], row.value, row.pays_balances)
                to_pool = sum(sat for sat, to in outputs_of(row.coinbase) if to == script(POOL))
                held += to_pool - division.fee_sat - division.payout_fair_sat
                assert state
        assert balances.total(Purse.PAYABLE) + balances.total(Purse.MATURING) == held

    def check_end(self) -> None:
        """On the chain of the end nobody got more than his work was worth, and what is missing is owed."""
        fair: Counter[str] = Counter()
        paid: Counter[str] = Counter()
        for block_hash in self.pool.chain:
            if (block := self.found.get(block_hash)) is not None and block.terms is not None:
                division = divide(self.pool.kept[block.terms.snapshot_id], VALUE, block.terms.pays_balances)
                distribution = division.take(block.terms.room)
                fair.update({each.account: each.fair_sat for each in division.entitlements})
                paid.update({each.entitlement.account: each.paid_sat for each in distribution.payments})
        balances = self.pool.settling._settlement.balances
        for miner in MINERS:
            owed = balances.of(miner, Purse.PAYABLE) + balances.of(miner, Purse.MATURING)
            assert paid[miner] <= fair[miner] and owed == fair[miner] - paid[miner]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_balances_follow_the_chain(tmp_path: Path, seed: int) -> None:
    course = Course(tmp_path / "shares.db", seed)
    for _ in range(40):
        course.step()
        course.check()
    course.pool.is_deaf = False
    course.pool.grow(1)
    said = set(events(course.pool.done))
    assert not said & {"payout.different", "payout.short", "payout.unexplained", "payout.unbooked"}
    course.check()
    course.check_end()
    course.pool.close()

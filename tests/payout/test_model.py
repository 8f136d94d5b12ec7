"""Random pools on random chains: whatever happens, the coinbases are valid, the books agree with them to the satoshi,
and nobody gets more than his work was worth.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from tests.payout.makers import ONE, POOL, account, make_rules
from tests.payout.model import World
from warppool.payout.moves import Purse

CHAINS = 1_000
STEPS = 100
ROOMS = (60, 97, 180, 300, 600, 2_000)


class Course:
    """One random course of a pool; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.miners = [account(number, number % 5) for number in range(1, self.random.randrange(2, 8))]
        if self.random.random() < 0.3:
            self.miners.append(POOL)
        self.rates = {miner: self.random.choice((1, 10, 100)) for miner in self.miners}
        self.world = World(make_rules(
            fee_bp=self.random.choice((0, 1, 150, 2_000)), window=self.random.choice(("0.5", "2", "4")),
            window_rampup=self.random.random() < 0.5,
            min_payout_sat=self.random.choice((546, 100_000, 50_000_000, 150_000_000)),
        ), value=self.random.choice((312_500_000, 5_000_000, 300_001, 600)))
        self.actions: list[tuple[int, Callable[[], object]]] = [
            (36, self.mine_shares), (12, self.find), (3, self.find_unjournaled), (4, self.find_twice),
            (9, self.world.clear), (8, self.see), (10, self.foreign), (5, self.reorganise), (3, self.come_back),
            (3, self.world.kill), (2, self.leave), (1, self.claim), (3, self.pay), (2, self.world.bury),
            (1, self.change_mode), (3, self.clear_in_part), (2, self.claim_too_late), (2, self.lose_block),
            (2, self.pay_twice),
        ]

    def run(self, steps: int) -> None:
        names, weights = [each for _, each in self.actions], [weight for weight, _ in self.actions]
        for action in self.random.choices(names, weights, k=steps):
            action()
            self.world.check()

    def mine_shares(self) -> None:
        for _ in range(self.random.randrange(1, 8)):
            miner = self.random.choices(self.miners, [self.rates[each] for each in self.miners])[0]
            weight = self.random.choice((0, 1, self.random.randrange(ONE), self.random.randrange(ONE // 8)))
            self.world.share(miner, weight)

    def find(self) -> None:
        """On any job that machines may still have, in any class."""
        self.world.find(self.random.choice(ROOMS), self.random.choice(self.world.jobs))

    def find_unjournaled(self) -> None:
        """Killed between the hand-over of a block and its journal entry."""
        self.world.find(self.random.choice(ROOMS), self.random.choice(self.world.jobs), is_journaled=False)
        self.world.kill()

    def find_twice(self) -> None:
        """Two blocks in a row before anything is asked; the second one on the first one's snapshot."""
        self.find()
        self.find()

    def see(self) -> None:
        """A verdict on some blocks only, said twice, perhaps of a tip that the pool has not heard of."""
        if self.random.random() < 0.5:
            self.world.see_tip()
        self.world.hear(self.random.randrange(4))
        self.world.hear(self.random.randrange(4))

    def foreign(self) -> None:
        self.world.foreign(self.random.choice((1, 1, 1, 2, 3)))
        if self.random.random() < 0.7:
            self.world.see_tip()

    def reorganise(self) -> None:
        self.world.reorganise(self.random.choice((1, 1, 2, 3, 6)))
        if self.random.random() < 0.7:
            self.world.see_tip()

    def come_back(self) -> None:
        """Others build on a branch that was left, or on a side block of ours."""
        world = self.world
        height = len(world.chain) - 1
        left = [block for block, known in world.blocks.items()
                if known.height > height - 8 and not world.is_on_chain(block)]
        if left:
            block = self.random.choice(left)
            world.foreign(height - world.blocks[block].height + 1, block)
            world.see_tip()

    def leave(self) -> None:
        """A miner goes; perhaps another one comes back."""
        self.rates[self.random.choice(self.miners)] = 0
        self.rates[self.random.choice(self.miners)] = 10
        if not any(self.rates.values()):
            self.rates[self.miners[0]] = 1

    def clear_in_part(self) -> None:
        """Not all blocks are asked for, or the last ones of the chain are not looked at: no balance may be paid."""
        self.world.clear(is_looking=self.random.random() < 0.5, some=self.random.choice((None, 0, 1)))
        self.find()

    def claim_too_late(self) -> None:
        """A balance is claimed while machines work on jobs that pay it, and they do find a block."""
        world = self.world
        world.clear()
        jobs = list(world.jobs)
        miner = self.random.choice(self.miners)
        world.claim(miner)
        if self.random.random() < 0.3:
            world.foreign()
            world.see_tip()
        self.world.pay(miner)
        late = self.random.choice(jobs)
        if late.height >= len(world.chain) - 1:                 # a job of the tip, or of the one before
            block = world.find(max(ROOMS), late)
            if self.random.random() < 0.5:
                world.foreign(2, block)
        world.see_tip()
        self.world.pay(miner)

    def lose_block(self) -> None:
        """A block that pays balances is in no journal, and the next one comes before anybody has looked."""
        self.world.clear()
        self.world.find(max(ROOMS), is_journaled=False)
        self.world.kill()
        self.world.clear(is_looking=False)
        self.world.find(max(ROOMS))

    def pay_twice(self) -> None:
        """A block that paid a balance leaves the chain, the balance is paid by hand, and the block comes back."""
        world = self.world
        world.clear()
        block = world.find(max(ROOMS))
        world.reorganise(1)
        world.see_tip()
        world.hear()
        miner = self.random.choice(self.miners)
        world.claim(miner)
        world.foreign(2)
        world.see_tip()
        world.pay(miner)
        world.foreign(4, block)
        world.see_tip()

    def claim(self) -> None:
        self.world.claim(self.random.choice(self.miners))

    def pay(self) -> None:
        for miner in self.miners:
            self.world.pay(miner)

    def change_mode(self) -> None:
        """Solo for some blocks, and back."""
        self.world.change_mode(is_solo=True)
        self.find()
        self.world.change_mode(is_solo=False)

    def end(self) -> None:
        """All is settled, and paid by hand: nobody is owed anything."""
        world = self.world
        world.bury()
        world.bury()
        world.check()
        world.check_chain()
        for _ in range(2):                      # a claim of before may stand, and another one is made after it
            for miner in self.miners:
                world.claim(miner)
            world.foreign(2)
            world.clear()
            self.pay()
            world.bury()
            self.pay()                          # a debit of a block that is settled now was in the way
        world.check()
        world.check_chain()
        fair, paid = world.totals()
        for miner in fair:
            assert paid[miner] + world.paid_by_hand[miner] == fair[miner]
            assert not any(world.settling.balances.of(miner, purse) for purse in Purse if purse is not Purse.PAID)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_whatever_happens_to_a_pool_its_books_and_the_chain_agree(part):
    for seed in range(part * CHAINS // 10, (part + 1) * CHAINS // 10):
        course = Course(seed)
        try:
            course.run(STEPS)
            course.end()
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise

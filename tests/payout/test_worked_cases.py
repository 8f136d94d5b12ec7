"""Five cases worked out by hand: what a reader may compute with a pencil, and what the pool makes of it."""

from __future__ import annotations

from tests.payout.makers import ONE, POOL, account, make_rules, make_snapshot, script
from tests.payout.model import World
from warppool.payout.distribution import distribute
from warppool.payout.moves import PayoutState, Purse

ANNA, BERT, CARL, DORA = (account(number) for number in range(1, 5))
ROOM_FOR_ALL = 16_000


def paid(world: World, block: bytes) -> dict[str, int]:
    """What a block pays to each account, and to payout_address."""
    names = {script(name): name for name in (ANNA, BERT, CARL, DORA, POOL)}
    return {names[to]: sat for sat, to in world.blocks[block].outputs}


def balances(world: World, purse: Purse) -> dict[str, int]:
    return {name: sat for name in (ANNA, BERT, CARL, DORA) if (sat := world.settling.balances.of(name, purse))}


def test_case_1_three_equal_miners_under_the_minimum():
    """A block of 240,000 sat: each has a fair share of 80,000, which is less than the 100,000 of an output.

    All goes to payout_address, and 80,000 are owed to each. A hundred blocks later these are payable: the next block
    has a target of 160,000 for each. The whole value pays one of them, and half of the second one, whose 80,000 are
    under the minimum. So the one that comes first by script gets 160,000, and payout_address the other 80,000.
    """
    world = World(make_rules(), value=240_000)
    for name in (ANNA, BERT, CARL):
        world.share(name, ONE)
    world.clear()
    first = world.find()
    assert paid(world, first) == {POOL: 240_000}
    assert balances(world, Purse.MATURING) == {ANNA: 80_000, BERT: 80_000, CARL: 80_000}
    world.clear()
    assert balances(world, Purse.PAYABLE) == {}                 # it matures until the block is settled
    world.bury()
    assert balances(world, Purse.PAYABLE) == {ANNA: 80_000, BERT: 80_000, CARL: 80_000}
    second = world.find()
    lowest, *others = sorted((ANNA, BERT, CARL), key=script)
    assert paid(world, second) == {lowest: 160_000, POOL: 80_000}
    assert {name: world.settling.balances.of(name, Purse.PAYABLE) for name in others} == dict.fromkeys(others, 80_000)
    assert {name: world.settling.balances.of(name, Purse.MATURING) for name in others} == dict.fromkeys(others, 80_000)
    world.check()


def test_case_2_what_is_owed_is_1_88_times_the_value():
    """Four accounts with 47 % of a block each as balance, 188 % in all, and a fee of 2 %; 10,000,000 sat.

    Each has a target of 2,450,000 + 4,700,000 = 7,150,000. The value pays one target and 2,850,000 of the next one.
    The first draft of these rules paid 1.88 times the value here.
    """
    owed = dict.fromkeys((ANNA, BERT, CARL, DORA), 4_700_000)
    snapshot = make_snapshot(dict.fromkeys(owed, ONE), owed, rules=make_rules(fee_bp=200))
    distribution = distribute(snapshot, 10_000_000, ROOM_FOR_ALL, True)
    first, second, *others = sorted(owed, key=script)
    assert distribution.outputs == ((7_150_000, script(first)), (2_850_000, script(second)))
    changes = {name: fair - paid for name, fair, paid in distribution.changes()}
    assert changes == {first: -4_700_000, second: -400_000, **dict.fromkeys(others, 2_450_000)}
    assert sum(changes.values()) == -200_000            # the fee went to them, too: so much less is owed than before
    small = distribute(snapshot, 10_000_000, 31 + 31, True)
    assert small.outputs == ((7_150_000, script(first)), (2_850_000, script(POOL)))


def test_case_3_two_blocks_on_one_snapshot():
    """Of each 1,000,000 sat Anna has 30 % and Bert 70 %; no output is under 1,000,000. Both are owed one block's part.

    The next block pays Bert 1,000,000: his 700,000 and 300,000 of his balance. Then comes another one, before anything
    was asked. Its job has the same weights, and all balances as 0: what the first one has paid is not paid again.
    """
    world = World(make_rules(min_payout_sat=1_000_000), value=1_000_000)
    for name in (ANNA, ANNA, ANNA, BERT, BERT, BERT, BERT, BERT, BERT, BERT):
        world.share(name, ONE // 10)
    world.clear()
    world.find()
    assert balances(world, Purse.MATURING) == {ANNA: 300_000, BERT: 700_000}
    world.bury()
    assert balances(world, Purse.PAYABLE) == {ANNA: 300_000, BERT: 700_000}
    snapshot = world.jobs[-1].snapshot
    one = world.find()
    assert paid(world, one) == {BERT: 1_000_000}
    assert balances(world, Purse.PAYABLE) == {ANNA: 300_000, BERT: 400_000}
    two = world.find()
    assert world.own[one].job.snapshot is world.own[two].job.snapshot is snapshot
    assert paid(world, two) == {POOL: 1_000_000}
    assert balances(world, Purse.PAYABLE) == {ANNA: 300_000, BERT: 400_000}
    assert balances(world, Purse.MATURING) == {ANNA: 600_000, BERT: 700_000}
    world.check()


def test_case_4_an_orphan_between():
    """A block pays Bert's balance and leaves the chain: the balance is back, and the next block pays it.

    When the chain turns back to the first block the second one is reversed with the same step, before the first one
    is booked again: Bert is paid once, whichever of the two stands.
    """
    world = World(make_rules(), value=1_000_000)
    for name in (ANNA, BERT):
        world.share(name, ONE)
    world.clear()
    world.find(31 + 31)                                         # room for one: the other one is owed 500,000
    first, second = sorted((ANNA, BERT), key=script)
    world.bury()
    assert balances(world, Purse.PAYABLE) == {second: 500_000}
    orphan = world.find()
    assert paid(world, orphan) == {second: 1_000_000}
    assert balances(world, Purse.PAYABLE) == {} and balances(world, Purse.MATURING) == {first: 500_000}
    world.reorganise(1)
    world.clear()
    assert world.states[orphan] is PayoutState.REVERSED
    assert balances(world, Purse.PAYABLE) == {second: 500_000} and balances(world, Purse.MATURING) == {}
    again = world.find()
    assert paid(world, again) == {second: 1_000_000}
    world.foreign(3, orphan)
    world.clear()
    assert (world.states[orphan], world.states[again]) == (PayoutState.FOUND, PayoutState.REVERSED)
    assert balances(world, Purse.PAYABLE) == {} and balances(world, Purse.MATURING) == {first: 500_000}
    world.check()
    world.check_chain()


def test_case_5_a_gone_miner():
    """Carl leaves with 30,000 sat, less than an output may be, and would wait for ever.

    Once he is gone he comes first, from 546 sat on: in a coinbase of eight outputs and more, of which a quarter is for
    those who are gone. In a coinbase of three outputs he waits.
    """
    world = World(make_rules(), value=300_000)
    for _ in range(9):
        world.share(ANNA, ONE // 10)
    world.share(CARL, ONE // 10)
    world.clear()
    world.find()
    assert balances(world, Purse.MATURING) == {CARL: 30_000}
    for _ in range(100):
        world.share(ANNA, ONE)                                  # Carl's share is out of the window, and he is gone
    world.bury()
    assert world.jobs[-1].snapshot.gone and balances(world, Purse.PAYABLE) == {CARL: 30_000}
    small = distribute(world.jobs[-1].snapshot, 300_000, 3 * 43 + 42, True)
    assert small.outputs == ((300_000, script(ANNA)),)
    block = world.find(4 * 43)
    assert paid(world, block) == {CARL: 30_000, ANNA: 270_000}
    assert balances(world, Purse.PAYABLE) == {} and balances(world, Purse.MATURING) == {ANNA: 30_000}
    world.check()

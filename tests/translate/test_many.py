"""Two hundred machines, and what the pool's books say of them."""

from __future__ import annotations

import random

import pytest

from tests.translate.world import MASK, World


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["connection", "channels"])
def test_pool_and_translator_agree_to_the_share(mode):
    world = World(mode)
    pool = world.pools[0]
    dice = random.Random(7)
    machines = {f"farm.m{number}": world.machine().start(
        f"farm.m{number}", mask=MASK if number % 2 else 0, takes_extranonce=number % 3 == 0) for number in range(200)}
    assert len(pool.servers) == (200 if mode == "connection" else 1)
    mined = dict.fromkeys(machines, 0)
    bad = 0
    for turn in range(4):
        for name, machine in machines.items():
            count = dice.randrange(4)
            machine.mine(count, name)
            mined[name] += count
            if dice.random() < 0.1:
                machine.mine(1, name, is_good=False)
                bad += 1
        world.wait(1)                           # else the next job of this tip would be the same one
        pool.new_job(new_tip=turn % 2 == 0)
        world.run()
    assert pool.accepted == {name: count for name, count in mined.items() if count}
    assert world.counters.counts() == (sum(mined.values()) + bad, sum(mined.values()), (
        ("difficulty-too-low", bad),), 0, 0, 0, 0, 0)
    assert len(world.booked) == sum(mined.values())
    booked = dict.fromkeys(machines, 0)
    for share in world.booked:
        booked[share.user] += 1
    assert booked == mined
    assert len({machine.work.extranonce1 for machine in machines.values()}) == 200
    assert pool.refused == {}
    for machine in machines.values():
        machine.close()
    world.wait(1)
    assert world.connections == {} and pool.servers == {}

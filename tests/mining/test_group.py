"""A group's keys, as long as they are known."""

from __future__ import annotations

from tests.mining.makers import make_factory, make_template, make_tip
from warppool.mining.assignment import Keys
from warppool.mining.channeljob import MAX_JOBS_PER_TIP
from warppool.mining.group import Group
from warppool.mining.payee import POOL


def test_jobs_that_were_replaced_on_their_own_tip_are_known_until_the_tip_has_moved_twice():
    factory, group = make_factory(), Group(1 << 31, 8, POOL, Keys())

    def assigned(number: int) -> int:
        return group.assign(factory.make(make_template(tip=make_tip(number)), 0.0), 7).key

    keys = [assigned(1)]
    for _ in range(3):
        factory.begin_era()
        keys.append(assigned(1))
    assert [group.find(key)[1] for key in keys] == [True, True, True, False]
    assert all(group.find(key)[0] for key in keys) and group.oldest_key == keys[0]
    assigned(2)
    assert all(group.find(key)[0] for key in keys)
    factory.begin_era()
    assigned(2)
    assigned(3)
    assert [group.find(key)[0] for key in keys] == [None] * 4
    for _ in range(MAX_JOBS_PER_TIP + 5):
        factory.begin_era()
        assigned(3)
    assert len(group._old_jobs) == MAX_JOBS_PER_TIP

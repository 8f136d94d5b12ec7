"""What happened between two views, told once: neither a restart nor a node that flickers is worth a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from warppool.notices import kinds
from warppool.notices.kinds import EVENTS, Notice
from warppool.notices.view import (
    ACCEPTED,
    BEHIND,
    FOUND,
    LOST,
    ORPHANED,
    SETTLED,
    UP,
    SeenCertificate,
    SeenMachine,
    SeenNode,
    SeenOwnBlock,
    View,
)
from warppool.notices.watching import DAY_S, FIRST_WORK_S, MACHINES_EVERY_S, NODE_LASTS_S, DigestClock, Watch

START = 1_800_000_000.0
CALM = View(at=START, has_work=True, nodes=(SeenNode("a", UP), SeenNode("b", UP)))
GONE_S = 600.0


def told(*views: View, events: tuple[str, ...] = EVENTS) -> list[Notice]:
    watch = Watch(events, GONE_S)
    return [notice for view in views for notice in watch.look(view)]


def kinds_of(*views: View) -> list[str]:
    return [notice.kind for notice in told(*views)]


def after(seconds: float, **changes: object) -> View:
    return replace(CALM, at=START + seconds, **changes)


def block(state: str, number: int = 1) -> SeenOwnBlock:
    return SeenOwnBlock(f"{number:064x}", 900_000 + number, "alice.rig", state)


def test_a_calm_pool_says_nothing():
    assert told(*(after(second) for second in range(0, 7200, 60))) == []


def test_a_block_is_told_of_once_for_each_state():
    states = [FOUND, FOUND, ACCEPTED, ACCEPTED, ORPHANED, ACCEPTED, SETTLED, SETTLED]
    assert kinds_of(CALM, *(after(second, blocks=(block(state),)) for second, state in enumerate(states, 1))) == [
        kinds.BLOCK_FOUND, kinds.BLOCK_ACCEPTED, kinds.BLOCK_ORPHANED, kinds.BLOCK_ACCEPTED, kinds.BLOCK_SETTLED]


def test_a_block_that_is_accepted_before_we_look_is_both():
    assert kinds_of(CALM, after(1, blocks=(block(ACCEPTED),))) == [kinds.BLOCK_FOUND, kinds.BLOCK_ACCEPTED]


def test_a_restart_repeats_no_block():
    blocks = tuple(block(SETTLED, number) for number in range(20))
    assert told(after(0, blocks=blocks), after(1, blocks=blocks)) == []


def test_an_old_block_that_comes_back_into_the_list_is_none_that_was_found():
    assert kinds_of(after(0, blocks=(block(ACCEPTED, 5), block(ACCEPTED, 6))),
                    after(1, blocks=(block(SETTLED, 4), block(ACCEPTED, 5)))) == []


def test_only_what_was_asked_for_is_told():
    views = CALM, after(1, blocks=(block(ORPHANED),))
    assert [notice.kind for notice in told(*views, events=(kinds.BLOCK_ORPHANED,))] == [kinds.BLOCK_ORPHANED]
    assert told(*views, events=(kinds.NODE_LOST,)) == []


def nodes(state: str) -> tuple[SeenNode, ...]:
    return SeenNode("a", state, "timed out"), SeenNode("b", UP)


@pytest.mark.parametrize(("state", "kind"), [(LOST, kinds.NODE_LOST), (BEHIND, kinds.NODE_BEHIND)])
def test_a_node_is_told_of_when_it_lasts_and_when_it_is_back(state, kind):
    views = [CALM, after(1, nodes=nodes(state)), after(1 + NODE_LASTS_S - 1, nodes=nodes(state)),
             after(1 + NODE_LASTS_S, nodes=nodes(state)), after(500, nodes=nodes(state)), after(601, nodes=nodes(UP))]
    first, second = told(*views)
    assert (first.kind, first.facts) == (kind, (("node", "a"), ("reason", "timed out")))
    assert (second.kind, second.facts) == (kinds.NODE_BACK, (("node", "a"), ("after_s", 600)))


def test_a_node_that_flickers_is_not_worth_a_word():
    assert told(*(after(second, nodes=nodes(UP if second % 20 == 0 else LOST)) for second in range(600))) == []


def test_a_node_that_is_away_from_the_start_on_is_told_of():
    assert kinds_of(*(after(second, nodes=nodes(LOST)) for second in range(0, 100, 10))) == [kinds.NODE_LOST]


def test_a_node_that_was_behind_and_then_is_lost_is_two():
    views = [after(second, nodes=nodes(BEHIND if second < 100 else LOST)) for second in range(0, 200, 10)]
    assert kinds_of(*views) == [kinds.NODE_BEHIND, kinds.NODE_LOST]


def test_no_work_is_told_at_once_and_its_end():
    assert kinds_of(CALM, after(1, has_work=False), after(2, has_work=False), after(3)) == [
        kinds.WORK_NONE, kinds.WORK_BACK]


def test_a_start_has_a_minute_for_its_first_template():
    views = [after(second, has_work=None) for second in (0, FIRST_WORK_S - 1)]
    assert told(*views) == []
    assert [notice.kind for notice in told(*views, after(FIRST_WORK_S, has_work=None))] == [kinds.WORK_NONE]


def machine(seen_at: float, *, is_connected: bool = False, name: str = "alice.rig") -> SeenMachine:
    return SeenMachine(name, is_connected, START + seen_at, "bitaxe/2.1")


def test_a_machine_is_gone_after_its_minutes_and_back_again():
    views = [after(0, machines=(machine(0, is_connected=True),)), after(GONE_S - 1, machines=(machine(0),)),
             after(GONE_S + 10, machines=(machine(0),)), after(GONE_S + 30, machines=(machine(0),)),
             after(2 * GONE_S, machines=(machine(1200, is_connected=True),)),
             after(2 * GONE_S + 20, machines=(machine(1200, is_connected=True),))]
    gone, back = told(*views)
    assert (gone.kind, gone.facts) == (kinds.MACHINE_GONE, (
        ("machine", "alice.rig"), ("agent", "bitaxe/2.1"), ("for_minutes", 10)))
    assert (back.kind, back.facts[-1]) == (kinds.MACHINE_BACK, ("after_minutes", 20))


def test_a_restart_repeats_no_machine_that_was_gone_before_and_tells_of_one_that_does_not_come_back():
    long_gone, just_here = machine(-9999, name="old"), machine(-20, name="new")
    (notice,) = told(*(after(second, machines=(long_gone, just_here)) for second in range(0, 700, 20)))
    assert notice.kind == kinds.MACHINE_GONE and notice.facts[0] == ("machine", "new")


def test_a_machine_that_reconnects_all_day_is_never_gone():
    assert told(*(after(second, machines=(machine(second, is_connected=second % 40 == 0),))
                  for second in range(0, 7200, 20))) == []


def test_all_machines_are_gone_through_only_now_and_then():
    looked = []

    class Machines:
        def __iter__(self):
            looked.append(1)
            return iter(())

    told(*(after(second, machines=Machines()) for second in range(100)))
    assert len(looked) == pytest.approx(100 / MACHINES_EVERY_S, abs=2)


def test_a_clock_that_is_set_back_does_not_silence_machines():
    views = [after(0, machines=(machine(-10**6),)), after(-10**6, machines=(machine(-10**6 - 700, name="new"),))]
    assert kinds_of(*views) == [kinds.MACHINE_GONE]


def test_nobody_remembers_machines_that_no_list_has():
    watch = Watch(EVENTS, GONE_S)
    for number in range(50):
        names = tuple(machine(-10**6, name=f"rig{number}.{each}") for each in range(20))
        watch.look(after(number * 60, machines=names))
    machines = next(look.__self__ for look in watch._watchers if type(look.__self__).__name__ == "MachineWatch")
    assert len(machines._gone) == 20


def test_a_certificate_is_told_of_once_a_day_until_it_is_renewed():
    soon, later = SeenCertificate("tls", START + 10 * DAY_S), SeenCertificate("tls", START + 90 * DAY_S)
    views = [after(hour * 3600, certificates=(soon if hour < 48 else later,)) for hour in range(72)]
    notices = told(*views)
    assert [notice.kind for notice in notices] == [kinds.CERTIFICATE_EXPIRING] * 2
    assert notices[0].facts == (("certificate", "tls"), ("ends_in_days", 10))


def test_trouble_with_the_books_and_its_end_are_told():
    first, second = told(CALM, after(1, trouble="disk full"), after(2, trouble="disk full"), after(11))
    assert (first.kind, first.facts) == (kinds.LEDGER_TROUBLE, (("reason", "disk full"),))
    assert (second.kind, second.event, second.facts) == (
        kinds.LEDGER_BACK, kinds.LEDGER_TROUBLE, (("after_s", 10),))


def test_another_version_is_told_of_once():
    assert kinds_of(CALM, *(after(second, other_version="9.9") for second in (1, 2, 3))) == [kinds.UPDATE_THERE]


def test_a_digest_is_due_once_a_day_from_its_hour_on():
    clock = DigestClock(8)
    due = [(day, hour) for day in (1, 2, 3) for hour in range(24) for _ in range(3) if clock.is_due(2027, day, hour)]
    assert due == [(1, 8), (2, 8), (3, 8)]
    started_late = DigestClock(8)
    assert [hour for hour in (9, 10, 23) if started_late.is_due(2027, 1, hour)] == []
    assert started_late.is_due(2027, 2, 8)

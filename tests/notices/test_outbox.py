"""At most one of a kind a minute, a bounded queue, and a few tries: no flood of events becomes a flood of messages."""

import math

from warppool.notices.kinds import BLOCK_FOUND, MACHINE_GONE, NODE_LOST, Notice
from warppool.notices.outbox import KIND_EVERY_S, MOST_WAITING, RETRIES_S, Outbox


def gone(number: int) -> Notice:
    return Notice(MACHINE_GONE, float(number), (("machine", f"rig{number}"),))


def send_all(outbox: Outbox, now: float) -> list[Notice]:
    out = []
    while (notice := outbox.take(now)) is not None:
        outbox.sent()
        out.append(notice)
    return out


def test_the_first_goes_at_once_and_the_rest_of_the_minute_as_one_with_a_count():
    outbox = Outbox()
    for number in range(1000):
        outbox.add(gone(number), 100.0)
    assert send_all(outbox, 100.0) == [gone(0)]
    assert outbox.wakes_at() == 100.0 + KIND_EVERY_S
    assert send_all(outbox, 100.0 + KIND_EVERY_S - 1) == []
    (summed,) = send_all(outbox, 100.0 + KIND_EVERY_S)
    assert summed.count == 999 and summed.facts == (("machine", "rig999"),)
    assert outbox.wakes_at() == math.inf


def test_one_kind_does_not_hold_up_another():
    outbox = Outbox()
    outbox.add(gone(1), 0.0)
    outbox.add(gone(2), 0.0)
    outbox.add(Notice(BLOCK_FOUND, 0.0), 0.0)
    assert [notice.kind for notice in send_all(outbox, 0.0)] == [MACHINE_GONE, BLOCK_FOUND]


def test_a_machine_that_comes_and_goes_all_day_is_one_message_a_minute():
    outbox = Outbox()
    sent = []
    for second in range(3600):
        outbox.add(gone(second), float(second))
        sent += send_all(outbox, float(second))
    assert len(sent) == 60
    sent += send_all(outbox, 3600.0)
    assert sum(notice.count for notice in sent) == 3600


def test_a_failure_is_tried_again_later_each_time_and_then_given_up():
    outbox, now, waits = Outbox(), 0.0, []
    outbox.add(Notice(NODE_LOST, 0.0), now)
    while outbox.take(now) is not None:
        before = now
        if not outbox.failed(now, is_final=False):
            break
        assert outbox.take(now) is None
        now = outbox.wakes_at()
        waits.append(now - before)
    assert tuple(waits) == RETRIES_S
    assert len(outbox) == 0 and outbox.lost == 1


def test_what_would_only_fail_again_is_given_up_at_once():
    outbox = Outbox()
    outbox.add(Notice(NODE_LOST, 0.0), 0.0)
    assert outbox.take(0.0) is not None
    assert not outbox.failed(0.0, is_final=True)
    assert len(outbox) == 0


def test_the_next_notice_has_all_its_tries():
    outbox = Outbox()
    outbox.add(Notice(NODE_LOST, 0.0), 0.0)
    outbox.add(Notice(BLOCK_FOUND, 0.0), 0.0)
    outbox.failed(0.0, is_final=False)
    assert outbox.take(0.0) is None, "they keep their order"
    assert outbox.take(RETRIES_S[0]) is not None
    outbox.sent()
    assert outbox.take(RETRIES_S[0]) == Notice(BLOCK_FOUND, 0.0)
    assert outbox.failed(0.0, is_final=False) and outbox.wakes_at() == RETRIES_S[0]


def test_a_place_that_is_away_for_days_costs_a_bounded_memory_and_loses_the_oldest():
    outbox = Outbox()
    for hour in range(500):
        now = hour * 3600.0
        outbox.add(gone(hour), now)
        if outbox.take(now) is not None and hour == 0:
            outbox.failed(now, is_final=False)
    assert len(outbox) == MOST_WAITING
    assert outbox.lost == 500 - MOST_WAITING
    assert outbox.take(1e9) == gone(0), "the one that is being tried stays"
    outbox.sent()
    assert outbox.take(1e9) == gone(500 - MOST_WAITING + 1)

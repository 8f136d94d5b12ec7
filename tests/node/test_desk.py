import logging
import queue
import threading

import pytest

from tests.mining.makers import make_factory, make_template, make_tip
from warppool.node.desk import FRESH_JOB_S, Desk
from warppool.node.items import NodeLost, TemplateReady
from warppool.threads import STOP


class Inbox:
    """A queue whose waiting moves the clock; `run` of the desk ends when the script does."""

    def __init__(self, clock, items):
        self.clock = clock
        self.items = list(items)

    def get(self, timeout):
        if not self.items:
            return STOP
        item = self.items[0]
        if isinstance(item, float):                 # seconds of silence
            step = min(item, timeout)
            self.clock.now += step
            if item - step <= 1e-9:
                self.items.pop(0)
            else:
                self.items[0] = item - step
            raise queue.Empty
        return self.items.pop(0)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def served(*items):
    """The jobs that come of these items, each with the time it was given out."""
    clock, jobs = Clock(), []
    desk = Desk(make_factory(), Inbox(clock, items), lambda job: jobs.append((clock.now, job)), clock=clock,
                unix=lambda: clock.now + 1_700_000_000)
    desk.run()
    return jobs


def test_every_template_makes_a_job():
    first, second = make_template(make_tip(1)), make_template(make_tip(2), template_id=2)
    jobs = served(TemplateReady(0, first), TemplateReady(0, second))
    assert [job.template for _, job in jobs] == [first, second]


def test_silence_brings_a_fresh_job_every_30_s():
    template = make_template()
    jobs = served(TemplateReady(0, template), 100.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1030.0, 1060.0, 1090.0])
    assert [job.ntime for _, job in jobs] == [1_700_001_000, 1_700_001_030, 1_700_001_060, 1_700_001_090]
    assert len({job.job_id for _, job in jobs}) == 4
    assert FRESH_JOB_S == 30.0


def test_a_template_puts_the_next_fresh_job_off():
    template = make_template()
    jobs = served(TemplateReady(0, template), 20.0, TemplateReady(0, template), 20.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1020.0])


def test_the_first_node_that_answers_is_mined_until_it_is_lost():
    mine, other, newer = (make_template(make_tip(n), template_id=n) for n in (1, 2, 3))
    jobs = served(TemplateReady(1, mine), TemplateReady(0, other), NodeLost(1, "it hung up"), TemplateReady(1, newer),
                  NodeLost(0, "too"), NodeLost(1, "and this one"))
    assert [job.template for _, job in jobs] == [mine, other, newer]


def test_of_the_nodes_left_one_that_lags_comes_last():
    mine, behind, ahead = (make_template(make_tip(n, height=100 + n), template_id=n) for n in (3, 1, 2))
    jobs = served(TemplateReady(0, mine), TemplateReady(1, behind), TemplateReady(2, ahead), NodeLost(0, "it hung up"),
                  NodeLost(2, "too"))
    assert [job.template for _, job in jobs] == [mine, ahead, behind]


def test_without_any_node_the_last_work_goes_on_and_it_is_said_once(caplog):
    template, later = make_template(make_tip(1)), make_template(make_tip(2))
    with caplog.at_level(logging.WARNING):
        jobs = served(TemplateReady(0, template), NodeLost(0, "refused"), NodeLost(0, "refused"), 31.0,
                      TemplateReady(0, later))
    assert [job.template for _, job in jobs] == [template, template, later]
    assert sum("template.lost" in record.getMessage() for record in caplog.records) == 1


def test_nothing_to_mine_is_no_reason_to_spin():
    assert served(500.0) == []


def test_the_thread_ends_by_stop():
    inbox: queue.Queue[object] = queue.Queue()
    desk = Desk(make_factory(), inbox, lambda job: None)
    thread = threading.Thread(target=desk.run)
    thread.start()
    inbox.put(STOP)
    thread.join(5)
    assert not thread.is_alive()

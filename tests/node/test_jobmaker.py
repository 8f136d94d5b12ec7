"""Thread `jobs`: what the choice says becomes jobs, each at its time."""

import logging
import queue
import threading
from dataclasses import replace

import pytest

from tests.mining.makers import PAYOUT, make_factory, make_template, make_tip
from tests.mining.test_proof import full
from warppool.loop import Reconfigure, ask_all
from warppool.mining.payrule import ToFinder
from warppool.node.choice import FIRST_NODE_S, Rules
from warppool.node.items import NodeAnswered, NodeLost, TemplateReady
from warppool.node.jobmaker import FRESH_JOB_S, SAME_TIP_JOB_S, JobMaker, JobMakerSettings
from warppool.threads import STOP

UNIX = 1_700_000_000


class Inbox:
    """A queue whose waiting moves the clock; `run` of the job maker ends when the script does."""

    def __init__(self, clock, items):
        self.clock = clock
        self.items = list(items)

    def qsize(self):
        return 0                                    # each item is a turn of its own

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
        self.items.pop(0)
        return item() if callable(item) else item


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Script:
    """A job maker whose nodes say what the test wants, when it wants."""

    def __init__(self, nodes=1, payer=None, **rules):
        self.clock, self.jobs, self.ends, self.best = Clock(), [], [], []
        self.offset = 0
        self.job_maker = JobMaker(
            make_factory(payer=payer), None, lambda job: self.jobs.append((self.clock.now, job)), clock=self.clock,
            unix=lambda: self.clock.now + UNIX, nodes={n: f"node-{n}" for n in range(nodes)}, rules=Rules(**rules),
            end_work=lambda: self.ends.append(self.clock.now), best=self.best.append)

    def run(self, *items):
        self.job_maker.inbox = Inbox(self.clock, items)
        self.job_maker.run()
        return self.jobs

    def ready(self, node, template):
        return lambda: TemplateReady(node, template, None, int(self.clock.now) + UNIX + self.offset, self.clock.now)

    def again(self, node):
        return lambda: NodeAnswered(node, int(self.clock.now) + UNIX + self.offset, self.clock.now)


def served(*items):
    """The jobs of a single node, each with the time it was given out."""
    return Script().run(*items)


def test_every_template_makes_a_job():
    first, second = make_template(make_tip(1)), make_template(make_tip(2), template_id=2)
    jobs = served(TemplateReady(0, first), TemplateReady(0, second))
    assert [job.template for _, job in jobs] == [first, second]


def test_a_coinbase_that_cannot_be_proved_is_said_once_while_that_lasts(caplog):
    """No signature operation is left: P2PKH gets no work, and all other kinds do."""
    script = Script(payer=ToFinder(PAYOUT, 0))
    full_blocks = [replace(full(weight, 0), template_id=weight) for weight in (2_000, 3_000)]
    fit = replace(full(2_000, 1), template_id=9)
    said = []
    for templates in (full_blocks, [fit], full_blocks[:1]):
        caplog.clear()
        script.run(*[item for template in templates for item in (TemplateReady(0, template), 2.0)])
        said.append([record.message for record in caplog.records if "coinbase.unproven" in record.message])
    assert [len(lines) for lines in said] == [1, 0, 1]
    assert "room:" in said[0][0] and "76a914" in said[0][0]


def test_silence_brings_a_fresh_job_every_30_s():
    jobs = served(TemplateReady(0, make_template()), 100.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1030.0, 1060.0, 1090.0])
    assert [job.ntime for _, job in jobs] == [1_700_001_000, 1_700_001_030, 1_700_001_060, 1_700_001_090]
    assert len({job.job_id for _, job in jobs}) == 4
    assert FRESH_JOB_S == 30.0


def test_a_template_puts_the_next_fresh_job_off():
    jobs = served(TemplateReady(0, make_template()), 20.0, TemplateReady(0, make_template()), 20.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1020.0])


def test_an_answer_with_nothing_new_makes_no_job():
    script = Script()
    script.run(script.ready(0, make_template()), 20.0, script.again(0), 5.0)
    assert len(script.jobs) == 1
    assert script.job_maker.answered_at == 1020.0 and script.job_maker.template_at == 1000.0


@pytest.mark.parametrize("late_s", [0.001, 0.1, 0.9])
def test_a_fresh_job_and_a_refreshed_template_do_not_go_out_together(late_s):
    second = make_template(template_id=2, path=())
    jobs = served(TemplateReady(0, make_template()), FRESH_JOB_S + late_s, TemplateReady(0, second), 10.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1030.0, 1030.0 + SAME_TIP_JOB_S])
    assert jobs[-1][1].template is second


def test_a_new_tip_never_waits():
    jobs = served(TemplateReady(0, make_template(make_tip(1))), 30.01, TemplateReady(0, make_template(make_tip(2))))
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1030.0, 1030.01])


def test_of_several_templates_that_come_at_once_the_newest_goes_out():
    templates = [make_template(template_id=n, path=(bytes([n]) * 32,)) for n in range(5)]
    jobs = served(*(TemplateReady(0, template) for template in templates), 5.0)
    assert [job.template for _, job in jobs] == [templates[0], templates[-1]]


def test_the_best_of_two_nodes_is_mined_until_it_is_lost():
    script = Script(2)
    mine, other = (make_template(make_tip(n, height=100 + n), template_id=n) for n in (1, 2))
    newer = make_template(make_tip(3, height=103))
    jobs = script.run(script.ready(0, mine), script.ready(1, other), script.ready(0, newer), 1.0, NodeLost(0, "gone"),
                      1.0, NodeLost(1, "too"), 1.0)
    assert [job.template for _, job in jobs] == [mine, other, newer, other]
    assert script.best == [0, 1, 0, 1, None]


def test_a_second_node_waits_for_the_first_at_the_start():
    script = Script(2)
    jobs = script.run(script.ready(1, make_template()), 10.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0 + FIRST_NODE_S])


def test_without_any_node_the_last_work_goes_on_and_it_is_said_once(caplog):
    template, later = make_template(make_tip(1)), make_template(make_tip(2))
    with caplog.at_level(logging.WARNING):
        jobs = served(TemplateReady(0, template), NodeLost(0, "refused"), NodeLost(0, "refused"), 31.0,
                      TemplateReady(0, later))
    assert [job.template for _, job in jobs] == [template, template, later]
    assert sum("template.lost" in record.getMessage() for record in caplog.records) == 1
    assert all("node=node-0" in record.getMessage() for record in caplog.records)


def test_work_ends_when_no_node_has_answered_for_a_while_and_begins_with_the_first_that_does():
    script = Script(work_max_age_s=100)
    template = make_template()
    script.run(script.ready(0, template), NodeLost(0, "refused"), 500.0, script.ready(0, template))
    assert script.ends == pytest.approx([1100.0])
    assert [when for when, _ in script.jobs] == pytest.approx([1000.0, 1030.0, 1060.0, 1090.0, 1500.0])
    assert script.best == [0, None, 0]


def test_a_job_carries_the_nodes_time():
    script = Script()
    script.offset = 5000                            # our clock is behind
    jobs = script.run(script.ready(0, make_template()), 35.0)
    assert [job.ntime for _, job in jobs] == [UNIX + 6000, UNIX + 6030]


def test_a_job_ends_at_the_border_of_testnet4(monkeypatch):
    tip = replace(make_tip(min_ntime=UNIX), max_ntime=UNIX + 1010)
    jobs = served(TemplateReady(0, make_template(tip)), 65.0)
    assert [job.ntime for _, job in jobs] == [UNIX + 1000, UNIX + 1010, UNIX + 1010]


def test_a_time_outside_of_32_bits_does_not_come_out():
    script = Script()
    script.offset = 2**32 - 1 - UNIX - 1000
    jobs = script.run(script.ready(0, make_template()), 65.0)
    assert [job.ntime for _, job in jobs] == [2**32 - 1] * 3


def test_nothing_to_mine_is_no_reason_to_spin():
    assert served(500.0) == []


def test_the_thread_ends_by_stop():
    inbox: queue.Queue[object] = queue.Queue()
    job_maker = JobMaker(make_factory(), inbox, lambda job: None)
    thread = threading.Thread(target=job_maker.run)
    thread.start()
    inbox.put(STOP)
    thread.join(5)
    assert not thread.is_alive()


def test_items_that_come_together_are_heard_one_by_one():
    """Two tips in one turn are two jobs, and a fault in one item costs the other nothing."""
    script = Script()
    first, second = make_template(make_tip(1)), make_template(make_tip(2), template_id=2)
    script.job_maker.turn([TemplateReady(0, first), TemplateReady(7, first), TemplateReady(0, second)])
    assert [job.template for _, job in script.jobs] == [first, second]


def test_a_job_that_cannot_be_made_is_tried_again_and_does_not_spin(caplog):
    script = Script()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script.job_maker._factory, "make", lambda *_: 1 / 0)
        script.run(script.ready(0, make_template()), 4.5)
    faults = [record for record in caplog.records if "event=thread.failed thread=jobs" in record.getMessage()]
    assert 4 <= len(faults) <= 6 and script.jobs == []
    script.run(1.5)
    assert len(script.jobs) == 1


def test_it_reports_what_is_mined():
    script = Script()
    assert (script.job_maker.report().jobs, script.job_maker.report().node) == (0, "")
    script.run(script.ready(0, make_template(make_tip(1, height=7))), 5.0)
    report, = ask_all([script.job_maker], 1.0)
    assert (report.name, report.jobs, report.height, report.node) == ("jobs", 1, 7, script.jobs[0][1].template.source)
    assert (report.answered_at, report.lagging, report.is_out_of_work) == (1000.0, (), False)


# --- another configuration --------------------------------------------------------------------------------------------

def settings(*nodes, tag=b"/warppool/", **rules):
    return Reconfigure(JobMakerSettings(Rules(**rules), {number: f"node-{number}" for number in nodes}, tag))


def test_another_tag_stands_in_the_next_job_which_comes_no_sooner():
    script = Script()
    script.run(script.ready(0, make_template()), 10.0, settings(0, tag=b"/other/"), 25.0)
    assert [when for when, _ in script.jobs] == pytest.approx([1000.0, 1030.0])
    assert [b"/other/" in job.coinbase_halves(12)[0] for _, job in script.jobs] == [False, True]


def test_a_node_that_goes_is_replaced_at_once_and_the_submitter_hears_of_it():
    script = Script(nodes=2)
    first, second = make_template(make_tip(1)), make_template(make_tip(1), template_id=2, path=())
    script.run(script.ready(0, first), script.ready(1, second), 5.0, settings(1), 1.0)
    assert script.jobs[-1][1].template is second and script.best == [0, 1]
    assert script.ends == []


def test_a_node_that_comes_is_mined_when_it_has_the_better_tip():
    script = Script()
    better = make_template(make_tip(2, height=make_tip().height + 1))
    script.run(script.ready(0, make_template()), settings(0, 5), 1.0, script.ready(5, better), 1.0)
    assert script.jobs[-1][1].template is better and script.best == [0, 5]


def test_a_shorter_patience_sends_nobody_away_by_itself():
    script = Script()
    script.run(script.ready(0, make_template()), 20.0, settings(0, work_max_age_s=5), 4.0, script.again(0), 4.0)
    assert script.ends == []


def test_work_of_another_node_goes_out_at_once_where_the_one_that_is_mined_is_lost():
    """A block on a template whose node is gone may find nobody who takes it."""
    script = Script(nodes=2)
    first, second = (replace(make_template(), source=f"node-{number}") for number in (0, 1))
    jobs = script.run(script.ready(0, first), script.ready(1, second), 0.2, NodeLost(0, "it hung up"), 0.1)
    assert [(when, job.template.source) for when, job in jobs] == [(1000.0, "node-0"), (1000.2, "node-1")]

"""By which snapshot each job pays: the job maker with a script of nodes and of the thread `payout`."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.mining.makers import make_factory, make_template, make_tip
from tests.node.test_jobmaker import Script
from warppool.node.items import TemplateReady
from warppool.node.jobmaker import SAME_TIP_JOB_S, JobMaker
from warppool.node.jobsnapshots import JobSnapshots
from warppool.node.snapshotitems import SnapshotReady

ONE, TWO = (make_template(make_tip(n, height=100 + n), template_id=n) for n in (1, 2))


class Factory:
    """Makes plain jobs, and keeps what each was to pay by."""

    def __init__(self):
        self.plain = make_factory()
        self.paid_by = []
        self.begin_era = self.plain.begin_era

    def make(self, template, unix, snapshot=None, pays_balances=False):
        self.paid_by.append((snapshot and snapshot.id, pays_balances))
        job = self.plain.make(template, unix)
        return replace(job, snapshot_id=snapshot.id, pays_balances=pays_balances) if snapshot else job


class Shared(Script):
    """A job maker that needs snapshots; `told` is what `payout` hears."""

    def __init__(self):
        super().__init__()
        self.factory, self.told = Factory(), []
        self.job_maker = JobMaker(
            self.factory, None, lambda job: self.jobs.append((self.clock.now, job)), clock=self.clock,
            unix=lambda: self.clock.now, nodes={0: "node-0"},
            snapshots=JobSnapshots(self.told.append, is_needed=True))


def snapshot_of(template, number, balances=()):
    return SimpleNamespace(tip=template.tip.prev_hash, id=bytes([number]) * 16, balances=balances)


def ready(template, number, balances=(), **how):
    return SnapshotReady(snapshot_of(template, number, balances), **{"is_paying": False, **how})


@pytest.fixture
def script():
    return Shared()


def test_no_job_goes_out_before_the_first_snapshot_and_payout_hears_once_what_waits(script):
    jobs = script.run(TemplateReady(0, ONE), 3.0, TemplateReady(0, ONE), 3.0, ready(ONE, 1))
    assert [(when, job.template) for when, job in jobs] == [(1006.0, ONE)]
    assert [(told.tip, told.job_id, told.snapshot_id) for told in script.told] == [
        (ONE.tip, None, b""), (ONE.tip, 1, b"\x01" * 16)]


def test_the_first_job_of_a_tip_pays_no_balances_though_the_snapshot_before_paid_them(script):
    script.run(ready(ONE, 1), TemplateReady(0, ONE), ready(ONE, 2, is_paying=True), 5.0, TemplateReady(0, TWO), 5.0,
               ready(TWO, 3, is_paying=True), 5.0)
    assert script.factory.paid_by == [(b"\x01" * 16, False), (b"\x02" * 16, True), (b"\x02" * 16, False),
                                      (b"\x03" * 16, True)]
    assert [told.is_paying for told in script.told] == [False, True, False, True]


def test_a_snapshot_of_another_tip_gives_its_weights_and_pays_no_balances(script):
    script.run(ready(ONE, 1), TemplateReady(0, TWO), ready(ONE, 2, is_paying=True), 40.0)
    assert script.factory.paid_by == [(b"\x01" * 16, False), (b"\x02" * 16, False)]


def test_a_tip_that_comes_back_pays_no_balances_before_a_snapshot_of_now(script):
    script.run(ready(ONE, 1), TemplateReady(0, ONE), ready(ONE, 2, is_paying=True), 5.0, TemplateReady(0, TWO), 5.0)
    script.factory.paid_by.clear()
    snapshots = script.job_maker._snapshots
    for template in (ONE, TWO, ONE):
        snapshots.make(script.factory, template, 0)
    assert [pays for _, pays in script.factory.paid_by] == [False] * 3


def test_a_snapshot_of_the_minute_waits_for_the_next_job_and_one_by_which_other_balances_are_paid_does_not(script):
    jobs = script.run(ready(ONE, 1), TemplateReady(0, ONE), 0.2, ready(ONE, 2), 10.0, ready(ONE, 3, is_paying=True),
                      0.2, ready(ONE, 4, [5], is_paying=True), 5.0, ready(ONE, 5, [5], is_paying=True), 5.0,
                      ready(ONE, 6), 5.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1010.2, 1010.2 + SAME_TIP_JOB_S, 1020.4])


def test_what_replaces_goes_out_at_once_and_as_a_new_tip_to_every_session(script):
    jobs = script.run(ready(ONE, 1), TemplateReady(0, ONE), 0.1, ready(ONE, 2, replaces=ONE.tip.prev_hash), 0.1,
                      TemplateReady(0, TWO), 0.1, ready(ONE, 3, replaces=ONE.tip.prev_hash), 1.0)
    assert [when for when, _ in jobs] == pytest.approx([1000.0, 1000.1, 1000.2])      # the last one's tip is gone
    first, replacing, moved = (job for _, job in jobs)
    assert replacing.tip != first.tip and replacing.tip.prev_hash == first.tip.prev_hash
    assert moved.tip.prev_hash == TWO.tip.prev_hash
    assert script.factory.plain.make(TWO, 0).tip is moved.tip


def test_a_pool_that_shares_nothing_needs_no_snapshot():
    script = Script()
    assert len(script.run(TemplateReady(0, ONE), 40.0)) == 2

"""Each thread that serves is made to hang in turn: what is said of it, and when it starves systemd's watchdog."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import PATIENCE_S, StubNode, await_true
from tests.service.farm import stub_pools, translating
from tests.service.process import fields_of
from tests.service.test_node_trouble import config_for
from warppool.commands.demo import demo_config
from warppool.loop import GRACE_S, PATIENT_LIMIT_S, PROMPT_LIMIT_S, Loop, Report, ServingThread
from warppool.net.reactor import Reactor
from warppool.node.items import TemplateWanted
from warppool.node.rpc import RpcSource
from warppool.service.pool import Pool
from warppool.service.service import Service
from warppool.status.server import StatusSocket

PATIENT = {"ledger": 10.0, "journal": 10.0, "submit-0": 30.0, "stats": 5.0}
"""Threads that wait for a disk or for a node's `submitblock`, and their own time-outs in seconds."""

UNAWAITED = {"status", "status-files"}
"""Threads that only show numbers: they may hang for ever, and nobody who mines is restarted for it."""


@contextmanager
def started(service: Service) -> Iterator[Service]:
    service.start()
    try:
        assert service.is_ready.wait(PATIENCE_S)
        yield service
    finally:
        service.stop()
    assert not service.has_failed.is_set() and not service.is_hanging


@contextmanager
def pool_on_a_node(folder: Path) -> Iterator[Service]:
    with StubNode(cookie=folder / ".cookie-0") as node, started(Pool(config_for(folder, node)).service) as service:
        yield service


@contextmanager
def pool_on_its_own_chain(folder: Path) -> Iterator[Service]:
    with started(Pool(demo_config(folder, bytes(range(1, 33)))).service) as service:
        yield service


@contextmanager
def translator(folder: Path) -> Iterator[Service]:
    with stub_pools(folder) as pools, translating(folder, *pools) as running:
        yield running.service


SERVICES: dict[str, tuple[Callable[[Path], AbstractContextManager[Service]], set[str]]] = {
    "pool": (pool_on_a_node, {"reactor", "worker-0", "jobs", "submitter", "journal", "ledger", "submit-0", "node-0",
                               "stats", "status", "status-files"}),
    "embedded chain": (pool_on_its_own_chain, {"reactor", "worker-0", "worker-1", "jobs", "submitter", "journal",
                                               "ledger", "node-0", "stats", "status", "status-files"}),
    "translator": (translator, {"reactor", "worker-0", "worker-1", "resolver", "ledger", "stats", "status",
                                "status-files"}),
}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    make, names = SERVICES[request.param]
    with make(tmp_path) as made:
        assert {thread.name for thread in made.threads.watchdog.threads} == names
        yield made


@contextmanager
def hanging(thread: ServingThread) -> Iterator[None]:
    """Its next turn stands until the end of the context."""
    stands, held = threading.Event(), threading.Event()
    step = "_obey" if isinstance(thread, Reactor | StatusSocket) else "turn"
    real = getattr(thread, step)

    def hang(*args: Any) -> Any:
        stands.set()
        assert held.wait(PATIENCE_S)
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, step, hang)
        if isinstance(thread, RpcSource):           # else it answers in the midst of the turn that it is in
            thread.put(TemplateWanted())
        thread.ask(_Nowhere())                      # type: ignore[arg-type]
        assert stands.wait(PATIENCE_S), thread.name
        try:
            yield
        finally:
            held.set()


class _Nowhere:
    def put(self, report: Report) -> None:
        """Nobody waits for it."""


def names_of(service: Service, at: float, apart_from: str) -> set[str]:
    """Who starves the watchdog. A node's thread waits for its node within a turn, so it shows when that began."""
    return {name for name in service.hanging(at) if name == apart_from or not name.startswith("node-")}


def test_each_thread_that_hangs_is_said_and_starves_the_watchdog_in_its_time(
        service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "warppool")
    for thread in service.threads.watchdog.threads:
        check_that_it_is_seen(service, thread, caplog)


def check_that_it_is_seen(service: Service, thread: ServingThread, caplog: pytest.LogCaptureFixture) -> None:
    name, limits, is_unawaited = thread.name, thread.limits, thread.name in UNAWAITED
    is_spared = is_unawaited or name in PATIENT         # when it is complained of first
    if is_unawaited:
        assert limits.slow_s <= 3 * PROMPT_LIMIT_S and limits.hangs_s == math.inf
    elif is_spared:
        assert limits == (PATIENT[name] + GRACE_S, PATIENT_LIMIT_S)
    else:
        assert limits.slow_s == limits.hangs_s <= 3 * PROMPT_LIMIT_S
    with hanging(thread):
        now = time.monotonic()
        assert service.hanging(now) == []
        slow_at = now + limits.slow_s + 1
        await_true(lambda: names_of(service, slow_at, name) == (set() if is_spared else {name}))
        hangs_at = now + min(limits.hangs_s, 10 * PATIENT_LIMIT_S) + 1
        await_true(lambda: names_of(service, hangs_at, name) == (set() if is_unawaited else {name}))
        caplog.clear()
        service.threads.watchdog.look(slow_at)
        said = [fields_of(record.getMessage()) for record in caplog.records if record.levelno == logging.ERROR]
        starves = [fields["starves_watchdog"] for fields in said
                   if fields["event"] == "thread.slow" and fields["thread"] == name]
        assert starves == ["no" if is_spared else "yes"]
    await_true(lambda: thread.beat > now)
    service.threads.watchdog.look(time.monotonic())
    assert f"event=thread.back thread={name}" in caplog.text
    assert service.hanging(time.monotonic()) == []


def test_every_thread_answers_with_a_frozen_report_of_its_own(service: Service) -> None:
    reports = {report.name: report for report in service.threads.reports(PATIENCE_S)}
    assert reports.keys() == {thread.name for thread in service.threads.watchdog.threads}
    for report in reports.values():
        assert type(report) is not Report, "counters of its own"
        assert report.beat <= time.monotonic() and report.waiting >= 0
        hash(report)
        for field in dataclasses.fields(report):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(report, field.name, None)


def test_a_thread_that_hangs_is_left_out_of_the_reports_and_holds_up_no_other(service: Service) -> None:
    threads = service.threads.watchdog.threads
    worker = next(thread for thread in threads if thread.name == "worker-0")
    assert isinstance(worker, Loop)
    with hanging(worker):
        names = [report.name for report in service.threads.reports(1.0)]
    assert sorted([*names, "worker-0"]) == sorted(thread.name for thread in threads)

"""Log lines as the journal and people get them."""

from __future__ import annotations

import io
import logging
import os
import re
import time

import pytest

from warppool.say import say
from warppool.service.log import MAX_HELD, REPEAT_AFTER_S, JournalHandler, is_journal, set_up


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock):
    """A logger of its own, written as for the journal; `log.lines()` is what came out."""
    logger = logging.Logger("test", logging.DEBUG)
    stream = io.StringIO()
    handler = JournalHandler(stream, is_journal=True, clock=clock)
    logger.addHandler(handler)
    logger.lines = lambda: stream.getvalue().splitlines()
    yield logger
    handler.close()


@pytest.mark.parametrize(("level", "priority"), [
    (logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7), (5, 7),
])
def test_under_the_journal_a_line_is_its_priority_and_its_words(log, level, priority):
    log.setLevel(1)
    say(log, level, "miner.opened", conn=7)
    assert log.lines() == [f"<{priority}>event=miner.opened conn=7"]


def test_elsewhere_a_line_begins_with_an_rfc_3339_time_and_its_level():
    stream = io.StringIO()
    handler = JournalHandler(stream, is_journal=False)
    record = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "msg": "event=x"})
    record.created, record.msecs = 1763805600.123, 123.0
    handler.emit(record)
    assert stream.getvalue() == "2025-11-22T10:00:00.123Z INFO     event=x\n"
    handler.close()


def test_a_traceback_cannot_pass_for_an_event(log):
    try:
        raise ValueError("gone\n<2>event=block.accepted\r\x1b[31m\u2028event=x")
    except ValueError:
        log.exception("event=thread.died thread=%s", "w\nevent=y")
    lines = log.lines()
    assert lines[0] == "<3>event=thread.died thread=w"
    assert all(line.startswith("<3>  | ") for line in lines[1:])
    assert "<3>  | <2>event=block.accepted" in lines
    assert all(line.isprintable() for line in lines)


def test_a_warning_that_repeats_is_said_once_and_then_counted(log, clock):
    for conn in range(5):
        say(log, logging.WARNING, "reader.slow", conn=conn, peer=f"192.0.2.{conn}", limit=3)
    say(log, logging.WARNING, "reader.slow", conn=9, limit=4)
    assert log.lines() == ["<4>event=reader.slow conn=0 peer=192.0.2.0 limit=3", "<4>event=reader.slow conn=9 limit=4"]
    clock.now += REPEAT_AFTER_S
    log.info("event=tick")
    assert log.lines()[2:] == ["<4>event=reader.slow conn=4 peer=192.0.2.4 limit=3 repeated=4", "<6>event=tick"]
    say(log, logging.WARNING, "reader.slow", conn=10, limit=3)
    assert log.lines()[4:] == ["<4>event=reader.slow conn=10 limit=3"], "after its time it is news again"


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR, logging.CRITICAL])
def test_nothing_but_warnings_is_held_back(log, level):
    say(log, level, "block.refused", hash="00")
    say(log, level, "block.refused", hash="00")
    assert len(log.lines()) == 2


def test_how_a_node_stands_is_always_said(log):
    for _ in range(2):
        say(log, logging.WARNING, "node.lost", node="node-0", reason="gone")
        say(log, logging.WARNING, "template.lost", reason="gone")
        say(log, logging.INFO, "node.back", node="node-0")
    assert [line.split()[0] for line in log.lines()] == [
        "<4>event=node.lost", "<4>event=template.lost", "<6>event=node.back"] * 2


def test_warnings_with_a_traceback_are_all_said(log):
    for _ in range(2):
        try:
            raise ValueError("x")
        except ValueError:
            log.warning("event=odd", exc_info=True)
    assert log.lines().count("<4>event=odd") == 2


def test_what_is_held_has_a_bound_and_no_count_is_lost(log):
    for number in range(MAX_HELD + 1):
        say(log, logging.WARNING, "odd.seen", number=number)
        say(log, logging.WARNING, "odd.seen", number=number)
    assert log.lines()[-2:] == ["<4>event=odd.seen number=0 repeated=1", f"<4>event=odd.seen number={MAX_HELD}"]
    log.handlers[0].close()
    assert sum(line.endswith("repeated=1") for line in log.lines()) == MAX_HELD + 1


def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    stream = io.StringIO()
    handler = JournalHandler(stream, is_journal=True)
    stream.close()
    handler.handle(logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": "event=x"}))


def test_the_journal_is_known_by_device_and_inode(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"}), "no file at all"


def test_set_up_replaces_what_it_set_up_and_keeps_the_level(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    first, second = io.StringIO(), io.StringIO()
    set_up("info", first, {})
    set_up("warning", second, {})
    logging.getLogger("warppool.test").info("event=hidden")
    logging.getLogger("warppool.test").warning("event=seen")
    assert first.getvalue() == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING  event=seen\n", second.getvalue())
    assert second.getvalue()[:11] <= time.strftime("%Y-%m-%dT", time.gmtime())
    root.setLevel(logging.WARNING)
    next(handler for handler in root.handlers if isinstance(handler, JournalHandler)).close()

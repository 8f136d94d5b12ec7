"""The journal is not a stranger's: first lines, sums, clipped names, and where they come from."""

from __future__ import annotations

import math

import pytest

from tests.net.conftest import LogLines
from tests.net.test_worker import Scene, scene
from warppool.events import Close, Happened
from warppool.net.inbox import Opened, Received
from warppool.net.loglimit import LINES, MAX_ADDRESSES, MINUTE_S, LogLimit
from warppool.say import clip

__all__ = ["scene"]


def test_the_first_of_a_connection_is_said_and_the_rest_counted(log_lines: LogLines) -> None:
    limit = LogLimit()
    assert limit.allows("miner.refused", "192.0.2.1:5", True, 100.0)
    assert not any(limit.allows("miner.refused", "192.0.2.1:5", False, 100.0 + n / 10) for n in range(50))
    assert limit.due == 100.0 + MINUTE_S
    limit.flush(100.0 + MINUTE_S - 0.1)
    assert log_lines.having("lines.summed") == []
    limit.flush(100.0 + MINUTE_S)
    assert log_lines.having("lines.summed") == [
        "INFO event=lines.summed kind=miner.refused count=50 addresses=1 top=\"192.0.2.1=50\""]
    assert limit.due == math.inf


def test_across_connections_a_few_are_said_and_one_sum_a_minute(log_lines: LogLines) -> None:
    limit = LogLimit()
    said = sum(limit.allows("conn.closed", f"192.0.2.{n % 200}:{n}", True, 100.0 + n / 1000) for n in range(10_000))
    assert said == LINES
    limit.flush(1000.0)
    line, = log_lines.having("lines.summed")
    assert f"count={10_000 - LINES} addresses=200" in line and "192.0.2.20=50" in line
    assert limit.allows("conn.closed", "192.0.2.1:9", True, 1000.0), "the next minute has lines of its own"


def test_kinds_do_not_take_each_others_lines() -> None:
    limit = LogLimit()
    for n in range(100):
        limit.allows("conn.closed", f"192.0.2.1:{n}", True, 100.0)
    assert limit.allows("miner.opened", "192.0.2.1:1", True, 100.0)


def test_ipv6_is_summed_by_network_and_addresses_have_a_bound(log_lines: LogLines) -> None:
    limit = LogLimit()
    for n in range(3 * MAX_ADDRESSES):
        limit.allows("conn.closed", f"[2001:db8::{n:x}]:77", False, 100.0)
        limit.allows("miner.refused", f"10.0.{n // 256}.{n % 256}:77", False, 100.0)
    limit.close()
    assert 'addresses=1 top="2001:db8::/64=3000"' in log_lines.having("kind=conn.closed")[0]
    assert f'addresses={MAX_ADDRESSES + 1} top="others=2000' in log_lines.having("kind=miner.refused")[0]


@pytest.mark.parametrize(("text", "shown"), [
    ("alice.rig1", "alice.rig1"), ("a" * 64, "a" * 64), ("a" * 65, "a" * 61 + "..."), ("", ""),
    ("\U0001f4a9" * 64, "\U0001f4a9" * 5 + "..."), ("\0" * 30, "\0" * 10 + "..."), ("a b", "a b")])
def test_names_are_clipped_by_what_the_journal_shows(text: str, shown: str) -> None:
    assert clip(text) == shown


def test_a_thousand_events_of_one_connection_are_one_line(scene: Scene, log_lines: LogLines,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1)
    refused = Happened(1, "info", "miner.refused", (("reason", "x" * 1000), ("agent", "\x1b" * 300)))
    monkeypatch.setattr(scene.connections[1], "receive", lambda *_: [refused] * 1000)
    scene.turn(Received(1, b"x"))
    line, = log_lines.having("event=miner.refused")
    assert line.startswith("INFO event=miner.refused conn=1 peer=peer-1 reason=xxx") and len(line) < 450
    scene.worker._lines.limit.close()
    assert "kind=miner.refused count=999" in log_lines.having("lines.summed")[0]


def test_a_thousand_junk_connections_are_a_few_lines(scene: Scene, log_lines: LogLines) -> None:
    for conn_id in range(1, 1001):
        scene.turn(Opened(conn_id, "lines", f"198.51.100.7:{conn_id}"), Received(conn_id, b"\xff junk\n"))
    assert len(log_lines.having("event=conn.closed")) == LINES
    assert "peer=198.51.100.7:1 " in log_lines.having("event=conn.closed")[0]
    scene.worker._lines.limit.close()
    assert 'top="198.51.100.7=980"' in log_lines.having("kind=conn.closed")[0]


def test_blocks_are_always_said(scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1)
    sent = Happened(1, "info", "block.sent", ())
    monkeypatch.setattr(scene.connections[1], "receive", lambda *_: [sent] * 50)
    scene.turn(Received(1, b"x"))
    assert len(log_lines.having("event=block.sent")) == 50


def test_tracebacks_are_bounded_too(scene: Scene, log_lines: LogLines) -> None:
    for conn_id in range(1, 101):
        scene.turn(Opened(conn_id, "lines", f"198.51.100.7:{conn_id}"), Received(conn_id, b"boom\n"))
    assert len(log_lines.having("event=conn.failed")) == LINES


def test_our_own_closes_are_no_news(scene: Scene, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.open(1)
    monkeypatch.setattr(scene.connections[1], "receive", lambda *_: [Close(1, "bye")])
    scene.turn(Received(1, b"x"))
    assert log_lines.having("conn.closed") == ["DEBUG event=conn.closed conn=1 peer=peer-1 reason=bye"]


def test_each_machine_that_comes_is_a_line_and_behind_a_crowd_the_minute_is_summed(caplog):
    limit = LogLimit()

    def said(second, machines):
        return sum(limit.allows("miner.gone", f"192.0.2.{number}:1", False, second + number / 1000)
                   for number in range(machines))

    with caplog.at_level("INFO", "warppool"):
        assert [said(second, LINES) for second in range(30)] == [LINES] * 30
        assert [said(second, 2 * LINES) for second in range(30, 60)] == [LINES] + [0] * 29, "whoever fills the journal"
        limit.flush(61.0)
        assert said(62, LINES) == LINES, "the next minute is a new one"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "kind=miner.gone" in line and f"count={LINES + 29 * 2 * LINES}" in line

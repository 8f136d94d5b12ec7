"""`warppool status`: one screen, which no name of a stranger and no state of the pool can break."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot
from warppool.commands import cli
from warppool.commands.status import screen
from warppool.stats.snapshot import BlockStats, PayoutStats, StatsSnapshot, WorkStats
from warppool.status.answers import StatusAnswers
from warppool.status.place import NAME
from warppool.status.server import StatusSocket, open_socket


def answer_of(shown: StatsSnapshot) -> dict[str, Any]:
    answer = json.loads(StatusAnswers(lambda: shown, lambda: AT)(b'{"ask": "summary"}'))
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "warppool.toml"
    path.write_text(f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "{tmp_path}"\n')
    return path


@contextmanager
def running(folder: Path, shown: StatsSnapshot) -> Iterator[None]:
    listener = open_socket(folder / NAME, folder)
    assert listener is not None
    server = StatusSocket(listener, StatusAnswers(lambda: shown, lambda: AT))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join(60)


def test_the_screen_says_how_the_pool_is() -> None:
    lines = screen(answer_of(snapshot()), AT).splitlines()
    shown = {line[:9].rstrip(): line for line in lines}
    assert lines[0] == "warppool   well; 0.0 on regtest, up 1 d 3 h"
    assert "1m 3.7 TH/s" in shown["hash rate"] and "7d 3.5 TH/s" in lines[1]
    assert "3 connected (v1 2, v2 1), 1 idle, 1 gone; 2 users" in shown["machines"]
    assert "1234 accepted, 5 refused (0.40 %) (duplicate-share 3, stale-share 12)" in shown["shares"]
    assert "42.0 % of a block's work, for 13 h 53 min" in shown["round"]
    assert "height 840042 by node-0, template 3 s old, tip 3 min 32 s old" in shown["work"]
    assert sum(line.startswith("node") for line in lines) == 2
    assert "2 found; the newest 13 h 53 min ago at height 840001" in shown["blocks"]


@pytest.mark.parametrize("shown", [
    StatsSnapshot(number=1, at=AT, started=AT),                    # nothing has happened yet
    snapshot(payout=PayoutStats(is_shared=True), is_whole=False),
    snapshot(payout=PayoutStats(unsettled=2, is_shared=True, window_percent=12.34, accounts=5, payable_sat=17)),
    snapshot(payout=PayoutStats(unsettled=2)),
    snapshot(blocks=(BlockStats("00", 1, HOSTILE + "\n\x1b[2J\udcff", AT - 1, 1.0, "found"),)),
    snapshot(work=WorkStats(height=5)),
])
def test_any_state_is_plain_lines(shown: StatsSnapshot) -> None:
    text = screen(answer_of(shown), AT)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert 5 < len(text.splitlines()) < 20


def test_the_command_asks_the_daemon(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(config.parent, snapshot()):
        assert cli.main(["status", "-c", str(config)]) == 0
        assert capsys.readouterr().out.startswith("warppool   well")
        assert cli.main(["status", "--json", "-c", str(config)]) == 0
        assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_pool_without_work_is_not_well(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(config.parent, snapshot(work=WorkStats())):
        assert cli.main(["status", "-c", str(config)]) == 1
        assert "not well: no work yet" in capsys.readouterr().out


def test_without_a_daemon_it_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "-c", str(config)]) == 1
    assert "no daemon answers at" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "gone"), [
    ([], "no daemon answers at"), (["--json"], '{"ok": false, "reason": "no daemon')])
def test_who_watches_sees_a_daemon_go_and_come(config: Path, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch, option: list[str], gone: str) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(ExitStack()) for _ in range(2))
        turns = iter((first.close, lambda: second.enter_context(running(config.parent, snapshot()))))

        def sleep(seconds: float) -> None:
            turn = next(turns, None)
            if turn is None:
                raise KeyboardInterrupt
            turn()

        first.enter_context(running(config.parent, snapshot()))
        monkeypatch.setattr("warppool.commands.status.time.sleep", sleep)
        assert cli.main(["status", "--watch", *option, "-c", str(config)]) == 130
    out = capsys.readouterr().out
    well = "warppool   well" if not option else '"ok": true'
    before, _, after = out.partition(gone)
    assert well in before and well in after


def test_a_daemon_of_another_version_is_no_traceback(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listener = open_socket(config.parent / NAME, config.parent)
    assert listener is not None
    server = StatusSocket(listener, lambda line: b'{"ok": true, "reason": "", "pool": []}')
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert cli.main(["status", "-c", str(config)]) == 1
    finally:
        server.stop()
        thread.join(60)
    assert "of another version" in capsys.readouterr().err

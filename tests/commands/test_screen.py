"""Lines are no longer than the terminal, as it is at that moment."""

from __future__ import annotations

import io
import os
import re

import pytest

from warppool.commands.mine import TIPS_EVERY_S, Screen
from warppool.commands.screen import Display
from warppool.miner.link import Task


class Terminal(io.StringIO):
    """A terminal whose width can be set."""

    def fileno(self) -> int:
        return 7


@pytest.fixture
def terminal(monkeypatch):
    widths = [80]
    monkeypatch.setattr("os.get_terminal_size", lambda number: os.terminal_size((widths[0], 24)))
    stream = Terminal()
    stream.widths = widths
    return stream


def rows(stream: Terminal) -> list[str]:
    return [part for part in re.split(r"\r\033\[K|\n", stream.getvalue()) if part]


@pytest.mark.parametrize("width", [20, 40, 79, 80, 200])
def test_no_line_is_longer_than_the_terminal(terminal, width):
    display = Display(terminal, is_terminal=True)
    long = f"listening: stratum2+tcp://127.0.0.1:34254/{'07' * 32} and some words after it"
    display.line(long)
    terminal.widths[0] = width                  # it was made smaller, or larger
    display.line(long)
    display.draw([long, "shorter than that", "short"])
    lines = rows(terminal)
    assert all(len(line) < max(80, width) for line in lines)
    assert all(len(line) < 80 for line in lines[:2]) and all(len(line) < width for line in lines[2:])
    assert re.sub(r"\s", "", long) in re.sub(r"\s", "", "".join(lines)), "nothing is lost"


def test_the_line_that_changes_is_the_longest_form_that_fits(terminal):
    display = Display(terminal, is_terminal=True)
    for width, shown in ((80, "a" * 60), (60, "b" * 30), (20, "c" * 19), (5, "cccc")):
        terminal.widths[0] = width
        display.draw(["a" * 60, "b" * 30, "c" * 25])
        assert rows(terminal)[-1] == shown


def test_where_nobody_watches_lines_stay_as_they_are():
    stream = io.StringIO()
    Display(stream, is_terminal=False).line("x" * 300)
    assert stream.getvalue() == "x" * 300 + "\n"
    assert Display(stream, is_terminal=True).width() == 80, "nobody knows"


def test_a_stream_that_is_gone_is_no_traceback():
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    stream = Full()
    display = Display(stream, is_terminal=False)
    display.line("lost")
    assert display.is_gone and display.error.errno == 28
    display.line("nothing more")
    assert stream.getvalue() == "lost\n"


def test_tips_that_come_fast_are_summed_up():
    stream, now = io.StringIO(), [100.0]
    screen = Screen(Display(stream, is_terminal=False), clock=lambda: now[0])
    for number in range(60):
        now[0] += 0.5
        screen.tell(Task(_Work(number), 8, 0, True))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 60 * 0.5 / TIPS_EVERY_S + 1
    assert lines[0].startswith("new tip: job 0 on 00")
    assert re.match(r"20 new tips, the last: job 20 on ", lines[1])


class _Work:
    """The part of a job that the screen shows."""

    prev_hash = bytes(32)

    def __init__(self, number: int) -> None:
        self.job_id = number

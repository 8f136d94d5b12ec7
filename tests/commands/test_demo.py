"""`warppool demo` as anybody would start it: it shows every part, ends by itself and believes what it has seen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.patience import PATIENCE_S, is_busy
from tests.service.process import environ
from warppool.commands import demo as module
from warppool.commands.screen import Display
from warppool.service.translator import Translator
from warppool.translate.counters import ShareCounts

pytest.importorskip("pbk")


UNHURRIED = (sys.executable, "-c", "from warppool.commands import cli, demo; from warppool.miner import cpu; "
             f"import sys; demo.DEADLINE_S = demo.OUTCOMES_S = cpu.ANSWERS_S = {PATIENCE_S / 3}; sys.exit(cli.main())")
"""`warppool` whose demo has as long for its blocks and answers as a busy machine takes."""


def run_demo(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*UNHURRIED, "demo", "--plain", "--blocks", "3", *options], capture_output=True, text=True,
                          timeout=PATIENCE_S, env=environ(TMPDIR=str(tmp_path)))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert list(tmp_path.iterdir()) == [], "it cleans up behind itself"
    return done


@pytest.mark.parametrize(("options", "miners"), [
    ((), ["v2-standard", "v2-extended", "v1", "v1-tls"]), (("--translator",), ["v1", "v1-tls"]),
    (("--payout", "solo"), ["v2-standard", "v2-extended", "v1", "v1-tls", "v1-second"]),
    (("--payout", "pplns"), ["v2-standard", "v2-extended", "v1", "v1-tls", "v1-second"]),
])
def test_the_demo_ends_by_itself_and_every_miner_has_mined(tmp_path, options, miners):
    out = run_demo(tmp_path, *options).stdout
    told = re.findall(r"(?m)^(\S+): (\d+) shares sent, ([1-9]\d*) accepted, (\d+) refused"
                      r"(?: \(the last: (?:Stale|stale-share)\))?$", out)      # a new tip has overtaken it, no worse
    assert [miner for miner, *_ in told] == miners
    assert all(int(sent) == int(accepted) + int(refused) for _, sent, accepted, refused in told), "each is known"
    blocks = re.search(r"(?m)^blocks: (\d+) found, (\d+) accepted, (\d+) side, 0 refused; books: (\d+) shares$", out)
    found, accepted, side, _ = map(int, blocks.groups())
    assert found == accepted + side and accepted >= 3
    assert ("a side block is valid, too" in out) == (side > 0)
    assert out.endswith("demo succeeded: every part worked\n")
    has_addresses = "--payout" in options
    assert ("as libbitcoinkernel reads them" in out) == has_addresses
    paid = re.findall(r"(?m)^  (\S+): [1-9]\d* sat in [1-9]\d* blocks, to (\S+)$", out)
    assert not has_addresses or [miner for miner, _ in paid] == miners, "each user was paid, at the very address"
    assert ("\nwarppool audit: " in out) == ("pplns" in options)
    told = re.search(r"(?m)^translator: (\d+) received, (\d+) accepted, (\d+) rejected, 0 filtered, 0 pending, "
                     r"(\d+) unconfirmed; books: (\d+) shares$", out)
    assert (told is not None) == ("--translator" in options)
    if told is not None:                                # a share that a new tip has overtaken is rejected
        received, taken, rejected, unconfirmed, booked = map(int, told.groups())
        assert received == taken + rejected + unconfirmed and taken == booked
        assert not unconfirmed or is_busy()


def in_a_terminal(columns: int) -> tuple[int, subprocess.Popen[bytes]]:
    """The demo on a terminal of so many columns and 24 rows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([*UNHURRIED, "demo", "--blocks", "1000"], stdin=theirs, stdout=theirs,
                               stderr=subprocess.PIPE, env=environ())
    os.close(theirs)
    return ours, process


def shown(terminal: int, until: bytes) -> str:
    """All that comes until these bytes do, or until the end."""
    data = b""
    with suppress(OSError):                     # EIO: the other end is closed
        while until not in data and (more := os.read(terminal, 4096)):
            data += more
    return data.decode()


def longest(text: str) -> int:
    return max(len(row) for row in re.split(r"\r\n|\r\x1b\[K|\n|\r", text))


def test_no_line_is_longer_than_the_terminal_and_ctrl_c_is_stopped_and_130():
    terminal, process = in_a_terminal(80)
    with process:
        before = shown(terminal, b" blocks  ") + shown(terminal, b"\r\x1b[K")
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
        shown(terminal, b"\r\x1b[K")            # one may have been on its way
        shown(terminal, b"\r\x1b[K")
        process.send_signal(signal.SIGINT)
        after = shown(terminal, b"nothing of the kind")
        assert process.wait(PATIENCE_S) == 130
        assert process.stderr.read() == b""
    os.close(terminal)
    assert longest(before) < 80 and longest(after) < 50
    assert after.rstrip().endswith("stopped") and "demo failed" not in after
    told = re.findall(r"(\d+) shares\s+sent,\s+(\d+)\s+accepted,\s+(\d+)\s+refused", after)
    assert len(told) == 4 and all(int(sent) == int(accepted) + int(refused) for sent, accepted, refused in told)


@pytest.mark.parametrize(("counts", "booked", "words"), [
    (ShareCounts(3, 1, (("stale-share", 1),), 0, 0, 1, 0), 1, []),
    (ShareCounts(3, 1, (("stale-share", 1),), 0, 0, 0, 0), 1, ["do not balance"]),
    (ShareCounts(3, 1, (("stale-share", 1),), 0, 1, 0, 0), 1, ["do not balance"]),
    (ShareCounts(3, 1, (("stale-share", 1),), 0, 0, 1, 0), 2, ["counted 1 accepted shares and booked 2"]),
])
def test_a_translator_whose_books_do_not_agree_is_a_failure(monkeypatch, capsys, counts, booked, words):
    class Reader:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def totals(self):
            return SimpleNamespace(shares=booked)

    monkeypatch.setattr(module, "open_reader", lambda *_: Reader())
    monkeypatch.setattr(module, "books_of", lambda config: ())
    translator = Translator.__new__(Translator)
    translator.config = None
    monkeypatch.setattr(Translator, "counts", lambda self: counts)
    problems = module._problems_of(translator, Display(sys.stdout, is_terminal=False))
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))

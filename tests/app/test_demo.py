"""`warppool demo` as anybody would start it: it shows every part, ends by itself and believes what it has seen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.app.process import PATIENCE_S, WARPPOOL, environ
from warppool.app import demo as module
from warppool.app.translator import Translator
from warppool.translate.counters import Counts

pytest.importorskip("pbk")


def run_demo(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*WARPPOOL, "demo", "--plain", "--blocks", "3", *options], capture_output=True, text=True,
                          timeout=PATIENCE_S, env=environ(TMPDIR=str(tmp_path)))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert list(tmp_path.iterdir()) == [], "it cleans up behind itself"
    return done


@pytest.mark.parametrize(("options", "miners"), [
    ((), ["v2-standard", "v2-extended", "v1", "v1-tls"]), (("--translator",), ["v1", "v1-tls"]),
])
def test_the_demo_ends_by_itself_and_every_miner_has_mined(tmp_path, options, miners):
    out = run_demo(tmp_path, *options).stdout
    assert re.findall(r"(?m)^(\S+): \d+ shares sent, [1-9]\d* accepted, \d+ refused$", out) == miners
    blocks = re.search(r"(?m)^blocks: (\d+) found, (\d+) accepted, (\d+) side, 0 refused; books: (\d+) shares$", out)
    found, accepted, side, _ = map(int, blocks.groups())
    assert found == accepted + side and accepted >= 3
    assert out.endswith("demo succeeded: every part worked\n")
    told = re.search(r"(?m)^translator: (\d+) received, (\d+) accepted, (\d+) rejected, 0 filtered, 0 pending, "
                     r"0 unconfirmed; books: (\d+) shares$", out)
    assert (told is not None) == bool(options)
    if told is not None:                                # a share that a new tip has overtaken is rejected
        received, taken, rejected, booked = map(int, told.groups())
        assert received == taken + rejected and taken == booked


@pytest.mark.parametrize(("counts", "booked", "words"), [
    (Counts(3, 1, (("stale-share", 1),), 0, 0, 1, 0), 1, []),
    (Counts(3, 1, (("stale-share", 1),), 0, 0, 0, 0), 1, ["do not balance"]),
    (Counts(3, 1, (("stale-share", 1),), 0, 1, 0, 0), 1, ["do not balance"]),
    (Counts(3, 1, (("stale-share", 1),), 0, 0, 1, 0), 2, ["counted 1 accepted shares and booked 2"]),
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
    problems = module._problems_of(translator)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))

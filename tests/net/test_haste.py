"""The interpreter's switch interval is short while a worker has more to do than a turn takes, and not otherwise."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator

import pytest

from warppool.net import turns
from warppool.net.haste import GIVING_WAY_S, HURRIED_S, LASTS_S, Haste
from warppool.net.mailbox import Mailbox
from warppool.net.turns import Turns


@pytest.fixture
def interval() -> Iterator[float]:
    """The interval as it was, which is put back."""
    usual = sys.getswitchinterval()
    yield usual
    sys.setswitchinterval(usual)


def begin(turns: Turns, now: float) -> None:
    """A turn begins, as a worker says it."""
    turns.ends_at, turns.rested = now + turns.length_s, now


def test_it_is_short_from_the_first_late_turn_until_a_second_after_the_last(
        interval: float, monkeypatch: pytest.MonkeyPatch) -> None:
    haste, mailbox = Haste(), Mailbox[object]()
    monkeypatch.setattr(turns, "HASTE", haste)
    mine = Turns(length_s=0.01)
    try:
        begin(mine, time.monotonic())
        mine.rest(mailbox)                      # type: ignore[arg-type]
        assert sys.getswitchinterval() == interval and haste.until == math.inf

        begin(mine, time.monotonic() - 1.0)      # this turn took a second
        mine.rest(mailbox)                      # type: ignore[arg-type]
        assert sys.getswitchinterval() == pytest.approx(HURRIED_S)
        assert haste.until > time.monotonic() + LASTS_S / 2

        mine.length_s = math.inf
        begin(mine, time.monotonic())
        mine.rest(mailbox)                      # type: ignore[arg-type]
        assert sys.getswitchinterval() == pytest.approx(HURRIED_S)

        haste.until = time.monotonic() - 1e-3
        begin(mine, time.monotonic())
        mine.rest(mailbox)                      # type: ignore[arg-type]
        assert sys.getswitchinterval() == pytest.approx(interval) and haste.until == math.inf
    finally:
        mailbox.close()


def test_two_workers_in_haste_end_at_the_interval_that_was_there_before(interval: float) -> None:
    haste = Haste()
    for now in (1.0, 1.5, 2.0):
        haste.begin(now)
    assert haste.until == 2.0 + LASTS_S
    haste.end()
    assert sys.getswitchinterval() == pytest.approx(interval)
    haste.begin(5.0)
    haste.end()
    assert sys.getswitchinterval() == pytest.approx(interval)


def fail(haste: Haste) -> None:
    """The flood is over, and what is computed has a bug."""
    haste.end()
    raise ValueError("a bug")


def test_who_computes_for_people_gives_way_sooner_in_haste_or_not(interval: float) -> None:
    haste = Haste()
    with haste.giving_way():
        assert sys.getswitchinterval() == pytest.approx(GIVING_WAY_S)
        haste.begin(1.0)
        with haste.giving_way():
            assert sys.getswitchinterval() == pytest.approx(GIVING_WAY_S)
        assert sys.getswitchinterval() == pytest.approx(GIVING_WAY_S)
    assert sys.getswitchinterval() == pytest.approx(HURRIED_S)
    with pytest.raises(ValueError, match="a bug"), haste.giving_way():
        fail(haste)
    assert sys.getswitchinterval() == pytest.approx(interval)

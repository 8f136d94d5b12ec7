"""The mailbox: nothing is lost, nothing waits without a byte, and one byte is enough."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.net.mailbox import Mailbox


@contextmanager
def mailbox() -> Iterator[Mailbox[int]]:
    box: Mailbox[int] = Mailbox()
    try:
        yield box
    finally:
        box.close()


def has_bell(box: Mailbox[int]) -> bool:
    """Whether a reader that sleeps in `select` would wake."""
    return bool(select.select([box], [], [], 0)[0])


@given(st.lists(st.integers(-1, 5), max_size=40))
def test_items_come_in_order_and_never_without_a_byte(steps: list[int]) -> None:
    """A negative step drains, any other posts so many items."""
    with mailbox() as box:
        posted = drained = 0
        for step in steps:
            for _ in range(step):
                box.post(posted)
                posted += 1
            assert has_bell(box) == (posted > drained)
            if step < 0:
                assert box.drain() == list(range(drained, posted))
                drained = posted
                assert not has_bell(box)


def test_one_byte_wakes_for_a_whole_batch() -> None:
    with mailbox() as box:
        for number in range(1000):
            box.post(number)
        assert os.read(box.fileno(), 4096) == b"\0"


def test_a_drain_without_items_is_no_fault() -> None:
    with mailbox() as box:
        assert box.drain() == []


class _Meddling:
    """Stands in for a part of the mailbox and posts at the worst moment."""

    def __init__(self, part: object, name: str, meddle: Callable[[], None]) -> None:
        self._part, self._name, self._meddle = part, name, meddle

    def __getattr__(self, name: str) -> object:
        value = getattr(self._part, name)
        if name != self._name:
            return value

        def meddled(*args: object) -> object:
            result = value(*args)
            self._meddle()
            return result

        return meddled


@pytest.mark.parametrize(("part", "method"), [("_read_end", "recv"), ("_items", "qsize"), ("_items", "get_nowait")])
def test_an_item_posted_amid_a_drain_is_taken_or_rings(part: str, method: str) -> None:
    with mailbox() as box:
        box.post(1)
        real = getattr(box, part)
        setattr(box, part, _Meddling(real, method, lambda: box.post(2)))
        items = box.drain()
        setattr(box, part, real)
        assert items == [1, 2] or (items == [1] and has_bell(box) and box.drain() == [2])


def test_many_threads_may_post() -> None:
    """With threads switched as often as can be, every item arrives, those of one thread in their order."""
    posts, posters = 2000, 4
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with mailbox() as box:
            def post(base: int) -> None:
                for number in range(posts):
                    box.post(base + number)

            threads = [threading.Thread(target=post, args=(base,)) for base in range(0, posters * posts, posts)]
            for thread in threads:
                thread.start()
            taken: list[int] = []
            while len(taken) < posts * posters:
                assert select.select([box], [], [], 10)[0], "items wait and nothing wakes the reader"
                taken += box.drain()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    for base in range(0, posters * posts, posts):
        assert [item for item in taken if base <= item < base + posts] == list(range(base, base + posts))


def test_a_full_pipe_does_not_block_a_poster() -> None:
    with mailbox() as box:
        with suppress(BlockingIOError):
            while True:
                box._write_end.send(bytes(65536))
        box.post(1)
        assert box.drain() == [1]


def test_a_post_to_a_closed_mailbox_goes_nowhere() -> None:
    box: Mailbox[int] = Mailbox()
    box.close()
    box.post(1)
    assert isinstance(box._write_end, socket.socket) and box._write_end.fileno() == -1


def test_mail_ends_a_wait_whether_it_was_there_before_or_comes_meanwhile() -> None:
    with mailbox() as box:
        box.post(1)
        box.wait(3600)
        assert box.drain() == [1]
        poster = threading.Thread(target=box.post, args=[2])
        poster.start()
        box.wait(3600)
        poster.join()
        assert box.drain() == [2]


def test_a_wait_without_mail_ends() -> None:
    with mailbox() as box:
        box.wait(0.001)
        assert box.drain() == []

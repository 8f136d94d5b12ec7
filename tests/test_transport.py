"""The transports that hold no state."""

from __future__ import annotations

import math

import pytest

from warppool.transport import PLAIN, SHUT, Plain, Transport


def test_plain_passes_bytes_on_as_they_are() -> None:
    assert PLAIN.open(b"in", 1.0) == b"in"
    assert PLAIN.seal(b"out") == b"out"
    assert PLAIN.shut() == b""


def test_a_closed_connection_neither_hears_nor_speaks() -> None:
    assert SHUT.open(b"in", 1.0) == SHUT.seal(b"out") == SHUT.shut() == b""


@pytest.mark.parametrize("transport", [PLAIN, SHUT])
def test_they_want_nothing_of_the_worker(transport: Plain) -> None:
    served: Transport = transport                   # for mypy, too
    served.tick(1.0)
    assert (served.wakes_at, served.has_news, served.pending) == (math.inf, False, 0)
    assert (served.end, served.recognised, served.peer_key) == (None, None, None)

"""A stderr that nobody drains stops nothing."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.node.stub import StubNode
from tests.service.process import PATIENCE_S, WARPPOOL, environ, write_config
from warppool.service.log import JournalHandler
from warppool.service.logwriter import MAX_WAITING, RESERVE, LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def read_all(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(fd, 1 << 20)
    return data


def test_lines_are_written_in_order_and_the_end_waits_for_them(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], str)
    for number in range(1000):
        writer.write(f"line {number}\n")
    writer.close(PATIENCE_S)
    os.close(pipe[1])
    expected = b"".join(b"line %d\n" % number for number in range(1000))
    assert read_all(pipe[0], len(expected)) == expected


def test_what_is_printed_after_the_log_has_caught_up_stands_behind_it(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], str)
    for _ in range(100):
        writer.write("logged\n")
        writer.catch_up(PATIENCE_S)
        os.write(pipe[1], b"printed\n")
    assert read_all(pipe[0], 1500) == b"logged\nprinted\n" * 100
    writer.write("x" * 200_000)                 # more than a pipe holds
    writer.catch_up(0.05)
    read_all(pipe[0], 200_000)


def test_a_reader_that_stands_stops_nobody_and_the_rest_is_counted(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], lambda count: f"dropped {count}\n")
    line = "x" * 999 + "\n"
    writer.write(line * 200)                    # more than a pipe holds
    while writer._lines:                        # until the thread has taken it, and stands
        time.sleep(0.001)
    for _ in range(8000):
        writer.write(line)
    writer.write("urgent\n", is_urgent=True)
    assert writer._waiting <= MAX_WAITING and writer._lost > 0
    lost = writer._lost
    assert 8000 - lost <= (MAX_WAITING - RESERVE) // 1000
    expected = (200 + 8000 - lost) * 1000 + len(f"urgent\ndropped {lost}\n")
    said = read_all(pipe[0], expected)
    assert said.endswith(f"urgent\ndropped {lost}\n".encode()) and len(said) == expected
    writer.close(PATIENCE_S)


def test_the_end_does_not_wait_for_a_reader_that_stands(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], str)
    writer.write("x" * 200_000)
    writer.close(0.05)
    assert writer._thread.is_alive() and writer._thread.daemon
    read_all(pipe[0], 200_000)


def test_a_reader_that_is_gone_costs_its_lines_alone(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    writer = LogWriter(pipe[1], str)
    writer.write("nobody hears this\n")
    writer.close(PATIENCE_S)
    assert not writer._thread.is_alive()


def test_the_handler_writes_behind(pipe: tuple[int, int]) -> None:
    with open(pipe[1], "w", closefd=False) as stream:
        handler = JournalHandler(stream, is_journal=True)
        handler.write_behind()
        handler.handle(logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": "event=x"}))
        assert os.read(pipe[0], 100) == b"<3>event=x\n"
        handler.close()
        assert handler._dropped(7).startswith("<3>event=log.dropped count=7 meaning=")


def test_a_pool_whose_stderr_nobody_drains_starts_serves_and_ends(tmp_path: Path) -> None:
    """Every line of a debug log goes into a pipe that is full from the beginning."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write_end, bytes(4096))
    os.set_blocking(write_end, True)
    with StubNode(cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=None, node={"url": stub.url, "cookie_file": str(stub.cookie)},
                              stratum={"sv2_listen": [], "listen": ["127.0.0.1:0"]}, log={"level": "debug"})
        manager = tmp_path / "notify"

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.bind(str(manager))
            door.settimeout(PATIENCE_S)
            pool = subprocess.Popen([*WARPPOOL, "run", "-c", str(config)], stderr=write_end,
                                    env=environ(NOTIFY_SOCKET=str(manager)))
            try:
                while not door.recv(4096).startswith(b"READY=1"):
                    pass
                began = time.monotonic()
                pool.terminate()
                assert pool.wait(PATIENCE_S) == 0
                assert time.monotonic() - began < PATIENCE_S
            finally:
                pool.kill()
                pool.wait()
                os.close(read_end)
                os.close(write_end)

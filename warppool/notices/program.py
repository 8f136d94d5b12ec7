"""A notice to a program of the operator's: JSON on its stdin, and nothing else that it could learn from us.

No shell reads what a stranger chose: the list of arguments is the operator's, and names of machines stand in the JSON
alone. The program gets a clean environment and no descriptor of ours but stdin, and is killed with all its children
once its time is over.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from warppool.notices.delivery import DELIVERY_S, NotDelivered
from warppool.notices.kinds import Notice
from warppool.notices.words import document_of

ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a program gets: our own environment may hold secrets of the configuration."""


class CommandRunner:
    """Runs one command for each notice."""

    def __init__(self, command: Sequence[str], program: str, timeout_s: float = DELIVERY_S) -> None:
        self._command = tuple(command)
        self._program = program
        self._timeout_s = timeout_s
        self._lock = threading.Lock()               # held where the process is made known, killed or reaped
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    @property
    def place(self) -> str:
        """The file that is run."""
        return self._command[0]

    def deliver(self, notice: Notice) -> None:
        """Run the command and wait for its end; NotDelivered unless it returns 0 in time."""
        body = json.dumps(document_of(notice, self._program)).encode() + b"\n"
        process, has_ended = self._start(), False
        try:
            _feed(process, body)
            has_ended = _await_end(process, self._timeout_s)
        finally:
            self._end(process)
        if self._is_closed:
            raise NotDelivered("the daemon stops")
        if not has_ended:
            raise NotDelivered(f"it still runs after {self._timeout_s:g} s, and is killed")
        if process.returncode != 0:
            raise NotDelivered(_words(process.returncode))

    def close(self) -> None:
        """Any thread: kill what runs."""
        with self._lock:
            self._is_closed = True
            if self._process is not None:
                _kill_group(self._process)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_closed:
                raise NotDelivered("the daemon stops")
            try:
                self._process = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env=ENVIRONMENT, cwd="/", close_fds=True, start_new_session=True)
            except OSError as exc:
                raise NotDelivered(f"cannot be started: {exc.strerror}", is_final=True) from None
            return self._process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the whole group, also where the program itself has ended: a child of it may be left.

        The program is reaped after that. Until then nobody else can get its number, which is the group's.
        """
        with self._lock:
            self._process = None
            _kill_group(process)
        process.wait()


def _feed(process: subprocess.Popen[bytes], body: bytes) -> None:
    """Give the program its stdin. A pipe holds more than a notice, so this waits for no reader."""
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(body)


def _await_end(process: subprocess.Popen[bytes], timeout_s: float) -> bool:
    """Whether the program ends within the time; it is not reaped here."""
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(ended)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _words(status: int) -> str:
    return f"it was ended by signal {-status}" if status < 0 else f"it returned {status}"

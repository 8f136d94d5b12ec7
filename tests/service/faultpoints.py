"""Pools that kill themselves, as `kill -9` would, at one point of the way from a share to a settled block.

`Pools` has one process that has imported everything, and forks each pool from it: so a start costs a third of what a
new process costs. A pool is `warppool run -c FILE`, which dies when it comes to a point of POINTS for the nth time; at
the point `none` it lives. Its stderr has a line `event=fault.job snapshot=ID pays=0` for each job before any machine
gets it (`pays=1`: it pays balances), and `event=fault.hit` at its death.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.lines import Lines
from tests.patience import PATIENCE_S
from tests.service.process import environ, fields_of
from warppool.bitcoin.hashes import double_sha256
from warppool.commands.cli import main
from warppool.ledger.payoutitems import Booking, KeepSnapshot
from warppool.ledger.sqlite import SqliteBooks
from warppool.node.journal import Journal
from warppool.node.kernel import Kernel, load_kernel
from warppool.node.regtest import RegtestSource
from warppool.node.submitter import Submitter
from warppool.payout.moves import Move, PayoutState
from warppool.service.pool import WorkBroadcast


def say(text: str) -> None:
    os.write(2, f"{text}\n".encode("ascii"))


class Fault:
    """Dies at the `nth` hit."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self._lock = threading.Lock()

    def hit(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                say("event=fault.hit")
                os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: Any, name: str, *, before: Callable[..., object] | None = None,
         after: Callable[..., object] | None = None) -> None:
    """Let `owner.name` call `before` and `after` with its arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **more: Any) -> Any:
        if before is not None:
            before(*args)
        result = original(*args, **more)
        if after is not None:
            after(*args)
        return result

    setattr(owner, name, wrapped)


def in_booking(fault: Fault, is_it: Callable[[object], bool]) -> Callable[..., None]:
    """Hits if one of the rows that are written is the one."""
    def look(_books: object, _shares: object, _refusals: object, rows: Any) -> None:
        if any(is_it(each) for row in rows if isinstance(row, Booking) for each in row.rows):
            fault.hit()
    return look


def is_snapshot(row: object) -> bool:
    return isinstance(row, KeepSnapshot)


def moves_to(state: PayoutState) -> Callable[[object], bool]:
    return lambda row: isinstance(row, Move) and row.after is state


def found(fault: Fault) -> None:
    """The submitter has the block, and has told nobody."""
    wrap(Submitter, "_found", before=lambda *_: fault.hit())


def handed_over(fault: Fault) -> None:
    """The chain has the block for good, and the journal has it not, whichever of the two would be first."""
    submitted: set[bytes] = set()
    flushed: set[bytes] = set()
    waiting: set[bytes] = set()

    def look() -> None:
        if waiting & flushed:
            fault.hit()

    def hold(_journal: object, entry: Any) -> None:
        waiting.add(entry.block_hash)
        look()
        threading.Event().wait()

    def note(_kernel: Kernel) -> None:
        flushed.update(submitted)
        look()

    wrap(Journal, "write", before=hold)
    wrap(Kernel, "submit", after=lambda _, raw: submitted.add(double_sha256(raw[:80])))
    wrap(Kernel, "flush", after=note)
    assert RegtestSource.__init__.__kwdefaults__
    RegtestSource.__init__.__kwdefaults__["flush_every"] = 1


def journaled(fault: Fault) -> None:
    """The journal has the block for good, and nobody has heard so."""
    wrap(Journal, "sync_directory", after=lambda *_: fault.hit())


def snapshot_committed(fault: Fault) -> None:
    """The books have a snapshot, and no job carries it yet."""
    wrap(SqliteBooks, "write", after=in_booking(fault, is_snapshot))


def job_out(fault: Fault) -> None:
    """Every worker has the job."""
    wrap(WorkBroadcast, "job", after=lambda *_: fault.hit())


def before_entries(fault: Fault) -> None:
    """The block's entries are worked out, and not in the books."""
    wrap(SqliteBooks, "write", before=in_booking(fault, moves_to(PayoutState.FOUND)))


def entries_booked(fault: Fault) -> None:
    """They are in the books, and nobody has heard so."""
    wrap(SqliteBooks, "write", after=in_booking(fault, moves_to(PayoutState.FOUND)))


def before_settlement(fault: Fault) -> None:
    """A block is known to be settled, and not in the books."""
    wrap(SqliteBooks, "write", before=in_booking(fault, moves_to(PayoutState.SETTLED)))


def settled(fault: Fault) -> None:
    """It is in the books, and nobody has heard so."""
    wrap(SqliteBooks, "write", after=in_booking(fault, moves_to(PayoutState.SETTLED)))


def none(fault: Fault) -> None:
    """Live."""


POINTS = {point.__name__: point for point in (
    found, handed_over, journaled, snapshot_committed, job_out, before_entries, entries_booked, before_settlement,
    settled, none)}


class FaultyPool:
    """A pool, used by `with`: leaving it kills one that still runs."""

    def __init__(self, line: socket.socket, config: Path, point: str, nth: int) -> None:
        self._line = line
        self._said = Lines()
        self.lines = self._said.all
        read_end, write_end = os.pipe()
        socket.send_fds(line, [json.dumps([str(config), point, nth]).encode()], [write_end])
        os.close(write_end)
        self._said.read(open(read_end, encoding="utf-8", errors="replace"), "reads-stderr")      # noqa: SIM115 - closed by `Lines`
        self.pid: int | None = int(line.recv(64))

    def __enter__(self) -> FaultyPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        return self.pid is not None and not select.select([self._line], [], [], 0)[0]

    def events(self, name: str) -> list[dict[str, str]]:
        return [fields for line in list(self.lines) if (fields := fields_of(line)).get("event") == name]

    def wait_for(self, name: str, is_wanted: Callable[[dict[str, str]], bool] = lambda fields: True) -> dict[str, str]:
        """The first line of an event, whether it came already or not."""
        fields = self._said.wait_for(lambda: next(filter(is_wanted, self.events(name)), None), PATIENCE_S)
        assert fields is not None, f"no event={name}:\n" + "\n".join(self.lines)
        return fields

    def port(self) -> int:
        """Wait until it is ready; the port of its first listener, 0 if it dies before."""
        ready = self._said.wait_for(lambda: self.events("service.ready"), PATIENCE_S)
        return int(ready[0]["listen"].split(",")[0].rpartition(":")[2]) if ready else 0

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send it a signal if it still runs, and wait for its end: its exit status, or less the signal."""
        if self.pid is None:
            return 0
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        status = int(self._line.recv(64))
        self.pid = None
        self._said.close()
        return status


class Pools:
    """The process that pools are forked from; one pool runs at a time."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.service.faultpoints", str(theirs.fileno())], env=environ(),
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def start(self, config: Path, point: str = "none", nth: int = 1) -> FaultyPool:
        return FaultyPool(self._line, config, point, nth)

    def close(self) -> None:
        self._line.close()
        assert self._process.wait(PATIENCE_S) == 0


def serve(line: socket.socket) -> None:
    """Fork a pool for each order, and tell its pid and then how it ended."""
    load_kernel()
    gc.freeze()                         # no child has to copy what it never changes
    while True:
        order, descriptors, _, _ = socket.recv_fds(line, 4096, 1)
        if not order:
            return
        if (pid := os.fork()) == 0:
            line.close()
            os.dup2(descriptors[0], 2)
            os.close(descriptors[0])
            sys.stderr = open(2, "w", buffering=1, closefd=False)       # noqa: SIM115 - the old one knows another file
            os._exit(run(*json.loads(order)))
        os.close(descriptors[0])
        line.send(b"%d" % pid)
        line.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def run(config: str, point: str, nth: int) -> int:
    POINTS[point](Fault(nth))
    wrap(WorkBroadcast, "job", before=lambda _, job: say(
        f"event=fault.job snapshot={job.snapshot_id.hex()} pays={job.pays_balances:d}"))
    return main(["run", "-c", config])


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        serve(orders)

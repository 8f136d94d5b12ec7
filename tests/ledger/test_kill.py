"""The ledger in a process of its own, which is killed, or which the system forbids to write."""

import queue
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.ledger.books import booked, ids, opened, share, simulate, taken
from warppool.ledger.items import Shares
from warppool.ledger.thread import LedgerThread
from warppool.net.inbox import GivenUp, NotRecorded, Recorded
from warppool.threads import STOP, spawn

WRITER = """
import pathlib, sys
from tests.ledger import test_kill
getattr(test_kill, sys.argv[1])(pathlib.Path(sys.argv[2]), int(sys.argv[3]))
"""


def write_until_killed(path, first):
    """Book shares for ever, with some in flight, and print the number of each `Recorded`."""
    inbox, answers, number = queue.Queue(), queue.Queue(), first
    spawn("ledger", LedgerThread(opened(path), inbox, "commit").run, print)
    for _ in range(8):
        number = _post(inbox, answers, number)
    while True:
        for _, recorded in answers.get().ids:
            print(recorded, flush=True)
        number = _post(inbox, answers, number)


def _post(inbox, answers, number):
    inbox.put(Shares(tuple(share(one) for one in range(number, number + 5)), answers))
    return number + 5


def test_every_recorded_share_is_in_the_books_after_kill_9(tmp_path):
    path = tmp_path / "shares.db"
    dice = random.Random(2)
    recorded = set()
    for turn in range(5):
        command = [sys.executable, "-c", WRITER, "write_until_killed", str(path), str(turn * 1_000_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(dice.randrange(1, 400)):
                recorded.add(int(writer.stdout.readline()))
            time.sleep(dice.random() / 200)         # somewhere in a commit or between two
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                if line.endswith("\n"):
                    recorded.add(int(line))
        in_books = booked(path)
        assert {share(number).share_hash for number in recorded} <= set(in_books)
        assert len(set(in_books)) == len(in_books)
    assert len(recorded) > 100


def write_against_a_limit(path, limit):
    """Book shares while no file may grow over `limit` bytes, which is lifted at the 15th of 20 seconds."""
    answers = queue.Queue()
    books = opened(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    arrivals = [
        (second, Shares(tuple(share(1_000 * second + one) for one in range(200)), answers)) for second in range(1, 21)
    ]
    lift = (resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    arrivals.append((15.5, lambda: resource.setrlimit(*lift)))
    simulate(books, arrivals, 40.0)
    for answer in taken(answers):
        for _, number in answer.ids:
            print(type(answer).__name__, number)


@pytest.mark.parametrize("limit", [20_000, 40_000, 60_000])
def test_a_file_that_may_not_grow(tmp_path, limit):
    path = tmp_path / "shares.db"
    command = [sys.executable, "-c", WRITER, "write_against_a_limit", str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answered = [line.split() for line in done.stdout.splitlines()]
    recorded = [int(number) for kind, number in answered if kind == Recorded.__name__]
    refused = [int(number) for kind, number in answered if kind == NotRecorded.__name__]
    given_up = {int(number) for kind, number in answered if kind == GivenUp.__name__}
    assert recorded and refused
    assert len({*recorded, *refused}) == len(recorded) + len(refused) == 4_000
    assert given_up <= {*refused}, "refused first, and free to come again once the disk has spoken"
    assert booked(path) == [share(number).share_hash for number in recorded]
    assert "event=ledger.failed" in done.stderr and "event=ledger.recovered" in done.stderr


def test_the_thread_ends_with_everything_answered(tmp_path):
    inbox, answers, died = queue.Queue(), queue.Queue(), []
    thread = spawn("ledger", LedgerThread(opened(tmp_path / "shares.db"), inbox, "commit").run, died.append)
    for number in range(500):
        inbox.put(Shares((share(number),), answers))
    inbox.put(STOP)
    thread.join()
    assert not died
    assert [one for answer in taken(answers) for one in answer.ids] == list(ids(*map(share, range(500))))
    with suppress(queue.Empty):
        raise AssertionError(inbox.get_nowait())

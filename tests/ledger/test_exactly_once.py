"""Whatever fails and whenever: each share is answered once, and the books hold exactly those that were `Recorded`."""

import queue
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.books import booked, ids, opened, share, simulate, taken
from warppool.errors import LedgerError
from warppool.ledger.database import CommitInDoubt
from warppool.ledger.items import Shares
from warppool.ledger.sqlite import SqliteBooks
from warppool.net.inbox import GivenUp, NotRecorded, Recorded

DONE = "done but in doubt"
FAULTS = ["refused", DONE, "undone and in doubt"]


class Faulty(SqliteBooks):
    """The real books, whose calls fail as `faults` says, one entry a call; none left: all goes well."""

    def __init__(self, path, faults):
        super().__init__(path)
        self.faults = iter(faults)

    def open(self):
        if next(self.faults, None):
            raise LedgerError("cannot be opened")
        super().open()

    def write(self, shares, refusals, blocks):
        fault, first_id = next(self.faults, None), self._next_id
        if fault is None:
            return super().write(shares, refusals, blocks)
        if fault == DONE:
            super().write(shares, refusals, blocks)
        self._drop()
        raise LedgerError("refused") if fault == "refused" else CommitInDoubt("in doubt", first_id)

    def resolve(self, first_id, shares, erase):
        fault = next(self.faults, None)
        if fault is None:
            return super().resolve(first_id, shares, erase)
        if fault == DONE:
            super().resolve(first_id, shares, erase)
        self._drop()
        raise LedgerError("cannot be settled")


def live_through(arrivals, faults, ends_at):
    """The hashes in the books after a ledger has lived through it all."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        path = Path(directory) / "shares.db"
        opened(path).close()
        simulate(Faulty(path, faults), arrivals, ends_at)
        return booked(path)


AWAY_FOR_8_S = ["refused"] * 8          # 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 2 + 2 + 2 s: tries that follow a first failure


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("settling", [[], ["refused"], [DONE], [DONE, None, DONE]])
def test_a_share_that_was_given_up_while_in_doubt_is_taken_out_again(fault, settling):
    """Share 1 is given up and share 2 is not, though both were in the commit that nobody knew of."""
    answers = queue.Queue()
    arrivals = [(1.0, Shares((share(1),), answers)), (9.0, Shares((share(2), share(3)), answers))]
    faults = [None, "refused", *AWAY_FOR_8_S[:-1], None, fault, "refused", None, *settling]
    in_books = live_through(arrivals, faults, 100.0)
    given_up = [] if fault == "refused" else [GivenUp(ids(share(1)))]
    assert taken(answers) == [*given_up, NotRecorded(ids(share(1))), Recorded(ids(share(2), share(3)))]
    assert in_books == [share(2).share_hash, share(3).share_hash]


@pytest.mark.parametrize("fault", FAULTS)
def test_shares_all_given_up_while_in_doubt_are_taken_out_with_nothing_else_to_do(fault):
    answers = queue.Queue()
    faults = [None, fault, *AWAY_FOR_8_S, "refused", "refused"]
    in_books = live_through([(1.0, Shares((share(1),), answers))], faults, 100.0)
    given_up = [] if fault == "refused" else [GivenUp(ids(share(1)))]
    assert taken(answers) == [*given_up, NotRecorded(ids(share(1)))]
    assert in_books == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    gaps=st.lists(st.tuples(st.floats(0, 8), st.integers(0, 3), st.integers(0, 2)), max_size=12),
    faults=st.lists(st.tuples(st.none() | st.sampled_from(FAULTS), st.integers(1, 9)), max_size=8),
)
def test_every_share_is_answered_once_and_the_books_agree(gaps, faults):
    replies = [queue.Queue() for _ in range(3)]
    arrivals, moment, number = [], 0.0, 0
    for gap, count, worker in gaps:
        moment += gap
        shares = tuple(share(number + one) for one in range(count))
        number += count
        arrivals.append((moment, Shares(shares, replies[worker])))
    in_books = live_through(arrivals, [fault for fault, times in faults for _ in range(times)], moment + 300)
    answered = [answer for answers in replies for answer in taken(answers)]
    recorded = [one for answer in answered if type(answer) is Recorded for one in answer.ids]
    refused = [one for answer in answered if type(answer) is NotRecorded for one in answer.ids]
    given_up = [one for answer in answered if type(answer) is GivenUp for one in answer.ids]
    assert {*given_up} <= {*refused} and len({*given_up}) == len(given_up)
    assert sorted(recorded + refused) == sorted(ids(*map(share, range(number))))
    assert sorted(in_books) == sorted(share(number).share_hash for _, number in recorded)

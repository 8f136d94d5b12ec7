"""What thread `payout` hears of the ledger: which shares stay, and what became of each booking."""

import queue

import pytest

from tests.ledger.books import Simulation, opened, share, taken
from tests.ledger.test_exactly_once import AWAY_FOR_8_S, DONE, Faulty
from warppool.ledger.items import Shares
from warppool.ledger.payoutitems import Booked, Booking, Hold, SharesBooked, TipRow, Unbooked
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.thread import LedgerThread
from warppool.net.inbox import Recorded
from warppool.payout.moves import Move, PayoutState

TIP = Booking((TipRow(1, b"t" * 32, 0x1d00ffff),), token=1)
WRONG = Booking((Move(b"h" * 32, None, PayoutState.FOUND, 0, ()), Hold("window", 5)), token=2)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "shares.db"
    opened(path).close()
    return path


def hear(path, arrivals, faults=(), ends_at=100.0):
    simulation, heard = Simulation(arrivals, ends_at), queue.Queue()
    LedgerThread(Faulty(path, faults), simulation, "commit", simulation.monotonic, simulation.sleep, heard).run()
    return taken(heard)


def test_shares_are_heard_of_with_their_ids_after_their_commit(path):
    one, two, three = share(1), share(2), share(3)
    arrivals = [(1.0, Shares((one,), None)), (1.0, Shares((two,), None)), (2.0, Shares((three,), None))]
    assert hear(path, arrivals) == [SharesBooked(1, (one, two)), SharesBooked(3, (three,))]


@pytest.mark.parametrize("fault", ["refused", DONE, "undone and in doubt"])
def test_shares_that_were_given_up_are_not_heard_of(path, fault):
    """Share 1 is given up and shares 2 and 3 are not, though all were in the commit that nobody knew of."""
    one, two, three = share(1), share(2), share(3)
    faults = [None, "refused", *AWAY_FOR_8_S[:-1], None, fault, "refused"]
    booked = hear(path, [(1.0, Shares((one,), None)), (9.0, Shares((two, three), None))], faults)
    assert booked == [SharesBooked(2 if fault == DONE else 1, (two, three))]
    with SqliteReader(path) as reader:
        assert [row.share_id for row in reader.shares()] == [booked[0].first_id, booked[0].first_id + 1]


@pytest.mark.parametrize("fault", [None, "refused", DONE, "undone and in doubt"])
@pytest.mark.parametrize("with_share", [True, False])
def test_each_booking_is_answered_once(path, fault, with_share):
    shares = [(1.0, Shares((share(1),), None))] if with_share else []
    heard = hear(path, [*shares, (1.0, TIP), (1.0, WRONG)], [None, fault])
    answers = [each for each in heard if not isinstance(each, SharesBooked)]
    assert answers == [Booked(TIP), Unbooked(WRONG, f"block {(b'h' * 32).hex()} is not in the books: it cannot go from "
                                             "new to found in turn 0")]
    assert len(heard) - len(answers) == with_share
    with SqliteReader(path) as reader:
        assert reader.holds() == {} and reader.tips(9) == list(TIP.rows)


@pytest.mark.parametrize("faults", [["refused"] * 999, [None, *["refused"] * 999], [None, DONE, *["refused"] * 999]])
def test_a_booking_that_no_disk_took_until_the_end_is_said(path, faults):
    assert hear(path, [(1.0, TIP)], faults, 50.0) == [Unbooked(TIP, "the books could not be written")]


class Slow(Faulty):
    """A disk that takes 11 s to commit shares, in which another thread looks after those that wait, and then fails."""

    def write(self, shares, refusals, blocks):
        unwritten = super().write(shares, refusals, blocks)
        if shares:
            self.simulation.now += 11.0
            self.ledger.relieve()
        return unwritten


def test_a_booking_is_answered_though_shares_of_its_commit_cannot_be_taken_out_again(path):
    simulation, heard = Simulation([(1.0, Shares((share(1),), None)), (1.0, TIP)], 50.0), queue.Queue()
    books = Slow(path, [None, None, *["refused"] * 999])
    books.simulation = simulation
    books.ledger = LedgerThread(books, simulation, "commit", simulation.monotonic, simulation.sleep, heard)
    books.ledger.run()
    assert taken(heard) == [Booked(TIP)]


def test_nobody_has_to_hear(path):
    simulation, answers = Simulation([(1.0, TIP), (1.0, Shares((share(1),), None)), (2.0, WRONG)], 9.0), queue.Queue()
    simulation.also([(1.0, Shares((share(2),), answers))])
    LedgerThread(opened(path), simulation, "commit", simulation.monotonic, simulation.sleep).run()
    assert [type(each) for each in taken(answers)] == [Recorded]


def test_how_long_a_commit_took_and_its_oldest_share_waited_is_told_where_it_is_known(path):
    """The first share waits through 8 s without books. Nobody waits for a record in the second commit."""
    arrivals = [(1.0, Shares((share(1),), queue.Queue())), (3.0, Shares((share(2),), None)),
                (50.0, Shares((share(3),), None))]
    first, second = hear(path, arrivals, AWAY_FOR_8_S)
    assert first.shares == (share(1), share(2)) and first.commit_s is not None
    assert 4.0 < first.waited_s < 10.0
    assert second.commit_s is not None and second.waited_s is None
    doubtful, = hear(path, [(1.0, Shares((share(4),), queue.Queue()))], [None, DONE])
    assert doubtful.commit_s is None and doubtful.waited_s is not None

"""Thread `payout`: whom it hears, and to whom it says what follows."""

import logging
import queue

import pytest

from tests.mining.makers import make_tip
from warppool.errors import LedgerError
from warppool.ledger.payoutitems import Booked, Booking, SharesBooked, Unbooked
from warppool.node.chainitems import AskChain, ChainAnswer, JournalTold
from warppool.node.snapshotitems import Mining
from warppool.node.steps import LogLine
from warppool.rewards.headers import HeadersSeen
from warppool.rewards.reading import BooksReading
from warppool.rewards.steps import AskNode, BlocksSettled, ReplaceJobs, SettlingToken, TipCleared, ToBooks
from warppool.rewards.thread import Parties, PayoutThread

QUESTION = AskChain(b"t" * 32, (), (), 0, (), queue.Queue())
BOOKING = Booking((), SettlingToken(1))


class Calls:
    """Keeps what it was asked, and answers with `steps`."""

    wakes_at = 1e9
    payable = {"alice": 5}
    watched = ()

    def __init__(self):
        self.calls = []
        self.steps = {}

    def __getattr__(self, name):
        def call(*args):
            self.calls.append((name, *args[:3]))
            return self.steps.get(name, [])

        return call

    @property
    def names(self):
        names = [call[0] for call in self.calls if call[0] not in ("tick", "look", "may_pay")]
        self.calls.clear()
        return names


class Shared(Calls):
    is_read = True
    trouble = None

    class use:
        newest = None

    def look(self, now):
        if self.trouble is not None:
            raise self.trouble


class Rig:
    def __init__(self, is_shared=True):
        self.now = 100.0
        self.settling, self.claims, self.shared = Calls(), Calls(), Shared() if is_shared else None
        self.ledger, self.nodes, self.settled = queue.Queue(), {3: queue.Queue(), 5: queue.Queue()}, []
        self.thread = PayoutThread(
            queue.Queue(), self.settling, self.shared, self.claims, BooksReading(lambda: None),
            Parties(self.ledger, self.nodes, self.settled.append), monotonic=lambda: self.now, unix=lambda: 1.0)

    def hear(self, *items):
        return self.thread.turn(list(items))


def mining(node):
    return Mining(node, make_tip(1, height=101), 1.0, 1, b"", False)


@pytest.fixture
def rig():
    return Rig()


def test_each_item_goes_to_those_whom_it_is_for(rig):
    own, other = Booked(BOOKING), Unbooked(Booking(()), "no")
    rig.hear(SharesBooked(1, ()), JournalTold(), ChainAnswer(3, b"t" * 32), HeadersSeen(()), own, other, mining(3))
    assert rig.shared.names == ["add", "seen", "booked", "mining"]
    assert rig.settling.names == ["journal_told", "answered", "booked", "mine"]
    assert rig.claims.names == ["booked"]


def test_the_node_that_is_mined_is_asked_or_else_the_first_that_can_be(rig):
    rig.hear(mining(5))
    rig.hear(mining(4))
    assert [call[1] for call in rig.settling.calls if call[0] == "mine"] == [5, 3]
    assert [call[3] for call in rig.settling.calls if call[0] == "mine"] == [100, 100]


def test_steps_are_taken_in_their_order(rig, caplog):
    rig.settling.steps["journal_told"] = [
        ToBooks(BOOKING), AskNode(5, QUESTION), AskNode(9, QUESTION), ReplaceJobs(), TipCleared(b"t" * 32),
        BlocksSettled((b"b" * 32,)), LogLine(logging.WARNING, "payout.odd", (("reason", "why"),))]
    with caplog.at_level(logging.WARNING):
        rig.hear(JournalTold())
    assert rig.ledger.get_nowait() is BOOKING and rig.nodes[5].get_nowait() is QUESTION
    assert rig.shared.names == ["replace", "cleared"] and rig.settled == [(b"b" * 32,)]
    assert "event=payout.odd reason=why" in caplog.text


def test_books_that_cannot_be_read_are_said_once(rig, caplog):
    rig.shared.trouble = LedgerError("no disk")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            rig.hear()
    assert caplog.text.count("event=window.unread") == 1


def test_where_nothing_is_shared_own_blocks_are_followed_all_the_same():
    rig = Rig(is_shared=False)
    rig.settling.steps["mine"] = [ReplaceJobs(), TipCleared(b"t" * 32)]
    rig.hear(SharesBooked(1, ()), mining(3), Booked(Booking(())), HeadersSeen(()))
    assert rig.settling.names == ["mine"]
    assert not rig.thread.view.is_shared


def test_it_wakes_when_any_of_them_wants_to(rig):
    rig.claims.wakes_at, rig.settling.wakes_at, rig.shared.wakes_at = 103.0, 102.0, 101.0
    assert rig.hear() == 101.0
    rig.shared.wakes_at = -1.0                  # what is late does not make it spin
    assert rig.hear() > rig.now
    assert rig.thread.report().view.payable_sat == 5

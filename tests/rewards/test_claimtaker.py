"""Requests of an operator, from the file to the answer that waits for the books."""

import logging

import pytest

from warppool.claimfiles import CLAIM, PAID, ClaimRequest, ask, take_answer
from warppool.events import Now
from warppool.ledger.payoutitems import Booked, Booking, Unbooked
from warppool.rewards.claimtaker import LOOK_EVERY_S, ClaimTaker
from warppool.rewards.steps import ClaimReply, ReplaceJobs, SettlingToken

TOKEN = SettlingToken(7)
STEPS = (ReplaceJobs(),)


class Settlement:
    """Takes every claim, and no payment."""

    knows_balances = True

    def __init__(self):
        self.claims = 0

    def claim(self, address, now):
        self.claims += 1
        return ClaimReply(STEPS, True, f"claimed for {address}", TOKEN)

    def pay(self, address, sat, txid, now):
        return ClaimReply((), False, f"{sat} sat by {txid} are too many")


@pytest.fixture
def taker(tmp_path):
    return ClaimTaker(tmp_path, Settlement())


def at(seconds):
    return Now(seconds, 1_700_000_000 + seconds)


def test_a_claim_is_answered_once_it_is_booked_and_asked_for_once(taker, tmp_path):
    name = ask(tmp_path, ClaimRequest(CLAIM, "bcrt1qalice"))
    assert taker.look(at(0.0)) == list(STEPS)
    assert taker.look(at(LOOK_EVERY_S)) == [] and taker._settling.claims == 1
    assert take_answer(tmp_path, name) is None
    taker.booked(Booked(Booking((), SettlingToken(6))))
    assert take_answer(tmp_path, name) is None
    taker.booked(Booked(Booking((), TOKEN)))
    assert take_answer(tmp_path, name) == (True, "claimed for bcrt1qalice")
    assert taker.look(at(2 * LOOK_EVERY_S)) == []


def test_a_request_waits_until_it_is_known_what_is_mined(taker, tmp_path):
    """After a start, any claim would seem to be of a later tip, and its payment be refused for that."""
    name = ask(tmp_path, ClaimRequest(PAID, "bcrt1qalice", 5, "ab" * 32))
    taker._settling.knows_balances = False
    assert taker.look(at(0.0)) == [] and take_answer(tmp_path, name) is None
    taker._settling.knows_balances = True
    taker.look(at(LOOK_EVERY_S))
    assert take_answer(tmp_path, name) == (False, f"5 sat by {'ab' * 32} are too many")


def test_what_the_books_do_not_take_is_said(taker, tmp_path):
    name = ask(tmp_path, ClaimRequest(CLAIM, "bcrt1qalice"))
    taker.look(at(0.0))
    taker.booked(Unbooked(Booking((), TOKEN), "no disk"))
    assert take_answer(tmp_path, name) == (False, "the books did not take it: no disk")


def test_what_is_refused_or_no_request_is_answered_at_once(taker, tmp_path):
    name = ask(tmp_path, ClaimRequest(PAID, "bcrt1qalice", 5, "ab" * 32))
    (tmp_path / "1-1.request").write_bytes(b"junk")
    assert taker.look(at(0.0)) == []
    assert take_answer(tmp_path, name) == (False, f"5 sat by {'ab' * 32} are too many")
    assert not take_answer(tmp_path, "1-1").is_done
    assert taker.wakes_at == LOOK_EVERY_S


def test_an_answer_that_cannot_be_written_is_said_once_and_given_later(taker, tmp_path, caplog):
    (tmp_path / "1-1.request").write_bytes(b"junk")
    (tmp_path / "1-1.answer.new").mkdir()               # where the answer is to be written
    with caplog.at_level(logging.INFO):
        for second in range(5):
            taker.look(at(second))
        assert caplog.text.count("event=claim.unread") == 1 and "event=claim.answered" not in caplog.text
        (tmp_path / "1-1.answer.new").rmdir()
        taker.look(at(5))
    assert caplog.text.count("event=claim.answered") == 1
    assert not take_answer(tmp_path, "1-1").is_done


def test_a_folder_that_is_gone_is_said_once(taker, tmp_path, caplog):
    tmp_path.rmdir()
    with caplog.at_level(logging.WARNING):
        for second in range(5):
            assert taker.look(at(second)) == []
    assert caplog.text.count("event=claim.unread") == 1

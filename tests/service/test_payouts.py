"""Who follows own blocks, and what wakes it, by mode."""

from types import SimpleNamespace

import pytest

from warppool.ledger.payoutitems import Booked, Booking, SharesBooked
from warppool.service.payouts import payouts_of


def payouts(mode):
    return payouts_of(SimpleNamespace(payout=mode))


def test_in_mode_pool_nobody_is_told_anything():
    nobody = payouts("pool")
    assert (nobody.inbox, nobody.heard, nobody.fields(), nobody.words()) == (None, None, {}, "")
    assert not nobody.looks_along_chain and nobody.reconfigure(None) == ()


@pytest.mark.parametrize(("mode", "heard"), [("solo", [Booked]), ("pplns", [SharesBooked, Booked])])
def test_shares_wake_only_the_thread_that_has_a_window(mode, heard):
    followed = payouts(mode)
    for item in (SharesBooked(1, ()), Booked(Booking(()))):
        followed.heard.put(item)
    assert [type(followed.inbox.get_nowait()) for _ in range(followed.inbox.qsize())] == heard
    assert followed.looks_along_chain is (mode == "pplns")

"""The chart's question to books that a ledger has written, and to books that cannot be read."""

from __future__ import annotations

from tests.ledger.test_rollups import AT, OurBooks
from warppool.service.pagebooks import history_of


def test_the_chart_has_what_the_books_have(tmp_path):
    our = OurBooks(tmp_path / "shares.db")
    history, slot = history_of(f"sqlite:///{our.path}", tmp_path), int(AT) // 600
    our.book("alice.1", difficulty=4.0, at=AT)
    our.book("alice.2", difficulty=0.5, at=AT + 1)
    our.book("bob", difficulty=8.0, at=AT + 1300)
    our.tend()
    later = (int(AT) + 1300) // 600
    assert history(slot - 5, later, None) == {slot: 4.5, later: 8.0}
    assert history(slot - 5, slot, None) == history(slot, slot, "alice") == {slot: 4.5}
    assert history(slot, later, "alice.2") == {slot: 0.5} and history(slot, later, "nobody") == {}
    our.books.close()


def test_books_that_cannot_be_read_are_no_error_of_the_page(tmp_path):
    assert history_of(f"sqlite:///{tmp_path}/none.db", tmp_path)(0, 1, None) is None

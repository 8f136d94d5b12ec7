"""The transactions of templates: kept once, as long as a block on them can win, within a bound, and only true ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sv2.templates import UNIX, new_template, new_tip, raw_transactions
from warppool.errors import RemoteProtocolError
from warppool.mining.reserve import Needs
from warppool.mining.template import Template
from warppool.node.kepttransactions import (
    MOST_TRANSACTIONS,
    KeptTransactions,
    TransactionsDropped,
    TransactionShelf,
    TransactionsKept,
    key_of,
)
from warppool.node.nodeblocks import BURIED_UNDER
from warppool.sv2.templatechecks import template_of, tip_of

OURS = Needs(300, 1200, 0)


def template_with(raws: tuple[bytes, ...], template_id: int = 1, height: int = 5) -> Template:
    message = new_template(template_id, height, transactions=raws)
    return template_of(message, tip_of(new_tip(template_id), height, UNIX), "node-0")


def shelve(shelf: TransactionShelf, raws: tuple[bytes, ...], height: int = 5) -> Template:
    template = template_with(raws, height=height)
    for _ in shelf.shelving(template, raws, OURS):
        pass
    return template


def test_what_is_kept_is_found_by_what_the_template_commits_to_whatever_its_id():
    shelf, raws = TransactionShelf(), raw_transactions(5)
    template = shelve(shelf, raws)
    assert shelf.get(template) == raws
    assert shelf.get(replace(template, template_id=77)) == raws
    assert shelf.get(template_with(raw_transactions(5, start=1), 1)) is None


def test_a_transaction_stands_there_once_however_many_templates_have_it():
    shelf = TransactionShelf()
    first = shelve(shelf, raw_transactions(200))
    size = shelf.bytes
    again = tuple(bytes(bytearray(raw)) for raw in raw_transactions(201))       # other objects, as from the wire
    second = shelve(shelf, again)
    assert shelf.bytes < 1.2 * size
    kept, of_second = shelf.get(first), shelf.get(second)
    assert kept is not None and of_second is not None
    assert all(one is other for one, other in zip(kept, of_second, strict=False))


def test_it_is_let_go_once_its_tip_is_six_deep():
    shelf = TransactionShelf()
    old, young = shelve(shelf, raw_transactions(3)), shelve(shelf, raw_transactions(4), height=6)
    assert shelf.let_go(5 + BURIED_UNDER - 1) == ()
    assert shelf.let_go(5 + BURIED_UNDER) == (key_of(old),)
    assert shelf.get(old) is None and shelf.get(young) is not None
    assert shelf.let_go(6 + BURIED_UNDER) == (key_of(young),)
    assert (len(shelf), shelf.bytes, len(shelf._held)) == (0, 0, 0)


def test_a_provider_that_says_ever_new_transactions_fills_no_memory():
    shelf = TransactionShelf(most_bytes=200_000)
    dropped = 0
    for number in range(30):
        newest = shelve(shelf, raw_transactions(50, start=50 * number))
        dropped += len(shelf.let_go(5))
        assert shelf.bytes <= 200_000
    assert dropped and shelf.get(newest) is not None and len(shelf) == 30 - dropped


def test_the_newest_stays_however_large_it_is():
    shelf = TransactionShelf(most_bytes=10)
    newest = shelve(shelf, raw_transactions(9))
    assert shelf.let_go(5) == () and shelf.get(newest) is not None


@pytest.mark.parametrize(("said", "words"), [
    (raw_transactions(4)[:3], "merkle_path"),
    (raw_transactions(4)[::-1], "merkle_path"),
    ((*raw_transactions(3), raw_transactions(3)[2]), "comes twice"),
    ((*raw_transactions(3), b"\x01\x00"), "number 3 is none"),
    ((*raw_transactions(3), b""), "number 3 is none"),
    ((bytes(2_000_001), bytes(2_000_001)), "2 with 4000002 bytes fit no block"),
    ((b"",) * (MOST_TRANSACTIONS + 1), "16667 with 0 bytes"),
])
def test_other_transactions_than_those_of_the_template_are_refused(said, words):
    shelf, template = TransactionShelf(), template_with(raw_transactions(4))
    with pytest.raises(RemoteProtocolError, match=f"transactions of template 1: .*{words}"):
        list(shelf.shelving(template, said, OURS))
    assert (len(shelf), shelf.bytes, len(shelf._held)) == (0, 0, 0)


def test_a_commitment_to_other_witnesses_is_refused():
    raws = raw_transactions(4)
    other = template_with(raw_transactions(5))
    template = replace(template_with(raws), coinbase_tx_outputs=other.coinbase_tx_outputs)
    with pytest.raises(RemoteProtocolError, match="the commitment among its outputs"):
        list(TransactionShelf().shelving(template, raws, OURS))
    bare = replace(template, coinbase_tx_outputs=b"", coinbase_tx_outputs_count=0)
    with pytest.raises(RemoteProtocolError, match="no output commits"):
        list(TransactionShelf().shelving(bare, raws, OURS))


def test_transactions_that_leave_no_room_for_our_coinbase_are_refused():
    raws = raw_transactions(4)
    with pytest.raises(RemoteProtocolError, match="with our coinbase the block would have 4000"):
        list(TransactionShelf().shelving(template_with(raws), raws, Needs(300, 3_999_000, 0)))


def test_the_submitter_has_what_any_node_keeps():
    kept, raws = KeptTransactions(), raw_transactions(2)
    key = key_of(template_with(raws))
    kept.hear(TransactionsKept(0, key, raws))
    kept.hear(TransactionsKept(1, key, raws))
    kept.hear(TransactionsDropped(0, (key,)))
    assert kept.get(key) == raws
    kept.leave(1)
    assert kept.get(key) is None and not kept._holders
    kept.hear(TransactionsDropped(1, (key,)))

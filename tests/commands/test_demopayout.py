"""The demo believes the chain: each coinbase that is not what was due is said."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.ledger.books import opened
from tests.payout.exports import HEIGHT, coinbase_of
from tests.rewards.world import BLOCK, BOB, mine, some_shares
from warppool.bitcoin.address import is_guarded, script_of
from warppool.bitcoin.addresstext import address_of
from warppool.commands.demopayout import (
    ADDRESSES,
    NETWORK,
    OPERATOR,
    UNNAMED,
    Coinbase,
    are_paid,
    audit_problems,
    differences,
    due_in_pplns,
    due_in_solo,
    name_of,
    report,
)
from warppool.ledger.payoutitems import Booking
from warppool.ledger.sqlitereader import SqliteReader
from warppool.mining.account import account_of
from warppool.payout.moves import find

VALUE = 5_000_000_000
FEE = 75_000_000
V1, TLS = ADDRESSES["v1"], ADDRESSES["v1-tls"]
FIRST, SECOND = b"\x01" * 32, b"\x02" * 32
FINDERS = {FIRST[::-1].hex(): name_of("v1"), SECOND[::-1].hex(): name_of("v1-tls")}
GOOD = [Coinbase(1, FIRST, ((VALUE - FEE, V1), (FEE, OPERATOR))), Coinbase(2, SECOND, ((VALUE - FEE, TLS),
                                                                                       (FEE, OPERATOR)))]


def wrong(chain: list[Coinbase], finders: dict[str, str] = FINDERS) -> list[str]:
    return list(differences(chain, due_in_solo(chain, finders, 150)))


def test_there_is_an_address_of_each_kind_and_each_name_leads_to_it():
    scripts = {miner: script_of(address, NETWORK) for miner, address in ADDRESSES.items()}
    assert {(len(script), script[0]) for script in scripts.values()} == {
        (25, 0x76), (23, 0xA9), (22, 0), (34, 0), (34, 0x51)}
    assert all(map(is_guarded, scripts.values()))
    assert {miner: account_of(name_of(miner), NETWORK).address for miner in ADDRESSES} == dict(ADDRESSES)
    assert account_of(UNNAMED, NETWORK).address == OPERATOR and OPERATOR not in ADDRESSES.values()


def test_a_chain_that_pays_its_finders_is_good():
    assert wrong(GOOD) == []


@pytest.mark.parametrize("paid", [
    (), ((VALUE, V1),), ((VALUE, OPERATOR),), ((VALUE - FEE, TLS), (FEE, OPERATOR)), ((FEE, OPERATOR),
                                                                                     (VALUE - FEE, V1)),
    ((VALUE - FEE - 1, V1), (FEE + 1, OPERATOR)), ((VALUE - FEE, V1), (FEE, "")),
    ((VALUE - FEE, V1), (FEE, OPERATOR), (1, TLS)),
])
def test_one_satoshi_or_output_in_another_place_is_said(paid):
    said, = wrong([Coinbase(1, FIRST, paid), GOOD[1]])
    assert said.startswith("block 1 (0101") and said.endswith(f"was to pay {VALUE - FEE} sat to {V1}, {FEE} sat to "
                                                              f"{OPERATOR}")


def test_a_block_that_nobody_has_spoken_of_is_said():
    assert wrong(GOOD, {FIRST[::-1].hex(): name_of("v1")}) == [
        f"block 2 ({SECOND[::-1].hex()}) is on the chain, and the pool has not said whose it is"]


def test_the_report_sums_what_each_was_paid_and_says_what_the_blocks_are_worth():
    lines = list(report([*GOOD, Coinbase(3, b"\x03" * 32, ((VALUE, "elsewhere"),))], ["v1", "v1-tls"]))
    assert lines[0].startswith("paid by the 3 blocks")
    assert lines[1:] == [f"  v1: {VALUE - FEE} sat in 1 blocks, to {V1}",
                         f"  v1-tls: {VALUE - FEE} sat in 1 blocks, to {TLS}",
                         f"  the pool's operator: {2 * FEE} sat in 2 blocks, to {OPERATOR}",
                         f"  nobody we know: {VALUE} sat in 1 blocks, to elsewhere",
                         f"  together: {3 * VALUE} sat, and the blocks are worth {3 * VALUE} sat"]


# --- by weight --------------------------------------------------------------------------------------------------------

@pytest.fixture
def books(tmp_path):
    """The books of a pool that has mined a block by weight, and what its coinbase pays."""
    mined = mine(tmp_path / "shares.db", some_shares(), balances={BOB: 1_234_567})
    paid = tuple((sat, address_of(script, NETWORK)) for sat, script in mined.distribution.outputs)
    with SqliteReader(tmp_path / "shares.db") as reader:
        yield reader, Coinbase(HEIGHT, BLOCK, paid)


def test_a_block_by_weight_is_held_against_its_snapshot_and_audited(books):
    reader, coinbase = books
    assert list(differences([coinbase], due_in_pplns([coinbase], reader))) == []
    assert list(audit_problems([coinbase], reader)) == []
    (sat, first), *others = coinbase.paid
    said, = differences([coinbase._replace(paid=((sat + 1, first), *others))], due_in_pplns([coinbase], reader))
    assert f"pays {sat + 1} sat to {first}" in said


def test_all_are_paid_once_blocks_that_the_chain_took_have_paid_them(books, tmp_path):
    config = SimpleNamespace(ledger=SimpleNamespace(url="sqlite:///shares.db"), pool=SimpleNamespace(data_dir=tmp_path))
    with closing(opened(tmp_path / "shares.db")) as writing:
        block = replace(books[0].payout_block(BLOCK).block, hash=FIRST, coinbase=coinbase_of(
            tuple((VALUE, script_of(address, NETWORK)) for address in (V1, TLS))))
        assert writing.write([], {}, [Booking((block,))]) == []
    accepted = {FIRST[::-1].hex()}
    assert are_paid(config, ["v1", "v1-tls"], accepted)
    assert not are_paid(config, ["v1", "v1-second"], accepted)
    assert not are_paid(config, ["v1"], {BLOCK[::-1].hex()})


def test_a_block_without_weights_pays_its_finder_and_one_that_the_books_lack_is_said(books, tmp_path):
    reader, coinbase = books
    solo = Coinbase(1, FIRST, ((VALUE - FEE, V1), (FEE, OPERATOR)))
    unknown = Coinbase(2, SECOND, ((VALUE, V1),))
    with closing(opened(tmp_path / "shares.db")) as writing:
        block = replace(reader.payout_block(BLOCK).block, hash=FIRST, snapshot_id=b"", account=V1, value=VALUE, fee=FEE)
        assert writing.write([], {}, [Booking((block, find(FIRST, ())[1]))]) == []
    chain = [solo, unknown, coinbase]
    said, = differences(chain, due_in_pplns(chain, reader))
    assert said.endswith("the pool has not said whose it is") and said.startswith("block 2 ")
    assert list(audit_problems(chain, reader)) == []


def test_what_the_audit_finds_is_said(books, tmp_path):
    reader, coinbase = books
    with closing(opened(tmp_path / "shares.db")) as writing:
        block = replace(reader.payout_block(BLOCK).block, hash=FIRST, value=VALUE)
        assert writing.write([], {}, [Booking((block,))]) == []
    said, = audit_problems([coinbase._replace(block_hash=FIRST)], reader)
    assert said.startswith(f"the audit of block {HEIGHT} finds a difference: ")

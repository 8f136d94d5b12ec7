"""Which account a worker's name leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manynames import ALICE, BAD, CAROL, GOOD, NAMES, NETWORK, Named, each_name
from warppool.bitcoin.address import canonical, is_guarded, script_of
from warppool.bitcoin.addresstext import address_of
from warppool.mining.account import Account, NoAccount, account_of, address_in
from warppool.mining.identity import read_identity

NOT_MEANT = {"the address in the place of the worker", "no user in front of the underscore", "a full-width letter",
             "Base58 in lower case", "a user of a pool with accounts", "255 bytes that are no address"}
EVERY_KIND = sorted({row.account for row in GOOD})


def test_the_table_has_forty_names_and_more():
    assert len({row.name for row in NAMES}) == len(NAMES) >= 40 and len(GOOD) > 15 and len(BAD) > 25


@each_name
def test_a_name_leads_to_its_account_or_to_none(row: Named):
    name = read_identity(row.name)
    if row.account:
        assert name is not None
        assert account_of(name, NETWORK) == Account(row.account, script_of(row.account, NETWORK))
    elif name is not None:
        with pytest.raises(NoAccount, match=r"[a-z]"):           # the owner of the machine is told why
            account_of(name, NETWORK)


@pytest.mark.parametrize("address", EVERY_KIND)
def test_every_way_to_write_a_name_leads_to_the_same_account(address):
    account = Account(address, script_of(address, NETWORK))
    segwit = [address.upper()] if address == canonical(address.upper()) else []
    for written in [address, *segwit]:
        for name in (written, f"{written}.rig", f"{written}_rig", f"{written}_a.b", f"sri/solo/{written}",
                     f"sri/solo/{written}/rig"):
            assert account_of(name, NETWORK) == account
            assert address_in(name) == address


def test_an_address_that_a_whole_farm_mines_for_is_read_once(monkeypatch):
    address, read = address_of(b"\x00\x14" + b"\x09" * 20, NETWORK), []
    monkeypatch.setattr("warppool.mining.account.script_of", lambda address, network: (
        read.append(network) or script_of(address, network)))
    assert {address_in(f"{address}.rig{number}") for number in range(100)} == {address}
    assert len(read) == len(set(read))
    read.clear()
    assert {account_of(f"{address}.rig{number}", NETWORK).address for number in range(100)} == {address}
    assert read == [NETWORK]


@pytest.mark.parametrize(("network", "is_taken"), [("main", False), ("testnet4", True), ("signet", True)])
def test_an_account_is_one_of_the_network(network, is_taken):
    if is_taken:
        assert account_of(CAROL, network).address == CAROL
    else:
        with pytest.raises(NoAccount, match=f"not for {network}") as caught:
            account_of(CAROL, network)
        assert caught.value.is_meant
    with pytest.raises(NoAccount, match=f"is an address for regtest, not for {network}"):
        account_of(ALICE, network)
    assert address_in(ALICE) == ALICE, "a translator knows no network"


@pytest.mark.parametrize("row", BAD, ids=[row.why for row in BAD])
def test_who_seems_to_have_meant_an_address_is_known(row):
    name = read_identity(row.name)
    if name is None:
        return
    with pytest.raises(NoAccount) as caught:
        account_of(name, NETWORK)
    assert caught.value.is_meant is (row.why not in NOT_MEANT)


@given(st.text(max_size=300))
def test_whatever_a_machine_calls_itself_it_has_a_guarded_account_or_none(text):
    name = read_identity(text)
    if name is None:
        return
    try:
        account = account_of(name, NETWORK)
    except NoAccount:
        return
    assert is_guarded(account.script) and script_of(account.address, NETWORK) == account.script


@given(st.sampled_from(EVERY_KIND), st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=40))
def test_no_worker_leads_to_another_account(address, worker):
    name = read_identity(f"{address}.{worker}")
    if name is not None:
        assert account_of(name, NETWORK).address == address


@given(st.sampled_from(EVERY_KIND), st.data())
def test_one_wrong_character_leads_to_no_other_account(address, data):
    at = data.draw(st.integers(0, len(address) - 1))
    wrong = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l1bioABCDEFGHJKLMNPQRSTUVWXYZ"))
    name = address[:at] + wrong + address[at + 1:]
    try:
        assert account_of(name, NETWORK).address == address
    except NoAccount:
        assert name != address


@pytest.mark.parametrize(("name", "words"), [
    ("37UeKjvyowJcgBpSv7pq8UPcBQASC9Hmtt_rig", "is an address for main, not for regtest"),
    (f"{ALICE[:-1]}q_rig", "has a wrong checksum"), (f"{ALICE[:-1]}q.rig", "has a wrong checksum"),
    ("alice_rig", "'alice_rig' has the character"), ("sri/solo//x", "'' is empty")])
def test_the_owner_is_told_of_what_he_seems_to_have_meant(name, words):
    with pytest.raises(NoAccount, match=words):
        account_of(name, NETWORK)

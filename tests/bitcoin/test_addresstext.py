"""A script becomes its address again, in the one form in which accounts are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bitcoin.test_address import BIP350, network_of
from warppool.bitcoin.address import NETWORKS, script_of
from warppool.bitcoin.addresstext import address_of

SCRIPTS = st.one_of(
    st.binary(min_size=20, max_size=20).map(lambda data: b"\x76\xa9\x14" + data + b"\x88\xac"),
    st.binary(min_size=20, max_size=20).map(lambda data: b"\xa9\x14" + data + b"\x87"),
    st.sampled_from((20, 32)).flatmap(lambda size: st.binary(min_size=size, max_size=size)).map(
        lambda data: bytes((0, len(data))) + data),
    st.tuples(st.integers(0x51, 0x60), st.binary(min_size=2, max_size=40)).map(
        lambda pair: bytes((pair[0], len(pair[1]))) + pair[1]),
)


@pytest.mark.parametrize(("address", "script"), BIP350["valid_addresses"])
def test_published_scripts_give_their_addresses(address, script):
    assert address_of(bytes.fromhex(script), network_of(address)) == address.lower()


@given(SCRIPTS, st.sampled_from(NETWORKS))
def test_the_address_of_a_script_leads_back_to_the_script(script, network):
    assert script_of(address_of(script, network), network) == script


@given(st.binary(max_size=45), st.sampled_from(NETWORKS))
def test_any_other_bytes_have_no_address(script, network):
    address = address_of(script, network)
    assert address == "" or script_of(address, network) == script


@pytest.mark.parametrize("script", [
    b"", b"\x00", b"\x51", b"\x6a\x24\xaa\x21\xa9\xed" + b"\x07" * 32, b"\x00\x15" + b"\x07" * 21,
    b"\x51\x01\x07", b"\x51\x29" + b"\x07" * 41, b"\x61\x20" + b"\x07" * 32, b"\x51\x20" + b"\x07" * 31,
    b"\x76\xa9\x14" + b"\x07" * 20 + b"\x88", b"\x76\xa9\x14" + b"\x07" * 20 + b"\x88\xad",
    b"\xa9\x14" + b"\x07" * 21 + b"\x87",
])
def test_scripts_that_only_look_alike_have_none(script):
    assert address_of(script, "main") == ""


def test_an_unknown_network_is_the_callers_mistake():
    with pytest.raises(ValueError, match="unknown network"):
        address_of(b"\x00\x14" + b"\x07" * 20, "testnet3")

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.sigops import legacy_sigops

KEY = b"\x21" + b"\x02" * 33


@pytest.mark.parametrize(("script", "count"), [
    (b"", 0),
    (b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", 1),                     # P2PKH
    (KEY + b"\xac", 1),                                                 # P2PK
    (b"\xa9\x14" + b"\xac" * 20 + b"\x87", 0),                          # P2SH: what a push holds does not count
    (b"\x00\x14" + b"\xac" * 20, 0),                                    # P2WPKH
    (b"\x51\x20" + b"\xac" * 32, 0),                                    # P2TR
    (b"\x51" + KEY + KEY + b"\x52\xae", 20),                            # bare 1 of 2: as many as a multisig may hold
    (b"\xad\xaf\xac", 22),
    (b"\x6a\x24\xaa\x21\xa9\xed" + b"\xac" * 32, 0),                    # a witness commitment
    (b"\x4c\x02\xac\xac\xac", 1),                                       # PUSHDATA1
    (b"\x4d\x02\x00\xac\xac\xac", 1),                                   # PUSHDATA2
    (b"\x4e\x02\x00\x00\x00\xac\xac\xac", 1),                           # PUSHDATA4
    (b"\xac\x05\xac\xac", 1),                                           # a push past the end ends the count
    (b"\xac\x4c", 1),
    (b"\xac\x4d\xac", 1),
    (b"\xac\x4e\xff\xff\xff\xff\xac", 1),
])
def test_sigops_are_counted_as_consensus_counts_them(script, count):
    assert legacy_sigops(script) == count


@given(st.binary(max_size=120))
def test_any_bytes_have_a_count(script):
    assert 0 <= legacy_sigops(script) <= 20 * len(script)

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.address import NETWORKS, AddressError, is_guarded, looks_like_address, script_of
from warppool.bitcoin.base58 import decode_base58check
from warppool.bitcoin.bech32 import Encoding, bytes_of_values, decode_bech32
from warppool.bitcoin.hashes import double_sha256

VECTORS = Path(__file__).parents[1] / "vectors"
BIP173 = json.loads((VECTORS / "bip173.json").read_text())
BIP350 = json.loads((VECTORS / "bip350.json").read_text())

WORDS_OF_REASON = {     # what we say of the reasons that BIP350 gives
    "Invalid human-readable part": "which Base58 lacks",
    "Invalid checksum (Bech32 instead of Bech32m)": "checksum of another witness version",
    "Invalid checksum (Bech32m instead of Bech32)": "checksum of another witness version",
    "Invalid character in checksum": "which Bech32 lacks",
    "Invalid witness version": "witness version 17",
    "Invalid program length (1 byte)": "witness program of 1 bytes",
    "Invalid program length (41 bytes)": "witness program of 41 bytes",
    "Invalid program length for witness version 0 (per BIP141)": "witness program of 16 bytes",
    "Mixed case": "mixes upper and lower case",
    "zero padding of more than 4 bits": "wrong padding",
    "Non-zero padding in 8-to-5 conversion": "wrong padding",
    "Empty data section": "no witness version",
}
P2PKH = "76a914{}88ac"
P2SH = "a914{}87"
HASH = "751e76e8199196d454941c45d1b3a323f1433bd6"


def network_of(address: str) -> str:
    return "main" if address.lower().startswith("bc1") else "signet"


# ---- published vectors

@pytest.mark.parametrize(("strings", "encoding"), [(BIP173["valid_strings"], Encoding.BECH32),
                                                   (BIP350["valid_strings"], Encoding.BECH32M)])
def test_published_strings_are_read(strings, encoding):
    for text in strings:
        human, values, found = decode_bech32(text)
        assert found is encoding
        assert human == text.lower().rpartition("1")[0]
        assert len(human) + 1 + len(values) + 6 == len(text)


@pytest.mark.parametrize(("text", "reason"), BIP173["invalid_strings"] + BIP350["invalid_strings"])
def test_published_bad_strings_are_refused(text, reason):
    with pytest.raises(ValueError, match=r"^(is|has|mixes) "):
        decode_bech32(text)


@pytest.mark.parametrize(("address", "script"), BIP350["valid_addresses"])
def test_published_addresses_give_their_scripts(address, script):
    assert script_of(address, network_of(address)).hex() == script


@pytest.mark.parametrize(("address", "script"), BIP173["valid_addresses"])
def test_of_the_older_addresses_only_version_0_is_still_good(address, script):
    if script.startswith("00"):
        assert script_of(address, network_of(address)).hex() == script
    else:
        with pytest.raises(AddressError, match="checksum of another witness version"):
            script_of(address, network_of(address))


@pytest.mark.parametrize(("address", "reason"), BIP350["invalid_addresses"])
def test_published_bad_addresses_are_refused_for_the_published_reason(address, reason):
    with pytest.raises(AddressError, match=re.escape(WORDS_OF_REASON[reason])):
        script_of(address, network_of(address))


@pytest.mark.parametrize(("address", "reason"), BIP173["invalid_addresses"])
def test_older_bad_addresses_are_refused(address, reason):
    for network in NETWORKS:
        with pytest.raises(AddressError):
            script_of(address, network)


@pytest.mark.parametrize(("address", "network", "script"), [
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "main", P2PKH.format(HASH)),
    ("mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", "signet", P2PKH.format(HASH)),
    ("3JvL6Ymt8MVWiCNHC7oWU6nLeHNJKLZGLN", "main", P2SH.format("bcfeb728b584253d5f3f70bcb780e9ef218a68f4")),
    ("2NAUYAHhujozruyzpsFRP63mbrdaU5wnEpN", "regtest", P2SH.format("bcfeb728b584253d5f3f70bcb780e9ef218a68f4")),
    ("1111111111111111111114oLvT2", "main", P2PKH.format("00" * 20)),      # leading zeros are kept
])
def test_known_addresses_before_segwit(address, network, script):
    assert script_of(address, network).hex() == script


# ---- an encoder of its own, written for this test from the other side: numbers to text

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
HUMAN_PART = {"main": "bc", "testnet4": "tb", "signet": "tb", "regtest": "bcrt"}
VERSION_BYTES = {"main": (0x00, 0x05), "testnet4": (0x6F, 0xC4), "signet": (0x6F, 0xC4), "regtest": (0x6F, 0xC4)}


def base58check(payload: bytes) -> str:
    data = payload + double_sha256(payload)[:4]
    digits, number = "", int.from_bytes(data, "big")
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def times_x(polynomial: int) -> int:
    """Multiply by x modulo the generator, whose coefficients stand in the BIP."""
    top, rest = polynomial >> 25, (polynomial & (1 << 25) - 1) << 5
    for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
        rest ^= generator * (top >> bit & 1)
    return rest


def bech32(human: str, values: list[int], constant: int) -> str:
    residue = 1
    for value in [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human] + values + [0] * 6:
        residue = times_x(residue) ^ value
    residue ^= constant
    checksum = [residue >> 5 * (5 - place) & 31 for place in range(6)]
    return human + "1" + "".join(BECH32[value] for value in values + checksum)


def segwit(human: str, version: int, program: bytes, constant: int | None = None) -> str:
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    groups = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]
    return bech32(human, [version, *groups], constant or (0x2BC830A3 if version else 1))


networks = st.sampled_from(NETWORKS)
hashes160 = st.binary(min_size=20, max_size=20)
programs = st.one_of(
    st.tuples(st.just(0), st.one_of(hashes160, st.binary(min_size=32, max_size=32))),
    st.tuples(st.integers(1, 16), st.binary(min_size=2, max_size=40)),
)


@given(networks, hashes160, st.sampled_from([(0, P2PKH), (1, P2SH)]))
def test_every_hash_address_round_trips(network, payload, kind):
    index, script = kind
    address = base58check(bytes((VERSION_BYTES[network][index],)) + payload)
    assert script_of(address, network).hex() == script.format(payload.hex())
    assert ("13" if network == "main" else "mn2").find(address[0]) >= 0


@given(networks, programs, st.booleans())
def test_every_witness_address_round_trips(network, versioned, is_upper):
    version, program = versioned
    address = segwit(HUMAN_PART[network], version, program)
    opcode = version and 0x50 + version
    script = script_of(address.upper() if is_upper else address, network)
    assert script == bytes((opcode, len(program))) + program


@given(networks, networks, programs)
def test_only_its_own_network_takes_a_witness_address(home, other, versioned):
    address = segwit(HUMAN_PART[home], *versioned)
    if HUMAN_PART[home] == HUMAN_PART[other]:
        script_of(address, other)
    else:
        with pytest.raises(AddressError, match=f"for .*{home}.*, not for {other}$"):
            script_of(address, other)


@given(networks, programs, st.data())
def test_one_wrong_character_is_always_caught(network, versioned, data):
    address = segwit(HUMAN_PART[network], *versioned)
    place = data.draw(st.integers(address.index("1") + 1, len(address) - 1))
    wrong = data.draw(st.sampled_from([c for c in BECH32 if c != address[place]]))
    with pytest.raises(AddressError):
        script_of(address[:place] + wrong + address[place + 1:], network)


# ---- what an operator gets wrong

@pytest.mark.parametrize(("address", "network", "words"), [
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "regtest", "is an address for main, not for regtest"),
    ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "main", "is an address for testnet4 or signet, not for main"),
    ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "regtest", "is an address for testnet4 or signet, not for regtest"),
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "testnet4", "is an address for main, not for testnet4"),
    ("mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r", "main", "is an address for testnet4, signet or regtest, not for main"),
    ("2NAUYAHhujozruyzpsFRP63mbrdaU5wnEpN", "main", "is an address for testnet4, signet or regtest, not for main"),
])
def test_another_network_is_named(address, network, words):
    with pytest.raises(AddressError) as refusal:
        script_of(address, network)
    assert str(refusal.value) == f"'{address}' {words}"


@pytest.mark.parametrize(("address", "words"), [
    ("", "is empty"),
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMh", "has a wrong checksum"),
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAM", "has a wrong checksum"),
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMHH", "has a wrong checksum"),
    ("1111", "has a wrong checksum"),
    ("1", "has a wrong checksum"),
    (" 1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "has the character ' ', which Base58 lacks"),
    ("0BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", "has the character '0', which Base58 lacks"),
    (base58check(b"\x30" + bytes(20)), "is no address of any Bitcoin network"),     # another coin's
    (base58check(b"\x80" + bytes(32)), "is no address of any Bitcoin network"),     # a private key
    (base58check(bytes(20)), "is no address of any Bitcoin network"),
    (base58check(bytes(22)), "is no address of any Bitcoin network"),
    (base58check(b""), "is no address of any Bitcoin network"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "has a wrong checksum"),
    ("Bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "mixes upper and lower case"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4 ", "has a character that is not printable ASCII"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4\u00e4", "has a character that is not printable ASCII"),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3b4", "has the character 'b', which Bech32 lacks"),
    ("bc1qw5", "is too short for its checksum"),
    ("bc1" + "q" * 88, "is longer than 90 characters"),
    (bech32("bc1qw508d", [0, *[1] * 32], 1), "is no address of any Bitcoin network"),
    (segwit("bc", 0, bytes(20), 0x2BC830A3), "has the checksum of another witness version than its own, 0"),
    (segwit("bc", 16, bytes(20), 1), "has the checksum of another witness version than its own, 16"),
    (segwit("bc", 0, bytes(21)), "has a witness program of 21 bytes, which version 0 does not allow"),
    (segwit("bc", 2, bytes(41)), "has a witness program of 41 bytes, which version 2 does not allow"),
    (segwit("bc", 2, bytes(1)), "has a witness program of 1 bytes, which version 2 does not allow"),
    (bech32("bc", [2, *[0] * 9], 0x2BC830A3), "has a wrong padding at its end"),    # five zero bits: a letter too many
    (segwit("bc", 31, bytes(20)), "has witness version 31, and the last is 16"),
])
def test_every_mistake_has_its_sentence(address, words):
    with pytest.raises(AddressError) as refusal:
        script_of(address, "main")
    assert str(refusal.value) == f"{address!r} {words}"


def test_a_message_stays_one_short_line_whatever_was_typed():
    with pytest.raises(AddressError) as refusal:
        script_of("bc1q\nevent=forged", "main")
    assert "\n" not in str(refusal.value)
    with pytest.raises(AddressError, match="is longer than 128 characters") as refusal:
        script_of("1" * 1_000_000, "main")
    assert len(str(refusal.value)) < 120


def test_an_unknown_network_is_the_callers_mistake():
    with pytest.raises(ValueError, match="unknown network 'testnet'") as refusal:
        script_of("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "testnet")
    assert not isinstance(refusal.value, AddressError)


@given(st.text(max_size=100), networks)
def test_whatever_is_typed_is_a_script_or_an_address_error(text, network):
    with pytest.raises(AddressError):
        script_of(text, network)


@given(st.binary(max_size=60))
def test_base58check_round_trips(payload):
    assert decode_base58check(base58check(payload)) == payload


@pytest.mark.parametrize("size", [127, 128, 129])
def test_base58_is_read_up_to_128_characters(size):
    text = "1" * (size - 88) + base58check(b"\xff" * 60)[:88]
    assert len(text) == size
    with pytest.raises(ValueError, match="wrong checksum" if size <= 128 else "longer than 128 characters"):
        decode_base58check(text)


@pytest.mark.parametrize("human", ["!", "~", "a~!b"])
def test_a_human_readable_part_may_hold_all_printable_characters(human):
    assert decode_bech32(bech32(human, [5], 1)) == (human, (5,), Encoding.BECH32)


@given(st.binary(max_size=45))
def test_bytes_of_values_undoes_the_grouping(data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    assert bytes_of_values([int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]) == data


@pytest.mark.parametrize(("address", "guarded"), [
    ("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", True), ("3EktnHQD7RiAE6uzMj2ZifT9YgRrkSgzQX", True),
    (segwit("bc", 0, bytes(20)), True), (segwit("bc", 0, bytes(32)), True), (segwit("bc", 1, bytes(32)), True),
    (segwit("bc", 1, bytes(31)), False), (segwit("bc", 1, bytes(33)), False),
    (segwit("bc", 1, b"\x4e\x73"), False),                             # pay to anchor, meant for anyone
    (segwit("bc", 2, bytes(32)), False), (segwit("bc", 16, bytes(20)), False), (segwit("bc", 16, bytes(40)), False),
])
def test_only_rules_of_today_guard_a_coin(address, guarded):
    assert is_guarded(script_of(address, "main")) is guarded


# --- what people would take for one -----------------------------------------------------------------------------------

@pytest.mark.parametrize("text", [
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",       # a wrong checksum looks no different
    "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn",
    "bitcoin:1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "BITCOIN:bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"])
def test_what_looks_like_an_address(text):
    assert looks_like_address(text)


@pytest.mark.parametrize("text", [
    "", "alice", "bc1", "bc1alice", "bc1-rack-17-machine-4", "mymachineinthebasementnumberone", "bitcoin:", "x" * 255,
    "1234567890123456789012345678901", "bc1q" + "z" * 100, "0A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "日本" * 15,
    "m\u0661pcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"])
def test_what_does_not(text):
    assert not looks_like_address(text)

"""From an address to its output script: where a coinbase pays.

Coins that go to a wrong script are lost. So the form, the checksum, the length and the network must all be right. The
text of an `AddressError` is a sentence about the address, for the operator who typed the address.
"""

from __future__ import annotations

from warppool.bitcoin.base58 import decode_base58check
from warppool.bitcoin.bech32 import Encoding, bytes_of_values, decode_bech32

NETWORKS = ("main", "testnet4", "signet", "regtest")

NETWORKS_OF_HUMAN_PART = {"bc": ("main",), "tb": ("testnet4", "signet"), "bcrt": ("regtest",)}
SEGWIT_OPENINGS = tuple(f"{human}1" for human in NETWORKS_OF_HUMAN_PART)
_TEST_NETWORKS = ("testnet4", "signet", "regtest")
KEY_HASH, SCRIPT_HASH = "key hash", "script hash"
BASE58_VERSIONS = {
    0x00: (KEY_HASH, ("main",)),               # 1...
    0x05: (SCRIPT_HASH, ("main",)),            # 3...
    0x6F: (KEY_HASH, _TEST_NETWORKS),          # m..., n...
    0xC4: (SCRIPT_HASH, _TEST_NETWORKS),       # 2...
}
HASH160_SIZE = 20
PROGRAM_SIZES = range(2, 41)       # bytes of a witness program (BIP141)
V0_PROGRAM_SIZES = (20, 32)        # key hash, script hash
_TAPROOT_PROGRAM_SIZE = 32
MAX_WITNESS_VERSION = 16
OP_1 = 0x51
_URI = "bitcoin:"
_LEAST_SEGWIT, _MOST_SEGWIT = 14, 90                # characters (BIP173)
_BASE58 = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
_BASE58_SIZES = range(26, 36)                       # characters of 25 bytes
_BASE58_OPENINGS = "132mn"


class AddressError(ValueError):
    """The text is no address, or an address of another network; the sentence says which, and quotes the text."""


def script_of(address: str, network: str) -> bytes:
    """The output script of `address`, which must be for `network` (one of NETWORKS, else a plain ValueError).

    Takes P2PKH, P2SH, P2WPKH, P2WSH, P2TR, and future witness versions (BIP173, BIP350). Anyone can spend the coins of
    a future version until a rule for the version exists: `is_guarded` tells. AddressError says what is wrong.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}")
    try:
        script, networks = _decode(address)
    except ValueError as exc:
        raise AddressError(f"{_quoted(address)} {exc}") from None
    if network not in networks:
        raise AddressError(f"{_quoted(address)} is an address for {_any_of(networks)}, not for {network}")
    return script


def canonical(address: str) -> str:
    """The one way to write an address that `script_of` takes: bech32 may come in capitals, as QR codes have it."""
    return address.lower() if address.lower().startswith(SEGWIT_OPENINGS) else address


def looks_like_address(text: str) -> bool:
    """Whether people would take `text` for a Bitcoin address of any network. The checksum may be wrong."""
    text = text[len(_URI):] if text[:len(_URI)].lower() == _URI else text
    if text.lower().startswith(SEGWIT_OPENINGS):
        return _LEAST_SEGWIT <= len(text) <= _MOST_SEGWIT and text.isascii() and text.isalnum()
    return (len(text) in _BASE58_SIZES and text[0] in _BASE58_OPENINGS and _BASE58.issuperset(text)
            and any(map(str.isdigit, text)) and any(map(str.isupper, text)) and any(map(str.islower, text)))


def is_guarded(script: bytes) -> bool:
    """Whether a rule guards the coins that are paid to `script`, which `script_of` made. Without one, anyone can spend.

    No rule guards future witness versions, nor a version 1 program of any length but 32 bytes (BIP141, BIP341).
    """
    version, size = script[0], script[1]
    is_version_1_up = OP_1 <= version < OP_1 + MAX_WITNESS_VERSION and len(script) == 2 + size
    return not is_version_1_up or (version == OP_1 and size == _TAPROOT_PROGRAM_SIZE)


def _decode(address: str) -> tuple[bytes, tuple[str, ...]]:
    """The script, and the networks that have such addresses. The text of a ValueError continues a sentence that begins
    with the address.
    """
    if not address:
        raise ValueError("is empty")
    if address.lower().startswith(SEGWIT_OPENINGS):
        return _decode_segwit(address)
    return _decode_base58(address)


def _decode_segwit(address: str) -> tuple[bytes, tuple[str, ...]]:
    human, values, encoding = decode_bech32(address)
    if human not in NETWORKS_OF_HUMAN_PART:        # Bech32 separates at the last "1": this one has a later "1"
        raise ValueError("is no address of any Bitcoin network")
    if not values:
        raise ValueError("has no witness version")
    version, program = values[0], bytes_of_values(values[1:])
    if version > MAX_WITNESS_VERSION:
        raise ValueError(f"has witness version {version}, and the last is {MAX_WITNESS_VERSION}")
    if encoding is not (Encoding.BECH32M if version else Encoding.BECH32):
        raise ValueError(f"has the checksum of another witness version than its own, {version}")
    if len(program) not in (PROGRAM_SIZES if version else V0_PROGRAM_SIZES):
        raise ValueError(f"has a witness program of {len(program)} bytes, which version {version} does not allow")
    opcode = OP_1 + version - 1 if version else 0
    return bytes((opcode, len(program))) + program, NETWORKS_OF_HUMAN_PART[human]


def _decode_base58(address: str) -> tuple[bytes, tuple[str, ...]]:
    payload = decode_base58check(address)
    if len(payload) != 1 + HASH160_SIZE or payload[0] not in BASE58_VERSIONS:
        raise ValueError("is no address of any Bitcoin network")
    kind, networks = BASE58_VERSIONS[payload[0]]
    push = bytes((HASH160_SIZE,)) + payload[1:]
    if kind is KEY_HASH:
        return b"\x76\xa9" + push + b"\x88\xac", networks       # DUP HASH160 <hash> EQUALVERIFY CHECKSIG
    return b"\xa9" + push + b"\x87", networks                   # HASH160 <hash> EQUAL


def _quoted(address: str) -> str:
    """The address as a message may show it: escaped, and cut where it is longer than any address."""
    return repr(address) if len(address) <= 100 else f"{address[:40]!r}..."


def _any_of(networks: tuple[str, ...]) -> str:
    return networks[0] if len(networks) == 1 else f"{', '.join(networks[:-1])} or {networks[-1]}"

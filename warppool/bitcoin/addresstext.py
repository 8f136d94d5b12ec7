"""From an output script back to its address, the one way in which books and reports write an account."""

from __future__ import annotations

from warppool.bitcoin.address import (
    BASE58_VERSIONS,
    HASH160_SIZE,
    KEY_HASH,
    MAX_WITNESS_VERSION,
    NETWORKS,
    NETWORKS_OF_HUMAN_PART,
    OP_1,
    PROGRAM_SIZES,
    SCRIPT_HASH,
    V0_PROGRAM_SIZES,
)
from warppool.bitcoin.base58 import encode_base58check
from warppool.bitcoin.bech32 import Encoding, encode_bech32, values_of_bytes

_HUMAN_PARTS = {network: human for human, networks in NETWORKS_OF_HUMAN_PART.items() for network in networks}
_VERSIONS = {(kind, network): bytes((version,)) for version, (kind, networks) in BASE58_VERSIONS.items()
             for network in networks}
_KEY_HASH_OPENING, _KEY_HASH_END = b"\x76\xa9\x14", b"\x88\xac"     # DUP HASH160 <20 bytes> EQUALVERIFY CHECKSIG
_SCRIPT_HASH_OPENING, _SCRIPT_HASH_END = b"\xa9\x14", b"\x87"       # HASH160 <20 bytes> EQUAL


def address_of(script: bytes, network: str) -> str:
    """The address of `script` on `network` (one of NETWORKS, else ValueError), Bech32 in lower case.

    Empty for a script that has no address, as that of OP_RETURN. What `script_of` makes of the address is `script`.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}")
    if _is_around(script, _KEY_HASH_OPENING, _KEY_HASH_END):
        return encode_base58check(_VERSIONS[KEY_HASH, network] + script[3:3 + HASH160_SIZE])
    if _is_around(script, _SCRIPT_HASH_OPENING, _SCRIPT_HASH_END):
        return encode_base58check(_VERSIONS[SCRIPT_HASH, network] + script[2:2 + HASH160_SIZE])
    if len(script) < 2 or script[1] != len(script) - 2 or script[1] not in PROGRAM_SIZES:
        return ""
    if script[0] == 0:
        is_known, version, encoding = script[1] in V0_PROGRAM_SIZES, 0, Encoding.BECH32
    else:
        version, encoding = script[0] - OP_1 + 1, Encoding.BECH32M
        is_known = 1 <= version <= MAX_WITNESS_VERSION
    return encode_bech32(_HUMAN_PARTS[network], (version, *values_of_bytes(script[2:])), encoding) if is_known else ""


def _is_around(script: bytes, opening: bytes, end: bytes) -> bool:
    return (len(script) == len(opening) + HASH160_SIZE + len(end) and script.startswith(opening)
            and script.endswith(end))

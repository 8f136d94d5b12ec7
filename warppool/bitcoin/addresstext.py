"""From an output script back to its address, the one way in which books and reports write an account."""

from __future__ import annotations

from warppool.bitcoin.address import NETWORKS
from warppool.bitcoin.base58 import encode_base58check
from warppool.bitcoin.bech32 import Encoding, encode_bech32, values_of_bytes

_HUMAN_PARTS = {"main": "bc", "testnet4": "tb", "signet": "tb", "regtest": "bcrt"}
_KEY_HASH_OPENING, _KEY_HASH_END = b"\x76\xa9\x14", b"\x88\xac"     # DUP HASH160 <20 bytes> EQUALVERIFY CHECKSIG
_SCRIPT_HASH_OPENING, _SCRIPT_HASH_END = b"\xa9\x14", b"\x87"       # HASH160 <20 bytes> EQUAL
_HASH_SIZE = 20
_PROGRAM_SIZES = range(2, 41)
_V0_PROGRAM_SIZES = (20, 32)
_OP_1, _OP_16 = 0x51, 0x60


def address_of(script: bytes, network: str) -> str:
    """The address of `script` on `network` (one of NETWORKS, else ValueError), Bech32 in lower case.

    Empty for a script that has no address, as that of OP_RETURN. What `script_of` makes of the address is `script`.
    """
    if network not in NETWORKS:
        raise ValueError(f"unknown network {network!r}")
    if _is_around(script, _KEY_HASH_OPENING, _KEY_HASH_END):
        return encode_base58check((b"\x00" if network == "main" else b"\x6f") + script[3:3 + _HASH_SIZE])
    if _is_around(script, _SCRIPT_HASH_OPENING, _SCRIPT_HASH_END):
        return encode_base58check((b"\x05" if network == "main" else b"\xc4") + script[2:2 + _HASH_SIZE])
    if len(script) < 2 or script[1] != len(script) - 2 or script[1] not in _PROGRAM_SIZES:
        return ""
    if script[0] == 0:
        is_known, version, encoding = script[1] in _V0_PROGRAM_SIZES, 0, Encoding.BECH32
    else:
        is_known, version, encoding = _OP_1 <= script[0] <= _OP_16, script[0] - _OP_1 + 1, Encoding.BECH32M
    return encode_bech32(_HUMAN_PARTS[network], (version, *values_of_bytes(script[2:])), encoding) if is_known else ""


def _is_around(script: bytes, opening: bytes, end: bytes) -> bool:
    return (len(script) == len(opening) + _HASH_SIZE + len(end) and script.startswith(opening)
            and script.endswith(end))

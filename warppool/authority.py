"""The keys of the published Stratum V2 profile as people write them: of an authority, public and secret.

An authority vouches for the static keys of a pool's servers. Miners know its public key: it stands in the pool's URL.

Source: docs/sv2-wire.rst#wire-spec.
"""

from __future__ import annotations

from typing import Final

from warppool.bitcoin.base58 import decode_base58check, encode_base58check

KEY_LEN: Final = 32             # bytes of a secret key, and of a public one as x-only (BIP340)
_VERSION: Final = b"\x01\x00"   # before a public key in its text
_OLD_VERSION: Final = b"\x4b\x69"
_PRIME: Final = 2**256 - 2**32 - 977
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def parse_authority_key(text: str) -> bytes:
    """The x-only public key (32 bytes) that `text` stands for: Base58 with a checksum.

    ValueError says what is wrong with any other text, as the rest of a sentence that begins with the text.
    """
    payload = decode_base58check(text)
    version, key = payload[:len(_VERSION)], payload[len(_VERSION):]
    if len(key) != KEY_LEN:
        raise ValueError(f"has {len(payload)} bytes: a public key has {len(_VERSION) + KEY_LEN}"
                         + (", and this may be a secret one" if len(payload) == KEY_LEN else ""))
    if version == _OLD_VERSION:
        raise ValueError("is a key in the form of an older draft: make the pool print its key anew")
    if version != _VERSION:
        raise ValueError(f"is a key of version {version.hex()}, and the only one known is {_VERSION.hex()}")
    if not is_on_curve(key):
        raise ValueError("is no key: no point of secp256k1 has this coordinate")
    return key


def authority_key_text(public: bytes) -> str:
    """The text of an x-only public key (32 bytes), as URLs have it."""
    return encode_base58check(_VERSION + public)


def parse_secret(text: str) -> bytes:
    """A secret key (32 bytes) from 64 hex digits, or from Base58 with a checksum, as SRI's programs write theirs.

    ValueError for any other text, and for a number that is no secret key of secp256k1. It does not show the text.
    """
    try:
        secret = bytes.fromhex(text) if len(text) == 2 * KEY_LEN else decode_base58check(text)
    except ValueError:
        raise ValueError("is neither 64 hex digits nor Base58 with a checksum") from None
    if len(secret) != KEY_LEN:
        raise ValueError(f"has {len(secret)} bytes: a secret key has {KEY_LEN}")
    if not 0 < int.from_bytes(secret, "big") < _ORDER:
        raise ValueError("is no secret key: the number is out of range")
    return secret


def is_on_curve(public: bytes) -> bool:
    """Whether a point of secp256k1 has the coordinate x `public` (32 bytes, big-endian)."""
    x = int.from_bytes(public, "big")
    return x < _PRIME and pow(x**3 + 7, (_PRIME - 1) // 2, _PRIME) == 1

"""secp256k1 as the published profile needs it: EllSwift keys and their DH (BIP324), and signatures (BIP340).

No other module imports btclib-secp256k1, which the extra `[spec]` installs. The library is loaded at the first call, so
a pool without that profile neither needs nor loads it.

Every call is deterministic: randomness comes in with the secret. The library takes 32 more random bytes to choose one
of the encodings of a public key, and for the nonce of a signature; here they are zero. Then the encoding depends on the
secret alone, and the nonce on the secret and the message, which libsecp256k1 and BIP340 allow.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, Final

from warppool.errors import HandshakeFailed, LocalProtocolError, MissingExtra

ELLSWIFT_LEN: Final = 64        # a public key on the wire, bytes
XONLY_LEN: Final = 32           # a public key in a signature's terms: the x coordinate, big-endian
SIGNATURE_LEN: Final = 64

_NO_AUX: Final = bytes(32)
_INITIATOR, _RESPONDER = 0, 1   # BIP324's names for the two parties of a DH, as the library counts them


@cache
def library() -> Any:
    """btclib-secp256k1, loaded at the first call; MissingExtra where the extra `[spec]` is not installed."""
    try:
        from btclib_secp256k1 import ellswift, keys, ssa, xonly
    except ImportError as exc:
        raise MissingExtra("Stratum V2 of the published profile needs the package btclib-secp256k1: "
                           "pip install 'warppool[spec]'") from exc
    return SimpleNamespace(ellswift=ellswift, keys=keys, ssa=ssa, xonly=xonly)


def is_secret(secret: bytes) -> bool:
    """Whether `secret` is a usable key: 32 bytes, and a number from 1 to the order of the group less one."""
    return bool(library().keys.prvkey_verify(secret))


def ellswift_of_secret(secret: bytes) -> bytes:
    """The public key of `secret` (32 bytes) as 64 bytes that look random; LocalProtocolError for no usable secret."""
    try:
        public: bytes = library().ellswift.create(secret, _NO_AUX)
    except ValueError as exc:
        raise LocalProtocolError("no secret key of secp256k1") from exc
    return public


def xonly_of_secret(secret: bytes) -> bytes:
    """The x-only public key (32 bytes) of `secret` (32 bytes); LocalProtocolError if `secret` is unusable."""
    try:
        public: bytes = library().xonly.from_prvkey(secret)[0]
    except ValueError as exc:
        raise LocalProtocolError("no secret key of secp256k1") from exc
    return public


def xonly_of_ellswift(public: bytes) -> bytes:
    """The x-only key (32 bytes) that `public` stands for: any 64 bytes stand for one, others are LocalProtocolError."""
    try:
        decoded: bytes = library().ellswift.decode(public)
    except ValueError as exc:
        raise LocalProtocolError(f"EllSwift key of {len(public)} bytes") from exc
    return decoded[1:]                  # without the byte that tells the sign of y


def ellswift_dh(secret: bytes, own: bytes, peer: bytes, is_initiator: bool) -> bytes:
    """The shared secret (32 bytes) of BIP324's `v2_ecdh`, which hashes both encodings, the initiator's first.

    `own` is the encoding of `secret`'s public key that was sent, `peer` the one that was received. HandshakeFailed for
    a `peer` that has not 64 bytes. No other one is refused: each is a point of the curve, whose order is a prime.
    """
    if len(peer) != ELLSWIFT_LEN:
        raise HandshakeFailed(f"EllSwift key of {len(peer)} bytes")
    first, second, party = (own, peer, _INITIATOR) if is_initiator else (peer, own, _RESPONDER)
    try:
        shared: bytes = library().ellswift.xdh(first, second, secret, party)
    except ValueError as exc:
        raise LocalProtocolError("no key pair of secp256k1") from exc
    return shared


def sign(secret: bytes, digest: bytes) -> bytes:
    """The BIP340 signature (64 bytes) of `digest` (32 bytes); LocalProtocolError if `secret` is unusable."""
    try:
        signature: bytes = library().ssa.sign(digest, secret, _NO_AUX)
    except ValueError as exc:
        raise LocalProtocolError("no secret key of secp256k1, or no digest of 32 bytes") from exc
    return signature


def is_signed(public: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is a BIP340 signature of `digest` by the x-only key `public` (32 bytes).

    False, too, where `public` is on no point of the curve, or a half of the signature is out of its range.
    """
    if len(public) != XONLY_LEN or len(signature) != SIGNATURE_LEN:
        return False
    try:
        return bool(library().ssa.verify(digest, public, signature))
    except ValueError:                  # no point of the curve has that x
        return False

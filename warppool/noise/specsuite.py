"""The Noise suite of the published profile (docs/sv2-wire.rst#wire-spec): secp256k1 in EllSwift encoding, SHA-256."""

from __future__ import annotations

import hashlib
from typing import Final

from warppool.noise.certificate import CERTIFICATE_LEN, check_server
from warppool.noise.secp256k1 import ELLSWIFT_LEN, ellswift_dh, ellswift_of_secret
from warppool.noise.symmetricstate import KeyPair, Suite


def _shared(own: KeyPair, peer: bytes, is_initiator: bool) -> bytes:
    return ellswift_dh(own.secret, own.public, peer, is_initiator)


SPEC_SUITE: Final = Suite(
    name=b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256",
    hash=hashlib.sha256,
    dh_len=ELLSWIFT_LEN,
    act_two_payload_len=CERTIFICATE_LEN,
    public_key=ellswift_of_secret,
    shared=_shared,
    check_server=check_server,
    has_length_prefixes=False,
)

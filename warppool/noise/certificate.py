"""The certificate of the published profile, SIGNATURE_NOISE_MESSAGE: an authority vouches for a server's static key.

The server sends the certificate in act two, sealed. The miner knows the authority's public key alone, from the pool's
URL. So a pool may change its static key, and its servers may have one each, while its miners keep their URL.

Source: docs/sv2-wire.rst#wire-spec.
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import Final, NamedTuple

from warppool.errors import HandshakeFailed, WrongServerKey
from warppool.noise.secp256k1 import SIGNATURE_LEN, is_signed, sign, xonly_of_ellswift

VERSION: Final = 0
LEEWAY_S: Final = 10
"""So far apart the clocks of a miner and a server may be. SRI's programs allow the same."""

LAST_TIME: Final = 2**32 - 1
"""The end of what a time of a certificate can say, Unix seconds."""

_signed_part = Struct("<HII")
CERTIFICATE_LEN: Final = _signed_part.size + SIGNATURE_LEN      # 74 bytes


class NoiseCertificate(NamedTuple):
    """Times in Unix seconds, both included. `signature` is the authority's, of BIP340, over `digest_for`."""

    version: int
    valid_from: int
    not_valid_after: int
    signature: bytes

    @classmethod
    def decode(cls, data: bytes) -> NoiseCertificate:
        """Read the 74 bytes of act two; HandshakeFailed for another length."""
        if len(data) != CERTIFICATE_LEN:
            raise HandshakeFailed(f"certificate of {len(data)} bytes instead of {CERTIFICATE_LEN}")
        version, valid_from, not_valid_after = _signed_part.unpack_from(data)
        return cls(version, valid_from, not_valid_after, data[_signed_part.size:])

    def encode(self) -> bytes:
        """The 74 bytes of act two."""
        return _signed_part.pack(self.version, self.valid_from, self.not_valid_after) + self.signature

    def digest_for(self, static: bytes) -> bytes:
        """What the authority signs (32 bytes): version, times, and `static`, the server's key as x-only (32 bytes)."""
        return hashlib.sha256(_signed_part.pack(self.version, self.valid_from, self.not_valid_after) + static).digest()

    def is_of(self, authority: bytes, static: bytes) -> bool:
        """Whether `authority` has signed this certificate for `static`; both are x-only keys (32 bytes)."""
        return is_signed(authority, self.digest_for(static), self.signature)


def issue(authority_secret: bytes, static: bytes, valid_from: int, not_valid_after: int) -> NoiseCertificate:
    """A new certificate for `static` (x-only, 32 bytes). Times are Unix seconds, 0 to `LAST_TIME`."""
    unsigned = NoiseCertificate(VERSION, valid_from, not_valid_after, b"")
    return unsigned._replace(signature=sign(authority_secret, unsigned.digest_for(static)))


def check_server(static: bytes, payload: bytes, authority: bytes, unix_time: float) -> None:
    """Hold a server to `authority` (x-only, 32 bytes): `static` is its key (64 bytes), `payload` what came with it.

    WrongServerKey where another authority has signed, or nobody: trying again does not help. HandshakeFailed where the
    certificate is of another version or out of date at `unix_time`, seconds, with a leeway of 10: it may be renewed.
    """
    certificate = NoiseCertificate.decode(payload)
    if certificate.version != VERSION:
        raise HandshakeFailed(f"certificate of version {certificate.version} instead of {VERSION}")
    if not certificate.is_of(authority, xonly_of_ellswift(static)):
        raise WrongServerKey(f"authority key: {authority.hex()} has not signed the certificate of the server")
    if not certificate.valid_from - LEEWAY_S <= unix_time <= certificate.not_valid_after + LEEWAY_S:
        raise HandshakeFailed(f"certificate for {certificate.valid_from} to {certificate.not_valid_after}, and our "
                              f"clock says {unix_time:.0f}: one of the clocks is wrong, or it was not renewed")

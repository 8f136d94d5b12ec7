"""SymmetricState of the Noise paper (section 5.2), and the suite of algorithms that it uses.

A suite is data, because Stratum V2 has two: X25519 with BLAKE2s in the profile `warp`, and secp256k1 in EllSwift
encoding with SHA-256 in the published one. The two differ in the DH function, the hash and the lengths. The handshake
takes these from its suite.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from warppool.errors import BadRecord, HandshakeFailed, WrongServerKey
from warppool.noise.cipherstate import CipherState
from warppool.noise.primitives import KEY_LEN, TAG_LEN, X25519_LEN, Buffer, dh, public_key


class KeyPair(NamedTuple):
    """A secret, and its public half as that goes over the wire.

    The two are kept together. In EllSwift, several encodings stand for one public key, and the DH hashes the encoding
    that was sent. So the encoding must not be computed a second time.
    """

    secret: bytes
    public: bytes


def check_static_key(static: bytes, payload: bytes, pin: bytes, unix_time: float) -> None:
    """Hold a server to `pin`, which is its static key itself; WrongServerKey for another one."""
    if not hmac.compare_digest(static, pin):
        raise WrongServerKey(f"server key: expected {pin.hex()}, got {static.hex()}")


@dataclass(frozen=True, slots=True)
class Suite:
    """The algorithms of a Noise_NX handshake; the cipher is ChaCha20-Poly1305 in every suite.

    `shared(own, peer, is_initiator)` is the DH. `peer` is the other side's public key as it was received.
    `is_initiator` is the role of the caller: the DH of EllSwift hashes the initiator's encoding before the responder's.
    It raises HandshakeFailed where `peer` is no usable key.

    `check_server(static, payload, pin, unix_time)` is how an initiator holds a server to `pin`: by the server's static
    key, which it has proved, and by the payload of act two. It raises HandshakeFailed, and WrongServerKey where trying
    again does not help.
    """

    name: bytes                                         # the Noise protocol name
    hash: Callable[..., Any]                            # a constructor of hashlib
    dh_len: int                                         # a public key on the wire, bytes
    act_two_payload_len: int                            # what the responder says of its static key, bytes
    public_key: Callable[[bytes], bytes]                # of a secret: the public key as it goes over the wire
    shared: Callable[[KeyPair, bytes, bool], bytes]
    check_server: Callable[[bytes, bytes, bytes, float], None] = check_static_key
    has_length_prefixes: bool = True                    # before the messages of the handshake and the records

    def key_pair(self, secret: bytes) -> KeyPair:
        """`secret` with its public half."""
        return KeyPair(secret, self.public_key(secret))

    @property
    def act_one_len(self) -> int:
        """Bytes of `-> e`."""
        return self.dh_len

    @property
    def act_two_len(self) -> int:
        """Bytes of `<- e, ee, s, es` and its payload."""
        return self.dh_len + self.dh_len + TAG_LEN + self.act_two_payload_len + TAG_LEN


def _x25519(own: KeyPair, peer: bytes, is_initiator: bool) -> bytes:
    return dh(own.secret, peer)


WARP_SUITE: Final = Suite(
    name=b"Noise_NX_25519_ChaChaPoly_BLAKE2s",
    hash=hashlib.blake2s,
    dh_len=X25519_LEN,
    act_two_payload_len=0,
    public_key=public_key,
    shared=_x25519,
)


class SymmetricState:
    """The hash `h` over a handshake so far, its chaining key `ck`, and its cipher (None before the first `mix_key`).

    One for each handshake: `split` is the end of it. `buffer` is working memory of the calling thread.
    """

    __slots__ = ("_buffer", "_hash", "cipher", "ck", "h")

    def __init__(self, suite: Suite, buffer: Buffer) -> None:
        self._hash = suite.hash
        self._buffer = buffer
        hash_len = suite.hash(b"").digest_size
        self.h: bytes = suite.name.ljust(hash_len, b"\0") if len(suite.name) <= hash_len else self._digest(suite.name)
        self.ck = self.h
        self.cipher: CipherState | None = None

    def _digest(self, data: bytes) -> bytes:
        digest: bytes = self._hash(data).digest()
        return digest

    def _hkdf(self, material: bytes) -> tuple[bytes, bytes]:
        """Two outputs of the paper's HKDF (section 4.3). It is HMAC, although BLAKE2s has a keyed mode of its own."""
        temp_key = hmac.digest(self.ck, material, self._hash)
        first = hmac.digest(temp_key, b"\x01", self._hash)
        return first, hmac.digest(temp_key, first + b"\x02", self._hash)

    def mix_hash(self, data: bytes) -> None:
        """Make everything that follows depend on `data`."""
        self.h = self._digest(self.h + data)

    def mix_key(self, material: bytes) -> None:
        """Mix the result of a DH into the chaining key, and encrypt under a new key from here on."""
        self.ck, temp_k = self._hkdf(material)
        self.cipher = CipherState(temp_k[:KEY_LEN])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """`plaintext` as it goes over the wire: as it is before the first `mix_key`, then sealed (16 bytes longer)."""
        ciphertext = plaintext
        if self.cipher is not None:
            ciphertext = self.cipher.encrypt_with_ad(self.h, plaintext, self._buffer)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Undo the peer's `encrypt_and_hash`; HandshakeFailed if the tag is wrong."""
        plaintext = ciphertext
        if self.cipher is not None:
            try:
                plaintext = self.cipher.decrypt_with_ad(self.h, ciphertext, self._buffer)
            except BadRecord as exc:
                raise HandshakeFailed(f"handshake message: {exc}") from exc
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """The two ciphers of the session; the first is the one that the initiator sends with."""
        first, second = self._hkdf(b"")
        return CipherState(first[:KEY_LEN]), CipherState(second[:KEY_LEN])

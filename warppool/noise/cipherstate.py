"""CipherState of the Noise paper (section 5.1): a key, and a nonce that counts the messages under that key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from warppool.errors import BadRecord, LocalProtocolError
from warppool.noise.primitives import Buffer, open_sealed, pack_nonce, seal, seal_all

RESERVED_NONCE: Final = 2**64 - 1
"""No message is sealed with this nonce: the paper reserves it for rekeying. Neither profile rekeys."""


class CipherState:
    """One direction of a session under one key `k` (32 bytes); `n` is the next nonce.

    A message that is refused does not count: `n` stays. The paper also has a CipherState without a key; here that is
    None in its place. `buffer` is working memory of the calling thread.
    """

    __slots__ = ("k", "n")

    def __init__(self, k: bytes, n: int = 0) -> None:
        self.k = k
        self.n = n

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes, buffer: Buffer) -> bytes:
        """Seal `plaintext` (at most 65,519 bytes); LocalProtocolError once all nonces have been used."""
        n = self.n
        if n >= RESERVED_NONCE:
            raise LocalProtocolError("no nonce is left to seal with")
        ciphertext = seal(self.k, pack_nonce(0, n), ad, plaintext, buffer)
        self.n = n + 1
        return ciphertext

    def encrypt_all(self, pieces: Sequence[bytes], buffer: Buffer) -> bytes:
        """Messages without associated data, sealed one behind the other; at most 65,535 bytes when they are sealed.

        LocalProtocolError where not as many nonces are left.
        """
        n = self.n
        if n > RESERVED_NONCE - len(pieces):
            raise LocalProtocolError(f"no nonces are left to seal {len(pieces)} messages with")
        ciphertexts = seal_all(self.k, n, pieces, buffer)
        self.n = n + len(pieces)
        return ciphertexts

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes, buffer: Buffer) -> bytes:
        """Open `ciphertext`; BadRecord if its tag is wrong, its length impossible, or all nonces have been used."""
        n = self.n
        if n >= RESERVED_NONCE:
            raise BadRecord("a message after the last nonce")
        plaintext = open_sealed(self.k, pack_nonce(0, n), ad, ciphertext, buffer)
        self.n = n + 1
        return plaintext

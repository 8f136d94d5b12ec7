"""CipherState of the Noise paper (section 5.1): a key, and a nonce that counts the messages under that key."""

from __future__ import annotations

from struct import Struct
from typing import Final

from warppool.errors import BadRecord, LocalProtocolError
from warppool.noise.primitives import Buffer, open_sealed, seal, seal_two

RESERVED_NONCE: Final = 2**64 - 1
"""No message is sealed with this nonce: the paper reserves it for rekeying. Neither profile rekeys."""

_pack_nonce = Struct("<IQ").pack        # 4 zero bytes, then the counter (Noise paper, section 12.3)


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
        ciphertext = seal(self.k, _pack_nonce(0, n), ad, plaintext, buffer)
        self.n = n + 1
        return ciphertext

    def encrypt_two(self, first: bytes, second: bytes, buffer: Buffer) -> bytes:
        """Two messages without associated data, sealed one behind the other; at most 65,503 bytes together.

        LocalProtocolError where not two nonces are left.
        """
        n = self.n
        if n >= RESERVED_NONCE - 1:
            raise LocalProtocolError("no nonces are left to seal two messages with")
        ciphertexts = seal_two(self.k, _pack_nonce(0, n), _pack_nonce(0, n + 1), first, second, buffer)
        self.n = n + 2
        return ciphertexts

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes, buffer: Buffer) -> bytes:
        """Open `ciphertext`; BadRecord if its tag is wrong, its length impossible, or all nonces have been used."""
        n = self.n
        if n >= RESERVED_NONCE:
            raise BadRecord("a message after the last nonce")
        plaintext = open_sealed(self.k, _pack_nonce(0, n), ad, ciphertext, buffer)
        self.n = n + 1
        return plaintext

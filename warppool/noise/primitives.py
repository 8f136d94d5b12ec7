"""libsodium as Noise needs it: ChaCha20-Poly1305 (RFC 8439) and X25519 (RFC 7748). No other module imports PyNaCl.

PyNaCl's public binding takes 3 µs for a record, of which 0.5 µs is cryptography. So the AEAD is called in the way in
which the binding itself calls it: through `nacl._sodium`, into memory that the caller brings. A PyNaCl without that
private name is served by the public binding.

Each worker has one such buffer. The call lets other threads run, so two threads in one buffer would read each other's
bytes. A buffer for each connection would cost 64 KiB a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, NewType

from nacl.bindings import (  # importing the bindings also initialises libsodium
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from warppool.errors import BadRecord, HandshakeFailed, LocalProtocolError

try:
    from nacl import _sodium
except ImportError:                     # pragma: no cover - no PyNaCl of today is like that
    _sodium = None

KEY_LEN: Final = 32             # of the AEAD, bytes
NONCE_LEN: Final = 12
TAG_LEN: Final = 16             # bytes that sealing adds
MAX_MESSAGE: Final = 65_535     # a Noise message, bytes (Noise paper, section 3)
MAX_PLAINTEXT: Final = MAX_MESSAGE - TAG_LEN
X25519_LEN: Final = 32          # secret, public and shared, each

pack_nonce = Struct("<IQ").pack
"""pack_nonce(0, counter): a nonce as Noise wants it, 4 zero bytes and the counter (Noise paper, section 12.3)."""

Buffer = NewType("Buffer", tuple[Any, Any])
"""Working memory of one thread: (65,535 bytes for the C call to write to, a view to copy from them)."""


class Aead(NamedTuple):
    """One way to call ChaCha20-Poly1305; the module's `seal` and `open_sealed` say what each function does."""

    new_buffer: Callable[[], Buffer]
    seal: Callable[[bytes, bytes, bytes, bytes, Buffer], bytes]
    seal_all: Callable[[bytes, int, Sequence[bytes], Buffer], bytes]
    open_sealed: Callable[[bytes, bytes, bytes, bytes, Buffer], bytes]
    open_into: Callable[[bytes, int, bytes, Buffer, int], None]
    open_two: Callable[[bytes, int, int, bytes, Buffer], bytes | None]


def _misuse(key: bytes, size: int, nonce: bytes = bytes(NONCE_LEN)) -> LocalProtocolError:
    return LocalProtocolError(f"AEAD with a key of {len(key)}, a nonce of {len(nonce)}, a message of {size} bytes")


def _unsealable(size: int) -> BadRecord:
    return BadRecord(f"ciphertext of {size} bytes: a tag has {TAG_LEN}, a Noise message at most {MAX_MESSAGE}")


def direct(ffi: Any, lib: Any) -> Aead:
    """The AEAD on cffi's own functions; AttributeError if `lib` or `ffi` lacks one of them.

    The C functions trust every length: a wrong one would read or write past the end. So each is checked before a call.
    """
    new, view_of = ffi.new, ffi.buffer

    def new_buffer() -> Buffer:
        memory = new("unsigned char[]", MAX_MESSAGE)
        return Buffer((memory, view_of(memory)))

    seal, seal_all = _sealing(lib.crypto_aead_chacha20poly1305_ietf_encrypt, ffi.NULL)
    open_sealed, open_into, open_two = _opening(lib.crypto_aead_chacha20poly1305_ietf_decrypt, ffi.NULL)
    return Aead(new_buffer, seal, seal_all, open_sealed, open_into, open_two)


def _sealing(encrypt: Callable[..., int], null: Any) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    """`seal` and `seal_all` on the C function `encrypt`."""

    def seal(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes, buffer: Buffer) -> bytes:
        size = len(plaintext)
        if size > MAX_PLAINTEXT or len(nonce) != NONCE_LEN or len(key) != KEY_LEN:
            raise _misuse(key, size, nonce)
        memory, view = buffer
        encrypt(memory, null, plaintext, size, ad, len(ad), null, nonce, key)      # returns 0 always
        sealed: bytes = view[: size + TAG_LEN]
        return sealed

    def seal_all(key: bytes, counter: int, pieces: Sequence[bytes], buffer: Buffer) -> bytes:
        if len(key) != KEY_LEN:
            raise _misuse(key, 0)
        memory, view = buffer
        at = 0
        for piece in pieces:
            size = len(piece)
            if size > MAX_PLAINTEXT - at:
                raise _misuse(key, at + size)
            encrypt(memory + at, null, piece, size, null, 0, null, pack_nonce(0, counter), key)
            at += size + TAG_LEN
            counter += 1
        sealed: bytes = view[:at]
        return sealed

    return seal, seal_all


def _opening(decrypt: Callable[..., int], null: Any) -> tuple[
        Callable[..., bytes], Callable[..., None], Callable[..., bytes | None]]:
    """`open_sealed`, `open_into` and `open_two` on the C function `decrypt`."""

    def open_sealed(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes, buffer: Buffer) -> bytes:
        size = len(ciphertext)
        if len(nonce) != NONCE_LEN or len(key) != KEY_LEN:
            raise _misuse(key, size, nonce)
        if size < TAG_LEN or size > MAX_MESSAGE:
            raise _unsealable(size)
        memory, view = buffer
        if decrypt(memory, null, null, ciphertext, size, ad, len(ad), nonce, key) != 0:
            raise BadRecord("failed tag")
        plaintext: bytes = view[: size - TAG_LEN]
        return plaintext

    def open_into(key: bytes, counter: int, ciphertext: bytes, buffer: Buffer, at: int) -> None:
        size = len(ciphertext)
        if len(key) != KEY_LEN:
            raise _misuse(key, size)
        if size < TAG_LEN or size > MAX_MESSAGE - at:
            raise _unsealable(size)
        if decrypt(buffer[0] + at, null, null, ciphertext, size, null, 0, pack_nonce(0, counter), key) != 0:
            raise BadRecord("failed tag")

    def open_two(key: bytes, counter: int, first_size: int, ciphertexts: bytes, buffer: Buffer) -> bytes | None:
        size = len(ciphertexts)
        if len(key) != KEY_LEN:
            raise _misuse(key, size)
        if first_size < TAG_LEN or size - first_size < TAG_LEN or size > MAX_MESSAGE:
            return None
        memory, view = buffer
        at = first_size - TAG_LEN
        second = ciphertexts[first_size:]
        if (decrypt(memory, null, null, ciphertexts, first_size, null, 0, pack_nonce(0, counter), key) != 0
                or decrypt(memory + at, null, null, second, size - first_size, null, 0, pack_nonce(0, counter + 1),
                           key) != 0):
            return None
        plaintexts: bytes = view[:size - 2 * TAG_LEN]
        return plaintexts

    return open_sealed, open_into, open_two


def _public_new_buffer() -> Buffer:
    memory = bytearray(MAX_MESSAGE)     # for `open_into`: the binding allocates for every call
    return Buffer((memory, memory))


def _public_seal(key: bytes, nonce: bytes, ad: bytes, plaintext: bytes, buffer: Buffer) -> bytes:
    if len(plaintext) > MAX_PLAINTEXT or len(nonce) != NONCE_LEN or len(key) != KEY_LEN:
        raise _misuse(key, len(plaintext), nonce)
    return crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, ad, nonce, key)


def _public_open_sealed(key: bytes, nonce: bytes, ad: bytes, ciphertext: bytes, buffer: Buffer) -> bytes:
    if len(nonce) != NONCE_LEN or len(key) != KEY_LEN:
        raise _misuse(key, len(ciphertext), nonce)
    if not TAG_LEN <= len(ciphertext) <= MAX_MESSAGE:
        raise _unsealable(len(ciphertext))
    try:
        return crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, ad, nonce, key)
    except TypeError:                   # PyNaCl's is a CryptoError, too; but a wrong type is a bug of ours
        raise
    except CryptoError as exc:
        raise BadRecord("failed tag") from exc


def _public_seal_all(key: bytes, counter: int, pieces: Sequence[bytes], buffer: Buffer) -> bytes:
    size = sum(map(len, pieces)) + TAG_LEN * len(pieces)
    if size > MAX_MESSAGE:
        raise _misuse(key, size - TAG_LEN)
    return b"".join([_public_seal(key, pack_nonce(0, number), b"", piece, buffer)
                     for number, piece in enumerate(pieces, counter)])


def _public_open_into(key: bytes, counter: int, ciphertext: bytes, buffer: Buffer, at: int) -> None:
    if len(ciphertext) > MAX_MESSAGE - at:
        raise _unsealable(len(ciphertext))
    plaintext = _public_open_sealed(key, pack_nonce(0, counter), b"", ciphertext, buffer)
    buffer[1][at:at + len(plaintext)] = plaintext


def _public_open_two(key: bytes, counter: int, first_size: int, ciphertexts: bytes, buffer: Buffer) -> bytes | None:
    if len(ciphertexts) > MAX_MESSAGE:
        return None
    try:
        return b"".join([
            _public_open_sealed(key, pack_nonce(0, counter), b"", ciphertexts[:first_size], buffer),
            _public_open_sealed(key, pack_nonce(0, counter + 1), b"", ciphertexts[first_size:], buffer)])
    except BadRecord:
        return None


PUBLIC: Final = Aead(_public_new_buffer, _public_seal, _public_seal_all, _public_open_sealed, _public_open_into,
                     _public_open_two)


def choose(sodium: Any) -> Aead:
    """The direct calls if the module `sodium` has what the calls need, else the public binding."""
    try:
        return direct(sodium.ffi, sodium.lib)
    except AttributeError:
        return PUBLIC


_aead = choose(_sodium)


def new_buffer() -> Buffer:
    """Working memory for `seal` and `open_sealed`: one for each thread, used by all connections of that thread."""
    return _aead.new_buffer()


seal = _aead.seal
"""seal(key, nonce, ad, plaintext, buffer): ciphertext and tag, 16 bytes longer than `plaintext` (at most 65,519 bytes).

`key` has 32 bytes, `nonce` 12; any other length is a LocalProtocolError. For the thread that owns `buffer` alone.
"""

seal_all = _aead.seal_all
"""seal_all(key, counter, pieces, buffer): messages without `ad`, sealed one behind the other; 65,535 bytes together.

The first has the nonce of `counter` (U64), and each one after it the next. For the thread that owns `buffer` alone.
"""

open_sealed = _aead.open_sealed
"""open_sealed(key, nonce, ad, ciphertext, buffer): what was sealed; BadRecord if the tag or the length is wrong.

For the thread that owns `buffer` alone.
"""

open_into = _aead.open_into
"""open_into(key, counter, ciphertext, buffer, at): put what was sealed, without `ad`, into `buffer` from `at` on.

So a frame of several messages is copied out once, from `buffer[1]`. BadRecord as in `open_sealed`, and where the buffer
has too little room.
"""

open_two = _aead.open_two
"""open_two(key, counter, first_size, ciphertexts, buffer): two messages, of which the first is sealed in `first_size`
bytes and the second in the rest, both without `ad`; what was sealed, or None where that is not what `ciphertexts` is.
"""


def public_key(secret: bytes) -> bytes:
    """The X25519 public key (32 bytes) of `secret` (32 bytes)."""
    if len(secret) != X25519_LEN:       # the C function would read past the end
        raise LocalProtocolError(f"X25519 secret of {len(secret)} bytes")
    return crypto_scalarmult_base(secret)


def dh(secret: bytes, public: bytes) -> bytes:
    """The X25519 shared secret (32 bytes).

    HandshakeFailed for a `public` of another length, or of low order: with that one the secret would be zero, which
    everybody knows.
    """
    if len(secret) != X25519_LEN:
        raise LocalProtocolError(f"X25519 secret of {len(secret)} bytes")
    if len(public) != X25519_LEN:
        raise HandshakeFailed(f"X25519 key of {len(public)} bytes")
    try:
        return crypto_scalarmult(secret, public)
    except CryptoError as exc:
        raise HandshakeFailed("X25519 key of low order") from exc

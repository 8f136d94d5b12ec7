"""The pool's static Noise key: made here, kept by the operator in secrets.toml, pinned by the miners."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from warppool.errors import ConfigError
from warppool.noise.primitives import public_key


class StaticKey(NamedTuple):
    """An X25519 key pair, 32 bytes each."""

    secret: bytes
    public: bytes

    def __repr__(self) -> str:
        return f"StaticKey(public={self.public.hex()})"


def generate() -> StaticKey:
    """A new key from the system's randomness."""
    secret = os.urandom(32)
    return StaticKey(secret, public_key(secret))


def secret_line(key: StaticKey) -> str:
    """The line of secrets.toml that holds the secret half."""
    return f'sv2_static_priv_key_hex = "{key.secret.hex()}"'


def write_new(path: Path, key: StaticKey) -> None:
    """Put the secret half into a new file, 0600; ConfigError if there is one already, which stays as it is."""
    write_text(path, secret_line(key) + "\n", 0o600)


def write_text(path: Path, text: str, mode: int) -> None:
    """Put `text` into a new file of that mode; ConfigError if there is one already, which stays as it is."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as exc:
        raise ConfigError(f"-o: {path} exists and is never overwritten: name a new file") from exc
    except OSError as exc:
        raise ConfigError(f"-o: {path} cannot be written: {exc.strerror}") from exc
    try:
        with os.fdopen(file, "w", encoding="ascii") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except OSError as exc:
        path.unlink(missing_ok=True)    # half a key is worse than none, and the name is free for the next try
        raise ConfigError(f"-o: {path} cannot be written: {exc.strerror}") from exc

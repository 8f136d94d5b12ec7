"""The keys of the published V2 profile: the server's static one, the authority's, and the certificate between them.

The authority may be kept on a machine without a network: then the certificate alone goes to the pool's machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from warppool.authority import authority_key_text, is_on_curve, parse_secret
from warppool.commands.keys import write_text
from warppool.config.reading import read_toml
from warppool.errors import ConfigError

STATIC_KEY: Final = "sv2_spec_static_priv_key_hex"
AUTHORITY_KEY: Final = "sv2_spec_authority_priv_key_hex"
DAY_S: Final = 86_400


def check_usage(args: argparse.Namespace) -> None:
    """ConfigError where an option of the certificate is missing, or stands where none is made."""
    is_certificate = args.spec == "certificate"
    for option, is_there in (("--authority", args.authority is not None), ("--static", bool(args.static))):
        if is_there != is_certificate:
            why = "it is missing" if is_certificate else "nothing else does"
            raise ConfigError(f"{option}: --spec certificate takes it, and {why}")


def make(args: argparse.Namespace) -> int:
    """`warppool-keygen --spec WHAT`: to stdout or `-o` what a file takes, to stderr what others are told."""
    from warppool.noise.secp256k1 import library

    library()                           # says what is to be installed
    text, told = _MAKERS[args.spec](args)
    if args.output is None:
        print(text, end="", flush=True)
    else:
        write_text(args.output, text, 0o644 if args.spec == "certificate" else 0o600)
    print(told, file=sys.stderr)
    return 0


def _both(args: argparse.Namespace) -> tuple[str, str]:
    static, _ = _static(args)
    authority, told = _authority(args)
    return static + authority, told


def _static(args: argparse.Namespace) -> tuple[str, str]:
    from warppool.noise.secp256k1 import xonly_of_secret

    secret = _new_secret()
    return f'{STATIC_KEY} = "{secret.hex()}"\n', f"static key: {xonly_of_secret(secret).hex()}"


def _authority(args: argparse.Namespace) -> tuple[str, str]:
    secret = _new_secret()
    return f'{AUTHORITY_KEY} = "{secret.hex()}"\n', _told(secret)


def _certificate(args: argparse.Namespace) -> tuple[str, str]:
    from warppool.noise.certificate import LAST_TIME, issue
    from warppool.noise.secp256k1 import xonly_of_secret
    from warppool.service.specidentity import BACKDATED_S, certificate_file

    static, secret = _public(args.static), _secret_of(args.authority)
    now = int(time.time())
    certificate = issue(secret, static, now - BACKDATED_S, min(now + args.days * DAY_S, LAST_TIME))
    return certificate_file(certificate, xonly_of_secret(secret), static), _told(secret)


def _told(secret: bytes) -> str:
    from warppool.noise.secp256k1 import xonly_of_secret

    return f"authority key: {authority_key_text(xonly_of_secret(secret))}"


_MAKERS: Final[dict[str, Callable[[argparse.Namespace], tuple[str, str]]]] = {
    "both": _both, "static": _static, "authority": _authority, "certificate": _certificate}


def _new_secret() -> bytes:
    from warppool.noise.secp256k1 import is_secret

    while not is_secret(secret := os.urandom(32)):      # out of range once in 2^128 times
        pass
    return secret


def _public(text: str) -> bytes:
    try:
        static = bytes.fromhex(text)
    except ValueError:
        static = b""
    if len(static) != 32 or not is_on_curve(static):
        raise ConfigError(f"--static is {text!r}: it takes the 64 hex digits that `warppool-keygen --spec static` told")
    return static


def _secret_of(path: Path) -> bytes:
    """The authority's secret key in the file at `path`, which nobody else may read; ConfigError."""
    document = read_toml(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"--authority: others may read {path}: chmod 600 {path}")
    text = document.get(AUTHORITY_KEY)
    if not isinstance(text, str):
        raise ConfigError(f"--authority: {path} has no {AUTHORITY_KEY}: `warppool-keygen --spec authority` makes one")
    try:
        return parse_secret(text)
    except ValueError as exc:
        raise ConfigError(f"--authority: {path}: {AUTHORITY_KEY} {exc}") from exc

"""The certificate of the TLS listeners: read at start and at SIGHUP, watched for its end.

All that is known of it comes from the standard library: OpenSSL names what it was given only to the other end of a
handshake, so we shake hands with ourselves, in memory.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import re
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from warppool.errors import ConfigError
from warppool.net.tls import new_context
from warppool.say import say

log = logging.getLogger(__name__)

CERT_KEY: Final = "stratum.tls_cert"
KEY_KEY: Final = "stratum.tls_key"

WARN_AHEAD_S = 14 * 86_400
"""Before a certificate's end: ACME clients renew 30 days ahead, so one that is still there now was forgotten."""

WARN_EVERY_S = 86_400

_NO_CHECK_TIME = 0x200000       # X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for
_MISMATCHES = frozenset(("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"))
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


class Leaf(NamedTuple):
    """What the pool's own certificate says; times in Unix seconds, `fingerprint` is SHA-256 over its DER form."""

    fingerprint: bytes
    not_before: float
    not_after: float
    names: tuple[str, ...]          # the host names and IP addresses that it is for
    is_self_signed: bool
    issuer: str

    @property
    def expires(self) -> str:
        """The end, as RFC 3339."""
        return shown_time(self.not_after)


class Trouble(NamedTuple):
    """What an operator should look at, though the pool can serve; `event` for the log."""

    event: str
    sentence: str


class Certificate:
    """The pair that new TLS connections get; `context` is replaced as a whole, so any thread may read it.

    Made and renewed by the main thread. ConfigError if the pair in the two files cannot be served.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._warns_at = 0.0
        self.context, self.leaf = load(certificate, key)
        self._say_loaded()

    def prepare(self, certificate: Path, key: Path) -> Callable[[], None]:
        """Read both files, which may be others than before: what makes new connections get this pair.

        ConfigError for a pair that cannot be served, which changes nothing. Connections keep what they have.
        """
        try:
            context, leaf = load(certificate, key)
        except ConfigError as exc:
            say(log, logging.ERROR, "tls.refused", reason=str(exc), fingerprint=self.leaf.fingerprint,
                meaning="the certificate from before stays; mend this and reload again")
            raise

        def take() -> None:
            self.leaf = leaf
            self.context = context
            self._say_loaded()

        return take

    def _say_loaded(self) -> None:
        say(log, logging.INFO, "tls.loaded", fingerprint=self.leaf.fingerprint, expires=self.leaf.expires,
            names=",".join(self.leaf.names))
        self._warns_at = 0.0
        self.look(time.time())

    def look(self, now: float) -> None:
        """Warn, once a day, of a certificate that is about to end or cannot be verified at Unix time `now`."""
        trouble = trouble_of(self.leaf, now)
        if trouble is not None and now >= self._warns_at:
            self._warns_at = now + WARN_EVERY_S
            say(log, logging.WARNING, trouble.event, fingerprint=self.leaf.fingerprint, expires=self.leaf.expires,
                meaning=trouble.sentence)


def trouble_of(leaf: Leaf, now: float) -> Trouble | None:
    """The worst that there is to say about `leaf` at Unix time `now`."""
    renew = "renew it, then systemctl reload the service"
    if now >= leaf.not_after:
        return Trouble("tls.expired", f"it ended on {leaf.expires}, and miners that verify it stay away: {renew}")
    if now < leaf.not_before:
        return Trouble("tls.premature", f"it is not valid before {shown_time(leaf.not_before)}: look at the clock")
    if now >= leaf.not_after - WARN_AHEAD_S:
        days = int((leaf.not_after - now) // 86_400)
        return Trouble("tls.expiring", f"it ends on {leaf.expires}, in {days} days: {renew}")
    if not leaf.names:
        return Trouble("tls.nameless", "it names no host (subjectAltName), so miners that verify it stay away: "
                       "have it issued for the pool's host name")
    return None


# --- loading ----------------------------------------------------------------------------------------------------------

def load(certificate: Path, key: Path) -> tuple[ssl.SSLContext, Leaf]:
    """A context that serves the pair; ConfigError names the key of the configuration and the cure."""
    chain = _read(certificate, CERT_KEY)
    secret = _read(key, KEY_KEY)
    if not _CERTIFICATE.search(chain):
        raise ConfigError(f"{CERT_KEY}: {certificate} {_no_certificate(chain)}")
    if not _PRIVATE_KEY.search(secret):
        raise ConfigError(f"{KEY_KEY}: {key} {_no_key(secret)}")
    context = new_context()
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise ConfigError(f"{KEY_KEY}: {key} is encrypted, and nobody is there to type its password: write it plain by "
                          "`openssl pkey -in OLD -out NEW`, mode 0640") from None
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(_diagnosis(exc, certificate, key, chain)) from exc
    return context, _leaf_of(context, certificate, key)


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _no_password() -> NoReturn:
    raise _Encrypted


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{key}: {path} does not exist: name the file there, or switch TLS off by "
                          "tls_listen = [] and any_listen = []") from None
    except PermissionError:
        raise ConfigError(f"{key}: {path} may not be read by this user: chgrp it and its folder to a group of the "
                          "service (SupplementaryGroups= of the unit), chmod 640") from None
    except OSError as exc:
        raise ConfigError(f"{key}: {path} cannot be read: {exc.strerror}: name the file in PEM form") from exc


def _no_certificate(data: bytes) -> str:
    if _PRIVATE_KEY.search(data):
        return "holds a private key and no certificate: are tls_cert and tls_key swapped?"
    if data[:2] == b"\x30\x82":
        return "is in DER form: write it as PEM by `openssl x509 -inform der -in OLD -out NEW`"
    return "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"


def _no_key(data: bytes) -> str:
    if _CERTIFICATE.search(data):
        return "holds a certificate and no private key: are tls_cert and tls_key swapped?"
    if data[:2] == b"\x30\x82":
        return "is in DER form: write it as PEM by `openssl pkey -inform der -in OLD -out NEW`, mode 0640"
    return "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"


def _diagnosis(error: OSError, certificate: Path, key: Path, chain: bytes) -> str:
    """Which of the two files is to blame, and what to do."""
    reason = getattr(error, "reason", None) or error.strerror or "no reason given"
    if reason in _MISMATCHES:
        for number, block in enumerate(_CERTIFICATE.findall(chain)[1:], 2):
            if _belongs(block, key):
                return (f"{CERT_KEY}: {certificate} begins with another's certificate: number {number} in it is the "
                        "pool's own, which must stand first, then those that issued it")
        return (f"{KEY_KEY}: {key} is not the key of the certificate in {certificate}: name the two that were issued "
                "together")
    for number, block in enumerate(_CERTIFICATE.findall(chain), 1):
        if not _is_readable(block):
            return f"{CERT_KEY}: {certificate} is damaged at its certificate number {number}: fetch it anew"
    if reason.endswith(("_KEY_TOO_SMALL", "_MD_TOO_WEAK")):
        return (f"{CERT_KEY}: {certificate} is too weak for miners of today ({reason.lower()}): make one with SHA-256, "
                "and a key on P-256 or of RSA with 2048 bits")
    return f"{KEY_KEY}: {key} cannot be used ({reason}): is it whole, and a key for RSA or ECDSA?"


def _is_readable(block: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _belongs(block: bytes, key: Path) -> bool:
    """Whether the certificate `block` is that of `key`."""
    try:
        _alone(block, key)
    except (ssl.SSLError, OSError, _Encrypted):
        return False
    return True


def _alone(block: bytes, key: Path) -> ssl.SSLContext:
    """A context that serves the certificate `block` without those that issued it."""
    context = new_context()
    with open(os.memfd_create("certificate"), "wb") as file:        # OpenSSL takes files alone
        file.write(block)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", key, password=_no_password)
    return context


# --- reading ----------------------------------------------------------------------------------------------------------

def _leaf_of(server: ssl.SSLContext, certificate: Path, key: Path) -> Leaf:
    """What `server` shows of itself.

    The first handshake hands over the bare bytes. Only a certificate that was verified is handed over read, so a second
    trusts just those bytes, whatever their date and whoever signed them, and without the rest of the chain, about which
    OpenSSL has opinions, too.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    try:
        der = _shaken(client, server).getpeercert(binary_form=True)
        assert der is not None
        client.load_verify_locations(cadata=der)
        client.verify_mode = ssl.CERT_REQUIRED
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        seen = _shaken(client, _alone(ssl.DER_cert_to_PEM_cert(der).encode(), key)).getpeercert()
    except ssl.SSLCertVerificationError as exc:
        raise ConfigError(f"{CERT_KEY}: {certificate} is refused by whoever verifies it ({exc.verify_message}): have "
                          "it issued for a TLS server") from exc
    except ssl.SSLError as exc:
        raise ConfigError(f"{CERT_KEY}: no TLS handshake succeeds with {certificate} ({exc.reason}): have it issued "
                          "for a TLS server, with a key on P-256 or of RSA with 2048 bits") from exc
    assert seen is not None
    return _read_leaf(der, seen)


def _read_leaf(der: bytes, seen: dict[str, Any]) -> Leaf:
    """From OpenSSL's bytes and from what `ssl` made of them."""
    names = tuple(_plain_ip(name) if kind == "IP Address" else name for kind, name in seen.get("subjectAltName", ())
                  if kind in ("DNS", "IP Address"))
    issuer = ", ".join(value for part in seen["issuer"] for name, value in part
                       if name in ("organizationName", "commonName"))
    return Leaf(hashlib.sha256(der).digest(), ssl.cert_time_to_seconds(seen["notBefore"]),
                ssl.cert_time_to_seconds(seen["notAfter"]), names, seen["issuer"] == seen["subject"], issuer)


def _plain_ip(name: str) -> str:
    """`2001:db8::1` for OpenSSL's `2001:DB8:0:0:0:0:0:1`."""
    try:
        return str(ipaddress.ip_address(name.strip()))
    except ValueError:
        return name


def _shaken(client: ssl.SSLContext, server: ssl.SSLContext) -> ssl.SSLObject:
    """The client's end of a whole handshake between the two."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for side in (theirs, ours, theirs, ours):       # hello; answer; and the two Finished
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    theirs.do_handshake()
    return theirs


def shown_time(unix: float) -> str:
    """A Unix time as RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix))

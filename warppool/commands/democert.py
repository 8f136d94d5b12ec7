"""A self-signed certificate for trying TLS out: the demo's, and the tests'. A real pool has one that miners can verify.

The only place for the package `cryptography`, which comes with the extra `regtest`; the daemon needs none of it.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from warppool.errors import MissingExtra

DEMO_NAMES = ("localhost", "127.0.0.1", "::1")
CLOCK_ERROR = timedelta(hours=1)
"""A certificate is backdated by so much, since a machine's clock may be behind (sv2-apps#110)."""


class SelfSigned(NamedTuple):
    """A certificate and its key, both in PEM form."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Put both into `folder`, the key for us alone: (certificate's path, key's path)."""
        certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
        certificate.write_bytes(self.certificate)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self.key)
        return certificate, key


def self_signed(names: tuple[str, ...] = DEMO_NAMES, not_before: datetime | None = None,
                not_after: datetime | None = None) -> SelfSigned:
    """Make a P-256 key and a certificate of its own for `names` (host names and IP addresses), for 90 days from now.

    Raises MissingExtra where `cryptography` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as exc:
        raise MissingExtra("a certificate of our own needs the package cryptography: "
                           "pip install 'warppool[regtest]'") from exc
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "warppool demo")])
    builder = (x509.CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key())
               .serial_number(x509.random_serial_number())
               .not_valid_before(not_before or now - CLOCK_ERROR)
               .not_valid_after(not_after or now + timedelta(days=90)))
    if names:
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return SelfSigned(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def _alternative(name: str) -> Any:
    """`name` as a certificate holds it: an IP address or a host name."""
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""Who the server is in the published V2 profile: its static key, and certificates for it that are good at any time.

The authority's key is either there, and each worker makes its own certificates and renews them as it goes. Or it is
kept elsewhere, and the certificate comes as a file, which is read at start and at SIGHUP and watched for its end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from warppool.authority import authority_key_text, parse_authority_key
from warppool.config.changes import spec_key_waits
from warppool.config.options import Config, Secrets
from warppool.config.provideroptions import TemplateProviderConfig
from warppool.config.reading import read_toml
from warppool.errors import ConfigError, HandshakeFailed
from warppool.noise.certificate import LAST_TIME, NoiseCertificate, issue
from warppool.noise.ends import Identity
from warppool.noise.secp256k1 import library, xonly_of_secret
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import KeyPair
from warppool.say import say
from warppool.service.certificate import WARN_AHEAD_S, WARN_EVERY_S, Trouble, shown_time

log = logging.getLogger(__name__)

KEY: Final = "secrets.toml: sv2_spec_certificate"

BACKDATED_S: Final = 3_600
"""A certificate that we make begins so long ago: a miner's clock may be behind ours by an hour."""

_FILE_KEYS: Final = {"authority_public_key", "static_public_key", "certificate"}


class Voucher(Protocol):
    """What gives certificates for one static key; frozen, so any thread may use it."""

    @property
    def authority(self) -> bytes:
        """The authority's x-only public key, 32 bytes."""

    def certificate(self, unix_time: float) -> NoiseCertificate:
        """One that is good now, if there is one."""

    def trouble(self, now: float) -> Trouble | None:
        """What an operator should look at, at Unix time `now`."""


class OwnAuthority(NamedTuple):
    """The authority's key is at hand; times in seconds."""

    secret: bytes
    authority: bytes
    static_xonly: bytes
    validity_s: int

    def certificate(self, unix_time: float) -> NoiseCertificate:
        """A new one, from an hour back."""
        begin, end = unix_time - BACKDATED_S, unix_time + self.validity_s
        return issue(self.secret, self.static_xonly, _clamped(begin), _clamped(end))

    def trouble(self, now: float) -> Trouble | None:
        """None: the next one is made in time."""
        return None


def _clamped(unix_time: float) -> int:
    """The nearest that a certificate can say, whatever the system's clock shows."""
    return int(min(max(0, unix_time), LAST_TIME))


class GivenCertificate(NamedTuple):
    """The authority's key is kept elsewhere; this is what it signed."""

    authority: bytes
    given: NoiseCertificate

    def certificate(self, unix_time: float) -> NoiseCertificate:
        """The one there is."""
        return self.given

    def trouble(self, now: float) -> Trouble | None:
        """It ends, or is not good yet."""
        begin, end = self.given.valid_from, self.given.not_valid_after
        renew = "have the authority make the next one, then systemctl reload the service"
        if now >= end:
            return Trouble("certificate.expired",
                           f"it ended on {shown_time(end)}, and machines that verify it stay away: {renew}")
        if now < begin:
            return Trouble("certificate.premature", f"it is not valid before {shown_time(begin)}: look at the clock")
        if now >= end - min(WARN_AHEAD_S, (end - begin) / 3):
            return Trouble("certificate.expiring", f"it ends on {shown_time(end)}: {renew}")
        return None


class SpecIdentity:
    """The static key and its voucher. A reload replaces `voucher` as a whole, so any thread may read it.

    Made and renewed by the main thread. ConfigError if the extra `[spec]` is not installed, or the certificate cannot
    be served. `secrets` have passed `config.specsecrets`.
    """

    def __init__(self, secrets: Secrets, validity_s: int) -> None:
        self._warns_at = 0.0
        self.static, self.voucher = load(secrets, validity_s)
        self._say_loaded()

    @property
    def authority_text(self) -> str:
        """The authority's public key as it stands in the pool's URL."""
        return authority_key_text(self.voucher.authority)

    def identity(self) -> Identity:
        """For one worker: it renews its certificate when half of the certificate's life is over."""
        return Identity(self.static, Renewal(self))

    def prepare(self, secrets: Secrets, validity_s: int) -> Callable[[], None]:
        """Load the voucher anew: what makes new connections get its certificates. ConfigError changes nothing.

        Another static key needs a restart.
        """
        try:
            _, voucher = load(secrets, validity_s)
        except ConfigError as exc:
            say(log, logging.ERROR, "certificate.refused", reason=str(exc), authority_key=self.authority_text,
                meaning="the certificate from before stays; mend this and reload again")
            raise

        def take() -> None:
            before, self.voucher = self.authority_text, voucher
            self._say_loaded()
            if self.authority_text != before:
                say(log, logging.WARNING, "certificate.authority", authority_key=self.authority_text, before=before,
                    meaning="machines that know the one from before stay away when they connect next: give them the "
                            "new key in their URL, or take the old one back and reload")

        return take

    def _say_loaded(self) -> None:
        now = time.time()
        say(log, logging.INFO, "certificate.loaded", authority_key=self.authority_text,
            expires=shown_time(self.voucher.certificate(now).not_valid_after))
        self._warns_at = 0.0
        self.look(now)

    def look(self, now: float) -> None:
        """Warn, once a day, of a certificate that is about to end or not good at Unix time `now`."""
        trouble = self.voucher.trouble(now)
        if trouble is not None and now >= self._warns_at:
            self._warns_at = now + WARN_EVERY_S
            say(log, logging.WARNING, trouble.event, authority_key=self.authority_text, meaning=trouble.sentence)


def prepare_identity(identity: SpecIdentity | None, config: Config | TemplateProviderConfig,
                     new: Config | TemplateProviderConfig) -> Callable[[], None]:
    """Load what a reload to `config` changes of `identity`, where the file says `new`: ConfigError. Returns what takes
    it over. Nothing changes where the profile is not served, or where the static key waits for the restart.
    """
    if identity is None or spec_key_waits(config, new):
        return _take_nothing
    return identity.prepare(config.secrets, config.stratum.cert_validity_s)


def _take_nothing() -> None:
    pass


class Renewal:
    """The payload of act two for one worker: its certificate, made anew when that is due."""

    def __init__(self, owner: SpecIdentity) -> None:
        self._owner = owner
        self._voucher: Voucher | None = None
        self._payload = b""
        self._from, self._until = 0.0, 0.0

    def __call__(self, unix_time: float) -> bytes:
        voucher = self._owner.voucher
        if voucher is not self._voucher or not self._from <= unix_time < self._until:
            certificate = voucher.certificate(unix_time)
            self._payload = certificate.encode()
            self._voucher = voucher
            self._from = certificate.valid_from         # a clock that was set back needs a new one, too
            self._until = unix_time + (certificate.not_valid_after - unix_time) / 2
        return self._payload


def load(secrets: Secrets, validity_s: int) -> tuple[KeyPair, Voucher]:
    """The static key, and what vouches for it; ConfigError."""
    library()                           # says what is to be installed
    assert secrets.sv2_spec_static_priv_key is not None, "secrets that nobody checked"
    static = SPEC_SUITE.key_pair(secrets.sv2_spec_static_priv_key)
    xonly = xonly_of_secret(static.secret)
    if secrets.sv2_spec_certificate is not None:
        return static, read_certificate(secrets.sv2_spec_certificate, xonly)
    authority = secrets.sv2_spec_authority_priv_key
    assert authority is not None, "secrets that nobody checked"
    return static, OwnAuthority(authority, xonly_of_secret(authority), xonly, validity_s)


# --- the file ---------------------------------------------------------------------------------------------------------

def certificate_file(certificate: NoiseCertificate, authority: bytes, static: bytes) -> str:
    """The text of a certificate file; both keys are x-only (32 bytes). Nothing in it is secret."""
    return (f"# Good from {shown_time(certificate.valid_from)} to {shown_time(certificate.not_valid_after)}.\n"
            f'authority_public_key = "{authority_key_text(authority)}"\n'
            f'static_public_key = "{static.hex()}"\n'
            f'certificate = "{certificate.encode().hex()}"\n')


def read_certificate(path: Path, static: bytes) -> GivenCertificate:
    """What stands in the file at `path`, which must be for the x-only key `static`; ConfigError."""
    document = read_toml(path)
    if set(document) != _FILE_KEYS or not all(isinstance(value, str) for value in document.values()):
        raise ConfigError(f"{KEY}: {path} is no certificate file: warppool-keygen --spec certificate makes one")
    try:
        authority = parse_authority_key(str(document["authority_public_key"]))
        certificate = NoiseCertificate.decode(bytes.fromhex(str(document["certificate"])))
    except (ValueError, HandshakeFailed) as exc:
        raise ConfigError(f"{KEY}: {path} is damaged ({exc}): have the authority make it anew") from exc
    if document["static_public_key"] != static.hex():
        raise ConfigError(f"{KEY}: {path} is for the static key {document['static_public_key']}, and that of "
                          f"secrets.toml is {static.hex()}: have the authority make one for that")
    if certificate.version or not certificate.is_of(authority, static):
        raise ConfigError(f"{KEY}: {path} is not signed by the authority that it names: have it made anew")
    return GivenCertificate(authority, certificate)

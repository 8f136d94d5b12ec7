"""What the secrets of the published V2 profile ask of each other: a static key, and who vouches for it."""

from __future__ import annotations

from pathlib import Path

from warppool.config.options import Secrets
from warppool.errors import ConfigError


def check_spec_secrets(secrets: Secrets, folder: Path, needed_for: str = "") -> None:
    """ConfigError where they do not fit together, or are not there and `needed_for`, a key of listeners, wants them.

    `folder` is that of secrets.toml.
    """
    authority, certificate = secrets.sv2_spec_authority_priv_key, secrets.sv2_spec_certificate
    make = f"make both keys by (umask 077; warppool-keygen --spec >> {folder / 'secrets.toml'})"
    if authority is not None and certificate is not None:
        raise ConfigError("secrets.toml: sv2_spec_authority_priv_key_hex and sv2_spec_certificate are both there: keep "
                          "the first where the pool makes its certificates itself, or the second where the authority's "
                          "key is kept elsewhere")
    if secrets.sv2_spec_static_priv_key is None:
        if authority is not None or certificate is not None or needed_for:
            raise ConfigError(f"secrets.toml: sv2_spec_static_priv_key_hex is missing: {make}"
                              + (f", or switch the listener off by {needed_for} = []" if needed_for else ""))
        return
    if authority is None and certificate is None:
        raise ConfigError("secrets.toml: sv2_spec_static_priv_key_hex has nobody who vouches for it: give "
                          "sv2_spec_authority_priv_key_hex, or sv2_spec_certificate, the file that the authority made; "
                          f"or {make}")

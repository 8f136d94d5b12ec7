"""The secrets of the published V2 profile: how they are written, and what they ask of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.noise.specends import AUTHORITY_TEXT
from warppool.config.changes import changes_between, taken_over
from warppool.config.declare import Effect
from warppool.config.options import Secrets
from warppool.config.pool import config_of, read_secrets
from warppool.config.specsecrets import check_spec_secrets
from warppool.errors import ConfigError

STATIC = 'sv2_spec_static_priv_key_hex = "' + "07" * 32 + '"\n'
AUTHORITY_LINE = 'sv2_spec_authority_priv_key_hex = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"\n'
FILE = 'sv2_spec_certificate = "spec.toml"\n'


def secrets_of(folder: Path, text: str) -> Secrets:
    path = folder / "secrets.toml"
    path.write_text(text)
    path.chmod(0o600)
    return read_secrets(folder, {})


def test_secrets_are_hex_or_as_sri_writes_them_and_the_file_lies_beside(tmp_path: Path) -> None:
    secrets = secrets_of(tmp_path, STATIC + AUTHORITY_LINE)
    assert secrets.sv2_spec_static_priv_key == b"\x07" * 32 and secrets.has_spec_identity
    assert secrets.sv2_spec_authority_priv_key is not None and len(secrets.sv2_spec_authority_priv_key) == 32
    assert secrets_of(tmp_path, STATIC + FILE).sv2_spec_certificate == tmp_path / "spec.toml"
    assert "07" not in repr(secrets) and not Secrets().has_spec_identity


@pytest.mark.parametrize("text", [
    STATIC.replace("07", "00"), STATIC.replace("07", "ff"), STATIC.replace("07" * 32, "07" * 31),
    STATIC.replace("07", "zz"), "sv2_spec_static_priv_key_hex = 7\n",
    AUTHORITY_LINE.replace("mkD", "mkE"), f'sv2_spec_authority_priv_key_hex = "{AUTHORITY_TEXT}"\n',
])
def test_a_secret_that_is_none_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="warppool-keygen --spec") as caught:
        secrets_of(tmp_path, text)
    assert "holds something else: it " in str(caught.value) and "07" * 8 not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), [
    ("", "sv2_spec_static_priv_key_hex is missing: make both keys by (umask 077; warppool-keygen --spec >> "),
    (AUTHORITY_LINE, "sv2_spec_static_priv_key_hex is missing"), (FILE, "sv2_spec_static_priv_key_hex is missing"),
    (STATIC, "has nobody who vouches for it"), (STATIC + AUTHORITY_LINE + FILE, "are both there"),
])
def test_what_does_not_fit_together_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_spec_secrets(secrets_of(tmp_path, text), tmp_path, "sv2_spec_listen")
    assert words in str(caught.value) and "secrets.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["", STATIC + AUTHORITY_LINE, STATIC + FILE])
def test_what_fits_together_passes(tmp_path: Path, text: str) -> None:
    check_spec_secrets(secrets_of(tmp_path, text), tmp_path)


def test_a_reload_takes_another_voucher_and_leaves_both_where_the_static_key_changes_too(tmp_path: Path) -> None:
    def config(secrets: Secrets) -> object:
        document = {"pool": {"payout_address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", "network": "regtest"},
                    "stratum": {"sv2_listen": []}, "node": [{"source": "regtest"}]}
        return config_of(document, folder=tmp_path, secrets=secrets, environ={}, source="test")

    old = config(Secrets(sv2_spec_static_priv_key=b"\x07" * 32, sv2_spec_authority_priv_key=b"\x08" * 32))
    new = config(Secrets(sv2_spec_static_priv_key=b"\x07" * 32, sv2_spec_certificate=tmp_path / "spec.toml"))
    other_key = config(Secrets(sv2_spec_static_priv_key=b"\x09" * 32, sv2_spec_certificate=tmp_path / "spec.toml"))
    none = config(Secrets())
    assert [(change.key.rpartition(" ")[2], change.on_reload) for change in changes_between(old, new)] == [
        ("sv2_spec_authority_priv_key_hex", Effect.NEWCOMERS),
        ("sv2_spec_certificate", Effect.NEWCOMERS)]
    runs = taken_over(old, new).secrets
    assert (runs.sv2_spec_static_priv_key, runs.sv2_spec_authority_priv_key, runs.sv2_spec_certificate) == (
        b"\x07" * 32, None, tmp_path / "spec.toml")
    for one, other in ((none, new), (old, none), (old, other_key), (new, other_key)):
        assert {change.on_reload for change in changes_between(one, other)} == {Effect.RESTART}
        assert taken_over(one, other).secrets == one.secrets

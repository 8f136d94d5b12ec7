"""`warppool-keygen --spec`: keys for a pool, an authority of its own or elsewhere, and what makes no certificate."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from tests.noise.specends import STATIC_XONLY
from warppool.authority import parse_authority_key
from warppool.commands import cli
from warppool.config.pool import read_secrets
from warppool.config.specsecrets import check_spec_secrets
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.service.specidentity import SpecIdentity, read_certificate

AUTHORITY_LINE = 'sv2_spec_authority_priv_key_hex = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"\n'
SRI_PUBLIC = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"


def made(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, str]:
    assert cli.keygen(list(args)) == 0
    return capsys.readouterr()


def authority_file(folder: Path, text: str = AUTHORITY_LINE, mode: int = 0o600) -> str:
    path = folder / "authority.toml"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_both_keys_make_a_server_and_the_url_of_its_miners(capsys, tmp_path):
    out, err = made(capsys, "--spec")
    (tmp_path / "secrets.toml").write_text(out)
    (tmp_path / "secrets.toml").chmod(0o600)
    secrets = read_secrets(tmp_path, {})
    check_spec_secrets(secrets, tmp_path, "stratum.sv2_spec_listen")
    owner = SpecIdentity(secrets, 3_600)
    assert err == f"authority key: {owner.authority_text}\n" and owner.authority_text.startswith("9")
    assert out.count("\n") == 2 and out != made(capsys, "--spec", "both")[0]


def test_a_key_file_is_private_and_a_certificate_is_for_all(capsys, tmp_path):
    before = os.umask(0)
    try:
        made(capsys, "--spec", "-o", str(tmp_path / "keys.toml"))
        made(capsys, "--spec", "certificate", "--authority", authority_file(tmp_path), "--static", STATIC_XONLY.hex(),
             "-o", str(tmp_path / "certificate.toml"))
    finally:
        os.umask(before)
    assert (tmp_path / "keys.toml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "certificate.toml").stat().st_mode & 0o777 == 0o644
    assert cli.keygen(["--spec", "-o", str(tmp_path / "keys.toml")]) == 2
    assert "exists and is never overwritten" in capsys.readouterr().err


def test_an_authority_elsewhere(capsys, tmp_path):
    """The README's steps: an authority's key there, a static key here, and the certificate between them."""
    _, authority = made(capsys, "--spec", "authority", "-o", str(tmp_path / "authority.toml"))
    static_line, static = made(capsys, "--spec", "static")
    hex_key = re.fullmatch(r"static key: ([0-9a-f]{64})\n", static)[1]
    before = int(time.time())
    text, told = made(capsys, "--spec", "certificate", "--authority", str(tmp_path / "authority.toml"),
                      "--static", hex_key, "--days", "2")
    assert told == authority and "secret" not in text and static_line.split('"')[1] not in text
    (tmp_path / "certificate.toml").write_text(text)
    (tmp_path / "secrets.toml").write_text(static_line + 'sv2_spec_certificate = "certificate.toml"\n')
    (tmp_path / "secrets.toml").chmod(0o600)
    secrets = read_secrets(tmp_path, {})
    check_spec_secrets(secrets, tmp_path)
    assert told == f"authority key: {SpecIdentity(secrets, 60).authority_text}\n"
    given = read_certificate(tmp_path / "certificate.toml", xonly_of_secret(secrets.sv2_spec_static_priv_key)).given
    assert before - 3_600 <= given.valid_from <= time.time() - 3_600 + 1
    assert given.not_valid_after - given.valid_from == 3_600 + 2 * 86_400


def test_an_authority_of_sri_is_taken_as_it_is_written(capsys, tmp_path):
    _, told = made(capsys, "--spec", "certificate", "--authority", authority_file(tmp_path), "--static",
                   STATIC_XONLY.hex())
    assert told == f"authority key: {SRI_PUBLIC}\n" and parse_authority_key(SRI_PUBLIC)


@pytest.mark.parametrize(("args", "words"), [
    (["certificate"], "--authority: --spec certificate takes it, and it is missing"),
    (["certificate", "--authority", "{}"], "--static: --spec certificate takes it, and it is missing"),
    (["static", "--static", STATIC_XONLY.hex()], "--static: --spec certificate takes it, and nothing else does"),
    (["both", "--authority", "{}"], "--authority: --spec certificate takes it, and nothing else does"),
    (["certificate", "--authority", "{}", "--static", "zz"], "--static is 'zz': it takes the 64 hex digits"),
    (["certificate", "--authority", "{}", "--static", "00" * 31 + "05"], "it takes the 64 hex digits"),
    (["certificate", "--authority", "{}", "--static", "07", "--days", "0"], "'0' is no whole number from 1 to 3650"),
    (["nothing"], "invalid choice"),
])
def test_wrong_usage_is_one_sentence(capsys, tmp_path, args, words):
    assert cli.keygen(["--spec", *(arg.format(authority_file(tmp_path)) for arg in args)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("text", "mode", "words"), [
    (AUTHORITY_LINE, 0o640, "others may read"), ("", 0o600, "has no sv2_spec_authority_priv_key_hex"),
    (AUTHORITY_LINE.replace("mkD", "mkE"), 0o600, "neither 64 hex digits nor Base58"),
    ('sv2_spec_authority_priv_key_hex = "' + "ff" * 32 + '"\n', 0o600, "out of range"),
])
def test_an_authority_file_that_is_none(capsys, tmp_path, text, mode, words):
    assert cli.keygen(["--spec", "certificate", "--authority", authority_file(tmp_path, text, mode),
                       "--static", STATIC_XONLY.hex()]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_without_spec_nothing_is_certified(capsys):
    assert cli.keygen(["--static", STATIC_XONLY.hex()]) == 2
    assert "--static: --spec certificate takes it" in capsys.readouterr().err

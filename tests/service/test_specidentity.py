"""Who the server is in the published profile: certificates that renew themselves, and those that come as a file."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.noise.specends import (
    AUTHORITY,
    AUTHORITY_SECRET,
    AUTHORITY_TEXT,
    CERTIFICATE,
    NOT_VALID_AFTER,
    STATIC,
    STATIC_XONLY,
    VALID_FROM,
    certified,
)
from warppool.config.options import Secrets
from warppool.errors import ConfigError, MissingExtra
from warppool.events import Now
from warppool.noise.certificate import LAST_TIME, NoiseCertificate
from warppool.noise.ends import initiator, responder
from warppool.noise.primitives import new_buffer
from warppool.noise.specsuite import SPEC_SUITE
from warppool.service.specidentity import SpecIdentity, certificate_file, read_certificate

OWN = Secrets(sv2_spec_static_priv_key=STATIC.secret, sv2_spec_authority_priv_key=AUTHORITY_SECRET)
HOUR = 3_600


def read(payload: bytes) -> NoiseCertificate:
    return NoiseCertificate.decode(payload)


def write(folder: Path, certificate: NoiseCertificate = CERTIFICATE, *, authority: bytes = AUTHORITY,
          static: bytes = STATIC_XONLY) -> Path:
    path = folder / "spec.toml"
    path.write_text(certificate_file(certificate, authority, static))
    return path


def given(path: Path) -> Secrets:
    return Secrets(sv2_spec_static_priv_key=STATIC.secret, sv2_spec_certificate=path)


# --- made here --------------------------------------------------------------------------------------------------------

def test_a_certificate_begins_an_hour_back_and_is_renewed_at_half_its_life() -> None:
    own = SpecIdentity(OWN, 2 * HOUR)
    assert own.authority_text == AUTHORITY_TEXT
    static, payload = own.identity()
    assert static.secret == STATIC.secret
    now = 1_800_000_000.0
    first = read(payload(now))
    assert (first.valid_from, first.not_valid_after) == (int(now) - HOUR, int(now) + 2 * HOUR)
    assert first.is_of(AUTHORITY, STATIC_XONLY)
    assert payload(now + HOUR - 1) == first.encode()                   # not one signature a connection
    second = read(payload(now + HOUR))
    assert (second.valid_from, second.not_valid_after) == (int(now), int(now) + 3 * HOUR)
    assert second.is_of(AUTHORITY, STATIC_XONLY)


def test_a_clock_that_is_set_back_gets_a_certificate_for_its_time() -> None:
    payload = SpecIdentity(OWN, 2 * HOUR).identity().payload
    payload(1_800_000_000.0)
    assert read(payload(1_700_000_000.0)).valid_from == 1_700_000_000 - HOUR
    assert read(payload(0.0)).valid_from == 0 and read(payload(2.0**32)).not_valid_after == LAST_TIME


@pytest.mark.parametrize("validity_s", [60, HOUR, 315_360_000])
def test_whoever_comes_finds_a_good_certificate_at_any_time(validity_s: int) -> None:
    """A year of connections, each some time after the one before: every one of them verifies."""
    payload, now, buffer = SpecIdentity(OWN, validity_s).identity(), 1_750_000_000.0, new_buffer()
    for step in range(40):
        now = min(now + (step % 7) * validity_s / 6, float(LAST_TIME))
        server = responder(SPEC_SUITE, payload, bytes([5]) * 32, buffer, Now(0.0, now))
        miner = initiator(SPEC_SUITE, AUTHORITY, bytes([6]) * 32, buffer, Now(0.0, now))
        server.open(miner.seal(b""), 0.0)
        miner.open(server.seal(b""), 0.0)
        assert miner.is_established and server.is_established, miner.end


def test_a_reload_changes_authority_and_times_for_whoever_comes_then() -> None:
    owner = SpecIdentity(OWN, HOUR)
    payloads = [owner.identity().payload for _ in range(2)]
    now = time.time()
    before = [payload(now) for payload in payloads]
    take = owner.prepare(Secrets(sv2_spec_static_priv_key=STATIC.secret, sv2_spec_authority_priv_key=b"\7" * 32),
                         2 * HOUR)
    assert [payload(now) for payload in payloads] == before
    take()
    for payload in payloads:
        after = read(payload(now))
        assert after.is_of(owner.voucher.authority, STATIC_XONLY) and not after.is_of(AUTHORITY, STATIC_XONLY)
        assert after.not_valid_after == int(now) + 2 * HOUR


def test_another_authority_is_warned_of_and_the_same_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    owner = SpecIdentity(OWN, HOUR)
    owner.prepare(OWN, 2 * HOUR)()
    assert "certificate.authority" not in caplog.text
    other = Secrets(sv2_spec_static_priv_key=STATIC.secret, sv2_spec_authority_priv_key=b"\7" * 32)
    owner.prepare(other, HOUR)()
    assert f"event=certificate.authority authority_key={owner.authority_text} before={AUTHORITY_TEXT}" in caplog.text


# --- from a file ------------------------------------------------------------------------------------------------------

def test_a_certificate_file_goes_both_ways(tmp_path: Path) -> None:
    loaded = read_certificate(write(tmp_path), STATIC_XONLY)
    assert (loaded.authority, loaded.given) == (AUTHORITY, CERTIFICATE)
    assert SpecIdentity(given(tmp_path / "spec.toml"), HOUR).identity().payload(0.0) == CERTIFICATE.encode()


@pytest.mark.parametrize(("change", "words"), [
    (lambda text: "", "is no certificate file: warppool-keygen --spec certificate makes one"),
    (lambda text: text + "more = 1\n", "is no certificate file"),
    (lambda text: text.replace('"', "", 2), "is not TOML"),
    (lambda text: text.replace(AUTHORITY_TEXT, AUTHORITY_TEXT[:-1]), "is damaged (has a wrong checksum)"),
    (lambda text: text.replace(AUTHORITY_TEXT, "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"),
     "is not signed by the authority that it names"),
    (lambda text: text.replace(CERTIFICATE.encode().hex(), CERTIFICATE.encode().hex()[:-2]), "is damaged (certificate"),
    (lambda text: text.replace(CERTIFICATE.encode().hex(), "zz"), "is damaged"),
    (lambda text: text.replace(CERTIFICATE.encode().hex(), CERTIFICATE.encode().hex()[:-1] + "0"), "is not signed"),
    (lambda text: text.replace(CERTIFICATE.encode().hex(), certified(version=1).hex()), "is not signed"),
    (lambda text: text.replace(STATIC_XONLY.hex(), "07" * 32), "is for the static key 0707"),
])
def test_a_file_that_cannot_be_served_is_refused_and_named(
    tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    path = write(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError) as caught:
        SpecIdentity(given(path), HOUR)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        SpecIdentity(given(tmp_path / "none"), HOUR)


def test_a_reload_takes_the_new_file_and_keeps_the_old_one_where_the_new_is_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    owner = SpecIdentity(given(write(tmp_path)), HOUR)
    payload = owner.identity().payload
    assert payload(0.0) == CERTIFICATE.encode()
    later = read(certified(0, VALID_FROM, NOT_VALID_AFTER + 1))
    owner.prepare(given(write(tmp_path, later)), HOUR)()
    assert payload(0.0) == later.encode()
    (tmp_path / "spec.toml").write_text("")
    with pytest.raises(ConfigError):
        owner.prepare(given(tmp_path / "spec.toml"), HOUR)
    assert payload(0.0) == later.encode() and "event=certificate.refused" in caplog.text


@pytest.mark.parametrize(("now", "event"), [
    (VALID_FROM - 1, "certificate.premature"), (VALID_FROM, None), (NOT_VALID_AFTER - 14 * 86_400 - 1, None),
    (NOT_VALID_AFTER - 14 * 86_400, "certificate.expiring"), (NOT_VALID_AFTER, "certificate.expired"),
])
def test_its_end_draws_near(tmp_path: Path, now: int, event: str | None) -> None:
    trouble = read_certificate(write(tmp_path), STATIC_XONLY).trouble(now)
    assert (trouble and trouble.event) == event


def test_a_short_one_is_warned_of_in_its_last_third(tmp_path: Path) -> None:
    loaded = read_certificate(write(tmp_path, read(certified(0, 0, 3_000))), STATIC_XONLY)
    assert loaded.trouble(1_999) is None and loaded.trouble(2_000) is not None


def test_a_warning_is_said_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    owner = SpecIdentity(given(write(tmp_path)), HOUR)
    assert f"event=certificate.loaded authority_key={AUTHORITY_TEXT} expires=2033-05-18T03:33:20Z" in caplog.text
    for seconds in (0, 60, 86_399, 86_400):
        owner.look(NOT_VALID_AFTER + seconds)
    assert caplog.text.count("event=certificate.expired") == 2
    SpecIdentity(OWN, 60).look(NOT_VALID_AFTER)
    assert caplog.text.count("event=certificate.expired") == 2         # one that we make ends for nobody


def test_a_reload_that_mends_nothing_is_told_so_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = int(time.time())
    ended = read(certified(0, now - 2 * HOUR, now - HOUR))
    owner = SpecIdentity(given(write(tmp_path, ended)), HOUR)
    assert caplog.text.count("event=certificate.expired") == 1
    owner.prepare(given(tmp_path / "spec.toml"), HOUR)()
    assert caplog.text.count("event=certificate.expired") == 2


# --- without the extra ------------------------------------------------------------------------------------------------

def test_without_the_extra_one_sentence_says_what_to_install() -> None:
    code = ("import sys; sys.modules['btclib_secp256k1'] = None\n"
            "from warppool.config.options import Secrets; from warppool.errors import MissingExtra\n"
            "from warppool.service.specidentity import SpecIdentity\n"
            "try: SpecIdentity(Secrets(sv2_spec_static_priv_key=bytes(31) + b'x'), 60)\n"
            "except MissingExtra as exc: print(exc)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ("Stratum V2 of the published profile needs the package btclib-secp256k1: "
                           "pip install 'warppool[spec]'\n")


def test_who_does_not_use_the_profile_does_not_load_the_library() -> None:
    code = ("import sys, warppool.service.pool, warppool.service.translator, warppool.commands.cli\n"
            "print([name for name in sys.modules if name.startswith('btclib')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert issubclass(MissingExtra, ConfigError)

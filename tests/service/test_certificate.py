"""The certificate of the TLS listeners: every mistake an operator makes with it, its end, and its renewal."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.net.tlsends import START, Ends, Served, sent
from warppool.commands.democert import DEMO_NAMES, self_signed
from warppool.errors import ConfigError, MissingExtra
from warppool.net.tls import Tls
from warppool.service.certificate import Certificate, load, trouble_of

ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400


@pytest.fixture
def pair(tmp_path):
    return self_signed().write(tmp_path)


def issued(subject, issuer=None, *, key=None, issuer_key=None, extensions=(), digest=None):
    """A certificate object and its key; self-signed without an issuer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer or subject))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=90)))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key or key, digest or hashes.SHA256()), key


def pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key, password=None) -> bytes:
    sealing = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)


def refusal(pair, tmp_path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*pair)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(f"{tmp_path}/", "")


# --- what is read -----------------------------------------------------------------------------------------------------

def test_what_a_certificate_says(tmp_path):
    begin, end = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2036, 3, 1, 12, tzinfo=UTC)
    signed = self_signed(("pool.example", "192.0.2.1", "2001:db8::7"), begin, end)
    context, leaf = load(*signed.write(tmp_path))
    der = ssl.PEM_cert_to_DER_cert(signed.certificate.decode())
    assert leaf.fingerprint == hashlib.sha256(der).digest()
    assert (leaf.not_before, leaf.not_after) == (begin.timestamp(), end.timestamp())
    assert leaf.expires == "2036-03-01T12:00:00Z"
    assert leaf.names == ("pool.example", "192.0.2.1", "2001:db8::7")
    assert leaf.is_self_signed and leaf.issuer == "warppool demo"
    assert isinstance(context, ssl.SSLContext)


@pytest.mark.parametrize(("begin", "end"), [(2001, 2002), (2001, 2090), (2080, 2090)])
def test_a_certificate_is_read_and_served_whatever_the_date(tmp_path, begin, end):
    times = datetime(begin, 1, 1, tzinfo=UTC), datetime(end, 1, 1, tzinfo=UTC)
    _, leaf = load(*self_signed(DEMO_NAMES, *times).write(tmp_path))
    assert (leaf.not_before, leaf.not_after) == tuple(time.timestamp() for time in times)


@pytest.mark.parametrize("make_key", [
    lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1())])
def test_a_certificate_of_an_authority_is_read_without_the_authority(tmp_path, make_key):
    root, root_key = issued("Some Authority")
    leaf_cert, key = issued("pool", "Some Authority", key=make_key(), issuer_key=root_key,
                            extensions=[x509.SubjectAlternativeName([x509.DNSName("pool.example")]),
                                        x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])])
    (tmp_path / "cert").write_bytes(b"Bag Attributes\n" + pem(leaf_cert) + pem(root))
    (tmp_path / "key").write_bytes(key_pem(key))
    _, leaf = load(tmp_path / "cert", tmp_path / "key")
    assert leaf.names == ("pool.example",) and leaf.issuer == "Some Authority" and not leaf.is_self_signed
    assert leaf.fingerprint == leaf_cert.fingerprint(hashes.SHA256())


def test_one_file_may_hold_both(tmp_path):
    signed = self_signed()
    (tmp_path / "both").write_bytes(signed.key + signed.certificate)
    assert load(tmp_path / "both", tmp_path / "both")[1].names[0] == "localhost"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")
def test_what_openssl_makes_by_default_is_good(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pool", "-keyout",
                    tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    _, leaf = load(tmp_path / "cert", tmp_path / "key")
    assert leaf.names == () and trouble_of(leaf, leaf.not_before).event == "tls.nameless"


# --- mistakes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("which", "key"), [(0, "tls_cert"), (1, "tls_key")])
def test_a_file_that_is_not_there_or_no_file(pair, tmp_path, which, key):
    name = pair[which].name
    pair[which].unlink()
    assert refusal(pair, tmp_path) == (
        f"stratum.{key}: {name} does not exist: name the file there, or switch TLS off by tls_listen = [] "
        "and any_listen = []")
    pair[which].mkdir()
    assert refusal(pair, tmp_path) == (
        f"stratum.{key}: {name} cannot be read: Is a directory: name the file in PEM form")


@pytest.mark.parametrize(("which", "key"), [(0, "tls_cert"), (1, "tls_key")])
def test_a_file_that_may_not_be_read(pair, tmp_path, monkeypatch, which, key):
    read = type(pair[0]).read_bytes

    def refuse(path):
        if path == pair[which]:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(type(pair[0]), "read_bytes", refuse)        # root, who runs tests too, may read anything
    assert refusal(pair, tmp_path).startswith(
        f"stratum.{key}: {pair[which].name} may not be read by this user: chgrp it and its folder to a group")


@pytest.mark.parametrize(("data", "words"), [
    (b"", "holds no certificate in PEM form"),
    (b"not a certificate\xff\x00", "holds no certificate in PEM form"),
    (b"\x30\x82\x01\x00" + bytes(50), "is in DER form: write it as PEM by `openssl x509 -inform der"),
    (b"-----BEGIN PRIVATE KEY-----\nMEEC\n-----END PRIVATE KEY-----\n", "are tls_cert and tls_key swapped?"),
    (b"-----BEGIN CERTIFICATE-----\nMIIBIjCByQ==\n-----END CERTIFICATE-----\n", "is damaged at its certificate number"),
    (b"-----BEGIN CERTIFICATE-----\n\xff\xfe\n-----END CERTIFICATE-----\n", "is damaged at its certificate number 1:"),
])
def test_no_certificate(pair, tmp_path, data, words):
    pair[0].write_bytes(data)
    text = refusal(pair, tmp_path)
    assert text.startswith("stratum.tls_cert: fullchain.pem ") and words in text


@pytest.mark.parametrize(("data", "words"), [
    (b"", "holds no private key in PEM form"),
    (b"\x30\x82\x01\x00" + bytes(50), "is in DER form: write it as PEM by `openssl pkey -inform der"),
    (b"-----BEGIN CERTIFICATE-----\nMEEC\n-----END CERTIFICATE-----\n", "are tls_cert and tls_key swapped?"),
    (b"-----BEGIN PRIVATE KEY-----\nMEEC\n-----END PRIVATE KEY-----\n", "is it whole, and a key for RSA or ECDSA?"),
])
def test_no_key(pair, tmp_path, data, words):
    pair[1].write_bytes(data)
    text = refusal(pair, tmp_path)
    assert text.startswith("stratum.tls_key: privkey.pem ") and words in text


def test_an_encrypted_key_is_refused_and_nobody_is_asked(pair, tmp_path):
    pair[1].write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    assert refusal(pair, tmp_path).startswith("stratum.tls_key: privkey.pem is encrypted, and nobody is there to type")


@pytest.mark.parametrize("make_key", [
    lambda: ec.generate_private_key(ec.SECP256R1()), lambda: rsa.generate_private_key(65537, 2048)])
def test_the_key_of_another(pair, tmp_path, make_key):
    pair[1].write_bytes(key_pem(make_key()))
    assert refusal(pair, tmp_path) == (
        "stratum.tls_key: privkey.pem is not the key of the certificate in fullchain.pem: name the two that were "
        "issued together")


def test_a_chain_in_the_wrong_order(tmp_path):
    root, root_key = issued("Root")
    between, between_key = issued("Between", "Root", issuer_key=root_key)
    own, key = issued("pool", "Between", issuer_key=between_key)
    pair = tmp_path / "cert", tmp_path / "key"
    pair[0].write_bytes(pem(root) + pem(between) + pem(own))
    pair[1].write_bytes(key_pem(key))
    assert refusal(pair, tmp_path) == (
        "stratum.tls_cert: cert begins with another's certificate: number 3 in it is the pool's own, which must stand "
        "first, then those that issued it")


def test_a_damaged_certificate_further_down_the_chain(pair, tmp_path):
    pair[0].write_bytes(pair[0].read_bytes() + b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert "is damaged at its certificate number 2" in refusal(pair, tmp_path)


def test_a_weak_key(tmp_path):
    own, key = issued("pool", key=rsa.generate_private_key(65537, 1024))
    pair = tmp_path / "cert", tmp_path / "key"
    pair[0].write_bytes(pem(own))
    pair[1].write_bytes(key_pem(key))
    text = refusal(pair, tmp_path)
    assert text.startswith("stratum.tls_cert: cert is too weak for miners of today (") and "RSA with 2048 bits" in text


def test_a_certificate_that_is_for_something_else(tmp_path):
    own, key = issued("mail", extensions=[x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])])
    pair = tmp_path / "cert", tmp_path / "key"
    pair[0].write_bytes(pem(own))
    pair[1].write_bytes(key_pem(key))
    text = refusal(pair, tmp_path)
    assert re.fullmatch(r"stratum\.tls_cert: cert is refused by whoever verifies it \(un\w+ certificate purpose\): "
                        "have it issued for a TLS server", text)


def test_looking_for_a_mistake_leaves_no_file_open(pair, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    test_a_chain_in_the_wrong_order(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(MissingExtra, match=r"pip install 'warppool\[regtest\]'"):
        self_signed()


def test_the_key_is_for_us_alone(pair):
    assert pair[1].stat().st_mode & 0o777 == 0o600


# --- the end of a certificate -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("seconds_left", "event", "words"), [
    (14 * DAY_S + 1, None, ""),
    (14 * DAY_S, "tls.expiring", "in 14 days: renew it, then systemctl reload the service"),
    (DAY_S - 1, "tls.expiring", "in 0 days: "),
    (0, "tls.expired", "it ended on 2026-01-01T00:00:00Z, and miners that verify it stay away: renew it"),
    (-DAY_S, "tls.expired", "it ended on "),
    (31 * DAY_S, "tls.premature", "it is not valid before 2025-12-02T00:00:00Z: look at the clock"),
])
def test_when_an_operator_is_told(tmp_path, seconds_left, event, words):
    _, leaf = load(*self_signed(DEMO_NAMES, ANY_TIME - timedelta(days=30), ANY_TIME).write(tmp_path))
    trouble = trouble_of(leaf, ANY_TIME.timestamp() - seconds_left)
    assert (trouble and trouble.event) == event
    assert trouble is None or words in trouble.sentence


def test_a_warning_comes_at_load_and_once_a_day(tmp_path, caplog):
    end = datetime.now(UTC) + timedelta(days=10)
    with caplog.at_level(logging.INFO, logger="warppool"):
        certificate = Certificate(*self_signed(DEMO_NAMES, None, end).write(tmp_path))
        now = end.timestamp() - 10 * DAY_S
        for seconds in (0, 60, DAY_S - 60, DAY_S + 60, 10 * DAY_S):
            certificate.look(now + seconds)
    loaded, *warned = [record.getMessage() for record in caplog.records]
    assert loaded == (f"event=tls.loaded fingerprint={certificate.leaf.fingerprint.hex()} "
                      f"expires={certificate.leaf.expires} names=localhost,127.0.0.1,::1")
    assert [line.split()[0] for line in warned] == ["event=tls.expiring"] * 2 + ["event=tls.expired"]
    assert [record.levelno for record in caplog.records[1:]] == [logging.WARNING] * 3


# --- renewal ----------------------------------------------------------------------------------------------------------

def shown(context) -> bytes:
    """The fingerprint that a miner sees behind `context`."""
    ends = Ends()
    ends.pool = Served(Tls(context, START.monotonic), ends.inner)
    ends.shake()
    return hashlib.sha256(ends.miner.tls.getpeercert(binary_form=True)).digest()


def test_a_renewed_pair_is_served_and_sessions_go_on(tmp_path, caplog):
    certificate = Certificate(*self_signed().write(tmp_path))
    old = certificate.leaf.fingerprint
    ends = Ends()
    ends.pool = Served(Tls(certificate.context, START.monotonic), ends.inner)
    ends.shake()
    self_signed().write(tmp_path)
    with caplog.at_level(logging.INFO, logger="warppool"):
        certificate.prepare(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")()
    assert shown(certificate.context) == certificate.leaf.fingerprint != old
    assert f"event=tls.loaded fingerprint={certificate.leaf.fingerprint.hex()}" in caplog.text
    assert ends.miner.open(sent(ends.pool.receive(ends.miner.seal(b"echo on\n"), START))) == b"on\n"


def test_a_bad_new_pair_changes_nothing_and_is_one_error(tmp_path, caplog):
    certificate = Certificate(*self_signed().write(tmp_path))
    old, context = certificate.leaf, certificate.context
    (tmp_path / "privkey.pem").write_bytes(self_signed().key)
    with caplog.at_level(logging.INFO, logger="warppool"), pytest.raises(ConfigError, match="is not the key of"):
        certificate.prepare(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")
    assert (certificate.leaf, certificate.context) == (old, context)
    assert shown(certificate.context) == old.fingerprint
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("event=tls.refused reason=") and "is not the key of" in record.getMessage()
    assert f"fingerprint={old.fingerprint.hex()}" in record.getMessage()

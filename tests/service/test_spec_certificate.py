"""An authority that is kept elsewhere: its certificate file in a running pool, which SIGHUP renews."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.stub import StubNode
from tests.patience import PATIENCE_S
from tests.service.process import PoolProcess, write_config
from warppool.authority import parse_authority_key
from warppool.commands import cli
from warppool.events import Now
from warppool.noise.ends import initiator
from warppool.noise.primitives import new_buffer
from warppool.noise.specsuite import SPEC_SUITE


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        yield stub


def keygen(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, str]:
    """What it makes, and what it tells."""
    assert cli.keygen(["--spec", *args]) == 0
    made, told = capsys.readouterr()
    return made, told.rpartition(": ")[2].strip()


def greeted(port: int, authority: str) -> None:
    """A machine comes and finds the pool that it is looking for."""
    noise = initiator(SPEC_SUITE, parse_authority_key(authority), os.urandom(32), new_buffer(), Now(0.0, time.time()))
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.sendall(noise.seal(b""))
        while not noise.is_established:
            data = sock.recv(4_096)
            assert data, "the pool hung up"
            noise.open(data, 0.0)
            assert noise.end is None, noise.end


def test_the_file_is_renewed_by_a_reload_and_a_bad_one_refused(
    tmp_path: Path, stub: StubNode, capsys: pytest.CaptureFixture[str]
) -> None:
    _, authority = keygen(capsys, "authority", "-o", str(tmp_path / "authority.toml"))
    secret_line, static = keygen(capsys, "static")
    file = tmp_path / "certificate.toml"

    def certify(days: int) -> None:
        made, told = keygen(capsys, "certificate", "--authority", str(tmp_path / "authority.toml"), "--static", static,
                            "--days", str(days))
        assert told == authority
        file.write_text(made)

    certify(90)
    config = write_config(tmp_path, secret=None, node={"url": stub.url, "cookie_file": "cookie"},
                          stratum={"sv2_listen": [], "sv2_spec_listen": ["127.0.0.1:0"]})
    (tmp_path / "secrets.toml").write_text(secret_line + 'sv2_spec_certificate = "certificate.toml"\n')
    (tmp_path / "secrets.toml").chmod(0o600)
    with PoolProcess(config) as pool:
        port = pool.ready()
        first = pool.wait_for("certificate.loaded")
        assert first["authority_key"] == authority
        greeted(port, authority)
        certify(180)
        os.kill(pool.pid, signal.SIGHUP)
        second = pool.wait_for("certificate.loaded", lambda line: line["expires"] != first["expires"])
        assert second["authority_key"] == authority
        greeted(port, authority)
        file.write_text(file.read_text().replace(static, "07" * 32))
        os.kill(pool.pid, signal.SIGHUP)
        assert "is for the static key 0707" in pool.wait_for("certificate.refused")["reason"]
        assert "is for the static key 0707" in pool.wait_for("reload.refused")["reason"]
        greeted(port, authority)
        certify(1)
        os.kill(pool.pid, signal.SIGHUP)
        pool.wait_for("certificate.loaded", lambda line: line["expires"] not in (first["expires"], second["expires"]))
        assert pool.events("certificate.expiring") == []  # its last third is not there yet
        greeted(port, authority)
        pool.terminate()
        assert pool.wait() == 0

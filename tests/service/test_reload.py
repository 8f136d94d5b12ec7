"""SIGHUP: the whole configuration is read anew, and nobody is dropped."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.node.stub import Mood, StubNode
from tests.service.process import PATIENCE_S, WARPPOOL, PoolProcess, environ, write_config
from tests.service.test_run import NO_NODE, SECRET, ServiceManager, assert_refused, start
from warppool.commands.democert import SelfSigned, self_signed
from warppool.config.running import read_running
from warppool.service.signals import Requests, catch_signals

TLS = {"tls_listen": ["127.0.0.1:0"], "tls_cert": "fullchain.pem", "tls_key": "privkey.pem"}


def fingerprint(pair: SelfSigned) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.decode())).hexdigest()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        yield stub


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    manager = ServiceManager()
    yield manager
    manager.door.close()


def config_of(tmp_path: Path, stub: StubNode, **stratum: object) -> Path:
    return write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"}, stratum=stratum)


def test_a_renewed_pair_is_loaded_a_bad_one_is_refused_and_systemd_hears_of_both(tmp_path, stub, manager):
    first, second = self_signed(), self_signed()
    first.write(tmp_path)
    with PoolProcess(config_of(tmp_path, stub, **TLS), NOTIFY_SOCKET=f"@{manager.name}") as pool:
        ready = manager.hear_until("READY=1")
        assert [line["fingerprint"] for line in pool.events("tls.loaded")] == [fingerprint(first)]
        second.write(tmp_path)
        os.kill(pool.pid, signal.SIGHUP)
        word, stamp = manager.hear_until("RELOADING=1").splitlines()
        assert stamp.startswith("MONOTONIC_USEC=") and int(stamp.partition("=")[2]) > 0
        assert manager.hear() == ready
        pool.wait_for("tls.loaded", lambda line: line["fingerprint"] == fingerprint(second))
        (tmp_path / "privkey.pem").unlink()
        os.kill(pool.pid, signal.SIGHUP)
        manager.hear_until("RELOADING=1")
        assert manager.hear() == ready
        refused = pool.wait_for("tls.refused")
        assert refused["fingerprint"] == fingerprint(second) and "privkey.pem does not exist" in refused["reason"]
        assert "privkey.pem does not exist" in pool.wait_for("reload.refused")["reason"]
        assert len(pool.events("tls.loaded")) == 2
        pool.terminate()
        assert pool.wait() == 0


def test_where_nothing_has_changed_that_is_said(tmp_path, stub, manager):
    with PoolProcess(config_of(tmp_path, stub), NOTIFY_SOCKET=f"@{manager.name}") as pool:
        manager.hear_until("READY=1")
        os.kill(pool.pid, signal.SIGHUP)
        manager.hear_until("RELOADING=1")
        manager.hear_until("READY=1")
        done = pool.wait_for("reload.done")
        assert (done["changed"], done["restart"]) == ("0", "0")
        pool.terminate()
        assert pool.wait() == 0


def test_what_changed_is_logged_key_by_key_taken_or_left_and_stands_in_running_toml(tmp_path, stub):
    path = config_of(tmp_path, stub, max_connections=100)
    running = tmp_path / "data/running.toml"
    with PoolProcess(path) as pool:
        pool.ready()
        assert read_running(tmp_path / "data").stratum.max_connections == 100
        text = path.read_text().replace("max_connections = 100", "max_connections = 99\nworkers = 3")
        path.write_text(text + '[log]\nlevel = "debug"\n')
        os.kill(pool.pid, signal.SIGHUP)
        done = pool.wait_for("reload.done")
        assert (done["changed"], done["restart"]) == ("2", "1")
        assert [(line["key"], line["old"], line["new"], line["effect"]) for line in pool.events("config.changed")] == [
            ("stratum.max_connections", "100", "99", "newcomers"), ("log.level", '"info"', '"debug"', "at once")]
        left, = pool.events("config.left")
        assert (left["key"], left["old"], left["new"], left["meaning"]) == (
            "stratum.workers", "1", "3", "it needs a restart")
        runs = read_running(tmp_path / "data")
        assert (runs.stratum.max_connections, runs.stratum.workers, runs.log.level) == (99, 1, "debug")
        before = running.read_text()
        path.write_text(text.replace("max_connections", "max_connection"))
        os.kill(pool.pid, signal.SIGHUP)
        refused = pool.wait_for("reload.refused")
        assert "stratum.max_connection is not known: did you mean max_connections?" in refused["reason"]
        assert len(pool.events("reload.done")) == 1 and running.read_text() == before
        pool.terminate()
        assert pool.wait() == 0
    assert SECRET.hex() not in before + "".join(pool.lines)


def test_the_first_line_of_execreload_reads_files_only_and_stops_at_a_mistake(tmp_path, stub):
    """As systemd runs it, beside the daemon: it tries no port, no lock and no node."""
    path = config_of(tmp_path, stub)

    def check() -> tuple[int, list[str]]:
        done = subprocess.run([*WARPPOOL, "check", "--diff", "--no-network", "-c", str(path)], capture_output=True,
                              text=True, timeout=PATIENCE_S, env=environ())
        return done.returncode, done.stdout.splitlines()

    with PoolProcess(path) as pool:
        pool.ready()
        assert check()[1][-1].startswith("ok diff: nothing differs from what runs")
        good = path.read_text()
        path.write_text(good.replace("[stratum]", "[stratum]\nworkers = 2\nidle_timeout_s = 9"))
        status, lines = check()
        assert status == 0 and lines[-2:] == [
            "warn stratum.workers: 1 becomes 2: it needs a restart",
            "ok stratum.idle_timeout_s: 600 becomes 9: a reload makes it count for who comes then"]
        path.write_text(good.replace("[stratum]", "[stratum]\nworkers = 0"))
        status, lines = check()
        assert status == 1 and "stratum.workers holds 0" in lines[-1]
        pool.terminate()
        assert pool.wait() == 0
    assert pool.events("config.changed") == pool.events("reload.done") == []


def test_a_reload_before_the_first_template_does_not_say_ready(tmp_path, stub, manager):
    stub.mood = Mood.WARM_UP
    self_signed().write(tmp_path)
    with PoolProcess(config_of(tmp_path, stub, **TLS), NOTIFY_SOCKET=f"@{manager.name}") as pool:
        stub.wait_until(lambda: bool(stub.calls))
        renewed = self_signed()
        renewed.write(tmp_path)
        os.kill(pool.pid, signal.SIGHUP)
        pool.wait_for("tls.loaded", lambda line: line["fingerprint"] == fingerprint(renewed))
        pool.wait_for("reload.done")
        pool.terminate()
        assert pool.wait() == 0
    manager.hear_the_rest()
    assert [words for words in manager.words if not words.startswith("STATUS=")] == ["STOPPING=1"]


@pytest.mark.parametrize(("name", "content", "key", "words"), [
    ("fullchain.pem", None, "stratum.tls_cert", "does not exist"),
    ("privkey.pem", None, "stratum.tls_key", "does not exist"),
    ("privkey.pem", b"junk", "stratum.tls_key", "holds no private key"),
    ("privkey.pem", self_signed, "stratum.tls_key", "is not the key of the certificate"),
])
def test_a_bad_pair_at_start_is_one_line_and_status_2(tmp_path, name, content, key, words):
    self_signed().write(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content().key)
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE, stratum=TLS)
    done = start(config)
    *log, line = done.stderr.splitlines()
    done.stderr = f"{line}\n"
    assert_refused(done, key, words)
    assert all("event=" in said for said in log), "what was logged before, and no traceback"


def test_a_request_for_a_reload_wakes_is_taken_once_and_is_none_to_stop():
    requests = Requests()
    assert not requests.take_reload()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        catch_signals(requests)
        signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert requests.wait(3600) is False             # at once, or the test would never end
    assert requests.take_reload() and not requests.take_reload() and not requests.is_set()
    requests.set()
    assert requests.wait(3600) is True

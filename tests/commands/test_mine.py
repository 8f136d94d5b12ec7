"""`warppool mine` as a program."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from tests.patience import PATIENCE_S
from tests.service.test_daemon import KEY
from warppool.addresses import PoolUrl
from warppool.commands.cli import main
from warppool.commands.demo import demo_config, demo_miners
from warppool.commands.democert import self_signed
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import PoolGone
from warppool.service.pool import Pool


def started(*arguments):
    return subprocess.Popen([sys.executable, "-m", "warppool", "mine", *arguments], stderr=subprocess.PIPE, text=True)


def heard(process, *wanted, patience_s=PATIENCE_S):
    """Lines of the miner until each of `wanted` has been in one; it is ended if they do not come."""
    timer = threading.Timer(patience_s, process.kill)
    timer.start()
    lines, missing = [], set(wanted)
    try:
        while missing and (line := process.stderr.readline()):
            lines.append(line)
            missing = {words for words in missing if words not in line}
    finally:
        timer.cancel()
    assert not missing, lines
    return lines


def ended(process, status=0):
    process.send_signal(signal.SIGTERM)
    with process.stderr:
        process.stderr.read()
    assert process.wait(PATIENCE_S) == status


def test_it_says_at_once_why_a_pool_cannot_be_reached_and_tries_again():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    process = started(f"stratum+tcp://127.0.0.1:{port}", "-u", "alice")
    cure = "Connection refused: is the pool running, and is this its port? (trying again in"
    heard(process, f"{cure} 2 s)", f"{cure} 4 s)")
    ended(process)


@pytest.mark.parametrize("host", ["..", "a" * 64])
def test_a_host_that_cannot_be_a_name_is_told_with_its_cure(host):
    process = started(f"stratum+tcp://{host}:1", "-u", "alice")
    heard(process, f"{host}:1: not a name: mend the host in the URL (trying again in 2 s)")
    ended(process)


@pytest.mark.parametrize("name", ["", " ", ".rig1", "\u202e", "a\nb", "a" * 256])
def test_a_name_that_no_pool_takes_is_refused_at_once(name, capsys):
    assert main(["mine", "stratum+tcp://127.0.0.1:1", "-u", name]) == 2
    assert "argument -u/--user: " in capsys.readouterr().err


def answering(*answers):
    """A pool's port that says these bytes to the connections in turn and closes each; its URL's place."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server:
            for answer in answers:
                with server.accept()[0] as sock:
                    sock.settimeout(PATIENCE_S)
                    sock.recv(4096)
                    sock.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"


@pytest.mark.parametrize(("url", "answer", "words"), [
    ("stratum+tcp://{}", TLS_ALERT, "the pool speaks TLS on this port: use stratum+tls://{}"),
    ("stratum+tcp://{}", b"", "closed the connection without a word: is this its port for V1? TLS is stratum+tls://"),
    ("stratum+tls://{}", b'{"id":1}\n', "is this its port for TLS? Plain V1 is stratum+tcp://"),
    ("stratum+ssl://{}", b"", "is this its port for TLS? Plain V1 is stratum+tcp://"),
    ("stratum2+tcp://{}/" + "07" * 32, b"", "closed the connection without a word: is this its port for V2, and"),
])
def test_a_wrong_port_is_told_with_a_hint(url, answer, words):
    place = answering(answer)
    with pytest.raises(PoolGone) as gone:
        CpuMiner(PoolUrl.parse(url.format(place)), "alice").run()
    assert words.format(place) in str(gone.value)


def test_a_certificate_that_nobody_vouches_for_is_told_with_a_hint(tmp_path):
    certificate, key = self_signed().write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server, server.accept()[0] as sock, suppress(OSError):
            context.wrap_socket(sock, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(PoolGone, match=r"certificate verify failed.*--trust FILE"):
        CpuMiner(PoolUrl("127.0.0.1", server.getsockname()[1], b"", is_tls=True), "alice").run()
    thread.join()


def test_it_mines_on_every_kind_of_pool_and_shows_what_happens(tmp_path):
    config = demo_config(tmp_path, KEY)
    daemon = Pool(config)
    daemon.service.start()
    try:
        assert daemon.service.is_ready.wait(PATIENCE_S)
        urls = {name: str(miner.url) for name, miner in demo_miners(config, daemon, KEY).items()}
        for name, first, extra in (
                ("v2-standard", "channel 1 opened: difficulty", ("--channel", "standard")),
                ("v2-extended", "channel 1 opened: difficulty", ("--hashrate", "1e6")),
                ("v1", "subscribed: extranonce", ()),
                ("v1-tls", "subscribed: extranonce", ("--trust", str(config.stratum.tls_cert)))):
            process = started(urls[name], "-u", f"alice.{name}", *extra)
            heard(process, first, "new tip: job")
            ended(process)
    finally:
        daemon.service.stop()

"""`warppool mine` as a program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

from tests.app.test_daemon import KEY
from warppool.app.demo import demo_config, demo_miners
from warppool.app.wiring import Daemon


def started(*arguments):
    return subprocess.Popen([sys.executable, "-m", "warppool", "mine", *arguments], stderr=subprocess.PIPE, text=True)


def heard(process, *wanted, patience_s=20):
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
    assert process.wait(10) == status


def test_it_says_at_once_why_a_pool_cannot_be_reached_and_tries_again():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    process = started(f"stratum+tcp://127.0.0.1:{port}", "-u", "alice")
    heard(process, "Connection refused; trying again in 2 s", "Connection refused; trying again in 4 s")
    ended(process)


def test_it_mines_on_every_kind_of_pool_and_shows_what_happens(tmp_path):
    config = demo_config(tmp_path, KEY)
    daemon = Daemon(config)
    daemon.start()
    try:
        assert daemon.is_ready.wait(10)
        urls = {name: str(miner._url) for name, miner in demo_miners(config, daemon, KEY).items()}
        for name, first, extra in (
                ("v2-standard", "channel 1 opened: difficulty", ("--channel", "standard")),
                ("v2-extended", "channel 1 opened: difficulty", ("--hashrate", "1e6")),
                ("v1", "subscribed: extranonce", ()),
                ("v1-tls", "subscribed: extranonce", ("--trust", str(config.stratum.tls_cert)))):
            process = started(urls[name], "-u", f"alice.{name}", *extra)
            heard(process, first, "new tip: job")
            ended(process)
    finally:
        daemon.stop()

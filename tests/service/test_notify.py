"""What systemd hears."""

from __future__ import annotations

import os
import re
import socket

import pytest

from warppool.service.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket such as systemd listens on, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"\0warppool-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(5)
        yield listener, name.replace("\0", "@")


def test_each_word_reaches_systemd(manager):
    listener, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    for say, words in ((lambda: notifier.ready("2 miners"), rb"READY=1\nSTATUS=2 miners"),
                       (lambda: notifier.status("one\nREADY=0"), rb"STATUS=one READY=0"),
                       (notifier.alive, rb"WATCHDOG=1"),
                       (notifier.reloading, rb"RELOADING=1\nMONOTONIC_USEC=[1-9]\d+"),
                       (notifier.stopping, rb"STOPPING=1")):
        assert say()
        assert re.fullmatch(words, listener.recv(1024))


def test_without_systemd_nothing_is_said_and_nothing_breaks(tmp_path):
    assert not Notifier({}).ready("x")
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()


@pytest.mark.parametrize(("environ", "interval"), [
    ({}, None),
    ({"WATCHDOG_USEC": "30000000"}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "0"}, None),
    ({"WATCHDOG_USEC": "soon"}, None),
])
def test_the_watchdog_is_fed_twice_in_its_time_and_only_if_it_is_ours(environ, interval):
    assert Notifier(environ).watchdog_interval_s == interval

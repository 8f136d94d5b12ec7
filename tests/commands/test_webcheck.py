"""`warppool check` knows whether the web can be served, by which names, and who may read it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from warppool.addresses import Address
from warppool.commands.findings import files
from warppool.commands.webcheck import web_findings
from warppool.config.faceoptions import WebConfig
from warppool.service import web
from warppool.service.lock import DataDirLock

HERE = Address("127.0.0.1", 0)


def lines(folder: Path, listen: tuple[Address, ...] = (HERE,), hosts: tuple[str, ...] = (), *,
          has_network: bool = True) -> list[str]:
    return [f"{each.grade} {each.key}: {each.sentence}"
            for each in web_findings(WebConfig(listen=listen, hosts=hosts), folder, has_network=has_network)]


@pytest.fixture(autouse=True)
def extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is installed, here as elsewhere."""
    monkeypatch.setattr(web, "find_spec", lambda name: name)


def test_where_there_is_no_web_nothing_is_said(tmp_path: Path) -> None:
    assert lines(tmp_path, ()) == []


def test_a_free_port_and_the_names_of_it(tmp_path: Path) -> None:
    assert lines(tmp_path) == ["ok web.listen: 127.0.0.1:0 is free", "ok web.hosts: browsers may call it 127.0.0.1, "
                               "localhost"]
    assert lines(tmp_path, hosts=("pool.example",), has_network=False) == [
        "ok web.hosts: browsers may call it pool.example"]


def test_a_port_that_is_taken_and_one_of_a_running_pool(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        line = lines(tmp_path, (address,))[0]
        assert line.startswith(f"error web.listen: port {address.port} of {address} is taken by another program")
        lock = DataDirLock(tmp_path)
        line = lines(tmp_path, (address,))[0]
        lock.release()
    assert line == f"warn web.listen: {address} was not tried, since a warppool runs (pid {os.getpid()})"


def test_without_the_extra_the_words_are_those_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    assert lines(tmp_path, has_network=False)[0] == f"error {web.NO_EXTRA.replace(' ', ': ', 1)}"
    assert "pip install 'warppool[web]'" in web.NO_EXTRA and "listen = []" in web.NO_EXTRA


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_everybody_may_read_is_a_warning_in_the_words_of_run(tmp_path: Path, host: str) -> None:
    assert lines(tmp_path, (Address(host, 8080),), has_network=False) == [f"warn web.listen: {web.WIDE_OPEN}"]
    assert lines(tmp_path, (Address(host, 8080),), ("pool.example",), has_network=False) == [
        "ok web.hosts: browsers may call it pool.example"]


def test_the_descriptors_of_a_full_web_are_no_room_for_miners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (5, 1024))
    assert web.fds_of(WebConfig(listen=())) == 0
    assert web.fds_of(WebConfig(listen=(HERE, HERE))) == web.fds_of(WebConfig(listen=(HERE,))) + 4 == 80
    assert "room for 884 miners" in files(0, besides=web.fds_of(WebConfig(listen=(HERE,)))).sentence

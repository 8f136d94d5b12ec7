"""`data_dir/running.toml`: all that runs, nothing secret, whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.config.otherkeys import NOTICE, POOL, TRANSLATOR
from tests.config.test_changes import KEY, nodes, pool_of, rpc, translator_of
from warppool.config.changes import changes_between
from warppool.config.running import FILE_NAME, read_running, running_toml, write_running
from warppool.config.translatoroptions import TranslatorSecrets
from warppool.errors import ConfigError

UNREADABLE = {"pool.network", "node.source"}       # the rest of the file would not fit any more


def all_other() -> Any:
    """A pool with every key at another value than its default."""
    document: dict[str, Any] = {}
    for name, value in POOL.items():
        section, _, key = name.partition(".")
        if name not in UNREADABLE:
            document.setdefault(section, {})[key] = value
    del document["node"]["cookie_file"], document["notice"]["format"]
    document["notice"] = [document["notice"], NOTICE]
    document["node"] = [document["node"], {"url": "http://b:1", "cookie_file": "/b"}]
    return pool_of(document, replace(pool_of().secrets, node_passwords=("hunter2",), notice_urls=("https://h/hunter2",)))


def translator_all_other() -> Any:
    """A translator with every key of its faces at another value than its default."""
    document: dict[str, Any] = {}
    for name, value in TRANSLATOR.items():
        section, _, key = name.partition(".")
        if section in ("status", "web", "notice"):
            document.setdefault(section, {})[key] = value
    del document["notice"]["format"]
    document["notice"] = [document["notice"], NOTICE]
    return translator_of(document, TranslatorSecrets(notice_urls=("https://h/hunter2",)))


@pytest.mark.parametrize("config", [
    pool_of(), all_other(), translator_all_other(), nodes({"source": "regtest"}, rpc("a")), translator_of(),
    translator_of({"upstream": [{}, {"url": f"stratum2+tcp://[::1]:1/{KEY}", "fallback_only": True}]})])
def test_what_is_read_back_differs_in_nothing_but_the_secrets(tmp_path, config):
    write_running(tmp_path, config)
    assert changes_between(read_running(tmp_path), config, with_secrets=False) == ()


def test_every_key_stands_there_and_no_secret():
    text = running_toml(all_other())
    for name in POOL:
        assert f"\n{name.partition('.')[2]} = " in text, name
    assert KEY not in text and "hunter2" not in text and "password" not in text
    text = running_toml(translator_all_other())
    for name in TRANSLATOR:
        assert f"\n{name.partition('.')[2]} = " in text, name
    assert "hunter2" not in text


def test_the_environment_has_no_say_in_what_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPPOOL__LOG__LEVEL", "error")
    write_running(tmp_path, pool_of())
    read = read_running(tmp_path)
    assert read is not None and read.log.level == "info"


def test_its_mode_is_that_of_our_files_and_nothing_else_is_left(tmp_path):
    umask = os.umask(0o077)
    try:
        write_running(tmp_path, pool_of())
        write_running(tmp_path, pool_of({"log": {"level": "debug"}}))
    finally:
        os.umask(umask)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == [FILE_NAME]
    assert 'level = "debug"' in (tmp_path / FILE_NAME).read_text()


def test_a_disk_that_refuses_leaves_the_old_one(tmp_path, monkeypatch):
    write_running(tmp_path, pool_of())
    before = (tmp_path / FILE_NAME).read_text()

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_running(tmp_path, pool_of({"log": {"level": "debug"}}))
    monkeypatch.undo()
    assert (tmp_path / FILE_NAME).read_text() == before and os.listdir(tmp_path) == [FILE_NAME]


def test_a_disk_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", None)
    write_running(tmp_path, pool_of())
    assert read_running(tmp_path) is not None


def test_where_none_lies_there_is_none(tmp_path):
    assert read_running(tmp_path) is None
    assert read_running(tmp_path / "missing") is None


def test_one_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / FILE_NAME).write_text("[pool]\ncolour = 1\n")
    with pytest.raises(ConfigError, match=r"running\.toml: pool\.colour is not known"):
        read_running(Path(tmp_path))

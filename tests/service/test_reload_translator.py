"""SIGHUP to the translator under load: each key of its reference is changed once and back, and nobody is dropped."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.config.otherkeys import NOTICE, keys_of
from tests.config.otherkeys import TRANSLATOR as OTHERS
from tests.patience import until
from tests.peers.foreign_v1 import Machine
from tests.service.farm import LivePool, stub_pools
from tests.service.process import PATIENCE_S, TranslatorProcess
from tests.service.test_reload_load import Document, written
from warppool.commands.democert import self_signed
from warppool.config.declare import Effect, options_of
from warppool.config.translatoroptions import TRANSLATOR_FORM


class World:
    """The translator, its file, the pools behind it, and a machine that mines all the while."""

    def __init__(self, folder: Path, pools: list[LivePool], process: TranslatorProcess, document: Document) -> None:
        self.folder = folder
        self.pools = pools
        self.process = process
        self.document = document
        ports = [int(place.rpartition(":")[2]) for place in process.wait_for("service.ready")["listen"].split(",")]
        self.v1_port, self.tls_port = ports
        self.machine = Machine(self.v1_port, "alice.v1").begin()       # upstream it is "farm.v1", by the worker TLV
        self.accepted = 0
        self._is_over = threading.Event()
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._mine)
        self._thread.start()

    def _mine(self) -> None:
        try:
            while not self._is_over.is_set():
                assert self.machine.submit(self.machine.find()) == [None]
                self.accepted += 1
        except BaseException as exc:    # noqa: BLE001 - the test's own thread raises it
            self._errors.append(exc)

    def check(self) -> None:
        """The machine is well, and goes on."""
        before = self.accepted
        until(lambda: bool(self._errors) or self.accepted > before + 1)
        if self._errors:
            raise self._errors[0]

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(PATIENCE_S)
        self.machine.close()

    def reload(self, document: Document) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Write the file, send SIGHUP, and wait for the end: (what was changed, what was left)."""
        process = self.process
        done, changed, left = (len(process.events(name)) for name in ("reload.done", "config.changed", "config.left"))
        (self.folder / "translator.toml").write_text(written(document))
        os.kill(process.pid, signal.SIGHUP)
        until(lambda: len(process.events("reload.done")) > done or bool(process.events("reload.refused")))
        assert process.events("reload.refused") == []
        return process.events("config.changed")[changed:], process.events("config.left")[left:]

    def changed(self, name: str) -> Document:
        """The document with another value under `name`; of upstreams, the second has it."""
        section, _, key = name.partition(".")
        document = copy.deepcopy(self.document)
        if section == "notice":
            document["notice"] = [NOTICE | {"command": ["/bin/cat"]} | ({key: OTHERS[name]} if key != "format" else {})]
            return document
        table = document.setdefault(section, {}) if section != "upstream" else document["upstream"][1]
        table[key] = VALUES[name](self) if callable(VALUES.get(name)) else VALUES.get(name, OTHERS[name])
        return document

    def newcomer(self, port: int | None = None, tls: ssl.SSLContext | None = None) -> Machine:
        return Machine(self.v1_port if port is None else port, "carol.new", tls=tls)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        pools = stack.enter_context(stub_pools(folder, 3))
        certificate, key = self_signed().write(folder)
        shutil.copy(certificate, folder / "other.pem")
        shutil.copy(key, folder / "otherkey.pem")
        document: Document = {
            "stratum": {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"]},
            "translator": {"data_dir": "translator"},
            "web": {"listen": []},
            "upstream": [{"url": str(pool.url), "user_identity": "farm.unnamed"} for pool in pools[:2]],
        }
        (folder / "translator.toml").write_text(written(document))
        process = stack.enter_context(TranslatorProcess(folder / "translator.toml"))
        it = World(folder, pools, process, document)
        stack.callback(it.close)
        yield it
        it.check()
        it.close()
        process.terminate()
        assert process.wait() == 0
        workers = [share.worker for pool in pools for share in pool.booked()]
        assert workers.count("farm.v1") >= it.accepted, "every share that was answered is in a pool's books"
        assert not any(line.startswith("Traceback") or "event=thread.failed" in line for line in process.lines)


def it_is_said(it: World) -> None:
    """What follows is proved where the clock is a test's: tests/translate/test_reconfigure.py, test_own_names.py."""


def a_newcomer_is_turned_away(it: World) -> None:
    with pytest.raises((AssertionError, ConnectionError)), it.newcomer() as machine:
        machine.begin()


def the_second_newcomer_is_turned_away(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
        a_newcomer_is_turned_away(it)


def a_newcomer_must_be_announced(it: World) -> None:
    a_newcomer_is_turned_away(it)
    with it.newcomer() as machine:
        machine.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1001\r\n")
        machine.begin()


def a_newcomer_sees_the_pair(it: World) -> None:
    with it.newcomer(it.tls_port, ssl.create_default_context(cafile=str(it.folder / "other.pem"))) as machine:
        machine.begin()


def a_newcomer_that_falls_silent_is_let_go(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
        assert machine.submit(machine.find()) == [None]
        with pytest.raises(AssertionError, match="the pool closed the connection"):
            machine.until(lambda: False)


def a_newcomer_is_called_so_upstream(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
        assert machine.submit(machine.find()) == [None]
    until(lambda: "farm.carol.new" in {share.worker for share in it.pools[0].booked()})


def debug_lines_are_there(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
    it.process.wait_for("conn.opened")


VALUES: dict[str, Any] = {
    "stratum.proxy_from": ["127.0.0.0/8"],
    "stratum.max_connections": 1,
    "stratum.max_per_ip": 1,
    "stratum.idle_timeout_s": 1,
    "upstream.url": lambda it: str(it.pools[2].url),
}

CHECKS: dict[str, Callable[[World], None]] = {
    "stratum.tls_cert": a_newcomer_sees_the_pair,
    "stratum.tls_key": a_newcomer_sees_the_pair,
    "stratum.proxy_from": a_newcomer_must_be_announced,
    "stratum.max_connections": a_newcomer_is_turned_away,
    "stratum.max_per_ip": the_second_newcomer_is_turned_away,
    "stratum.idle_timeout_s": a_newcomer_that_falls_silent_is_let_go,
    "translator.verdict_timeout_s": it_is_said,
    "translator.grace_s": it_is_said,
    "translator.silence_s": it_is_said,
    "translator.backoff_max_s": it_is_said,
    "translator.return_after_s": it_is_said,
    "translator.user_identity_template": a_newcomer_is_called_so_upstream,
    "translator.own_names": it_is_said,
    "upstream.url": it_is_said,
    "upstream.user_identity": it_is_said,
    "upstream.fallback_only": it_is_said,
    "log.level": debug_lines_are_there,
}


def effect_of(name: str) -> Effect:
    section, _, key = name.partition(".")
    return next(option.on_reload for known, _, option in options_of(TRANSLATOR_FORM.sections[section]) if known == key)


def test_there_is_a_check_for_every_key_that_takes_effect():
    assert [name for name in keys_of(TRANSLATOR_FORM) if effect_of(name) is not Effect.RESTART] == list(CHECKS)


def test_each_key_changed_once_under_load_does_what_the_table_says(tmp_path):
    with world(tmp_path) as it:
        for name in keys_of(TRANSLATOR_FORM):
            changed, left = it.reload(it.changed(name))
            section, _, key = name.partition(".")
            label = name if section != "upstream" or key == "url" else f"upstream[{it.pools[1].url.place}].{key}"
            label = label if section != "notice" else "notice.name"
            line, = (*changed, *left)
            assert line["key"] == label, name
            if effect_of(name) is Effect.RESTART:
                assert left == [line]
            else:
                assert line["effect"] == effect_of(name).word
                CHECKS[name](it)
            it.check()
            it.reload(it.document)


def test_the_upstream_that_is_mined_on_may_go_and_another_takes_its_machines(tmp_path):
    with world(tmp_path) as it:
        document = copy.deepcopy(it.document)
        document["upstream"] = [document["upstream"][1]]
        it.reload(document)
        it.check()
        with it.newcomer() as machine:
            machine.begin()
            assert machine.submit(machine.find()) == [None]
        it.reload(it.document)

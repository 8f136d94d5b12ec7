"""SIGHUP under load: each key of the reference is changed once and back, and what the table says happens.

The daemon is a process of its own. A V1 machine of somebody else and V2 miners submit all the while: no share is lost,
none is refused that is good, and no connection is dropped.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import signal
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.config.otherkeys import ADDRESS, NOTICE, keys_of
from tests.config.otherkeys import POOL as OTHERS
from tests.node.stub import HARD_NBITS, StubNode, make_transaction
from tests.patience import until
from tests.peers.foreign_v1 import Machine, request
from tests.service.livepool import add_transaction, tells_of_transactions
from tests.service.load import Load, LoadMiner
from tests.service.process import PATIENCE_S, PoolProcess
from warppool.commands.democert import self_signed
from warppool.config.changes import toml_of
from warppool.config.declare import Effect, options_of
from warppool.config.options import POOL_FORM
from warppool.config.pool import read_config
from warppool.config.running import read_running
from warppool.errors import ConfigError
from warppool.ledger.opening import open_reader
from warppool.noise.primitives import public_key
from warppool.sv2.client import ClientEvent, ShareRejected

SECRET = bytes(range(1, 33))
Document = dict[str, Any]


def written(document: Document) -> str:
    """The document as TOML; `node` is a list of tables."""
    lines = []
    for name, tables in document.items():
        for table in tables if isinstance(tables, list) else [tables]:
            lines.append(f"[[{name}]]" if isinstance(tables, list) else f"[{name}]")
            lines += [f"{key} = {toml_of(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def write_secrets(folder: Path, *passwords: str) -> None:
    with open(os.open(folder / "secrets.toml", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        for key in ("sv2_static_priv_key_hex", "sv2_spec_static_priv_key_hex", "sv2_spec_authority_priv_key_hex"):
            file.write(f'{key} = "{SECRET.hex()}"\n')
        file.write(f"node_passwords = {toml_of(list(passwords))}\n")


class V2Miner(LoadMiner):
    """One that knows of each refusal whether it was deserved."""

    def _heard(self, event: ClientEvent) -> None:
        if isinstance(event, ShareRejected):
            assert event.sequence in self._wrong, f"a good share was refused: {event.error_code}"
        super()._heard(event)


class Miners:
    """A V1 machine and V2 miners, each kind on a thread of its own, until `finish`."""

    def __init__(self, v1_port: int, v2_port: int) -> None:
        self.v1: list[bytes] = []                   # accepted hashes
        self.load = Load()
        self.machine = Machine(v1_port, "alice.v1").begin()
        self._v2_port = v2_port
        self._is_over = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(mine,))
                         for mine in (self._mine_v1, self._mine_v2)]
        for thread in self._threads:
            thread.start()

    def _guarded(self, mine: Callable[[], None]) -> None:
        try:
            mine()
        except BaseException as exc:    # noqa: BLE001 - the test's own thread raises it
            self._errors.append(exc)

    def _mine_v1(self) -> None:
        while not self._is_over.is_set():
            share = self.machine.find()
            assert self.machine.submit(share) == [None]
            self.v1.append(share.hash)

    def _mine_v2(self) -> None:
        self.load.connect(V2Miner(self._v2_port, public_key(SECRET), f"bob.{kind}", kind, 4, os.urandom(32))
                          for kind in ("standard", "extended"))
        self.load.begin()
        while not self._is_over.is_set():
            self.load.go_on(0.1)
            assert not self.load.is_over, "a V2 connection was dropped"
        self.load.settle()

    def check(self) -> None:
        """All are well."""
        if self._errors:
            raise self._errors[0]

    def finish(self) -> list[bytes]:
        """Every hash that was accepted, once all is answered."""
        self.close()
        self.check()
        self.load.end()
        assert self.load.lost == []
        return [*self.v1, *self.load.accepted]

    def close(self) -> None:
        """End both threads, and hang up."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        self.machine.close()
        self.load.close()


class World:
    """The daemon, its file, its nodes and its miners."""

    def __init__(self, folder: Path, nodes: list[StubNode], process: PoolProcess, document: Document) -> None:
        self.folder = folder
        self.nodes = nodes
        self.process = process
        self.document = document
        ports = [int(place.rpartition(":")[2]) for place in process.wait_for("service.ready")["listen"].split(",")]
        self.v2_port, self.v1_port, self.tls_port = ports
        self.miners = Miners(self.v1_port, self.v2_port)

    def reload(self, document: Document) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Write the file, send SIGHUP, and wait for the end: (what was changed, what was left)."""
        process = self.process
        done, changed, left, refused = (
            len(process.events(name)) for name in ("reload.done", "config.changed", "config.left", "reload.refused"))
        (self.folder / "warppool.toml").write_text(written(document))
        os.kill(process.pid, signal.SIGHUP)
        until(lambda: len(process.events("reload.done")) > done or len(process.events("reload.refused")) > refused)
        assert process.events("reload.refused")[refused:] == []
        return process.events("config.changed")[changed:], process.events("config.left")[left:]

    def changed(self, name: str) -> Document:
        """The document with another value under `name`."""
        section, _, key = name.partition(".")
        document = copy.deepcopy(self.document)
        if section == "notice":
            document["notice"] = [NOTICE | {"command": ["/bin/cat"]} | ({key: OTHERS[name]} if key != "format" else {})]
            return document
        table = document.setdefault(section, {}) if section != "node" else document["node"][1]
        table[key] = VALUES[name](self) if callable(VALUES.get(name)) else VALUES.get(name, OTHERS[name])
        if name == "node.url":
            table["cookie_file"] = self.nodes[2].cookie.name
        if name == "node.user":
            del table["cookie_file"]
        return document

    def newcomer(self, port: int | None = None, tls: ssl.SSLContext | None = None) -> Machine:
        return Machine(self.v1_port if port is None else port, "carol.new", tls=tls)

    def is_turned_away(self) -> bool:
        """Whether the next one is closed at once."""
        with socket.create_connection(("127.0.0.1", self.v1_port), PATIENCE_S) as sock:
            sock.settimeout(PATIENCE_S)
            with suppress(ConnectionError):
                sock.sendall(request(1, "mining.subscribe"))
                return sock.recv(1) == b""
            return True

    def next_job(self) -> None:
        """A new template on the same tip, and a job of it for the V1 machine."""
        before = len(self.miners.machine.jobs)
        for node in self.nodes:
            add_transaction(node, make_transaction(len(node.transactions) + 1))
        until(lambda: len(self.miners.machine.jobs) > before)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A pool on two nodes, with a third one aside, under load; the books have every share that was accepted."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            nodes.append(stack.enter_context(StubNode(nbits=HARD_NBITS, cookie=folder / f"cookie{number}")))
            tells_of_transactions(nodes[-1])
        certificate, key = self_signed().write(folder)
        shutil.copy(certificate, folder / "other.pem")
        shutil.copy(key, folder / "otherkey.pem")
        shutil.copy(nodes[1].cookie, folder / "other.cookie")
        write_secrets(folder)
        document: Document = {
            "pool": {"network": "regtest", "payout_address": ADDRESS, "data_dir": "data"},
            "stratum": {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"]},
            "difficulty": {"start": Decimal("1e-8"), "min": Decimal("1e-8"), "max": Decimal("4e-8"),
                           "max_shares_per_minute": 0},
            "web": {"listen": []},
            "node": [{"url": node.url, "cookie_file": node.cookie.name} for node in nodes[:2]],
        }
        (folder / "warppool.toml").write_text(written(document))
        process = stack.enter_context(PoolProcess(folder / "warppool.toml"))
        it = World(folder, nodes, process, document)
        stack.callback(it.miners.close)
        yield it
        accepted = it.miners.finish()
        process.terminate()
        assert process.wait() == 0
    with open_reader("sqlite:///shares.db", folder / "data") as reader:
        booked = Counter(share.hash for share in reader.shares() if not share.user.startswith("carol"))
    assert booked == Counter(accepted), "what was acknowledged is in the books, once, and nothing else"
    assert not any(line.startswith("Traceback") or "event=thread.failed" in line for line in process.lines)


# --- what the table says, key by key ----------------------------------------------------------------------------------

def tag_is_in_the_next_job(it: World) -> None:
    it.next_job()
    until(lambda: b"/mine/" in it.miners.machine.job.head)


def a_newcomer_begins_there(it: World) -> None:
    with it.newcomer() as machine:
        assert machine.begin().difficulties == [Decimal("3e-8")]


def the_next_job_is_harder(it: World) -> None:
    it.next_job()
    until(lambda: it.miners.machine.job.difficulty >= Decimal("3e-8"))


def the_next_job_is_easier(it: World) -> None:
    it.next_job()
    until(lambda: it.miners.machine.job.difficulty == Decimal("1e-8"))


def a_newcomer_is_turned_away(it: World) -> None:
    assert it.is_turned_away()


def the_second_newcomer_is_turned_away(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
        assert it.is_turned_away()


def a_newcomer_that_falls_silent_is_let_go(it: World) -> None:
    with it.newcomer() as machine:
        machine.begin()
        assert machine.submit(machine.find()) == [None]
        with pytest.raises(AssertionError, match="the pool closed the connection"):
            machine.until(lambda: False)


def a_newcomer_must_be_announced(it: World) -> None:
    assert it.is_turned_away()
    with it.newcomer() as machine:
        machine.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1001\r\n")
        machine.begin()


def a_newcomer_sees_the_pair(it: World) -> None:
    assert len(it.process.events("tls.loaded")) > 1
    with it.newcomer(it.tls_port, ssl.create_default_context(cafile=str(it.folder / "other.pem"))) as machine:
        machine.begin()


def debug_lines_are_there(it: World) -> None:
    it.next_job()
    it.process.wait_for("job.made")


def the_other_node_is_asked(it: World) -> None:
    _, gone, new = it.nodes
    new.wait_until(lambda: new.count("getblocktemplate") >= 1)
    before = len(gone.calls)
    it.next_job()
    assert len(gone.calls) <= before + 1, "one call may have been under way"
    assert (it.folder / "data/nodes").read_text().splitlines() == [
        f"{number} {node.url}" for number, node in enumerate(it.nodes)]


def the_other_login_is_used(it: World) -> None:
    """A new login stands in the other file alone."""
    node = it.nodes[1]
    login, node.login = node.login, b"__cookie__:another"
    (it.folder / "other.cookie").write_bytes(node.login)
    ask_twice(it, node)
    assert not is_lost(it, "node-1")
    (it.folder / "other.cookie").write_bytes(login)
    node.login = login
    ask_twice(it, node)


def the_user_logs_in(it: World) -> None:
    """It was refused until then, perhaps."""
    ask_twice(it, it.nodes[1])
    until(lambda: not is_lost(it, "node-1"))


def ask_twice(it: World, node: StubNode) -> None:
    before = node.count("getblocktemplate")
    for _ in range(2):
        it.next_job()
    node.wait_until(lambda: node.count("getblocktemplate") >= before + 2)


def is_lost(it: World, name: str) -> bool:
    """By the last that the log says of the node."""
    lines = [line for line in it.process.lines if f"node={name}" in line]
    return bool(lines) and "event=node.lost" in [line for line in lines if "event=node.lost" in line
                                                 or "event=node.back" in line or "event=node.found" in line][-1]


def it_is_said(it: World) -> None:
    """What follows takes minutes, and is proved where the thread's own clock is a test's."""


VALUES: dict[str, Any] = {
    "pool.coinbase_tag": "/mine/",
    "stratum.proxy_from": ["127.0.0.0/8"],
    "stratum.max_connections": 3,
    "stratum.max_per_ip": 1,
    "stratum.idle_timeout_s": 1,
    "difficulty.start": Decimal("3e-8"),
    "difficulty.min": Decimal("3e-8"),
    "difficulty.max": Decimal("1e-8"),
    "difficulty.shares_per_minute": 24,
    "difficulty.max_shares_per_minute": 1_000_000,
    "node.url": lambda it: it.nodes[2].url,
}
"""Where the value of tests/config/otherkeys.py would show nothing here, or stop the miners."""

CHECKS: dict[str, Callable[[World], None]] = {
    "pool.coinbase_tag": tag_is_in_the_next_job,
    "pool.behind_blocks": it_is_said,               # tests/node/test_choice.py
    "pool.behind_s": it_is_said,
    "pool.return_after_s": it_is_said,
    "pool.work_max_age_s": it_is_said,              # tests/node/test_jobmaker.py, test_rpc.py
    "stratum.tls_cert": a_newcomer_sees_the_pair,
    "stratum.tls_key": a_newcomer_sees_the_pair,
    "stratum.proxy_from": a_newcomer_must_be_announced,
    "stratum.max_connections": a_newcomer_is_turned_away,
    "stratum.max_per_ip": the_second_newcomer_is_turned_away,
    "stratum.cert_validity_s": it_is_said,          # tests/service/test_specidentity.py
    "stratum.idle_timeout_s": a_newcomer_that_falls_silent_is_let_go,
    "difficulty.start": a_newcomer_begins_there,
    "difficulty.min": the_next_job_is_harder,
    "difficulty.max": the_next_job_is_easier,
    "difficulty.shares_per_minute": it_is_said,     # tests/mining/test_course.py
    "difficulty.max_shares_per_minute": it_is_said,
    "node.url": the_other_node_is_asked,
    "node.insecure": it_is_said,                    # of template providers: tests/node/test_tdp.py
    "node.profile": it_is_said,
    "node.cookie_file": the_other_login_is_used,
    "node.user": the_user_logs_in,
    "ledger.durability": it_is_said,                # tests/ledger/test_thread.py
    "ledger.keep_days": it_is_said,                 # tests/ledger/test_thread.py, test_rollups.py
    "log.level": debug_lines_are_there,
}


def effect_of(name: str) -> Effect:
    section, _, key = name.partition(".")
    return next(option.on_reload for known, _, option in options_of(POOL_FORM.sections[section]) if known == key)


def test_there_is_a_check_for_every_key_that_takes_effect():
    live = [name for name in keys_of(POOL_FORM) if effect_of(name) is not Effect.RESTART]
    assert live == list(CHECKS)


def test_each_key_changed_once_under_load_does_what_the_table_says(tmp_path):
    with world(tmp_path) as it:
        for name in keys_of(POOL_FORM):
            effect = Effect.RESTART if name == "node.source" else effect_of(name)
            if name == "node.user":
                write_secrets(tmp_path, "hunter2")
                it.nodes[1].login = b"operator:hunter2"
            changed, left = it.reload(it.changed(name))
            section, _, key = name.partition(".")
            label = "notice.name" if section == "notice" else name
            if section == "node":
                label = "node.url" if key in ("source", "url") else f"node[{it.nodes[1].url}].{key}"
            said = left if effect is Effect.RESTART else changed
            assert label in [line["key"] for line in said], name
            assert all(line["key"].startswith(("secrets", "node", label)) for line in (*changed, *left)), name
            if effect is not Effect.RESTART:
                assert next(line for line in changed if line["key"] == label)["effect"] == effect.word
                CHECKS[name](it)
            it.miners.check()
            write_secrets(tmp_path)
            it.nodes[1].login = it.nodes[1].cookie.read_bytes()
            it.reload(it.document)
        assert it.process.events("daemon.failed") == []


# --- two hundred bad files --------------------------------------------------------------------------------------------

FILES = 200
PIECES = (b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"]", b"[", b'"', b"\n", b"=", b"# ", b"nan", b"-1", b"1e999",
          b"[[node]]\n", b"[pool]\n", b"colour = 1\n", b"[" * 500, b"9" * 5000, "\u2028".encode(), b"'''", b"true",
          b"{}", b"1979-05-27")


def mutated(text: bytes, dice: random.Random) -> bytes:
    """The file after one to three accidents."""
    for _ in range(dice.randint(1, 3)):
        at, length = dice.randrange(len(text) + 1), dice.randint(1, 20)
        lines = text.splitlines(keepends=True) or [b""]
        line = dice.randrange(len(lines))
        match dice.randrange(6):
            case 0:
                text = text[:at] + dice.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + length:]
            case 2:
                text = text[:at]
            case 3:
                text = b"".join((*lines[:line], lines[line], *lines[line:]))
            case 4:
                head, _, _ = lines[line].partition(b"= ")
                text = b"".join((*lines[:line], head + b"= " + dice.choice(PIECES) + b"\n", *lines[line + 1:]))
            case 5:
                text = text[:at] + bytes(dice.randrange(256) for _ in range(length)) + text[at + length:]
    return text


def bad_files(folder: Path, good: bytes, count: int) -> Iterator[bytes]:
    """So many that the daemon would refuse at a start."""
    dice, path = random.Random(9), folder / "bad/warppool.toml"
    path.parent.mkdir()
    shutil.copy(folder / "secrets.toml", path.parent)
    while count:
        text = mutated(good, dice)
        path.write_bytes(text)
        try:
            read_config(path, {})
        except ConfigError:
            count -= 1
            yield text


def test_two_hundred_bad_files_change_nothing(tmp_path):
    with world(tmp_path) as it:
        path, process = tmp_path / "warppool.toml", it.process
        running, good = (tmp_path / "data/running.toml").read_bytes(), path.read_bytes()
        for number, text in enumerate(bad_files(tmp_path, good, FILES)):
            path.write_bytes(text)
            os.kill(process.pid, signal.SIGHUP)
            until(lambda number=number: len(process.events("reload.refused")) > number)
            it.miners.check()
        refused = process.events("reload.refused")
        assert len(refused) == FILES and all(
            str(path) in line["reason"] and "nothing is changed" in line["meaning"] for line in refused)
        assert process.events("config.changed") == process.events("config.left") == process.events("reload.done") == []
        assert (tmp_path / "data/running.toml").read_bytes() == running
        path.write_bytes(good)
        assert it.reload(it.document) == ([], [])


def test_tls_that_was_switched_off_needs_no_files_any_more(tmp_path):
    """The open port keeps its certificate until the restart."""
    with world(tmp_path) as it:
        document = copy.deepcopy(it.document)
        document["stratum"]["tls_listen"] = []
        trust = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
        (tmp_path / "fullchain.pem").unlink()
        changed, left = it.reload(document)
        assert (changed, [line["key"] for line in left]) == ([], ["stratum.tls_listen"])
        with it.newcomer(it.tls_port, trust) as machine:
            machine.begin()


@pytest.mark.parametrize("spoil", [
    lambda path: path.unlink(),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: path.with_name("secrets.toml").chmod(0o644),
    lambda path: path.with_name("secrets.toml").write_text("junk"),
    lambda path: path.with_name("privkey.pem").write_bytes(b"junk"),
    lambda path: path.write_text(path.read_text().replace('"127.0.0.1:0"', '"127.0.0.1:1", "127.0.0.1:1"', 1)),
], ids=["gone", "a folder", "secrets for all", "bad secrets", "bad key", "a port twice"])
def test_what_else_may_be_wrong_changes_nothing(tmp_path, spoil):
    with world(tmp_path) as it:
        running = (tmp_path / "data/running.toml").read_bytes()
        spoil(tmp_path / "warppool.toml")
        os.kill(it.process.pid, signal.SIGHUP)
        assert "nothing is changed" in it.process.wait_for("reload.refused")["meaning"]
        assert it.process.events("config.changed") == it.process.events("reload.done") == []
        assert (tmp_path / "data/running.toml").read_bytes() == running
        assert read_running(tmp_path / "data") is not None

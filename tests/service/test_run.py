"""`warppool run` from outside: what it says to those who start it, to systemd, and to the miners when it ends."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.node.stub import HARD_NBITS, Mood, StubNode
from tests.service.load import Load, LoadMiner
from tests.service.process import ADDRESS, PATIENCE_S, WARPPOOL, PoolProcess, environ, write_config
from warppool.ledger.opening import open_reader
from warppool.noise.primitives import public_key

SECRET = bytes(range(1, 33))
NO_NODE = {"url": "http://127.0.0.1:1", "cookie_file": "cookie"}
EASY = {"start": 1e-10, "min": 1e-10, "max": 1e-10}
WATCHDOG_USEC = "200000"


def start(config: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end at once."""
    return subprocess.run([*WARPPOOL, "run", "-c", str(config)], capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environ(**more))


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Status 2, and one line on stderr that has the words."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warppool: error: ")
    for word in words:
        assert word in line


# --- what the operator can mend ---------------------------------------------------------------------------------------

def replaced(old: str, new: str) -> Callable[[Path], None]:
    """A change of the file that must hit."""
    def change(config: Path) -> None:
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))
    return change


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda config: config.unlink(), ["warppool.toml"]),
    (lambda config: config.write_text("[pool"), ["warppool.toml"]),
    (lambda config: config.write_bytes(b"\xff\xfe"), ["warppool.toml"]),
    (replaced("payout_address", "payout_adress"), ["payout_adress", "payout_address"]),
    (replaced('"regtest"', '"regtset"'), ["pool.network", "regtset", "regtest"]),
    (replaced(f'"{ADDRESS}"', "17"), ["pool.payout_address", "17"]),
    (replaced(ADDRESS, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), ["pool.payout_address", "main"]),
    (replaced("127.0.0.1:0", "127.0.0.1:99999"), ["stratum.sv2_listen", "99999"]),
    (replaced("[[node]]", "[nodes]"), ["nodes", "node"]),
    (replaced('"data"', '"warppool.toml/data"'), ["pool.data_dir"]),
    (lambda config: (config.parent / "secrets.toml").unlink(), ["sv2_static_priv_key_hex", "warppool-keygen"]),
    (lambda config: (config.parent / "secrets.toml").chmod(0o640), ["secrets.toml", "0640", "chmod 600"]),
    (lambda config: (config.parent / "secrets.toml").write_text('sv2_static_priv_key_hex = "5ecre7"'),
     ["sv2_static_priv_key_hex"]),
])
def test_every_mistake_in_the_files_is_one_line_and_status_2(
    tmp_path: Path, spoil: Callable[[Path], None], words: list[str]
) -> None:
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE)
    spoil(config)
    done = start(config)
    assert_refused(done, *words)
    assert "5ecre7" not in done.stderr and SECRET.hex() not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE)
    assert_refused(start(config, WARPPOOL__STRATUM__WORKERS="many"), "WARPPOOL__STRATUM__WORKERS", "many")


def test_a_second_daemon_on_one_data_dir_waits_for_the_first_to_end(tmp_path: Path) -> None:
    config = write_config(tmp_path, secret=SECRET, node=NO_NODE)
    with PoolProcess(config) as first:
        first.wait_for("daemon.started")
        with PoolProcess(config) as second:
            reason = second.wait_for("start.waiting")["reason"]
            assert f"in use by another warppool (pid {first.pid})" in reason and "pool.data_dir" in reason
            first.terminate()
            assert first.wait() == 0
            second.wait_for("daemon.started")                       # the lock went with its owner


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_all_that_a_daemon_makes_is_ours_and_our_groups_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """In a folder that was there before, too: ledger, WAL, journal of blocks, start ids, lock, the embedded chain."""
    pytest.importorskip("pbk")
    config = write_config(tmp_path, secret=SECRET, node={"source": "regtest"})
    (tmp_path / "data").mkdir(mode=0o755)
    before = os.umask(umask)
    try:
        with PoolProcess(config) as pool:
            pool.ready()
            made = [(path, path.is_dir(), path.stat().st_mode & 0o777) for path in (tmp_path / "data").rglob("*")
                    if path.name != ".new"]             # a status file on its way to its name
            pool.terminate()
            assert pool.wait() == 0
    finally:
        os.umask(before)
    assert {path.name for path, _, _ in made} >= {"shares.db", "blocks", "warppool.lock", "regtest", "starts"}
    asked = {path.name: mode for path, _, mode in made if path.name == "status.sock"}
    assert asked == {"status.sock": 0o660}              # the group connects to it, which takes the right to write
    assert [(path, oct(mode)) for path, is_folder, mode in made
            if path.name not in asked and mode != (0o750 if is_folder else 0o640)] == []


# --- systemd ----------------------------------------------------------------------------------------------------------

class ServiceManager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self) -> None:
        self.name = f"warppool-test-{os.getpid()}-{random.getrandbits(64):x}"
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(f"\0{self.name}")
        self.door.settimeout(PATIENCE_S)
        self.heard: list[str] = []

    def hear(self) -> str:
        """The next datagram."""
        self.heard.append(self.door.recv(4096).decode())
        return self.heard[-1]

    def hear_until(self, word: str) -> str:
        while word not in self.hear().splitlines():
            pass
        return self.heard[-1]

    def hear_the_rest(self) -> None:
        self.door.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.hear()

    @property
    def words(self) -> list[str]:
        """The first line of each datagram."""
        return [message.splitlines()[0] for message in self.heard]


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    manager = ServiceManager()
    yield manager
    manager.door.close()


def test_systemd_hears_ready_when_a_template_is_there_and_then_the_watchdog_is_fed(
    tmp_path: Path, manager: ServiceManager
) -> None:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        stub.mood = Mood.WARM_UP
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        with PoolProcess(config, NOTIFY_SOCKET=f"@{manager.name}", WATCHDOG_USEC=WATCHDOG_USEC) as pool:
            stub.wait_until(lambda: len(stub.calls) >= 2)           # it was refused, and asked again
            manager.hear_until("WATCHDOG=1")                        # a pool that waits for its node is well
            assert "READY=1" not in manager.words and not pool.events("service.ready")
            port = int(pool.wait_for("listener.opened")["address"].rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)):     # its ports are open already
                pass
            stub.mood = Mood.WELL
            ready = manager.hear_until("READY=1")
            assert f"STATUS=mining on regtest, 127.0.0.1:{port}" in ready.splitlines()
            assert pool.ready() == port
            for _ in range(3):
                manager.hear_until("WATCHDOG=1")
            pool.terminate()
            assert pool.wait() == 0
            manager.hear_the_rest()
    assert manager.words.count("READY=1") == manager.words.count("STOPPING=1") == 1
    assert manager.words[-1] == "STOPPING=1"
    assert {word.partition("=")[0] for word in manager.words} == {"STATUS", "READY", "WATCHDOG", "STOPPING"}


def test_a_tag_that_is_cut_is_warned_of_at_every_start(tmp_path: Path) -> None:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                              pool={"coinbase_tag": "t" * 51})
        with PoolProcess(config) as pool:
            pool.ready()
            assert [event["used"] for event in pool.events("config.tag_cut")] == ["t" * 50]


def test_an_address_whose_coins_anyone_can_spend_is_warned_of_at_every_start(tmp_path: Path) -> None:
    anyones = "bcrt1zqqqsyqcyq5rqwzqfpg9scrgwpugpzysn7264x6"       # of witness version 2
    with StubNode(cookie=tmp_path / "cookie") as stub:
        for address, warnings in ((ADDRESS, []), (anyones, ["pool.payout_address"])):
            config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                                  pool={"payout_address": address})
            with PoolProcess(config) as pool:
                pool.ready()
                assert [event["key"] for event in pool.events("config.unguarded")] == warnings
                pool.terminate()
                assert pool.wait() == 0


def test_without_a_watchdog_none_is_fed(tmp_path: Path, manager: ServiceManager) -> None:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        with PoolProcess(config, NOTIFY_SOCKET=f"@{manager.name}") as pool:
            manager.hear_until("READY=1")
            pool.terminate()
            assert pool.wait() == 0
        manager.hear_the_rest()
    assert [word for word in manager.words if not word.startswith("STATUS=")] == ["READY=1", "STOPPING=1"]


# --- the end ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("turn", range(3))
def test_sigterm_under_load_answers_what_is_booked_and_ends_in_time(tmp_path: Path, turn: int) -> None:
    load = Load()
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"},
                              difficulty=EASY)
        with PoolProcess(config) as pool:
            port = pool.ready()
            load.connect(LoadMiner(port, public_key(SECRET), f"load.{number}", kind, 64, os.urandom(32))
                         for number, kind in enumerate(("standard", "extended", "standard", "extended")))
            load.begin()
            load.go_on(0.1 * (1 + turn))
            assert load.in_flight
            pool.terminate()
            load.end()                                              # until the pool hangs up
            assert pool.wait() == 0
            assert pool.events("service.stopping") and pool.events("daemon.stopped")
            assert not pool.events("daemon.undrained") and not pool.events("daemon.hanging")
    with open_reader("sqlite:///shares.db", tmp_path / "data") as reader:
        booked = Counter(share.hash for share in reader.shares())
    assert len(load.accepted) > 100
    assert booked == Counter(load.accepted)                         # booked is answered, and answered is booked
    assert load.codes().keys() == {"invalid-share"}


def test_sigterm_while_blocks_are_found_hands_each_to_the_chain(tmp_path: Path) -> None:
    pytest.importorskip("pbk")
    config = write_config(tmp_path, secret=SECRET, node={"source": "regtest"})
    load = Load()
    with PoolProcess(config) as pool:
        port = pool.ready()
        load.connect(LoadMiner(port, public_key(SECRET), f"load.{kind}", kind, 16, os.urandom(32))
                     for kind in ("standard", "extended"))
        load.begin()
        load.go_on(0.3)
        pool.terminate()
        load.end()
        assert pool.wait() == 0
    found = {bytes.fromhex(line["hash"])[::-1] for line in pool.events("block.found")}
    told = {bytes.fromhex(line["hash"])[::-1] for name in ("block.accepted", "block.side")
            for line in pool.events(name)}
    with open_reader("sqlite:///shares.db", tmp_path / "data") as reader:
        booked = Counter(share.hash for share in reader.shares())
    assert load.accepted and booked == Counter(load.accepted)
    assert set(load.accepted) <= found == told
    assert list((tmp_path / "data" / "blocks").iterdir()) == []     # the chain has them all: nothing to replay


def test_sigterm_before_ready_ends_it_too(tmp_path: Path) -> None:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        stub.mood = Mood.HANG
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        with PoolProcess(config) as pool:
            stub.wait_until(lambda: bool(stub.calls))
            pool.terminate()
            assert pool.wait() == 0
            assert not pool.events("daemon.hanging")


AT_ANY_STEP = """
import signal, sys
from warppool.service.signals import Requests, catch_signals

def raising(step):
    def trace(frame, event, argument):
        nonlocal step
        step -= 1
        if step == 0:
            signal.raise_signal(signal.SIGTERM)
        return trace
    return trace

asked = 0
for step in range(1, 80):
    requests = Requests()
    catch_signals(requests)
    sys.settrace(raising(step))
    requests.wait(0.001)
    sys.settrace(None)
    asked += requests.is_set()
print(asked)
"""


def test_a_signal_may_come_at_any_step_of_the_main_thread() -> None:
    """A handler that waits for a lock of the thread it interrupts would wait for ever."""
    done = subprocess.run([sys.executable, "-c", AT_ANY_STEP], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr


def test_an_impatient_operator_changes_nothing(tmp_path: Path) -> None:
    """SIGTERM again and again, until the very end: it ends as after the first."""
    with StubNode(cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        with PoolProcess(config) as pool:
            pool.ready()
            with suppress(ProcessLookupError):
                while True:
                    pool.terminate()
            assert pool.wait() == 0
            assert pool.events("daemon.stopped")

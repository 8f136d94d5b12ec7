"""V1 machines of somebody else on a live daemon, plain and over TLS: they mine, drop, come back and misbehave."""

from __future__ import annotations

import ast
import logging
import random
import re
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import pytest

from tests.net.tlsends import CONN_ID, Served
from tests.node.stub import EASY_NBITS, HARD_NBITS, StubNode, make_transaction
from tests.patience import until
from tests.peers import foreign_v1
from tests.peers.foreign_v1 import Machine, Share, request
from tests.service.livepool import (
    PATIENCE_S,
    WAYS,
    LivePool,
    add_transaction,
    check_block,
    complaints,
    live,
    tells_of_transactions,
    v1_config,
)
from warppool.commands.democert import self_signed
from warppool.events import Close, Now, Send
from warppool.mining.counter import Shuffle
from warppool.mining.names import FreeNames
from warppool.net.inbox import Opened
from warppool.service.certificate import Certificate
from warppool.service.connector import SV1, SV1_TLS, Connector

EVERY_HASH = {"start": 1e-10, "min": 1e-10, "max": 1e-10}
SHARES = {"start": 1e-8, "min": 1e-8, "max": 1e-8}      # one hash in 43 is a share, and none is a block


@pytest.fixture(autouse=True)
def _fair_turns() -> Iterator[None]:
    """Machines that hash share this interpreter with a daemon that waits for its turn at every hop."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(usual)


@contextmanager
def pool(folder: Path, nbits: int = HARD_NBITS, **given: object) -> Iterator[LivePool]:
    with StubNode(nbits=nbits, cookie=folder / "cookie") as stub, live(folder, stub, **given) as it:
        yield it


def test_the_machine_owes_nothing_to_the_pool() -> None:
    tree = ast.parse(Path(foreign_v1.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "hashlib" in names and not any("warppool" in name or "tests" in name for name in names)


# --- sessions ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
def test_cpuminer_word_for_word(tmp_path, way):
    """One call after the other, and every submit has id 4: only the order tells whose answer it is."""
    with pool(tmp_path, EASY_NBITS, **EVERY_HASH) as it, it.machine(way, "addr.w") as machine:
        machine.send(b'{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}\n')
        answer = machine.answer()
        assert answer.id == 1 and answer.error is None
        machine.subscribed(answer)
        machine.send(b'{"id": 2, "method": "mining.authorize", "params": ["addr.w", "x"]}\n')
        assert machine.answer() == (2, True, None) and machine.jobs == []
        machine.until(lambda: machine.jobs)
        good = [machine.find() for _ in range(2)]
        unknown = good[0]._replace(job=machine.job._replace(name="f" * 8))
        assert machine.submit(good[0], unknown, good[0], good[1]) == [None, 21, 22, None]
        blocks = [machine.mine_block() for _ in range(3)]
        it.stub.wait_until(lambda: len(it.stub.submitted) == 3)
        for raw, block in zip(it.stub.submitted, blocks, strict=True):
            check_block(raw, block.header, block.coinbase)
        assert it.stub.chain[1:] == [block.hash for block in blocks]
        assert [(share.hash, share.worker, share.user, share.protocol) for share in it.booked()] == [
            (share.hash, "addr.w", "addr", "sv1") for share in (*good, *blocks)]


@pytest.mark.parametrize("way", WAYS)
def test_all_calls_at_once_and_rolled_versions(tmp_path, way):
    """Pipelined, with ids of all kinds and a call that nobody knows; the answers stand in the order of the calls."""
    transactions = [make_transaction(number) for number in range(1, 6)]
    with pool(tmp_path, EASY_NBITS, **EVERY_HASH) as it, it.machine(way, "bob") as machine:
        it.stub.add_transactions(*transactions)
        machine.send(
            request("one", "mining.configure", ["version-rolling", "info"], {"version-rolling.mask": "ffffffff"}),
            request(2, "mining.subscribe", "elsewhere/1", None), request("3", "mining.authorize", "bob", "x"),
            request(4, "mining.extranonce.subscribe"), request(5, "mining.multi_version", 1),
            request(6, "mining.suggest_difficulty", 1000), request(7, "mining.ping"))
        configured, subscribed, *others = [machine.answer_before_work() for _ in range(3)]
        assert (configured.id, subscribed.id) == ("one", 2)
        machine.configured(configured)
        machine.subscribed(subscribed)
        others += [machine.answer() for _ in range(4)]
        assert [(answer.id, answer.result) for answer in others] == [
            ("3", True), (4, True), (5, None), (6, True), (7, "pong")]
        assert others[2].error[0] == 20
        for bits in (1 << 13, machine.mask, 0):
            block = machine.mine_block(bits)
            assert struct.unpack_from("<I", block.header)[0] == machine.job.version | bits
            assert len(it.stub.submitted[-1]) > 81 + len(block.coinbase)
            check_block(it.stub.submitted[-1], block.header, block.coinbase)
        assert len(machine.job.branches) == 3
        assert machine.submit(machine.find()._replace(bits=0x20000000)) == [20]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_machine_that_was_dropped_goes_on_where_it_was(tmp_path, way, workers):
    """Connections go round the workers, so with two and three the next one always comes to another worker."""
    with pool(tmp_path, workers=workers, **SHARES) as it:
        with it.machine(way) as before:
            before.begin("fd=2e-8")
            old = [before.find() for _ in range(3)]
            assert before.submit(*old[:2]) == [None, None]
        until(lambda: it.connections() == 0)
        with it.machine(way) as after:
            after.begin("x", before.session)
            assert (after.session, after.extranonce1, after.size) == (before.session, before.extranonce1, before.size)
            assert after.difficulties == before.difficulties
            assert after.submit(*old) == [22, 22, None], "what was sent is known, what was found before the drop counts"
            with it.machine(way) as other:          # the id names it no longer, since it is in use
                other.begin("x", before.session)
                assert other.session != before.session and other.extranonce1 != before.extranonce1
            assert after.submit(after.find()) == [None]


@pytest.mark.parametrize("workers", [2, 3])
def test_a_machine_that_drops_again_and_again_meets_every_worker_and_loses_no_share(tmp_path, workers):
    with pool(tmp_path, workers=workers, **SHARES) as it:
        sent: list[Share] = []
        session, spaces = "", set()
        for _ in range(2 * workers + 1):
            with it.machine() as machine:
                machine.begin("fd=2e-8", *([session] if session else []))
                spaces.add(machine.extranonce1)
                session = machine.session
                assert machine.submit(*sent) == [22] * len(sent)
                sent.append(machine.find())
                machine.send(machine.submission(sent[-1]))      # ... and away, with the share in flight
            until(lambda: it.connections() == 0)
        until(lambda: len(it.booked()) == len(sent))
        assert len(spaces) == 1
        assert {share.hash for share in it.booked()} == {share.hash for share in sent}


def test_a_worker_that_is_slow_is_not_waited_for(tmp_path):
    with pool(tmp_path, workers=2, **SHARES) as it:
        with it.machine() as before:
            before.begin("fd=2e-8")
            assert before.submit(before.find()) == [None]
        until(lambda: it.connections() == 0)
        home = int(before.session[:2], 16)
        worker, freed = it.daemon.ports.workers[home], threading.Event()
        worker._hear = lambda message, now: freed.wait(PATIENCE_S) and []           # it hangs in the claim
        with it.machine() as after:
            started = time.monotonic()
            after.begin("x", before.session)
            assert time.monotonic() - started >= 0.9
            assert after.session != before.session and after.extranonce1 != before.extranonce1
            freed.set()
            assert after.submit(after.find()) == [None]


def test_a_stop_in_the_midst_of_a_claim_is_a_stop(tmp_path):
    with pool(tmp_path, workers=2, **SHARES) as it:
        with it.machine() as before:
            before.begin("fd=2e-8")
            assert before.submit(before.find()) == [None]
        until(lambda: it.connections() == 0)
        home = int(before.session[:2], 16)
        freed = threading.Event()
        it.daemon.ports.workers[home]._hear = lambda message, now: freed.wait(PATIENCE_S) and []
        with it.machine() as after:
            after.send(request(1, "mining.subscribe", "elsewhere/1", before.session))
            threading.Timer(0.2, freed.set).start()
            it.daemon.service.stop()
            assert not it.daemon.service.has_failed.is_set()


def test_a_new_tip_is_clean_and_fresh_work_is_not(tmp_path):
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        tells_of_transactions(stub)
        with live(tmp_path, stub, **SHARES) as it, ExitStack() as stack:
            machines = [stack.enter_context(it.machine(way)).begin() for way in WAYS]
            add_transaction(stub, make_transaction(1))
            it.daemon.service.parts.ask_nodes()
            for machine in machines:
                machine.until(lambda machine=machine: len(machine.jobs) == 2)
                first, fresh = machine.jobs
                assert first.is_clean and not fresh.is_clean and fresh.branches
                assert machine.submit(machine.find(first), machine.find(fresh)) == [None, None]
            late = [machine.find() for machine in machines]
            tip = stub.grow()
            for machine, share in zip(machines, late, strict=True):
                machine.await_tip(tip)
                assert [job.is_clean for job in machine.jobs] == [True, False, True]
                assert machine.submit(share, machine.find()) == [21, None]
            assert {machine.difficulties[0] for machine in machines if len(machine.difficulties) == 1} == {
                machines[0].job.difficulty}, "it is said once while it stays"


# --- difficulty -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
def test_no_share_is_lost_over_changes_of_difficulty(tmp_path, way):
    """A machine far too fast for its start, whose shares for the old job arrive after the new one's notify."""
    with pool(tmp_path, start=2.4e-10, min=1e-10, shares_per_minute=600) as it, it.machine(way) as machine:
        machine.begin()
        sent: list[Share] = []
        while len(machine.difficulties) < 4:
            job = machine.job
            shares = [machine.find(job) for _ in range(8)]
            assert machine.submit(*shares[:4]) == [None] * 4
            assert machine.submit(*shares[4:]) == [None] * 4        # whatever came in between
            sent += shares
        assert machine.difficulties == sorted(machine.difficulties), "it got harder each time"
        late = [machine.find(job) for job in machine.jobs]
        assert machine.submit(*late) == [None] * len(late)
        sent += late
        booked = {share.hash: share.difficulty for share in it.booked()}
        assert booked.keys() == {share.hash for share in sent}
        for share in late:                                          # each is worth what its job went out with
            assert booked[share.hash] == pytest.approx(float(share.job.difficulty))


@pytest.mark.parametrize("way", WAYS)
def test_a_machine_that_asks_for_another_difficulty_in_mid_work_loses_nothing(tmp_path, way):
    wishes = [Fraction(number, 10**9) for number in (1, 20, 3, 80, 2)]      # up and down
    with pool(tmp_path, start=1e-9, min=1e-10) as it, it.machine(way) as machine:
        machine.begin("fd=1e-9")
        for wish in wishes[1:]:
            before = machine.job
            in_flight = [machine.find(before) for _ in range(5)]
            machine.send(*map(machine.submission, in_flight[:2]),
                         request(9, "mining.authorize", machine.worker, f"x,fd={float(wish)}"),
                         *map(machine.submission, in_flight[2:]))
            answers = [machine.answer() for _ in range(6)]
            assert [(answer.id, answer.result) for answer in answers] == [
                (4, True), (4, True), (9, True), (4, True), (4, True), (4, True)]
            machine.until(lambda before=before: machine.job is not before)
            assert Fraction(machine.job.difficulty) == pytest.approx(wish)
            assert machine.submit(machine.find(before), machine.find()) == [None, None]
        assert len(machine.difficulties) == len(wishes)


# --- TLS --------------------------------------------------------------------------------------------------------------

def test_a_renewed_certificate_is_for_those_who_come_and_drops_nobody(tmp_path):
    with pool(tmp_path, **SHARES) as it, it.machine(SV1_TLS) as old:
        old.begin()
        trusts_the_old = it.tls()
        self_signed().write(tmp_path)
        it.daemon.service.reload()
        with it.machine(SV1_TLS) as new:
            assert new.begin().submit(new.find()) == [None]
        with pytest.raises(ssl.SSLCertVerificationError):
            Machine(it.ports[SV1_TLS], tls=trusts_the_old)
        assert old.submit(old.find()) == [None]


# --- those who do not behave ------------------------------------------------------------------------------------------

DICE = random.Random(3)
SUBSCRIBE = request(1, "mining.subscribe", "junk/1")
CLOSING = {         # what closes a plain connection
    "binary": b"\x00" + DICE.randbytes(400) + b"\n",
    "not UTF-8": b'{"id":1,"method":"\xff"}\n',
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "an endless line": b"x" * 17_000,
    "an endless line of blanks": b" " * 17_000,
    "deep brackets": b"[" * 5_000 + b"\n",
    "deep in an object": b'{"id":1,"method":"mining.submit","params":' + b"[" * 3_000 + b"]" * 3_000 + b"}\n",
    "deep id": b'{"id":' + b'{"a":' * 3_000 + b"1" + b"}" * 3_000 + b',"method":"mining.ping"}\n',
    "half an object": b'{"id":1,"method":"mining.ping"\n',
    "two on one line": SUBSCRIBE.strip() + SUBSCRIBE,
    "no object": b"[1,2]\n",
    "a number": b"17\n",
    "a long number": b'{"id":' + b"9" * 5_000 + b',"method":"mining.ping","params":[]}\n',
    "NaN": b'{"id":NaN,"method":"mining.ping","params":[]}\n',
    "a key twice": b'{"id":1,"id":2,"method":"mining.ping","params":[]}\n',
    "a long id": request("i" * 300, "mining.ping"),
    "junk after a subscribe": SUBSCRIBE + b"\x16\x03\x01\n",
    "junk in mid-work": SUBSCRIBE + request(2, "mining.authorize", "junk", "x") + b"}\n",
}
STAYING = {         # what is answered, or awaited until a deadline
    "nothing": b"",
    "half a line": b'{"id":1,"met',
    "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(160),
    "nonsense": b"".join(request(number, "mining.nonsense", [None, {}]) for number in range(200)),
    "submits of a stranger": b"".join(request(4, "mining.submit", "a", "1", "", "", "") for _ in range(500)),
    "wrong types": b"".join(request(1, method, {"a": 1}, [1], None, 10**30) for method in (
        "mining.configure", "mining.subscribe", "mining.authorize", "mining.suggest_difficulty",
        "mining.suggest_target", "mining.extranonce.subscribe", "mining.get_transactions", "mining.ping")),
    "answers to nothing": b'{"id":1,"result":true,"error":null}\n' * 300,
    "no work is taken": SUBSCRIBE + request(2, "mining.authorize", "", "x") + request(3, "mining.authorize", "\x07"),
}


def dialled(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def is_hung_up(sock: socket.socket) -> bool:
    """Read to the end that the pool makes; TimeoutError if it makes none."""
    with suppress(ConnectionError):
        while sock.recv(1 << 16):
            pass
    return True


def test_a_health_check_that_shuts_down_its_sending_side_gets_its_answers(tmp_path):
    """As `printf ... | nc -N HOST 3333` does: subscribe and authorize are answered, and the first work comes."""
    with pool(tmp_path) as it:
        sock = dialled(it.ports[SV1])
        with sock:
            sock.sendall(b'{"id": 1, "method": "mining.subscribe", "params": []}\n'
                         b'{"id": 2, "method": "mining.authorize", "params": ["health.check", "x"]}\n')
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(10)
            lines = b"".join(iter(lambda: sock.recv(65536), b"")).splitlines()
        assert b'"id":1' in lines[0] and b'"id":2' in lines[1]
        assert any(b"mining.notify" in line for line in lines)
        until(lambda: it.connections() == 0)


def test_junk_closes_its_own_connection_alone(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("warppool.net.loglimit.LINES", 1000)
    caplog.set_level(logging.DEBUG, logger="warppool")
    with pool(tmp_path, **SHARES) as it, ExitStack() as stack:
        honest = [stack.enter_context(it.machine(way)).begin() for way in WAYS]

        def check(sock: socket.socket, junk: bytes) -> None:
            with sock:
                with suppress(ConnectionError):         # hung up on while it was at it
                    sock.sendall(junk)
                assert is_hung_up(sock)
            for machine in honest:
                assert machine.submit(machine.find()) == [None]

        for junk in CLOSING.values():
            check(dialled(it.ports[SV1]), junk)
            check(it.tls().wrap_socket(dialled(it.ports[SV1_TLS]), server_hostname="127.0.0.1"), junk)
        no_tls = [*CLOSING.values(), *filter(None, STAYING.values()), b"\x16" * 50, DICE.randbytes(1000)]
        for junk in no_tls:
            if junk != STAYING["a TLS hello"]:
                check(dialled(it.ports[SV1_TLS]), junk)
        until(lambda: it.connections() == len(honest))
    closed = [record for record in caplog.records if record.getMessage().startswith("event=conn.closed")]
    assert len(closed) == 2 * len(CLOSING) + len(no_tls) - 1
    assert complaints(caplog.records) == []


class Attackers:
    """500 hostile connections of four threads, kept open as long as the pool lets them."""

    def __init__(self, it: LivePool) -> None:
        self.count: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._it = it
        self._socks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(4)]
        for thread in self._threads:
            thread.start()

    @property
    def are_at_it(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, seed: int) -> None:
        dice = random.Random(seed)
        try:
            for _ in range(125):
                kind, junk = dice.choice([*CLOSING.items(), *STAYING.items()])
                self._attack(dice.choice(("plain", "no TLS", "within TLS")), kind, junk)
        except BaseException as exc:    # noqa: BLE001 - shown by the test's own thread
            self.failures.append(exc)

    def _attack(self, how: str, kind: str, junk: bytes) -> None:
        sock = dialled(self._it.ports[SV1 if how == "plain" else SV1_TLS])
        if how == "within TLS":
            sock = self._it.tls().wrap_socket(sock, server_hostname="127.0.0.1")
        self._socks.append(sock)
        with suppress(ConnectionError):
            sock.sendall(junk)
        if kind in CLOSING:
            assert is_hung_up(sock)
        self.count[how] += 1

    def close(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for sock in self._socks:
            sock.close()


def test_five_hundred_junk_connections_cost_fifty_miners_nothing(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="warppool")
    with pool(tmp_path, **SHARES) as it, ExitStack() as stack:
        honest = [stack.enter_context(it.machine(WAYS[number % 2], f"honest.{number}")).begin() for number in range(50)]
        accepted: list[bytes] = []

        def mine_on() -> None:
            shares = [machine.find() for machine in honest]
            for machine, share in zip(honest, shares, strict=True):
                machine.send(machine.submission(share))
            for machine, share in zip(honest, shares, strict=True):
                assert machine.answer() == (4, True, None)
                accepted.append(share.hash)

        attackers = Attackers(it)
        stack.callback(attackers.close)
        while attackers.are_at_it:
            mine_on()
        assert attackers.failures == [] and attackers.count.total() == 500 and len(attackers.count) == 3
        tip = it.stub.grow()
        for machine in honest:
            machine.await_tip(tip)
        mine_on()
        attackers.close()
        until(lambda: it.connections() == len(honest))
        assert it.held() == len(honest)
        assert Counter(share.hash for share in it.booked()) == Counter(accepted)
    assert complaints(caplog.records) == []


def test_a_thousand_machines_that_come_at_once_all_get_work(tmp_path, caplog):
    """As after a power cut: nobody waits for anybody, and one in ten speaks TLS."""
    caplog.set_level(logging.INFO, logger="warppool")
    with pool(tmp_path, **SHARES) as it, ExitStack() as stack:
        context = it.tls()
        machines = []
        for number in range(1000):
            tls = context if number % 10 == 0 else None
            machine = Machine(it.ports[SV1 if tls is None else SV1_TLS], f"farm.{number}", tls=tls)
            machines.append(stack.enter_context(machine))
            machine.send(request(1, "mining.subscribe", "farm/1"), request(2, "mining.authorize", machine.worker, "x"))
        for machine in machines:
            machine.subscribed(machine.answer_before_work())
            assert machine.answer() == (2, True, None)
            machine.until(lambda machine=machine: machine.jobs)
        assert len({machine.extranonce1 for machine in machines}) == len(machines)
        assert it.connections() == 1000
        tip = it.stub.grow()
        for machine in machines:
            machine.await_tip(tip)
    opened = Counter(record.getMessage().split()[0] for record in caplog.records)
    summed = [record.getMessage() for record in caplog.records if "kind=miner.opened" in record.getMessage()]
    counted = sum(int(re.search(r" count=(\d+)", line)[1]) for line in summed)
    assert opened["event=miner.opened"] + counted == 1000
    assert complaints(caplog.records) == []


# --- deadlines, on a clock of the test's ------------------------------------------------------------------------------

@pytest.fixture
def connector(tmp_path: Path) -> Connector:
    with StubNode(cookie=tmp_path / "cookie") as stub:
        config = v1_config(tmp_path, stub)
    return Connector(config, 0, Certificate(config.stratum.tls_cert, config.stratum.tls_key), Shuffle(bytes(16)),
                     lambda worker, message: None, FreeNames())


def at(seconds: float) -> Now:
    return Now(1000.0 + seconds, 1_700_000_000.0 + seconds)


def closing(events: list[object]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Close)]


@pytest.mark.parametrize(("said", "deadline_s", "reason"), [
    (b"", 10, "no message within 10 s"),
    (b'{"id":1,', 10, "no message within 10 s"),
    (b"\n" * 100, 10, "no message within 10 s"),
    (request(1, "mining.ping"), 60, "not authorized within 60 s"),
    (SUBSCRIBE, 60, "not authorized within 60 s"),
    (SUBSCRIBE + request(2, "mining.authorize", "", "x"), 60, "not authorized within 60 s"),
    (request(1, "mining.authorize", "alice", "x"), 600, "no accepted share for too long"),
    (SUBSCRIBE + request(2, "mining.authorize", "alice", "x"), 600, "no accepted share for too long"),
])
def test_who_says_too_little_is_dropped_in_time(connector, said, deadline_s, reason):
    connection = Served(*connector(Opened(CONN_ID, SV1, "peer"), at(0)), now=at(0))
    assert closing(connection.receive(said, at(0))) == []
    assert closing(connection.tick(at(deadline_s - 0.1))) == []
    assert connection.wakes_at == at(deadline_s).monotonic
    assert closing(connection.tick(at(deadline_s))) == [reason]


@pytest.mark.parametrize("is_half", [False, True])
def test_a_tls_handshake_that_does_not_end_is_dropped_in_time(connector, tmp_path, is_half):
    connection = Served(*connector(Opened(CONN_ID, SV1_TLS, "peer"), at(0)), now=at(0))
    if is_half:
        outgoing = ssl.MemoryBIO()
        client = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem")).wrap_bio(
            ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        answer = connection.receive(outgoing.read(), at(0))
        assert [type(event) for event in answer] == [Send]
    assert closing(connection.tick(at(9.999))) == [] and connection.wakes_at == at(10).monotonic
    assert closing(connection.tick(at(10))) == ["no TLS handshake within 10 s"]

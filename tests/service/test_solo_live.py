"""Mode solo through the translator, over sockets: each machine's block pays the address in its own name."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.manynames import ADDRESSES, NETWORK
from tests.node.stub import StubNode
from tests.patience import PATIENCE_S, until
from tests.peers.foreign_v1 import Machine
from tests.service.farm import EVERY_HASH, LivePool, booked_by, translating
from tests.service.process import ADDRESS as OPERATOR
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import outputs_of, parse_transaction
from warppool.service.translator import Translator

ALICE, BOB = ADDRESSES["P2WPKH"], ADDRESSES["P2PKH"]
SUBSIDY = 50 * 10**8
MODES = pytest.mark.parametrize("mode", ["connection", "channels"])


class Solo:
    """A solo pool on a scripted node, and a translator in front of it."""

    def __init__(self, stub: StubNode, pool: LivePool, translator: Translator) -> None:
        self.stub = stub
        self.pool = pool
        self.translator = translator
        (listener,) = translator.ports.listeners
        self.port = listener.port

    def paid_by(self, count: int) -> list[list[tuple[int, bytes]]]:
        """What the coinbases of the first `count` blocks pay, each (sat, script), without the commitment."""
        until(lambda: len(self.stub.submitted) >= count)
        return [[output for output in outputs_of(raw[81:parse_transaction(raw, 81).end]) if output[0]]
                for raw in self.stub.submitted[:count]]


@contextmanager
def solo(folder, mode="channels", workers=2, **keys) -> Iterator[Solo]:
    with StubNode(cookie=folder / "cookie") as stub:
        node = {"url": stub.url, "cookie_file": str(folder / "cookie")}
        pool = LivePool(folder / "pool", node, pool={"payout": "solo", **keys}, **EVERY_HASH).start()
        try:
            with translating(folder, pool, user=OPERATOR, mode=mode, stratum={"workers": workers}) as translator:
                yield Solo(stub, pool, translator)
        finally:
            pool.stop()


def pays(address, sat=SUBSIDY):
    return sat, script_of(address, NETWORK)


class Wire:
    """A connection that sends bytes as they stand, and reads lines; it ends as the server ends it."""

    def __init__(self, port):
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._file = self._sock.makefile("rb")

    def say(self, line):
        self._sock.sendall(line + b"\n")
        return json.loads(self._file.readline())

    def is_at_its_end(self):
        try:
            return self._file.read() == b""
        except ConnectionError:
            return True

    def close(self):
        self._file.close()
        self._sock.close()


def cpuminer(port, session=b""):
    """cpuminer 2.5.1's first call, byte by byte, and the id of the session that it is given."""
    wire = Wire(port)
    named = b', "%s"' % session if session else b""
    heard = wire.say(b'{"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"%s]}' % named)
    return wire, heard["result"][0][1][1].encode()


@contextmanager
def came_back(port, name):
    """A machine that waits for the answer to its subscribe, when it is here for the second time."""
    wire, session = cpuminer(port)
    line = b'{"id": 2, "method": "mining.authorize", "params": ["%s", "x"]}' % name.encode()
    assert wire.say(line) == {"id": 2, "result": True, "error": None}
    assert wire.is_at_its_end(), "without a job: the channel was the operator's"
    wire.close()
    with Machine(port, name) as machine:
        machine.begin("x", session.decode())
        assert machine.session == session.decode()
        yield machine


@MODES
def test_the_block_of_a_machine_that_speaks_as_cpuminer_does_pays_its_own_address(tmp_path, mode):
    with solo(tmp_path, mode) as world:
        with came_back(world.port, f"{ALICE}.w") as machine:
            share = machine.mine_block()
        assert world.paid_by(1) == [[pays(ALICE)]]
        assert world.stub.submitted[0][:80] == share.header
        until(lambda: [booked.worker for booked in world.pool.booked()] == [f"{ALICE}.w"])
        until(lambda: [booked.worker for booked in booked_by(world.translator)] == [f"{ALICE}.w"])


def test_two_machines_with_two_addresses_on_one_connection_are_each_paid_their_own_over_three_tips(tmp_path):
    """The translator has one connection with two channels, and each tip is one more chance to mix them up."""
    with solo(tmp_path, workers=1, fee_percent=1.5) as world:
        fee = SUBSIDY * 150 // 10_000
        with came_back(world.port, f"{ALICE}.1") as alice, came_back(world.port, f"{BOB}_2") as bob:
            until(lambda: sum(report.connections for report in world.pool.daemon.ports.reports()) == 1)
            wanted = []
            for finder, other, address in ((alice, bob, ALICE), (bob, alice, BOB), (bob, alice, BOB)):
                share = finder.mine_block()
                other.await_tip(share.hash)
                wanted.append([pays(address, SUBSIDY - fee), pays(OPERATOR, fee)])
            assert world.paid_by(3) == wanted

"""The machines of `tests/firmware` on a live daemon, plain and over TLS: the sessions of tests/sv1 by socket."""

from __future__ import annotations

import json
import socket
from itertools import count

import pytest

from tests.node.stub import HARD_NBITS, PATIENCE_S, StubNode, make_transaction
from tests.patience import until
from tests.service.livepool import WAYS, LivePool, add_transaction, complaints, live, tells_of_transactions
from tests.sv1.machines import Line, Player, machines
from warppool.service.connector import SV1_TLS

EASY = {"max": 4e-9, "min": 1e-10}      # what machines suggest is for ASICs, and here Python searches


class BySocket:
    """A machine's way to the daemon; the scripted node makes work when the session wants some."""

    is_moving = False

    def __init__(self, pool: LivePool, way: str) -> None:
        self._pool = pool
        self._way = way
        self._transactions = count(1)
        self._buffer = b""
        self._sock = self._dialled()

    def _dialled(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self._pool.ports[self._way]), PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._way == SV1_TLS:
            return self._pool.tls().wrap_socket(sock, server_hostname="127.0.0.1")
        return sock

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self) -> Line:
        while b"\n" not in self._buffer:
            data = self._sock.recv(65536)
            assert data, "the pool hung up"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return json.loads(line, parse_float=str)

    def new_job(self, *, is_tip: bool) -> None:
        if is_tip:
            self._pool.stub.grow()
        else:
            add_transaction(self._pool.stub, make_transaction(next(self._transactions)))
            self._pool.daemon.service.parts.ask_nodes()

    def reconnect(self) -> None:
        self.close()
        until(lambda: self._pool.connections() == 0)        # or the pool does not know yet that it may be resumed
        self._buffer = b""
        self._sock = self._dialled()

    def close(self) -> None:
        self._sock.close()


def accepted_shares(machine: Line) -> int:
    """How many are accepted in the session; some files end before one."""
    ids = {step["share"]["id"] for step in machine["steps"] if "share" in step}
    answers = [item for step in machine["steps"] for item in step.get("expect", ())]
    return sum(item.get("result") is True and item["answer"] in ids for item in answers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sorted(machines()))
def test_a_machine_mines(tmp_path, caplog, name, way):
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        tells_of_transactions(stub)
        with live(tmp_path, stub, workers=1, **EASY) as pool:
            transport = BySocket(pool, way)
            try:
                Player(machines()[name], transport).play()
            finally:
                transport.close()
            assert len(pool.booked()) == accepted_shares(machines()[name])
    assert [line for line in complaints(caplog.records) if "event=user.unpaid" not in line] == []

"""What the books of a live pool credit to machines behind a live translator: their work, and no more to the greedy."""

from __future__ import annotations

import select
import socket
import time
from collections import Counter

import pytest

from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import PATIENCE_S, until
from tests.service.farm import LivePool, booked_by, translating
from tests.service.test_translator import each_mode, port_of
from warppool.mining.share import weigh
from warppool.sv1.client import Authorized, MiningClient, ShareAnswered, Work, WorkReady

HASHES = 4000
HASH = 0xFFFF / 2**48                       # in difficulty: what one hash is worth is the same under every target
EASIEST = 1e-9                              # every fourth hash meets it
STEPS = [EASIEST * 2**step for step in range(5)]


class Machine:
    """One V1 machine on a socket; `works` has every key that it was given."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.works: list[Work] = []
        self.refused: Counter[str] = Counter()
        self.submitted = 0
        self._unanswered = 0
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = MiningClient("credit/1")
        self._client.subscribe()
        self.wish(STEPS[0])

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def wish(self, difficulty: float) -> None:
        """Ask for this difficulty, and wait for a job under it."""
        self._client.authorize(self.name, f"d={difficulty!r}")
        target = round(0xFFFF * 2**208 / difficulty)
        self._until(lambda: bool(self.works) and abs(self.works[-1].target / target - 1) < 1e-6)

    def submit(self, work: Work, nonce: int, ntime: int) -> None:
        self._client.submit(self.name, work, bytes(work.extranonce2_size), work.version, ntime, nonce)
        self.submitted += 1
        self._unanswered += 1
        if self._unanswered >= 64:
            self.finish()

    def finish(self) -> None:
        """Hear the answers to all that was submitted."""
        self._until(lambda: self._unanswered == 0)

    def _until(self, is_true) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            if out := self._client.outgoing():
                self._sock.sendall(out)
            if is_true():
                return
            assert time.monotonic() < deadline, "it did not happen"
            if select.select([self._sock], [], [], 0.01)[0]:
                data = self._sock.recv(1 << 16)
                assert data, "closed"
                for event in self._client.receive(data):
                    self._heard(event)

    def _heard(self, event: object) -> None:
        match event:
            case WorkReady(work):
                self.works.append(work)
            case Authorized(_, is_let_in):
                assert is_let_in
            case ShareAnswered(_, is_accepted, _, words):
                self._unanswered -= 1
                if not is_accepted:
                    self.refused[words] += 1


def value_of(work: Work, nonce: int, ntime: int) -> int:
    return weigh(work.header(bytes(work.extranonce2_size), work.version, ntime, nonce), 0).value


def mine_honestly(machine: Machine) -> None:
    """The newest job alone, through all difficulties."""
    for step in (*STEPS, *reversed(STEPS[1:-1])):
        machine.wish(step)
        for nonce in range(HASHES // 8):
            work = machine.works[-1]
            if value_of(work, nonce, work.ntime) <= work.target:
                machine.submit(work, nonce, work.ntime)
        machine.finish()


def mine_greedily(machine: Machine) -> None:
    """Have a key of every difficulty, hash, and name the hardest that the hash meets."""
    for step in STEPS[1:]:
        machine.wish(step)
    works = sorted({work.target: work for work in machine.works}.values(), key=lambda work: work.target)
    ntime = max(work.ntime for work in works)
    for nonce in range(HASHES):
        value = value_of(works[0], nonce, ntime)
        for work in works:
            if value <= work.target:
                machine.submit(work, nonce, ntime)
                break
    machine.finish()


@each_mode
def test_the_greedy_are_credited_no_more_than_their_work_and_the_honest_no_less(tmp_path, mode):
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        pool = LivePool(tmp_path / "pool", {"url": stub.url, "cookie_file": str(tmp_path / "cookie")},
                        start=EASIEST, min=EASIEST, max=EASIEST).start()
        try:
            with translating(tmp_path, pool, mode=mode) as translator:
                with Machine(port_of(translator), "farm.honest") as honest:
                    mine_honestly(honest)
                with Machine(port_of(translator), "farm.greedy") as greedy:
                    mine_greedily(greedy)
                until(lambda: translator.counts().pending == 0)
                until(lambda: len(booked_by(translator)) == translator.counts().accepted)
                credited: Counter[str] = Counter()
                for share in pool.booked():
                    credited[share.worker] += share.difficulty
                ours: Counter[str] = Counter()
                for share in booked_by(translator):
                    ours[share.worker] += share.difficulty
        finally:
            pool.stop()
    assert credited["farm.honest"] == pytest.approx(HASHES * HASH, rel=0.35) and honest.refused == {}
    # the pool hashes what is submitted: under another key it is another header, and one more try
    assert 0 < credited["farm.greedy"] <= 1.5 * (HASHES + greedy.submitted) * HASH
    assert ours == pytest.approx(credited)

"""A Stratum V1 machine that shares no line with warppool: a socket, json, hashlib, and what public documents say.

It believes nothing that it can check, and keeps the rules that firmware counts on: a difficulty comes right before the
notify that it is for, the first notify and each on a new tip is clean and no other is, and a job's name is used once.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

PATIENCE_S = 300.0              # as tests.patience has it: for what must come, however busy the machine is
DIFFICULTY_1 = 0xFFFF << 208
MAX_LINE = 4096                 # bytes that small devices can read

Line = dict[str, Any]


def dsha(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def target_of(nbits: int) -> int:
    return (nbits & 0x7FFFFF) << 8 * ((nbits >> 24) - 3)


def unswapped(prev_hash: str) -> bytes:
    """Header order of a hash whose eight words have their bytes reversed."""
    return struct.pack("<8I", *struct.unpack(">8I", bytes.fromhex(prev_hash)))


class Job(NamedTuple):
    """A notify, with what stood when it came."""

    name: str
    prev_hash: bytes            # header order
    head: bytes
    tail: bytes
    branches: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    is_clean: bool
    difficulty: Decimal
    extranonce1: bytes

    @property
    def target(self) -> int:
        return int(DIFFICULTY_1 / Fraction(self.difficulty))

    @property
    def network_target(self) -> int:
        return target_of(self.nbits)


class Share(NamedTuple):
    """A header that was hashed, and what it was made of."""

    job: Job
    header: bytes
    extranonce2: bytes
    ntime: int
    nonce: int
    bits: int | None            # version bits that were rolled
    coinbase: bytes             # stripped, as it was hashed

    @property
    def hash(self) -> bytes:
        return dsha(self.header)

    @property
    def value(self) -> int:
        return int.from_bytes(self.hash, "little")

    @property
    def display(self) -> str:
        return self.hash[::-1].hex()


class Answer(NamedTuple):
    """What came back for a request."""

    id: Any
    result: Any
    error: Any


class Machine:
    """One connection, used by `with`; a pool that breaks a rule or hangs up is an AssertionError in whatever runs.

    A pool that shares rewards replaces the jobs of a tip after a block of its own: `is_replaced` says that it may.
    """

    is_replaced = False

    def __init__(self, port: int, worker: str = "alice.rig1", *, tls: ssl.SSLContext | None = None) -> None:
        self.worker = worker
        self.jobs: list[Job] = []               # all that came, in order
        self.session = ""                       # its id
        self.extranonce1 = b""
        self.size = 0                           # bytes of extranonce2
        self.mask = 0                           # version bits that may be rolled
        self.difficulties: list[Decimal] = []   # all that came, in order
        self._is_new_difficulty = False         # and no notify yet
        self._names: set[str] = set()
        self._calls = 100                       # the id of the last call
        self._nonce = 0
        self._buffer = b""
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            try:
                self._sock = tls.wrap_socket(self._sock, server_hostname="127.0.0.1")
            except BaseException:
                self._sock.close()
                raise

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    def patience(self, seconds: float) -> None:
        """What one read waits from now on."""
        self._sock.settimeout(seconds)

    @property
    def job(self) -> Job:
        """What it mines now."""
        return self.jobs[-1]

    # --- lines --------------------------------------------------------------------------------------------------------

    def send(self, *lines: bytes) -> None:
        """In one piece."""
        self._sock.sendall(b"".join(lines))

    def read(self) -> Answer | None:
        """The next line: an answer, or None for a call of the pool's, which is heeded."""
        line: Line = json.loads(self._line(), parse_float=Decimal)
        if "method" in line:
            assert line.keys() == {"id", "method", "params"} and line["id"] is None
            self._called(line["method"], line["params"])
            return None
        assert not self._is_new_difficulty, "an answer between a difficulty and its notify"
        assert line.keys() == {"id", "result", "error"}
        assert line["error"] is None or (line["result"] is None and len(line["error"]) == 3)
        return Answer(**line)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            data = self._sock.recv(65536)
            assert data, "the pool closed the connection"
            self._buffer += data
        raw, self._buffer = self._buffer.split(b"\n", 1)
        assert len(raw) < MAX_LINE
        return raw

    def answer(self) -> Answer:
        """The next answer."""
        while True:
            answer = self.read()
            if answer is not None:
                return answer

    def answer_before_work(self) -> Answer:
        """The next line, which is an answer."""
        answer = self.read()
        assert answer is not None, "work comes after the answer to the call that brings it"
        return answer

    def call(self, method: str, *params: object) -> Answer:
        """Call, and wait for the answer."""
        self._calls += 1
        self.send(request(self._calls, method, *params))
        answer = self.answer()
        assert answer.id == self._calls
        return answer

    def until(self, is_enough: Callable[[], bool]) -> None:
        """Heed calls until `is_enough`; nothing may be answered meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_enough():
            assert time.monotonic() < deadline, "the pool never said it"
            assert self.read() is None

    # --- what the pool calls ------------------------------------------------------------------------------------------

    def _called(self, method: str, params: list[Any]) -> None:
        if method == "mining.set_difficulty":
            assert not self._is_new_difficulty, "a difficulty, and no notify after it"
            (difficulty,) = params
            assert difficulty > 0
            self.difficulties.append(Decimal(difficulty))
            self._is_new_difficulty = True
            return
        assert method == "mining.notify", f"{method} for one that did not ask for it"
        self._notified(*params)

    def _notified(self, name: str, prev_hash: str, head: str, tail: str, branches: list[str], version: str, nbits: str,
                  ntime: str, is_clean: bool) -> None:
        assert self.session, "work before the subscription was answered"
        assert self.difficulties, "work before there is a difficulty"
        assert name not in self._names, "a job's name was used twice"
        assert [len(text) for text in (version, nbits, ntime)] == [8, 8, 8]
        job = Job(name, unswapped(prev_hash), bytes.fromhex(head), bytes.fromhex(tail),
                  tuple(map(bytes.fromhex, branches)), int(version, 16), int(nbits, 16), int(ntime, 16), is_clean,
                  self.difficulties[-1], self.extranonce1)
        is_new_tip = not self.jobs or self.job.prev_hash != job.prev_hash
        assert is_clean is is_new_tip or (is_clean and self.is_replaced), "clean_jobs"
        self._is_new_difficulty = False
        self._names.add(name)
        self.jobs.append(job)

    # --- what it does -------------------------------------------------------------------------------------------------

    def begin(self, password: str = "x", *session: str) -> Machine:
        """Subscribe and authorize, one by one; its first job is there when this returns."""
        self.subscribed(self.call("mining.subscribe", "elsewhere/1", *session))
        assert self.call("mining.authorize", self.worker, password).result is True
        self.until(lambda: bool(self.jobs))
        return self

    def subscribed(self, answer: Answer) -> None:
        """The answer to a subscribe."""
        (topics, extranonce1, self.size) = answer.result
        assert [topic for topic, _ in topics] == ["mining.set_difficulty", "mining.notify"]
        self.session = topics[1][1]
        self.extranonce1 = bytes.fromhex(extranonce1)
        assert len(self.extranonce1) == 4 and 4 <= self.size <= 8

    def configured(self, answer: Answer) -> None:
        """The answer to a configure that asked for version-rolling."""
        assert answer.result["version-rolling"] is True
        self.mask = int(answer.result["version-rolling.mask"], 16)
        assert self.mask & ~0x1FFFE000 == 0 and self.mask

    def shares(self, job: Job, bits: int | None = None) -> Iterator[Share]:
        """Headers of a job, none of them twice."""
        extranonce2 = bytes(self.size)
        coinbase = job.head + job.extranonce1 + extranonce2 + job.tail
        root = dsha(coinbase)
        for branch in job.branches:
            root = dsha(root + branch)
        version = job.version if bits is None else job.version & ~self.mask | bits
        head = struct.pack("<I", version) + job.prev_hash + root + struct.pack("<II", job.ntime, job.nbits)
        while True:
            self._nonce += 1
            yield Share(job, head + struct.pack("<I", self._nonce), extranonce2, job.ntime, self._nonce, bits, coinbase)

    def find(self, job: Job | None = None, *, is_block: bool = False, is_low: bool = False, bits: int | None = None
             ) -> Share:
        """A block; or a good share that is none; or one that is too low for its job."""
        job = job or self.job
        network, target = job.network_target, max(job.target, job.network_target)
        low, high = (-1, network) if is_block else (target, 1 << 256) if is_low else (network, target)
        assert low < high, "every share is a block"
        return next(share for share in self.shares(job, bits) if low < share.value <= high)

    def submission(self, share: Share, request_id: object = 4) -> bytes:
        """The line for a share; cpuminer gives every one of them id 4."""
        rolled = () if share.bits is None else (f"{share.bits:08x}",)
        return request(request_id, "mining.submit", self.worker, share.job.name, share.extranonce2.hex(),
                       f"{share.ntime:08x}", f"{share.nonce:08x}", *rolled)

    def submit(self, *shares: Share) -> list[Any]:
        """Submit all at once; of each, in their order, None if it was accepted, else the code."""
        self.send(*map(self.submission, shares))
        answers = [self.answer() for _ in shares]
        assert all(answer.id == 4 and (answer.result is True) is (answer.error is None) for answer in answers)
        return [answer.error and answer.error[0] for answer in answers]

    def mine_block(self, bits: int | None = None) -> Share:
        """Find a block, hear that it is accepted, and wait for the tip that it makes."""
        share = self.find(is_block=True, bits=bits)
        assert self.submit(share) == [None]
        self.await_tip(share.hash)
        return share

    def await_tip(self, prev_hash: bytes) -> None:
        """Wait for a job on `prev_hash`."""
        self.until(lambda: self.job.prev_hash == prev_hash)


def request(request_id: object, method: str, *params: object) -> bytes:
    return json.dumps({"id": request_id, "method": method, "params": params}).encode() + b"\n"

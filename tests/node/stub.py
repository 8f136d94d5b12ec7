"""A scripted node: HTTP and JSON-RPC on a loopback port, with a chain of its own and every bad habit of real nodes.

It shares no code with warppool, so that a mistake there does not find its like here. Everything waits on conditions:
`wait_until(stub, ...)` wakes at every call.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

HARD_NBITS = 0x1715A35C
EASY_NBITS = 0x207FFFFF


class Mood(Enum):
    """How the stub answers."""

    WELL = auto()
    HANG = auto()               # reads the request and says nothing
    UNAUTHORIZED = auto()       # 401, whatever the login
    FORBIDDEN = auto()          # 403
    BUSY = auto()               # 503
    WARM_UP = auto()            # HTTP 500 with error -28
    GARBAGE = auto()            # bytes that are no HTTP
    NOT_JSON = auto()
    HALF = auto()               # half a body, then the end
    DRIBBLE = auto()            # one byte every few milliseconds
    CLOSE = auto()              # hangs up without a word
    WRONG_ID = auto()


def dsha(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def display(header_order: bytes) -> str:
    return header_order[::-1].hex()


def target_of(nbits: int) -> int:
    return (nbits & 0x7FFFFF) << 8 * ((nbits >> 24) - 3)


def merkle_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = hashes + hashes[-1:] * (len(hashes) % 2)
        hashes = [dsha(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def make_transaction(number: int, *, has_witness: bool = True, filler: int = 0) -> dict[str, Any]:
    """An entry of `transactions`: one input that no one has, one output, `filler` more bytes of output script."""
    script = b"\x51" + b"\x00" * filler
    length = bytes((len(script),)) if len(script) < 0xFD else b"\xfe" + len(script).to_bytes(4, "little")
    assert len(script) < 0xFD or len(script) > 0xFFFF
    body = b"\x01" + number.to_bytes(32, "little") + b"\x00" * 4 + b"\x00" + b"\xff" * 4
    body += b"\x01" + (number % 1000).to_bytes(8, "little") + length + script
    stripped = b"\x02\x00\x00\x00" + body + b"\x00" * 4
    raw = b"\x02\x00\x00\x00\x00\x01" + body + b"\x01\x01\x51" + b"\x00" * 4 if has_witness else stripped
    weight = 3 * len(stripped) + len(raw)
    return {
        "data": raw.hex(), "txid": display(dsha(stripped)), "hash": display(dsha(raw)),
        "depends": [], "fee": 1000, "sigops": 1, "weight": weight,
    }


class StubNode:
    """A node on a loopback port, used by `with`: inside, `stop` and `start` make it go away and come back there.

    `mood` may change at any time and holds for the requests that come after; `moods` overrides it for one method.
    `calls` has every (method, params) in order, `submitted` every raw block. `hooks[method]`, if there, makes the
    result from the parameters, or raises `RpcFault`.
    """

    def __init__(self, *, network: str = "regtest", nbits: int = EASY_NBITS, cookie: Path | None = None) -> None:
        self.network = network
        self.nbits = nbits
        self.mood = Mood.WELL
        self.moods: dict[str, Mood] = {}
        self.hooks: dict[str, Callable[[list[Any]], Any]] = {}
        self.rules = ["csv", "!segwit", "taproot"]
        self.extra: dict[str, Any] = {}                 # goes into every template, over what stands there
        self.has_long_poll = True
        self.is_hasty = False                           # answers long polls at once, with nothing new
        self.long_polls_die = False                     # answers them never
        self.keeps_alive = True
        self.has_wait = True                            # knows `waitforblockheight`
        self.rpc_threads = 16                           # calls that it serves at a time; the others wait for a thread
        self.clock_offset_s = 0                         # its clock less ours
        self.tells_work = True                          # headers have `chainwork`
        self.standing = 0                               # calls that hold a thread now...
        self.most_standing = 0                          # ... and how many ever did at a time
        self.confirms_all = False                       # counts confirmations of side blocks too, as bcoin does
        self.calls: list[tuple[str, list[Any]]] = []
        self.connections = 0
        self.submitted: list[bytes] = []
        self.transactions: list[dict[str, Any]] = []
        self.chain: list[bytes] = [bytes(32)]           # hashes, by height
        self.side: set[bytes] = set()
        self.cookie = cookie
        self.login = b""
        self.changed = threading.Condition()            # guards all of the above that the threads change
        self._listener: socket.socket | None = None
        self._place: socket.socket | None = None
        self._port = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._epoch = 0
        self._queue: list[object] = []
        self._mempool = 0
        self.new_login()

    # What tests do with it.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> StubNode:
        if self._place is None:
            # Bound and never listening: it keeps the port ours while the node is away, and refuses whoever knocks.
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", 0))
            self._port = self._place.getsockname()[1]
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._spawn(self._serve, self._listener, self._epoch)
        return self

    def stop(self) -> None:
        """Go away: every connection breaks, the port refuses."""
        assert self._listener is not None
        with self.changed:
            self._epoch += 1
            self.changed.notify_all()
            for sock in (self._listener, *self._open):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._listener.close()
        self._listener = None

    def __enter__(self) -> StubNode:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self.stop()
        if self._place is not None:
            self._place.close()

    def new_login(self) -> None:
        """A new password, in the cookie file too if there is one, as after a restart."""
        with self.changed:
            self.login = f"__cookie__:{len(self.login)}{time.monotonic_ns()}".encode()
            if self.cookie is not None:
                self.cookie.write_bytes(self.login)

    def hang_up(self) -> None:
        """End every connection, as a node that is back so soon that nobody met it away."""
        with self.changed:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def grow(self, block_hash: bytes | None = None) -> bytes:
        """A block from somewhere else: the tip moves and long polls return."""
        with self.changed:
            block_hash = block_hash or dsha(b"block %d" % len(self.chain))
            self.chain.append(block_hash)
            self.changed.notify_all()
            return block_hash

    def reorganise(self, *blocks: bytes, drop: int) -> None:
        """Leave the last `drop` blocks, which it goes on knowing, for these."""
        with self.changed:
            self.side.update(self.chain[-drop:])
            self.chain[-drop:] = blocks
            self.changed.notify_all()

    def add_transactions(self, *entries: dict[str, Any]) -> None:
        """Into the mempool; long polls stay silent, as a node's do for a minute."""
        with self.changed:
            self.transactions.extend(entries)
            self._mempool += 1

    def wait_until(self, is_true: Callable[[], bool]) -> None:
        """Until `is_true`, asked again at every call that comes in."""
        with self.changed:
            assert self.changed.wait_for(is_true, PATIENCE_S), "the stub waited in vain"

    def count(self, method: str) -> int:
        return sum(1 for name, _ in self.calls if name == method)

    def template(self) -> dict[str, Any]:
        """What `getblocktemplate` answers now."""
        wtxids = [bytes(32)] + [bytes.fromhex(tx["hash"])[::-1] for tx in self.transactions]
        height = len(self.chain)
        subsidy = 50 * 10**8 >> height // (150 if self.network == "regtest" else 210_000)
        return {
            "capabilities": ["proposal"],
            "version": 0x20000000,
            "rules": self.rules,
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": display(self.chain[-1]),
            "transactions": list(self.transactions),
            "coinbaseaux": {},
            "coinbasevalue": subsidy + sum(tx["fee"] for tx in self.transactions),
            "target": f"{target_of(self.nbits):064x}",
            "mintime": 1_700_000_000,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": 80_000,
            "sizelimit": 4_000_000,
            "weightlimit": 4_000_000,
            "curtime": int(time.time()) + self.clock_offset_s,
            "bits": f"{self.nbits:08x}",
            "height": height,
            "default_witness_commitment": "6a24aa21a9ed" + dsha(merkle_root(wtxids) + bytes(32)).hex(),
        } | ({"longpollid": self._long_poll_id()} if self.has_long_poll else {}) | self.extra

    # What it does.

    def _long_poll_id(self) -> str:
        return display(self.chain[-1]) + f"{self._mempool:08x}"

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="stub-node")
        with self.changed:
            self._threads.append(thread)
            thread.start()

    def _serve(self, listener: socket.socket, epoch: int) -> None:
        with suppress(OSError):             # the listener is shut down
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.changed:
                    if epoch != self._epoch:
                        sock.close()
                        return
                    self._open.add(sock)
                    self.connections += 1
                self._spawn(self._converse, sock, epoch)

    def _converse(self, sock: socket.socket, epoch: int) -> None:
        with suppress(OSError, EOFError), sock, sock.makefile("rb") as file:
            while self._answer(sock, file, epoch):
                pass
        with self.changed:
            self._open.discard(sock)

    def _answer(self, sock: socket.socket, file: Any, epoch: int) -> bool:
        headers = {}
        if not file.readline():
            return False
        while (line := file.readline().strip()):
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        request = json.loads(file.read(int(headers[b"content-length"])))
        method, params = request["method"], request["params"]
        with self.changed:
            mood = self.moods.get(method, self.mood)
            self.calls.append((method, params))
            self.changed.notify_all()
        is_known = headers.get(b"authorization") == b"Basic " + base64.b64encode(self.login)
        if mood is Mood.UNAUTHORIZED or not is_known:
            return self._send(sock, 401, b"")
        return self._act(sock, mood, request["id"], method, params, epoch)

    def _act(self, sock: socket.socket, mood: Mood, call_id: int, method: str, params: Any, epoch: int) -> bool:
        match mood:
            case Mood.HANG:
                with self.changed:
                    self.changed.wait_for(lambda: epoch != self._epoch)
                return False
            case Mood.CLOSE:
                return False
            case Mood.FORBIDDEN:
                return self._send(sock, 403, b"")
            case Mood.BUSY:
                return self._send(sock, 503, b"Work queue depth exceeded")
            case Mood.GARBAGE:
                sock.sendall(b"\x00\x01\x02 what?\r\n\r\n" * 10)
                return False
            case Mood.NOT_JSON:
                return self._send(sock, 200, b"<html>hello</html>")
            case Mood.WARM_UP:
                error = {"code": -28, "message": "Loading block index..."}
                return self._send(sock, 500, json.dumps({"result": None, "error": error, "id": call_id}).encode())
        with self.changed:
            self._queue.append(ticket := object())      # first come, first served
            self.changed.wait_for(lambda: epoch != self._epoch or (
                self.standing < self.rpc_threads and self._queue[0] is ticket))
            self._queue.remove(ticket)
            self.standing += 1
            self.changed.notify_all()
            self.most_standing = max(self.most_standing, self.standing)
        try:
            status, answer = self._result(method, params, epoch)
        finally:
            with self.changed:
                self.standing -= 1
                self.changed.notify_all()
        answer["id"] = call_id + 1 if mood is Mood.WRONG_ID else call_id
        return self._send(sock, status, json.dumps(answer).encode(), mood)

    def _result(self, method: str, params: list[Any], epoch: int) -> tuple[int, dict[str, Any]]:
        try:
            if method == "getblocktemplate" and method not in self.hooks:
                result: Any = self._do_getblocktemplate(params, epoch)
            elif method == "waitforblockheight" and method not in self.hooks and self.has_wait:
                result = self._do_waitforblockheight(params, epoch)
            else:
                hook = self.hooks.get(method) or (
                    None if method == "waitforblockheight" else getattr(self, f"_do_{method}", None))
                if hook is None:
                    raise RpcFault(-32601, "Method not found")
                result = hook(params)
        except RpcFault as fault:
            return 500, {"result": None, "error": {"code": fault.code, "message": fault.message}}
        return 200, {"result": result, "error": None}

    def _send(self, sock: socket.socket, status: int, body: bytes, mood: Mood = Mood.WELL) -> bool:
        stays = self.keeps_alive and mood is not Mood.HALF
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n" + ("" if stays else "Connection: close\r\n")
        data = head.encode() + b"\r\n" + body
        if mood is Mood.HALF:
            sock.sendall(data[:-len(body) // 2])
        elif mood is Mood.DRIBBLE:
            for byte in data:
                sock.sendall(bytes((byte,)))
                time.sleep(0.005)
        else:
            sock.sendall(data)
        return stays

    def _do_getblockchaininfo(self, params: list[Any]) -> dict[str, Any]:
        return {"chain": self.network, "blocks": len(self.chain) - 1, "initialblockdownload": False}

    def _do_getblockcount(self, params: list[Any]) -> int:
        return len(self.chain) - 1

    def _do_getblocktemplate(self, params: list[Any], epoch: int) -> dict[str, Any]:
        asked = params[0].get("longpollid")
        with self.changed:
            if asked is not None and not self.is_hasty:
                self.changed.wait_for(lambda: epoch != self._epoch or (
                    asked[:64] != self._long_poll_id()[:64] and not self.long_polls_die
                ))
            return self.template()

    def _do_waitforblockheight(self, params: list[Any], epoch: int) -> dict[str, Any]:
        """It holds a thread until the chain is so high or the time is over, be the caller there or not."""
        height, timeout_ms = params
        with self.changed:
            self.changed.wait_for(lambda: epoch != self._epoch or len(self.chain) - 1 >= height,
                                  timeout_ms / 1000 if timeout_ms else None)
            return {"hash": display(self.chain[-1]), "height": len(self.chain) - 1}

    def _do_getbestblockhash(self, params: list[Any]) -> str:
        with self.changed:
            return display(self.chain[-1])

    def _do_submitblock(self, params: list[Any]) -> str | None:
        raw = bytes.fromhex(params[0])
        with self.changed:
            self.submitted.append(raw)
            self.changed.notify_all()
            if len(raw) < 81:
                raise RpcFault(-22, "Block decode failed")
            block_hash = dsha(raw[:80])
            if block_hash in self.chain or block_hash in self.side:
                return "duplicate"
            if int.from_bytes(block_hash, "little") > target_of(self.nbits):
                return "high-hash"
            if raw[4:36] not in self.chain:
                return "prev-blk-not-found"
            if raw[4:36] != self.chain[-1]:
                self.side.add(block_hash)
                return "inconclusive"
            self.chain.append(block_hash)
            self.changed.notify_all()
            return None

    def _do_getblockhash(self, params: list[Any]) -> str:
        with self.changed:
            if not 0 <= params[0] < len(self.chain):
                raise RpcFault(-8, "Block height out of range")
            return display(self.chain[params[0]])

    def _do_getblockheader(self, params: list[Any]) -> dict[str, Any]:
        block_hash = bytes.fromhex(params[0])[::-1]
        with self.changed:
            if block_hash in self.side:
                return {"confirmations": 1 if self.confirms_all else -1}
            if block_hash not in self.chain:
                raise RpcFault(-5, "Block not found")
            height = self.chain.index(block_hash)
            work = {"chainwork": f"{2 * (height + 1):064x}"} if self.tells_work else {}
            return {"confirmations": len(self.chain) - height, "height": height, "time": 1_700_000_000} | work


def await_true(is_true: Callable[[], bool]) -> None:
    """Until `is_true` of something that no condition tells of."""
    until = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.001)


class RpcFault(Exception):
    """A hook's way to answer with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class FakeClock:
    """Time that passes only when someone waits for it, and then at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._stopped = threading.Event()

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        time.sleep(0)                   # the stub's threads get their turn
        return self._stopped.is_set()

    def take(self, inbox: ClockInbox, seconds: float | None) -> Any:
        """The next item, or None once the time has gone by."""
        if seconds is None or not inbox.empty():
            return inbox.wait_for_item()
        if seconds:
            self.wait(seconds)
        return None

    def inbox(self) -> ClockInbox:
        return ClockInbox(self)

    def stop(self) -> None:
        self._stopped.set()


class ClockInbox(queue.Queue[Any]):
    """An inbox whose owner sleeps by a clock of ours."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if block and (item := self._clock.take(self, timeout)) is not None:
            return item
        return super().get(block=False)

    def wait_for_item(self) -> Any:
        """As long as it takes."""
        return super().get()

"""The miner's side of a V1 conversation: for the CPU miner, the translator's tests and load.

Bytes in, events out, and lines to be sent. A `Work` is all that is needed to build headers, frozen, with the
difficulty that counted when its notify came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.target import target_from_difficulty
from warppool.errors import RemoteProtocolError
from warppool.sv1.jobs import swap_words
from warppool.sv1.lines import LineReader
from warppool.sv1.messages import Number, Response, dump, number, parse, request
from warppool.sv1.words import hex_number

MAX_EXTRANONCE2_SIZE = 32
MAX_NOTIFY = 64 * 1024
"""Bytes of the longest line of a pool: a notify with a coinbase of 16 KiB has more than 32 KiB."""

DEFAULT_TARGET = target_from_difficulty(1)
"""What counts before the first set_difficulty."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job that may be hashed now; `sv2.work.Work` is the same in V2."""

    job_id: str
    prev_hash: bytes                    # 32 bytes, header order
    coinbase_head: bytes
    coinbase_tail: bytes
    merkle_path: tuple[bytes, ...]
    version: int
    version_mask: int                   # bits that may be rolled, 0 for none
    nbits: int
    ntime: int                          # Unix seconds
    target: int
    extranonce1: bytes
    extranonce2_size: int

    @classmethod
    def of(cls, params: list[object], extranonce1: bytes, extranonce2_size: int, target: int,
           version_mask: int) -> Work:
        """The parameters of a `mining.notify`; RemoteProtocolError if they are not as they should be."""
        try:
            job_id, prev_hash, head, tail, path, version, nbits, ntime = cast(list[str], params[:8])
            return cls(
                job_id=str(job_id), prev_hash=swap_words(_bytes(prev_hash, 32)), coinbase_head=bytes.fromhex(head),
                coinbase_tail=bytes.fromhex(tail), merkle_path=tuple(_bytes(sibling, 32) for sibling in path),
                version=_u32(version), version_mask=version_mask, nbits=_u32(nbits), ntime=_u32(ntime),
                target=target, extranonce1=extranonce1, extranonce2_size=extranonce2_size)
        except (TypeError, ValueError) as exc:
            raise RemoteProtocolError(f"a notify that cannot be read: {exc}") from exc

    def header(self, extranonce2: bytes, version: int, ntime: int, nonce: int) -> bytes:
        """The 80-byte header of one try; `extranonce2` has `extranonce2_size` bytes."""
        coinbase = b"".join((self.coinbase_head, self.extranonce1, extranonce2, self.coinbase_tail))
        root = fold_merkle_path(double_sha256(coinbase), self.merkle_path)
        return pack_header(version, self.prev_hash, root, ntime, self.nbits, nonce)


@dataclass(frozen=True, slots=True)
class Configured:
    """What the pool granted of the extensions asked for."""

    granted: dict[str, object]
    version_mask: int


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The pool gave us a space to search; `session_id` takes it up again after a drop."""

    session_id: str
    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class Authorized:
    """The pool let a worker in, or did not."""

    user: str
    is_let_in: bool


@dataclass(frozen=True, slots=True)
class WorkReady:
    """Hash this now; with `is_clean` everything before it is worthless."""

    work: Work
    is_clean: bool


@dataclass(frozen=True, slots=True)
class ShareAnswered:
    """The pool's word on a share; `code` and `words` are 0 and "" for one that was accepted."""

    request_id: int
    is_accepted: bool
    code: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The pool refused any other request of ours."""

    method: str
    code: int
    words: str


@dataclass(frozen=True, slots=True)
class ReconnectAsked:
    """The pool asks us to move; an empty host and port 0 mean the same ones."""

    host: str
    port: int


ClientEvent = Configured | Subscribed | Authorized | WorkReady | ShareAnswered | CallRefused | ReconnectAsked


class MiningClient:
    """A miner's conversation with one pool: no socket, no clock, no thread.

    Requests (`subscribe`, `submit`, ...) put a line into `outgoing`. Answers find their request by its id, and among
    those of one id by their order. `receive` raises RemoteProtocolError for what a pool must not send.
    """

    def __init__(self, agent: str = "") -> None:
        self.agent = agent
        self.version_mask = 0
        self.target = DEFAULT_TARGET                # of work to come
        self.subscription: Subscribed | None = None
        self._lines = LineReader(MAX_NOTIFY)
        self._outgoing: list[bytes] = []
        self._next_id = 1
        self._asked: dict[int, deque[tuple[str, str]]] = {}     # by id: method, and the user that authorizes

    # -- requests ------------------------------------------------------------------------------------------------

    def configure(self, version_mask: int, min_bits: int = 2) -> int:
        """Ask for version rolling; the number of the request."""
        return self._ask("mining.configure", ["version-rolling"], {
            "version-rolling.mask": f"{version_mask:08x}", "version-rolling.min-bit-count": min_bits})

    def subscribe(self, session_id: str = "") -> int:
        """Ask for a space to search, or for that of a dropped session; the number of the request."""
        return self._ask("mining.subscribe", *([self.agent, session_id] if session_id else [self.agent]))

    def authorize(self, user: str, password: str = "x") -> int:
        """Ask to be let in; the number of the request."""
        return self._ask("mining.authorize", user, password)

    def subscribe_extranonce(self) -> int:
        """Say that we can change our extranonce1; the number of the request."""
        return self._ask("mining.extranonce.subscribe")

    def suggest_difficulty(self, difficulty: int | float) -> int:
        """Say where to start; the number of the request."""
        return self._ask("mining.suggest_difficulty", Number(difficulty))

    def submit(self, user: str, work: Work, extranonce2: bytes, version: int, ntime: int, nonce: int,
               request_id: int | None = None) -> int:
        """Send the share for one header of `work`; the number of the request, ours if none is given."""
        bits = [f"{version & work.version_mask:08x}"] if work.version_mask else []
        return self._ask("mining.submit", user, work.job_id, extranonce2.hex(), f"{ntime:08x}", f"{nonce:08x}", *bits,
                         request_id=request_id)

    def outgoing(self) -> bytes:
        """The bytes to be put on the wire now; b"" for none."""
        out = b"".join(self._outgoing)
        self._outgoing.clear()
        return out

    def _ask(self, method: str, *params: object, request_id: int | None = None) -> int:
        if request_id is None:
            request_id, self._next_id = self._next_id, self._next_id + 1
        user = str(params[0]) if method == "mining.authorize" else ""
        self._asked.setdefault(request_id, deque()).append((method, user))
        self._outgoing.append(request(request_id, method, *params))
        return request_id

    # -- what the pool says --------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[ClientEvent]:
        """What the pool's bytes lead to."""
        events: list[ClientEvent] = []
        for line in self._lines.feed(data):
            message = parse(line)
            if isinstance(message, Response):
                events += self._answered(message)
            elif (step := self._STEPS.get(message.method)) is not None:
                events += step(self, message.id, message.params or [])
            elif message.id is not None:
                self._outgoing.append(
                    f'{{"id":{dump(message.id)},"result":null,"error":[20,"Unknown method",null]}}\n'.encode())
        return events

    def _answered(self, answer: Response) -> list[ClientEvent]:
        asked = self._asked.get(answer.id) if isinstance(answer.id, int) else None
        if not asked or not isinstance(answer.id, int):
            return []                               # to nothing of ours
        method, user = asked.popleft()
        if not asked:
            del self._asked[answer.id]
        code, words = _error_of(answer.error)
        if method == "mining.submit":
            is_accepted = answer.error is None and answer.result is True
            return [ShareAnswered(answer.id, is_accepted, code, words)]
        if method == "mining.authorize":
            return [Authorized(user, answer.error is None and answer.result is True)]
        if answer.error is not None:
            return [CallRefused(method, code, words)]
        if method == "mining.subscribe":
            return self._subscribed(answer.result)
        return self._configured(answer.result) if method == "mining.configure" else []

    def _configured(self, granted: object) -> list[ClientEvent]:
        if not isinstance(granted, dict):
            raise RemoteProtocolError("the answer to mining.configure is no object")
        is_rolling = granted.get("version-rolling") is True
        self.version_mask = (hex_number(granted.get("version-rolling.mask"), 8) or 0) if is_rolling else 0
        return [Configured(granted, self.version_mask)]

    def _subscribed(self, granted: object) -> list[ClientEvent]:
        try:
            details, extranonce1, size = cast(tuple[list[list[str]], str, int], granted)
            session_id = next((str(pair[1]) for pair in details if pair[0] == "mining.notify"), "")
            found = Subscribed(session_id, bytes.fromhex(extranonce1), _size(size))
        except (TypeError, ValueError, IndexError, KeyError) as exc:
            raise RemoteProtocolError(f"a subscription that cannot be read: {exc}") from exc
        self.subscription = found
        return [found]

    def _set_difficulty(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        difficulty = number(params[0]) if params else None
        if difficulty is None or difficulty <= 0:
            raise RemoteProtocolError("a difficulty that is no number above 0")
        self.target = target_from_difficulty(difficulty)
        return []

    def _notify(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        if self.subscription is None:
            raise RemoteProtocolError("a job before the subscription")
        work = Work.of(params, self.subscription.extranonce1, self.subscription.extranonce2_size, self.target,
                       self.version_mask)
        return [WorkReady(work, is_clean=len(params) > 8 and params[8] is True)]

    def _set_extranonce(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        return self._subscribed([[["mining.notify", self.subscription.session_id if self.subscription else ""]],
                                 *params[:2]])

    def _set_version_mask(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        self.version_mask = (hex_number(params[0], 8) or 0) if params else 0
        return []

    def _reconnect(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        host, port = params[:2] if len(params) >= 2 else ("", 0)
        try:
            return [ReconnectAsked(str(host), int(str(port)))]
        except ValueError as exc:
            raise RemoteProtocolError(f"a port that is no number: {str(port)[:20]!r}") from exc

    def _get_version(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        self._reply(request_id, self.agent)
        return []

    def _show_message(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        self._reply(request_id, True)
        return []

    def _ping(self, request_id: object, params: list[object]) -> list[ClientEvent]:
        self._reply(request_id, "pong")
        return []

    def _reply(self, request_id: object, result: object) -> None:
        if request_id is not None:
            self._outgoing.append(f'{{"id":{dump(request_id)},"result":{dump(result)},"error":null}}\n'.encode())

    _STEPS: Mapping[str, Callable[..., list[ClientEvent]]] = MappingProxyType({
        "mining.notify": _notify,
        "mining.set_difficulty": _set_difficulty,
        "mining.set_extranonce": _set_extranonce,
        "mining.set_version_mask": _set_version_mask,
        "client.reconnect": _reconnect,
        "client.get_version": _get_version,
        "client.show_message": _show_message,
        "mining.ping": _ping,
    })


def _bytes(text: str, size: int) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes in the place of {size}")
    return raw


def _u32(text: str) -> int:
    return int.from_bytes(_bytes(text, 4), "big")


def _size(size: object) -> int:
    if not isinstance(size, int) or not 1 <= size <= MAX_EXTRANONCE2_SIZE:
        raise ValueError(f"an extranonce2 of {size!r} bytes")
    return size


def _error_of(error: object) -> tuple[int, str]:
    """Code and words of an error, which most pools send as an array and some as an object."""
    if isinstance(error, dict):
        error = [error.get("code"), error.get("message")]
    code, words = (error[0], error[1]) if isinstance(error, list) and len(error) >= 2 else (0, "")
    return code if isinstance(code, int) else 0, str(words)

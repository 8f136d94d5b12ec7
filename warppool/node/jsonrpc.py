"""JSON-RPC to one Bitcoin node: a method and its parameters in, the result out, and every failure a NodeError.

The sentence of a NodeError is made for the operator: it goes into the log as it is.
"""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warppool.addresses import NodeAddress
from warppool.errors import NodeError
from warppool.node.httpline import HttpLine, NodeAway, NodeHungUp, NodeSilent
from warppool.stats.times import Durations

__all__ = ["CallForbidden", "Cookie", "Credentials", "JsonRpc", "NodeAway", "NodeSilent", "RpcRefusal", "UserPassword"]

METHOD_NOT_FOUND = -32601   # JSON-RPC's own: the node has no such call
WARMING_UP = -28            # the node's code for "Loading block index..." and its like
_MAX_COOKIE = 4096          # bytes; the node writes about 75
_MAX_QUOTE = 200            # characters of a node's own words that go into the log
_MAX_HTML = 8192            # bytes of an answer in which its words are looked for
_UNSEEN = re.compile(r"(?is)<(script|style|head)\b.*?</\1\s*>|<!--.*?-->")
_TAG = re.compile(r"(?s)</?[A-Za-z!][^<>]*>")


class RpcRefusal(NodeError):
    """The node answered, and its answer is an error of its own; `code` is its number."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Cookie:
    """The node writes user and password into this file anew at each of its starts."""

    path: Path

    def read(self) -> bytes:
        """`user:password` as it stands there now; NodeError says what the operator can do if it does not."""
        try:
            with self.path.open("rb") as file:
                return file.read(_MAX_COOKIE).strip()
        except FileNotFoundError as exc:
            raise NodeError(f"no cookie at {self.path}: is the node running, and is node.cookie_file in its "
                            "directory?") from exc
        except PermissionError as exc:
            raise NodeError(f"the cookie {self.path} may not be read by this user: join the node's group, and say "
                            "rpccookieperms=group in its bitcoin.conf") from exc
        except OSError as exc:
            raise NodeError(f"the cookie {self.path} cannot be read: {exc.strerror}: node.cookie_file takes the file "
                            "that the node writes, named .cookie") from exc


@dataclass(frozen=True, slots=True)
class UserPassword:
    """A user and password that stand in the node's own configuration."""

    user: str
    password: str = field(repr=False)

    def read(self) -> bytes:
        """`user:password`."""
        return f"{self.user}:{self.password}".encode()


Credentials = Cookie | UserPassword


class CallForbidden(NodeError):
    """HTTP 403: the node's rpcallowip lacks this machine, or its rpcwhitelist this user's `method`.

    It says the same for both, without a word.
    """

    def __init__(self, method: str) -> None:
        super().__init__(f"the node forbids {method} (HTTP 403): let this machine in by rpcallowip, and where it has "
                         f"an rpcwhitelist, add {method} for this user there")
        self.method = method


class JsonRpc:
    """One connection to a node, one call at a time; it belongs to one thread, but for `close`.

    `call` is the plain way. `ask`, `is_answered` and `answer` are its three parts, for a long poll, whose answer may
    take as long as it likes.
    """

    def __init__(self, address: NodeAddress, credentials: Credentials) -> None:
        self.address = address
        self.took = Durations()                 # of each `call`
        self._credentials = credentials
        self._line = HttpLine(address)
        self._login: bytes | None = None        # as the node last took it; None: to be read
        self._method = ""
        self._id = 0

    def call(self, method: str, *params: object, timeout_s: float) -> Any:
        """The result of one call, within `timeout_s` as a whole; NodeError for anything else.

        What went out on a connection that the node was just closing goes out once more, and so does what it refused for
        a cookie that has changed since: all calls made here may be repeated.
        """
        began = time.monotonic()
        try:
            return self._call(method, params, began + timeout_s)
        finally:
            self.took.add((time.monotonic() - began,))

    def _call(self, method: str, params: tuple[object, ...], deadline: float) -> Any:
        login = self._read_login()
        try:
            self._ask(method, params, deadline)
            return self._answer(deadline)
        except NodeHungUp:
            if not self._line.is_reused:
                raise
        except _Unauthorized:
            if self._read_login() == login:
                raise
        self._ask(method, params, deadline)
        return self._answer(deadline)

    def log_in_as(self, credentials: Credentials) -> None:
        """Use other credentials from the next call on."""
        if credentials != self._credentials:
            self._credentials, self._login = credentials, None

    @property
    def endings(self) -> int:
        """How often the node ended the connection, as it does when it is restarted."""
        return self._line.endings

    def ask(self, method: str, *params: object, timeout_s: float) -> None:
        """Send a call and do not wait for its answer."""
        self._ask(method, params, time.monotonic() + timeout_s)

    def is_answered(self, timeout_s: float) -> bool:
        """True once `answer` has something to read; False if `timeout_s` goes by first."""
        return self._line.is_answered(timeout_s)

    def answer(self, timeout_s: float) -> Any:
        """The result of the call sent by `ask`."""
        return self._answer(time.monotonic() + timeout_s)

    def fileno(self) -> int:
        """What `first_readable` watches: readable once `answer` has something to read."""
        return self._line.fileno()

    def hang_up(self) -> None:
        """Drop the connection and the answer that is due on it; the next call makes a new one."""
        self._line.hang_up()

    def close(self) -> None:
        """Any thread: the call that runs raises NodeError at once, and so does every later one."""
        self._line.close()

    def _ask(self, method: str, params: tuple[object, ...], deadline: float) -> None:
        self._id += 1
        self._method = method
        # btcd answers a request without "jsonrpc" with an empty line; to Core, Knots and bcoin "1.0" changes nothing.
        body = json.dumps({"jsonrpc": "1.0", "id": self._id, "method": method, "params": params}).encode()
        self._line.post(body, "Basic " + base64.b64encode(self._read_login()).decode(), deadline)

    def _answer(self, deadline: float) -> Any:
        try:
            return self._result(*self._line.read(deadline))
        except _Unauthorized:
            self._login = None
            raise

    def _read_login(self) -> bytes:
        if self._login is None:
            self._login = self._credentials.read()
        return self._login

    def _result(self, status: int, body: bytes) -> Any:
        """Errors of the node's own come with status 200, 404 or 500, as it likes, and then the body says more."""
        match status:
            case 401:
                raise _Unauthorized(f"the node refuses {_described(self._credentials)} (HTTP 401): "
                                    f"{_cure(self._credentials)}")
            case 403:
                raise CallForbidden(self._method)
            case 503:
                raise NodeError(f"the node is starting or too busy (HTTP 503){_quoted(body)}")
        try:
            answer = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as exc:
            what = "its answer is not JSON" if status == 200 else f"HTTP {status} and no JSON"
            raise NodeError(f"{self._method}: {what}{_quoted(body)}") from exc
        if not isinstance(answer, dict):
            raise NodeError(f"{self._method}: its answer is no JSON object{_quoted(body)}")
        if (error := answer.get("error")) is not None:
            raise self._refusal(error)
        if status != 200 or "result" not in answer:
            raise NodeError(f"{self._method}: neither result nor error (HTTP {status}){_quoted(body)}")
        if answer.get("id") != self._id:
            self._line.hang_up()                # whatever comes next on it is not ours either
            raise NodeError(f"{self._method}: the answer to another call (id {_clip(answer.get('id'))})")
        return answer["result"]

    def _refusal(self, error: object) -> RpcRefusal:
        """The error object of the node as an exception; code 0 where it has no number."""
        code, words = 0, _clip(error)
        if isinstance(error, dict):
            if isinstance(error.get("code"), int):
                code = error["code"]
            words = _clip(error.get("message"))
        if code == WARMING_UP:
            return RpcRefusal(f"the node is starting: {words}", code)
        return RpcRefusal(f"{self._method}: the node says {words!r} (error {code})", code)


class _Unauthorized(NodeError):
    """HTTP 401."""


def _described(credentials: Credentials) -> str:
    match credentials:
        case Cookie(path):
            return f"the cookie of {path}"
        case UserPassword(user):
            return f"user {user!r} and its password"


def _cure(credentials: Credentials) -> str:
    if isinstance(credentials, Cookie):
        return "is it the cookie of the node at node.url?"
    return "mend node.user, or its password in node_passwords of secrets.toml"


def _quoted(body: bytes) -> str:
    """What the node wrote, for the log; of a page of HTML only its words, for a proxy or a wrong port answers so."""
    text = _clip(body[:_MAX_HTML].decode("utf-8", "replace"))
    return f": {text!r}" if text else ""


def _clip(words: object) -> str:
    text = str(words)[:_MAX_HTML]
    if _TAG.search(text):
        text = " ".join(_TAG.sub(" ", _UNSEEN.sub(" ", text)).split())
    text = text.strip()
    return text if len(text) <= _MAX_QUOTE else text[:_MAX_QUOTE] + "..."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")

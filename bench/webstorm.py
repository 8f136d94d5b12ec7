"""A storm on the web port: 64 connections from two addresses of loopback, each for one request, as fast as it is let.

    python -m bench.webstorm --port 8080 --seconds 20 --kind ask

prints a JSON line of what came back. `bench.web` starts it as a process of its own, with the lowest priority.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import selectors
import socket
import sys
import time
from collections import Counter
from contextlib import suppress

CONNECTIONS = 64
SOURCES = ("127.0.0.1", "127.0.0.2")    # one address of loopback alone may have half of the places
AGAIN_S = 0.05                          # a connection that is turned away comes back so soon
HOST = " HTTP/1.1\r\nHost: localhost\r\n"
ASKED = tuple(f"GET {target}{HOST}\r\n".encode() for target in (
    "/", "/api/v1/pool", "/api/v1/workers?limit=100", "/metrics", "/health", "/user/nobody", "/api/v1/history",
    "/users/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/api/info"))
LIES = (b"GET /" + b"a" * 9_000, b"\x16\x03\x01\r\n\r\n", f"GET / {'x' * 50}".encode() + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")


class Caller:
    """One place of the storm: a connection after the other."""

    def __init__(self, port: int, source: str, drips: bool) -> None:
        self.sock: socket.socket | None = None
        self.heard = b""
        self.next_at = 0.0
        self._place = ("127.0.0.1", port)
        self._source = source
        self._drips = drips

    def call(self, request: bytes) -> socket.socket:
        """Connect and ask; one that drips says the beginning alone."""
        self.heard = b""
        self.sock = socket.socket()
        self.sock.bind((self._source, 0))
        self.sock.connect(self._place)
        self.sock.setblocking(False)
        with suppress(OSError):
            self.sock.send(request[:20] if self._drips else request)
        return self.sock


def storm(port: int, seconds: float, kind: str) -> dict[str, object]:
    """How many requests were begun, and what came of them: by status, `cut` without an answer."""
    callers = [Caller(port, SOURCES[number % 2], kind == "drip") for number in range(CONNECTIONS)]
    requests, found, begun = itertools.cycle((*ASKED, *LIES)), Counter[str](), 0
    selector = selectors.DefaultSelector()
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        for caller in callers:
            if caller.sock is None and caller.next_at <= now:
                selector.register(caller.call(next(requests)), selectors.EVENT_READ, caller)
                begun += 1
        for key, _ in selector.select(0.001 if kind == "drip" else 0.02):
            if _is_over(key.data):
                selector.unregister(key.fileobj)
                found[key.data.heard[9:12].decode("latin-1") or "cut"] += 1
                key.data.sock.close()
                key.data.sock, key.data.next_at = None, now + (0.0 if key.data.heard else AGAIN_S)
        if kind == "drip":
            for caller in callers:
                if caller.sock is not None:
                    with suppress(OSError):
                        caller.sock.send(b"x")
    selector.close()
    for caller in callers:
        if caller.sock is not None:
            caller.sock.close()
    return {"begun": begun, "answers": dict(sorted(found.items()))}


def _is_over(caller: Caller) -> bool:
    """Read what there is; whether that was the end."""
    assert caller.sock is not None
    try:
        data = caller.sock.recv(1 << 20)
    except BlockingIOError:
        return False
    except OSError:
        return True
    caller.heard = (caller.heard + data)[:16]
    return not data


def main() -> int:
    """Storm as the command line says."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="bench.webstorm", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kind", choices=("ask", "drip"), default="ask")
    args = parser.parse_args()
    os.nice(19)
    print(json.dumps(storm(args.port, args.seconds, args.kind)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

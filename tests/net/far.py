"""The far end of what is dialled: listening sockets of a test, willing, full or closed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.net.pools import PATIENCE_S, Client


class Far:
    """A listening socket whose connections the test takes by hand."""

    def __init__(self, host: str = "127.0.0.1", backlog: int = 512) -> None:
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.bind((host, 0))
        self.sock.listen(backlog)
        self.sock.settimeout(PATIENCE_S)
        self.host = host
        self.port: int = self.sock.getsockname()[1]
        self._taken: list[Client] = []

    def take(self) -> Client:
        """The next connection."""
        client = Client.__new__(Client)
        client.sock, client._held = self.sock.accept()[0], b""
        client.sock.settimeout(PATIENCE_S)
        self._taken.append(client)
        return client

    def close(self) -> None:
        for client in self._taken:
            client.close()
        self.sock.close()


@contextmanager
def far(host: str = "127.0.0.1") -> Iterator[Far]:
    """One that listens."""
    end = Far(host)
    try:
        yield end
    finally:
        end.close()


@contextmanager
def silent() -> Iterator[Far]:
    """One whose kernel swallows every further attempt, as a firewall does: its backlog is full."""
    end, fillers = Far(backlog=0), list[socket.socket]()
    try:
        while True:
            filler = socket.socket()
            fillers.append(filler)
            filler.settimeout(0.05)
            try:
                filler.connect((end.host, end.port))
            except TimeoutError:
                break
        yield end
    finally:
        for filler in fillers:
            filler.close()
        end.close()


def closed_port(host: str = "127.0.0.1") -> int:
    """A port at which nobody listens."""
    with far(host) as end:
        return end.port

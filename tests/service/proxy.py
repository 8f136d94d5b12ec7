"""A proxy as operators have one in front of a pool: it hands TCP on, and says in a PROXY header whose it is."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

PROXY_IP = "127.0.0.2"          # where it dials from; the tests' machines come from 127.0.0.1
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

Header = Callable[[str, int], bytes]


def text_header(host: str, port: int) -> bytes:
    """Version 1."""
    version = ip_address(host).version
    target = "198.51.100.9" if version == 4 else "2001:db8::9"
    return f"PROXY TCP{version} {host} {target} {port} 3333\r\n".encode()


def binary_header(host: str, port: int) -> bytes:
    """Version 2, with a TLV behind the addresses."""
    address = ip_address(host)
    block = address.packed * 2 + struct.pack(">HH", port, 3333) + b"\x02\x00\x04pool"
    return SIGNATURE + struct.pack(">BBH", 0x21, 0x11 if address.version == 4 else 0x21, len(block)) + block


HEADERS: tuple[Header, ...] = (text_header, binary_header)


class Proxy:
    """Hands every connection to `port` on to `target`, each as one of `host`; its own thread does it."""

    def __init__(self, target: int, header: Header, host: str) -> None:
        self._target, self._header, self._host = target, header, host
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._others: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def close(self) -> None:
        self._wake.send(b"\0")
        self._thread.join()
        for sock in (*self._others, self._server, self._wake, self._woken):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                if key.fileobj is self._server:
                    self._begin(self._server.accept()[0])
                elif key.fileobj in self._others:
                    self._pass(key.fileobj)

    def _begin(self, client: socket.socket) -> None:
        pool = socket.create_connection(("127.0.0.1", self._target), 10, (PROXY_IP, 0))
        for sock, other in ((client, pool), (pool, client)):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._others[sock] = other
            self._selector.register(sock, selectors.EVENT_READ)
        pool.sendall(self._header(self._host, client.getpeername()[1]))

    def _pass(self, sock: socket.socket) -> None:
        other, data = self._others[sock], b""
        with suppress(OSError):
            data = sock.recv(65536)
            other.sendall(data)
        if not data:
            for end in (sock, other):
                self._selector.unregister(end)
                del self._others[end]
                end.close()


@contextmanager
def proxied(target: int, header: Header = binary_header, host: str = "192.0.2.1") -> Iterator[int]:
    """The port of a proxy in front of `target`."""
    proxy = Proxy(target, header, host)
    try:
        yield proxy.port
    finally:
        proxy.close()

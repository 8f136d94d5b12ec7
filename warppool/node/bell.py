"""A bell that ends a wait for sockets: any thread rings, the owner of the wait hears it."""

from __future__ import annotations

import socket
from contextlib import suppress


class Bell:
    """Rung by any thread, watched by the one that owns it. Several rings before it is heard count as one."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)
        self._rung.setblocking(False)

    def fileno(self) -> int:
        """What a poll watches for reading; -1 once it is closed."""
        return self._heard.fileno()

    def ring(self) -> None:
        """Any thread: end the wait that runs, or the next one."""
        with suppress(OSError):                 # full: it is rung already; or closed
            self._rung.send(b"\0")

    def hear(self) -> bool:
        """The owner: whether it was rung since the last time."""
        try:
            return bool(self._heard.recv(4096))
        except OSError:
            return False

    def close(self) -> None:
        """The owner: nobody listens any more."""
        self._heard.close()
        self._rung.close()

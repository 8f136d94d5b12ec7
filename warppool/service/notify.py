"""What the daemon tells systemd (sd_notify(3)): ready, reloading, stopping, alive.

Outside of systemd there is no NOTIFY_SOCKET and every word goes nowhere.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Speaks to the service manager that started us, if one did; any thread may call."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path      # @: an abstract socket
        self.watchdog_interval_s = _watchdog_interval_s(environ)
        """How often to call `alive`: half of what systemd allows; None if it does not watch."""

    def ready(self, status: str) -> bool:
        """Every port listens and a template is there (also: the reload is done)."""
        return self._send("READY=1", f"STATUS={status}")

    def status(self, words: str) -> bool:
        """One line for `systemctl status`."""
        return self._send(f"STATUS={words}")

    def alive(self) -> bool:
        """Feed the watchdog; only while every loop turns."""
        return self._send("WATCHDOG=1")

    def reloading(self) -> bool:
        """The configuration is read anew; `ready` follows."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> bool:
        """The daemon is on its way out."""
        return self._send("STOPPING=1")

    def _send(self, *words: str) -> bool:
        """Whether systemd was told; that it was not is never a reason to stop."""
        if not self._address:
            return False
        message = "\n".join(" ".join(word.splitlines()) for word in words)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.setblocking(False)
                door.connect(self._address)
                door.send(message.encode("utf-8", "replace"))
        except OSError:
            return False
        return True


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC, if it is meant for this process."""
    allowed, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (allowed.isascii() and allowed.isdigit()) or int(allowed) == 0:
        return None
    return int(allowed) / 2e6 if pid in ("", str(os.getpid())) else None

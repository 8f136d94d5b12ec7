"""Asks a running daemon by its status socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

from warppool.errors import WarppoolError
from warppool.status.place import address_of

TIMEOUT_S: Final = 3.0
ATTEMPTS: Final = 3
MAX_ANSWER: Final = 16 << 20
"""Bytes: a page of a thousand workers with long names has one or two million."""


class NoDaemon(WarppoolError):
    """Nobody answers at the socket."""


def ask(path: Path, what: str, **arguments: object) -> dict[str, Any]:
    """The daemon's answer to the question `what`. NoDaemon where none runs, WarppoolError for other trouble."""
    request = json.dumps({"ask": what, **arguments}).encode("ascii") + b"\n"
    try:
        line = _exchange_again(path, request)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as exc:
        raise NoDaemon(f"no daemon answers at {path}: start it, or name its configuration by -c") from exc
    except PermissionError as exc:
        raise WarppoolError(f"{path}: {exc.strerror}: run this as root, or as a member of the daemon's group") from exc
    except (OSError, EOFError) as exc:
        reason = exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc)
        raise WarppoolError(f"{path}: the daemon did not answer: {reason or 'it was too slow'}: try again") from exc
    return _read(path, line)


def _exchange_again(path: Path, request: bytes) -> bytes:
    """As `_exchange`; a daemon gives each peer one second, which a machine under load may let pass."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _exchange(path, request)
        except (EOFError, TimeoutError, ConnectionResetError, BrokenPipeError):
            pass
    return _exchange(path, request)


def _exchange(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        with address_of(path) as address:
            sock.connect(address)
        sock.sendall(request)
        parts, size = [], 0
        while part := sock.recv(65_536):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise EOFError("its answer has no end")
    line = b"".join(parts)
    if not line.endswith(b"\n"):
        raise EOFError("its answer was cut")
    return line


def _read(path: Path, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError as exc:
        raise WarppoolError(f"{path}: its answer is no JSON: is it a warppool that listens there?") from exc
    if not isinstance(answer, dict):
        raise WarppoolError(f"{path}: its answer is no JSON object: is it a warppool that listens there?")
    if isinstance(error := answer.get("error"), str):
        raise WarppoolError(error)
    return answer

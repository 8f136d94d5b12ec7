"""What `warppool check` says of the status files and the status socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from warppool.commands.findings import Finding
from warppool.config.faceoptions import StatusConfig
from warppool.config.faces import FOLDER
from warppool.errors import WarppoolError
from warppool.status.client import NoDaemon, ask
from warppool.status.files import is_writable
from warppool.status.place import known_path, socket_path

FOLDER_KEY = "status.dir"
SOCKET_KEY = "status socket"


def status_findings(status: StatusConfig, data_dir: Path) -> Iterator[Finding]:
    """Whether the files can be written, and whether a daemon answers or could."""
    folder, reader = status.dir or data_dir / FOLDER, "all users" if status.dir else "the daemon's group"
    if status.dir is None and not folder.exists() and is_writable(data_dir):
        pass                                    # the line of data_dir says it
    elif why := is_writable(folder):
        yield Finding("error", FOLDER_KEY, f"no status files: {why}: let this user write there, or name another folder")
    else:
        yield Finding("ok", FOLDER_KEY, f"status files are written to {folder}, for {reader}")
    yield _socket(data_dir)


def _socket(data_dir: Path) -> Finding:
    path = known_path(data_dir)
    if os.path.lexists(path) and not (path.is_socket() or path.is_symlink()):
        return Finding("error", SOCKET_KEY, f"{path} is no socket: move it away, or warppool status finds no daemon")
    try:
        answer = ask(path, "health")
    except NoDaemon:
        return Finding("ok", SOCKET_KEY, f"no daemon answers at {path}; the next one will, at {socket_path(data_dir)}")
    except WarppoolError as exc:
        return Finding("warn", SOCKET_KEY, str(exc))
    if not answer.get("ok"):
        return Finding("warn", SOCKET_KEY, f"the daemon answers that it is not well: {answer.get('reason')}")
    return Finding("ok", SOCKET_KEY, "the daemon answers, and is well")

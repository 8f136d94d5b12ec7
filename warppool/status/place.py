"""Where the status socket lies, and how its path is used however long it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "status.sock"

MAX_ADDRESS: Final = 107
"""Bytes of a path that fit into the address of a Unix socket (unix(7))."""


def socket_path(data_dir: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the daemon makes the socket: in $RUNTIME_DIRECTORY, which systemd makes and removes, else in `data_dir`."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(runtime or data_dir) / NAME


def known_path(data_dir: Path) -> Path:
    """Where a command finds the socket: in `data_dir`, as itself or as a symbolic link to it."""
    return data_dir / NAME


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """The address to bind or to connect to, for as long as the block lasts; OSError.

    A long path is named by the descriptor of its folder, which is short.
    """
    if len(os.fsencode(path)) <= MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)

"""The name that books and block journal have together, so that nobody pairs them with another pool's unseen.

Books that know what miners are owed are made up of shares and of the blocks of one journal. The file holds 32 hex
digits. It is made at the first start of a mode that pays miners; one that is missing gets the name that the books have.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from warppool.errors import ConfigError
from warppool.files import replace_file

FILE_NAME: Final = "journal-id"
ID_SIZE: Final = 16                 # bytes


def read_journal_id(data_dir: Path) -> bytes:
    """The id of the block journal in `data_dir`, b"" if it has none; ConfigError if its file cannot be read."""
    path = data_dir / FILE_NAME
    try:
        journal_id = bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError:
        journal_id = b""
    if len(journal_id) != ID_SIZE:
        raise ConfigError(f"{path} is damaged: remove it, and it is made anew from the books")
    return journal_id


def write_journal_id(data_dir: Path, journal_id: bytes) -> None:
    """Keep the id, on the disk when this returns; ConfigError."""
    path = data_dir / FILE_NAME
    try:
        replace_file(path, f"{journal_id.hex()}\n".encode("ascii"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}") from exc


def new_journal_id() -> bytes:
    """An id that no other journal has."""
    return os.urandom(ID_SIZE)

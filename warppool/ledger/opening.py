"""The database that a `ledger.url` means, opened."""

from __future__ import annotations

from pathlib import Path

from warppool.ledger.database import Database, Reader
from warppool.ledger.markfile import FILE_NAME, MarkFile
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.ledger.url import database_path


def open_ledger(url: str, data_dir: Path) -> Database:
    """The books, open for writing and verified, for the ledger thread to own; ConfigError, LedgerError.

    A file that is missing is created; its directory is not.
    """
    books = SqliteBooks(database_path(url, data_dir), mark=MarkFile(data_dir / FILE_NAME))
    books.open()
    books.verify()
    return books


def look_at(url: str, data_dir: Path) -> str | None:
    """What there is to say of books that a start could use, None where it would make new ones; LedgerError else."""
    path = database_path(url, data_dir)
    version = SqliteBooks(path).look(is_folder_made=path.parent == data_dir)
    return None if version is None else f"{path} has books of schema version {version}"


def open_reader(url: str, data_dir: Path) -> Reader:
    """The books for reading alone, whether or not a daemon has them open; ConfigError, LedgerError."""
    return SqliteReader(database_path(url, data_dir))

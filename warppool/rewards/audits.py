"""Thread `audits`: writes the export of each block that is settled into `data_dir/audits/`, where it is kept.

A file has its name only once it is whole. What a start finds missing is written then, so no settled block stays without
its file, whenever the daemon was killed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warppool.bitcoin.hashes import to_display
from warppool.errors import LedgerError
from warppool.files import make_folder, replacing
from warppool.ledger.database import Reader
from warppool.ledger.payoutrows import BlockPosition
from warppool.loop import Loop, patient
from warppool.payout.moves import PayoutState
from warppool.rewards.export import export_lines
from warppool.say import say

log = logging.getLogger("warppool")

TURN_S: Final = 60.0
RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class WriteAudit:
    """The block with this hash (header order) is settled, and the books say so."""

    block_hash: bytes


def folder_of_audits(data_dir: Path) -> Path:
    """Where the files lie."""
    return data_dir / "audits"


def audit_file(data_dir: Path, height: int, block_hash: bytes) -> Path:
    """The file of one block; its name sorts by height."""
    return folder_of_audits(data_dir) / f"{height:010d}-{to_display(block_hash)}.jsonl"


class _CutShort(Exception):
    """The daemon ends."""


class AuditWriter(Loop[WriteAudit]):
    """Writes a file a turn. `open_reader` opens the books for reading, for one look each time."""

    limits = patient(TURN_S)

    def __init__(self, data_dir: Path, open_reader: Callable[[], Reader]) -> None:
        super().__init__("audits")
        self._data_dir = data_dir
        self._open_reader = open_reader
        self._has_looked = False            # at all settled blocks, for those whose file is missing
        self._waiting: dict[bytes, None] = {}
        self._failed: dict[bytes, None] = {}        # asked for again after a minute
        self._is_troubled = False
        self._is_cut_short = False

    def turn(self, items: list[WriteAudit]) -> float:
        """Write one file of those that wait: each may take seconds, and after a loss of the folder there are many.

        What a disk or books refuse is tried again after a minute.
        """
        self._waiting |= dict.fromkeys(item.block_hash for item in items)
        if not self._waiting:
            self._waiting, self._failed = self._failed, {}
        if self._has_looked and not self._waiting:
            return math.inf
        try:
            with self._open_reader() as reader:
                self._look(reader)
                reason = self._write_next(reader)
        except LedgerError as exc:
            self._complain(str(exc))
            return self._monotonic() + RETRY_S
        self._complain(reason)
        if self._waiting:
            return -math.inf
        return self._monotonic() + RETRY_S if self._failed else math.inf

    def stop(self) -> None:
        """Any thread: end soon. A file that is not whole is written at the next start."""
        self._is_cut_short = True
        super().stop()

    def _complain(self, reason: str) -> None:
        """Say it once, until nothing is refused any more."""
        if reason and not self._is_troubled:
            say(log, logging.WARNING, "audit.failed", reason=reason, folder=folder_of_audits(self._data_dir),
                meaning="the export of a settled block is not written yet; it is tried again each minute")
        self._is_troubled = bool(reason or self._failed)

    def _write_next(self, reader: Reader) -> str:
        """Write the file of the next block, if it needs one; why that failed, or nothing."""
        block_hash = next(iter(self._waiting), None)
        if block_hash is None:
            return ""
        del self._waiting[block_hash]
        try:
            self._write(reader, block_hash)
        except _CutShort:
            return ""
        except (OSError, LedgerError) as exc:
            self._failed[block_hash] = None
            return str(exc)
        return ""

    def _look(self, reader: Reader) -> None:
        """Once: the settled blocks that have no file."""
        if not self._has_looked:
            self._waiting |= {position.block.hash: None for position in reader.payout_blocks((PayoutState.SETTLED,))
                              if self._is_missing(position)}
            self._has_looked = True

    def _write(self, reader: Reader, block_hash: bytes) -> None:
        position = reader.payout_block(block_hash)
        if position is None or not self._is_missing(position):
            return
        path = self._file_of(position)
        make_folder(path.parent)
        with replacing(path) as file:
            file.writelines(self._lines(reader, position))
        say(log, logging.INFO, "audit.written", height=position.block.height, hash=to_display(block_hash), file=path)

    def _is_missing(self, position: BlockPosition) -> bool:
        """Whether a file is to be written: a block that was not shared by weights has none."""
        return bool(position.block.snapshot_id) and not self._file_of(position).exists()

    def _lines(self, reader: Reader, position: BlockPosition) -> Iterator[bytes]:
        for line in export_lines(reader, position):
            if self._is_cut_short:
                raise _CutShort
            yield f"{line}\n".encode("ascii")

    def _file_of(self, position: BlockPosition) -> Path:
        return audit_file(self._data_dir, position.block.height, position.block.hash)

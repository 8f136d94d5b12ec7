"""The block journal: a found block lies here until the chain is sure to keep it (docs/decisions.rst#decision-journal).

One file per block in `data_dir/blocks/`, `HEIGHT-HASH.block`: a line with a checksum, what is known of the block as
JSON, the block, and after it one line of JSON for each outcome that the log has told. A file is written whole and then
named, so that a killed process loses no block that has its name; the fsync comes after that, so that a power cut loses
none that `sync` has answered. Outcomes are appended without fsync: one that a power cut takes, or half of one, only
means that a replay tells it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from warppool.bitcoin.block import block_hash as hash_of_header
from warppool.bitcoin.coinbase import MAX_HEIGHT
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.header import HEADER_SIZE
from warppool.errors import ConfigError
from warppool.files import make_folder, open_own
from warppool.mining.payee import Terms
from warppool.node.items import Verdict
from warppool.node.journalterms import payment_fields, terms_of
from warppool.say import say

log = logging.getLogger("warppool")

JOURNAL = "blocks"
"""The journal's folder in `data_dir`."""

_MAGIC = b"warppool-block"
_FORMAT = b"1"
_MAX_FIRST_LINE = 128                   # bytes: magic, format, 64 hex digits, two sizes
_MAX_FILE = 16 * 1024 * 1024            # bytes; a block has at most 4 MB, so more is not ours
_BLOCK, _NEW, _DAMAGED, _REFUSED = ".block", ".new", ".damaged", ".refused"


class Told(NamedTuple):
    """An outcome that the log has told; `node` is the node's number."""

    node: int
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A found block as the journal keeps it.

    `data` is the serialized block; if not `is_whole`, only header and coinbase transaction, for a node that keeps the
    transactions of its template `template_id` (Template Distribution Protocol, SubmitSolution). `node` is the number of
    the template provider that the template is of; None for any other node. `terms` say whom the coinbase pays, where
    that is not `payout_address` alone; `finder` is the account of the channel that found the block, where it has one.
    """

    block_hash: bytes                   # 32 bytes, header order
    height: int
    user: str                           # who found it, the whole worker name
    time: float                         # Unix seconds
    template_id: int
    is_whole: bool
    data: bytes
    told: tuple[Told, ...] = ()
    node: int | None = None
    finder: str = ""
    terms: Terms | None = None

    @property
    def name(self) -> str:
        """The start of its file's name, which sorts by height."""
        return f"{self.height:010d}-{to_display(self.block_hash)}"


class Damaged(ValueError):
    """A file of the journal does not hold what was written."""


class Journal:
    """The files of `directory`; one thread at a time owns it (thread `journal`, once it runs).

    Storing a block has three steps: `write`, `sync` of its file, and `sync_directory`, which many blocks share.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._names: dict[bytes, str] = {}          # by hash: the entries whose file has its name
        self._parts: set[bytes] = set()             # of these: the ones that are not whole

    def load(self) -> list[Entry]:
        """All entries by height, then by the time they were found; makes the directory if there is none.

        A file that cannot be read is said and set aside, and so is a temporary one that is torn; a temporary one that
        is whole is a block and becomes an entry. ConfigError if the directory itself cannot be used.
        """
        try:
            if not self.directory.exists():
                make_folder(self.directory)
                _sync_directory(self.directory.parent)
            paths = sorted(self.directory.iterdir())
        except OSError as exc:
            raise ConfigError(f"the block journal {self.directory} cannot be used: {exc.strerror}") from exc
        entries = [entry for path in paths if (entry := self._load_one(path)) is not None]
        return sorted(entries, key=lambda entry: (entry.height, entry.time))

    def write(self, entry: Entry) -> None:
        """Write the whole file and name it, without waiting for the disk; an entry that has its file keeps it, unless
        the block is whole only now.

        OSError: the disk refused, and no half of the entry is left; it may be written again.
        """
        if entry.block_hash in self._names and not (entry.is_whole and entry.block_hash in self._parts):
            return
        try:
            _write(self._path(entry.name, _NEW), _serialize(entry))
            os.replace(self._path(entry.name, _NEW), self._path(entry.name, _BLOCK))
        except OSError:
            with suppress(OSError):
                self._path(entry.name, _NEW).unlink(missing_ok=True)
            raise
        self._know(entry)

    def _know(self, entry: Entry) -> None:
        """The entry has its file."""
        self._names[entry.block_hash] = entry.name
        if entry.is_whole:
            self._parts.discard(entry.block_hash)
        else:
            self._parts.add(entry.block_hash)

    def sync(self, block_hash: bytes) -> None:
        """Wait until the disk has the file of an entry, if it is still there; its name needs `sync_directory` as well.

        OSError: the disk may have lost what was written. The entry then counts as not written.
        """
        if (name := self._names.get(block_hash)) is None:
            return
        try:
            _sync(self._path(name, _BLOCK), os.O_RDWR)
        except OSError:
            del self._names[block_hash]
            raise

    def sync_directory(self) -> None:
        """Wait until the disk has the names of all that was written; OSError if it refuses."""
        _sync_directory(self.directory)

    def tell(self, block_hash: bytes, told: Told) -> None:
        """Append an outcome to the entry, so that no replay tells it again; OSError if the disk refuses."""
        if (name := self._names.get(block_hash)) is None:
            return
        line = _outcome_line(told)
        descriptor = os.open(self._path(name, _BLOCK), os.O_WRONLY | os.O_APPEND)
        try:
            _write_all(descriptor, line)
        finally:
            os.close(descriptor)

    def remove(self, block_hash: bytes) -> None:
        """Forget an entry: the chain keeps the block without us. OSError if the disk refuses; it may then come back."""
        if (name := self._names.pop(block_hash, None)) is not None:
            self._path(name, _BLOCK).unlink(missing_ok=True)

    def set_aside(self, block_hash: bytes) -> Path | None:
        """Keep a block that no node wants out of replays, for people to look at: its new path, None if it has none."""
        if (name := self._names.pop(block_hash, None)) is None:
            return None
        os.replace(self._path(name, _BLOCK), self._path(name, _REFUSED))
        return self._path(name, _REFUSED)

    def __contains__(self, block_hash: bytes) -> bool:
        """True if the entry was written."""
        return block_hash in self._names

    def _path(self, name: str, suffix: str) -> Path:
        return self.directory / (name + suffix)

    def _load_one(self, path: Path) -> Entry | None:
        if path.suffix not in (_BLOCK, _NEW):
            return None
        try:
            entry = _read(path)
            if path.stem != entry.name:
                raise Damaged("its name does not fit what it holds")
            if path.suffix == _NEW:
                os.replace(path, self._path(entry.name, _BLOCK))    # the crash came before the name
                _sync_directory(self.directory)
        except (OSError, Damaged) as exc:
            _set_damaged_aside(path, exc)
            return None
        if entry.block_hash in self._names:                         # written anew after its directory's fsync failed
            return None
        self._know(entry)
        return entry


def times_found(directory: Path) -> tuple[tuple[bytes, float], ...]:
    """Hash and Unix time of each block of a journal; nothing is changed, and what cannot be read is left out."""
    times = []
    with suppress(OSError):
        for path in directory.iterdir():
            if path.suffix in (_BLOCK, _NEW):
                with suppress(OSError, Damaged):
                    entry = _read(path)
                    times.append((entry.block_hash, entry.time))
    return tuple(times)


def _serialize(entry: Entry) -> bytes:
    meta = json.dumps({
        "height": entry.height,
        "hash": to_display(entry.block_hash),
        "user": entry.user,                         # ASCII by escapes, lone surrogates too
        "time": entry.time,
        "template_id": entry.template_id,
        "is_whole": entry.is_whole,
        "node": entry.node,
        **payment_fields(entry.finder, entry.terms),
    }).encode("ascii")
    body = meta + entry.data
    digest = hashlib.sha256(body).hexdigest().encode("ascii")
    first_line = b"%b %b %b %d %d\n" % (_MAGIC, _FORMAT, digest, len(meta), len(entry.data))
    return b"".join((first_line, body, *map(_outcome_line, entry.told)))


def _outcome_line(told: Told) -> bytes:
    """It opens with a line feed too, so that a torn line before it spoils nothing."""
    line = json.dumps({"node": told.node, "verdict": told.verdict.value, "reason": told.reason})
    return f"\n{line}\n".encode("ascii")


def _read(path: Path) -> Entry:
    """OSError if it cannot be read, Damaged if it is not what `_serialize` made."""
    with path.open("rb") as file:
        content = file.read(_MAX_FILE + 1)
    if len(content) > _MAX_FILE:
        raise Damaged(f"it has more than {_MAX_FILE} bytes")
    first_line = content[:_MAX_FIRST_LINE].partition(b"\n")[0]
    words = first_line.split(b" ")
    if words[0] != _MAGIC or len(words) != 5 or not words[3].isdigit() or not words[4].isdigit():
        raise Damaged("it does not begin as an entry does")
    if words[1] != _FORMAT:
        raise Damaged(f"its format is {words[1][:8]!r}, and this version knows only {_FORMAT!r}")
    start, meta_size, data_size = len(first_line) + 1, int(words[3]), int(words[4])
    body = content[start:start + meta_size + data_size]
    if len(body) < meta_size + data_size:
        raise Damaged("it ends before the block does")
    if hashlib.sha256(body).hexdigest().encode("ascii") != words[2]:
        raise Damaged("its checksum does not hold")
    entry = _entry(body[:meta_size], body[meta_size:])
    return replace(entry, told=tuple(_told(content[start + len(body):].split(b"\n"))))


def _entry(meta: bytes, data: bytes) -> Entry:
    try:
        fields = json.loads(meta)
        entry = Entry(
            block_hash=from_display(fields["hash"]),
            height=int(fields["height"]),
            user=str(fields["user"]),
            time=float(fields["time"]),
            template_id=int(fields["template_id"]),
            is_whole=bool(fields["is_whole"]),
            data=data,
            node=None if fields.get("node") is None else int(fields["node"]),   # earlier releases wrote none
            finder=str(fields.get("finder", "")),
            terms=terms_of(fields.get("terms")),
        )
        is_sound = 0 <= entry.height <= MAX_HEIGHT and hash_of_header(data[:HEADER_SIZE]) == entry.block_hash
    except (ValueError, KeyError, TypeError) as exc:
        raise Damaged(f"its description cannot be read: {exc!r}") from exc
    if not is_sound:
        raise Damaged("its hash or height is not that of its block")
    return entry


def _told(lines: Iterable[bytes]) -> Iterable[Told]:
    """The outcomes that can be read: a torn line is the end of what a crash or a full disk cut short."""
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            fields = json.loads(line)
            yield Told(int(fields["node"]), Verdict(fields["verdict"]), str(fields["reason"]))


def _set_damaged_aside(path: Path, why: Exception) -> None:
    kept = path.with_name(path.name + _DAMAGED)
    with suppress(OSError):                         # a disk that cannot rename is no reason not to start
        os.replace(path, kept)
    # A torn temporary file is what a crash leaves of a block that nobody was told of yet. A torn entry is a fault of
    # the disk, or what a power cut left of a block whose fsync was still under way.
    level, event = (logging.WARNING, "journal.torn") if path.suffix == _NEW else (logging.ERROR, "journal.damaged")
    reason = (isinstance(why, OSError) and why.strerror) or str(why)
    say(log, level, event, file=str(kept if kept.exists() else path), reason=reason,
        cure="the start goes on without it; keep the file if the chain lacks a block of yours")


def _write(path: Path, content: bytes) -> None:
    descriptor = open_own(path, os.O_WRONLY | os.O_TRUNC)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view):]


def _sync_directory(directory: Path) -> None:
    _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

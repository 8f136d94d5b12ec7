"""Thread `journal`: it alone touches the disk of the block journal, so that a slow disk delays no block.

A block is written and named at once, between any two waits for the disk: from then on a killed process does not lose
it. The fsyncs follow, one file after the other and then one for the directory; blocks that came meanwhile are written
first and synced in the next round. The submitter hears `Kept` when a power cut cannot take the block any more.

What the journal holds of outcomes tells the next process what need not be said again. So it waits until the log's lines
about it are written: a process that is killed takes with it those that still wait (service/logwriter.py).
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from warppool.bitcoin.hashes import to_display
from warppool.loop import Loop, Report, patient
from warppool.node.journal import Entry, Journal, Told
from warppool.say import say

log = logging.getLogger("warppool")

RETRY_S = 1.0               # between two tries to journal what the disk refused
STOP_PATIENCE_S = 1.0       # for fsyncs at a stop: what is written lies with the kernel, which survives our end
LOG_LOOK_S = 0.02           # from one look at how far the log is to the next
DISK_TIMEOUT_S = 10.0       # no disk should need longer for one step; after that long a share is refused, too
CURE = "free space on the disk of data_dir or mend its permissions; the journal is tried again every second"


@dataclass(frozen=True, slots=True)
class Keep:
    """Journal this block; the answers are `Kept`, or `Unkept` and later `Kept`."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class NoteOutcome:
    """Add to the entry what the log has told, so that no replay tells it again."""

    block_hash: bytes
    told: Told


@dataclass(frozen=True, slots=True)
class Forget:
    """The chain keeps the block without us."""

    block_hash: bytes


@dataclass(frozen=True, slots=True)
class SetAside:
    """No node wants the block: keep it out of replays, for people to look at."""

    entry: Entry


Housekeeping = NoteOutcome | Forget | SetAside


@dataclass(frozen=True, slots=True)
class Kept:
    """To the submitter: the disk has these blocks for good."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """To the submitter: the journal has this block, and keeps it if this process is killed; the disk is still busy."""

    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Unkept:
    """To the submitter, once for each trouble: the disk refuses this block; it is tried again."""

    block_hash: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class JournalReport(Report):
    """Blocks: `kept` since the start by the disk for good, `unsynced` ones wait for their fsync, `unwritten` ones are
    refused by the disk.
    """

    kept: int
    unsynced: int
    unwritten: int


LogProgress = Callable[[], tuple[int, int]]


def log_at_once() -> tuple[int, int]:
    """The progress of a log whose lines are written as they are given."""
    return 0, 0


class JournalThread(Loop[Keep | Housekeeping]):
    """Owns `journal` from `run` on; answers go to `submitter`.

    `log_progress` tells how much has been given to the log by now, and how much of it is written.
    """

    limits = patient(DISK_TIMEOUT_S)

    def __init__(self, journal: Journal, submitter: queue.Queue[Any], *, log_progress: LogProgress = log_at_once,
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__("journal", monotonic=monotonic)
        self._journal = journal
        self._submitter = submitter
        self._kept = 0
        self._entries: dict[bytes, Entry] = {}          # not kept yet, in the order of the finds
        self._unwritten: dict[bytes, None] = {}         # of these: those that the disk refused
        self._unsynced: deque[bytes] = deque()          # this round: files that wait for their fsync
        self._next_round: deque[bytes] = deque()
        self._unnamed: list[bytes] = []                 # this round: files that wait for the fsync of the directory
        self._log_progress = log_progress
        self._unsaid: deque[tuple[int, Housekeeping]] = deque()     # until so much of the log is written
        self._retry_at = 0.0
        self._is_refused = False                        # the disk refuses housekeeping, and that is said
        self._stop_at = math.inf

    def load(self) -> list[Entry]:
        """All entries of the journal, before the thread runs; what a killed process left unsynced is synced by it.

        ConfigError if the journal's directory cannot be used.
        """
        entries = self._journal.load()
        self._entries.update((entry.block_hash, entry) for entry in entries)
        self._next_round.extend(self._entries)
        return entries

    @property
    def directory(self) -> str:
        """Where the entries lie."""
        return str(self._journal.directory)

    def turn(self, items: list[Keep | Housekeeping]) -> float:
        """Do what came, and then one step that waits for the disk."""
        for item in items:
            self.guard(self._do, item)
        self.guard(self._keep_house)
        if self.is_stopping and self._stop_at == math.inf:
            self._stop_at = self._monotonic() + STOP_PATIENCE_S
        if self._unwritten and (self._monotonic() >= self._retry_at or self.is_stopping):
            self.guard(self._write_again)
        self.guard(self._sync_one)
        return self._due()

    def is_done(self) -> bool:
        """What the disk has not done within a second after STOP is left to the next start."""
        return self._monotonic() >= self._stop_at or not (self._has_unsynced() or self._unsaid)

    def report(self) -> JournalReport:
        """What the disk has, and what it still has to do."""
        return JournalReport(*self.vitals(), kept=self._kept, unwritten=len(self._unwritten),
                             unsynced=len(self._unsynced) + len(self._next_round) + len(self._unnamed))

    def _has_unsynced(self) -> bool:
        return bool(self._unsynced or self._next_round or self._unnamed)

    def _due(self) -> float:
        """At once while the disk has something to do; else at the next try of what it refused."""
        if self._has_unsynced() or (self.is_stopping and not self._unsaid):
            return -math.inf
        due = max(self._retry_at, self._monotonic() + 0.001) if self._unwritten else math.inf
        return min(due, self._monotonic() + LOG_LOOK_S) if self._unsaid else due

    def _do(self, item: Keep | Housekeeping) -> None:
        if isinstance(item, Keep):
            self._entries[item.entry.block_hash] = item.entry
            self._write(item.entry)
        else:
            self._unsaid.append((self._log_progress()[0], item))

    def _keep_house(self) -> None:
        """Do what the log has said by now."""
        while self._unsaid and self._unsaid[0][0] <= self._log_progress()[1]:
            self.guard(self._settle, self._unsaid.popleft()[1])

    def _settle(self, item: Housekeeping) -> None:
        match item:
            case NoteOutcome(block_hash, told):
                self._note(block_hash, told)
            case Forget(block_hash):
                self._give_up(block_hash)
                self._try_on_disk(lambda: self._journal.remove(block_hash))
            case SetAside(entry):
                self._give_up(entry.block_hash)
                self._try_on_disk(lambda: self._set_aside(entry))

    # Blocks that are to be kept.

    def _write(self, entry: Entry) -> None:
        try:
            self._journal.write(entry)
        except OSError as exc:
            self._refuse(entry.block_hash, exc)
        else:
            self._unwritten.pop(entry.block_hash, None)
            self._next_round.append(entry.block_hash)
            self._submitter.put(Written(entry.block_hash))

    def _write_again(self) -> None:
        self._retry_at = self._monotonic() + RETRY_S
        for block_hash in list(self._unwritten):
            self._write(self._entries[block_hash])

    def _sync_one(self) -> None:
        """One fsync: of the next file, or of the directory once all files of this round are on the disk."""
        if self._unsynced:
            self._sync_file(self._unsynced.popleft())
        elif self._unnamed:
            self._sync_directory()
        elif self._next_round:
            self._unsynced, self._next_round = self._next_round, deque()
            self._sync_file(self._unsynced.popleft())

    def _sync_file(self, block_hash: bytes) -> None:
        if block_hash not in self._entries:                 # forgotten meanwhile
            return
        try:
            self._journal.sync(block_hash)
        except OSError as exc:
            self._refuse(block_hash, exc)
        else:
            self._unnamed.append(block_hash)

    def _sync_directory(self) -> None:
        named, self._unnamed = self._unnamed, []
        try:
            self._journal.sync_directory()
        except OSError as exc:
            for block_hash in named:
                self._refuse(block_hash, exc)
            return
        kept = tuple(block_hash for block_hash in named if self._entries.pop(block_hash, None) is not None)
        self._kept += len(kept)
        if kept:
            self._submitter.put(Kept(kept))

    def _refuse(self, block_hash: bytes, exc: OSError) -> None:
        """The disk refuses a block: say so once, and try again later."""
        if block_hash in self._entries:
            if block_hash not in self._unwritten:
                self._submitter.put(Unkept(block_hash, exc.strerror or str(exc)))
                self._retry_at = self._monotonic() + RETRY_S
            self._unwritten[block_hash] = None

    # Housekeeping.

    def _note(self, block_hash: bytes, told: Told) -> None:
        if (entry := self._entries.get(block_hash)) is not None:
            self._entries[block_hash] = replace(entry, told=(*entry.told, told))    # in case it is written anew
        if block_hash in self._journal:
            self._try_on_disk(lambda: self._journal.tell(block_hash, told))

    def _give_up(self, block_hash: bytes) -> None:
        self._entries.pop(block_hash, None)
        self._unwritten.pop(block_hash, None)

    def _set_aside(self, entry: Entry) -> None:
        if (path := self._journal.set_aside(entry.block_hash)) is not None:
            say(log, logging.WARNING, "block.set_aside", height=entry.height, hash=to_display(entry.block_hash),
                file=str(path))

    def _try_on_disk(self, work: Callable[[], object]) -> None:
        """Do what is only housekeeping in the journal; a refusal is said once, until it works again."""
        try:
            work()
        except OSError as exc:
            if not self._is_refused:
                say(log, logging.WARNING, "journal.refused", reason=exc.strerror,
                    consequence="a restart tells outcomes again", cure=CURE)
            self._is_refused = True
        else:
            self._is_refused = False

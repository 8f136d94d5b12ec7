"""An embedded regtest chain on libbitcoinkernel (extra `regtest`): opens, judges blocks, names its tip, flushes.

The kernel writes what it knows to the disk only when it is closed, so a killed process loses all since the last
`flush`. What it says of a block comes by its callbacks and its log: the return value of `process_block` is True for
blocks that break consensus, too. Objects of the kernel stay inside this module, since one that outlives the kernel
points nowhere.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from warppool.bitcoin.compactsize import decode_compact_size
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.transaction import parse_transaction
from warppool.errors import MissingExtra, NodeError
from warppool.files import make_folder, open_own
from warppool.node.items import Verdict

_CHECKED = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=([^,\n]*)")
_ERROR = re.compile(r"\[[a-z]+:error\] (.*)")
_MEDIAN_SPAN = 11               # blocks whose median time a new block must pass (consensus)
_KEPT_ERRORS = 3                # lines of the kernel's log that explain a failure


class ChainTip(NamedTuple):
    """The block at the top of the active chain; `median_time` in Unix seconds, `block_hash` in header order."""

    height: int
    block_hash: bytes
    nbits: int
    median_time: int


class Judged(NamedTuple):
    """What became of a block; `reason` is the kernel's word, as `bad-cb-amount`, and empty for an accepted one."""

    block_hash: bytes
    verdict: Verdict
    reason: str


def load_kernel() -> ModuleType:
    """The kernel's Python binding, imported here and nowhere else; MissingExtra if it is not installed."""
    try:
        import pbk
    except ImportError as exc:
        raise MissingExtra(
            "node source \"regtest\" needs the embedded chain: pip install 'warppool[regtest]'"
        ) from exc
    kernel: ModuleType = pbk
    return kernel


class Kernel:
    """The chain in one directory; made, used and closed by one thread."""

    def __init__(self, directory: Path) -> None:
        self._pbk = load_kernel()
        self._directory = directory.absolute()
        self._manager: Any = None
        self._chain: Any = None
        self._log: Any = None
        self._lock: int | None = None
        self._errors: deque[str] = deque(maxlen=_KEPT_ERRORS)
        self._reasons: dict[str, str] = {}      # by display hash: the word in the log, just before the callback
        self._judged: dict[bytes, Judged] = {}          # what one submit brought, in order; a later word replaces

    def open(self) -> None:
        """Load the chain from the directory, which is made if it is not there; NodeError says what the kernel said.

        A directory has one kernel at a time: a lock file in it says so.
        """
        pbk = self._pbk
        callbacks = pbk.ValidationInterfaceCallbacks(
            block_checked=self._block_checked,
            block_connected=self._block_connected,
            block_disconnected=self._block_disconnected,
        )
        try:
            make_folder(self._directory)
            self._lock = _lock(self._directory / "lock")
            self._listen_to_log()
            context = pbk.make_context(pbk.ChainType.REGTEST, callbacks)
            options = pbk.ChainstateManagerOptions(context, str(self._directory), str(self._directory / "blocks"))
            options.set_worker_threads_num(0)           # blocks are small: threads would cost more than they save
            self._manager = pbk.ChainstateManager(options)
            self._chain = self._manager.get_active_chain()
        except BlockingIOError as exc:
            raise NodeError(f"another process uses the embedded chain in {self._directory}: stop it first") from exc
        except (OSError, RuntimeError) as exc:
            self.close()
            raise NodeError(
                f"the embedded chain in {self._directory} does not open: {self._last_error() or exc}; "
                "free space on its disk, or move the directory away to begin a new chain"
            ) from exc

    def close(self) -> None:
        """Flush and let go of the directory; the kernel does not say if the flush fails, so open again and look."""
        self._chain = None
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.__exit__(None, None, None)          # destroys it now, whoever else holds a reference
        self._log = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def flush(self) -> None:
        """Put all that is known on the disk, by closing and opening; NodeError if it does not open again."""
        self.close()
        self.open()

    def submit(self, raw_block: bytes) -> list[Judged]:
        """Hand over a block; what became of it comes first, then the older blocks whose status it changed.

        A block that is known already is judged by where it stands. NodeError if the kernel has no verdict, which is its
        own trouble (a full disk) and says nothing of the block.
        """
        block_hash = double_sha256(raw_block[:HEADER_SIZE])
        block = self._parse(raw_block)
        if block is None:
            return [Judged(block_hash, Verdict.REFUSED, "decode-failed")]
        self._judged.clear()
        self._reasons.clear()
        self._errors.clear()
        has_failed = False
        try:
            self._manager.process_block(block)
        except self._pbk.ProcessBlockException:
            has_failed = True
        if block_hash not in self._judged:
            if has_failed:
                raise NodeError("the embedded chain has no verdict: " + (self._last_error() or "no reason given"))
            self._judged[block_hash] = self._status_of(block_hash)
        own = self._judged.pop(block_hash)
        return [own, *self._judged.values()]

    def knows(self, block_hash: bytes) -> bool:
        """True if the block is in the block tree, on the active chain or beside it."""
        return self._pbk.BlockHash(block_hash) in self._manager.block_tree_entries

    def is_active(self, block_hash: bytes) -> bool:
        """True if the block is on the active chain."""
        with suppress(KeyError):
            entry = self._manager.block_tree_entries[self._pbk.BlockHash(block_hash)]
            return entry in self._chain.block_tree_entries
        return False

    def tip(self) -> ChainTip:
        """The top of the active chain."""
        entry = self._chain.block_tree_entries[-1]
        height, header = entry.height, entry.block_header
        first = max(0, height - _MEDIAN_SPAN + 1)
        times = sorted(self._time_at(each) for each in range(first, height + 1))
        return ChainTip(height, bytes(entry.block_hash), header.bits, times[len(times) // 2])

    def tip_hash(self) -> bytes:
        """The hash (header order) of the tip alone, which is cheap."""
        return bytes(self._chain.block_tree_entries[-1].block_hash)

    def block_at(self, height: int) -> bytes:
        """The hash (header order) of the active chain's block at `height`; IndexError above the tip."""
        return bytes(self._chain.block_tree_entries[height].block_hash)

    def header_of(self, block_hash: bytes) -> tuple[int, bytes]:
        """(height, header) of a block that the kernel knows; NodeError for any other."""
        try:
            entry = self._manager.block_tree_entries[self._pbk.BlockHash(block_hash)]
            return entry.height, bytes(entry.block_header)
        except KeyError as exc:
            raise NodeError(f"the embedded chain does not know block {block_hash[::-1].hex()}") from exc

    def coinbase_of(self, block_hash: bytes) -> bytes:
        """The coinbase of a block that the kernel knows, as the block has it (with witness); NodeError if it has none.

        Read from the kernel's own files.
        """
        try:
            block = bytes(self._manager.blocks[self._manager.block_tree_entries[self._pbk.BlockHash(block_hash)]])
            _, start = decode_compact_size(block, HEADER_SIZE)
            return block[start:parse_transaction(block, start).end]
        except (KeyError, RuntimeError, ValueError) as exc:
            raise NodeError(f"the embedded chain does not give block {block_hash[::-1].hex()}: {exc}") from exc

    def _time_at(self, height: int) -> int:
        return int(self._chain.block_tree_entries[height].block_header.timestamp.timestamp())

    def _parse(self, raw_block: bytes) -> Any:
        with suppress(RuntimeError):
            block = self._pbk.Block(raw_block)
            if _is_exact(raw_block) or bytes(block) == raw_block:   # it overlooks bytes after the last transaction
                return block
        return None

    def _status_of(self, block_hash: bytes) -> Judged:
        """Where a block stands that nobody checked just now: a duplicate, or one that does not beat the tip."""
        if self.is_active(block_hash):
            return Judged(block_hash, Verdict.ACCEPTED, "duplicate")
        return Judged(block_hash, Verdict.SIDE, "inconclusive")

    # Callbacks run inside process_block, on its thread. What they raise is lost, so they only take notes.

    def _block_checked(self, _user_data: object, block: Any, state: Any) -> None:
        if state.validation_mode == self._pbk.ValidationMode.INVALID:
            block_hash = block.block_hash
            reason = self._reasons.get(str(block_hash)) or state.block_validation_result.name.lower()
            self._note(Judged(bytes(block_hash), Verdict.REFUSED, reason))

    def _block_connected(self, _user_data: object, block: Any, _entry: object) -> None:
        block_hash = bytes(block.block_hash)
        if block_hash in self._judged:          # a rival was tried in its place and failed: it stands as it stood
            del self._judged[block_hash]
        else:
            self._note(Judged(block_hash, Verdict.ACCEPTED, ""))

    def _block_disconnected(self, _user_data: object, block: Any, _entry: object) -> None:
        self._note(Judged(bytes(block.block_hash), Verdict.SIDE, "reorganized"))

    def _note(self, judged: Judged) -> None:
        self._judged[judged.block_hash] = judged

    def _listen_to_log(self) -> None:
        """Reasons stand in the log alone. Its settings are those of the process, and each connection hears it all."""
        pbk = self._pbk
        pbk.logging_set_options(pbk.LoggingOptions(log_timestamps=False, always_print_category_levels=True))
        pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        self._errors.clear()
        self._log = pbk.LoggingConnection(cb=self._heard)

    def _heard(self, line: str) -> None:
        if match := _CHECKED.search(line):
            self._reasons[match[1]] = match[2]
        elif match := _ERROR.search(line):
            self._errors.append(match[1].strip())

    def _last_error(self) -> str:
        return self._errors[-1] if self._errors else ""



def _is_exact(raw_block: bytes) -> bool:
    """True if the bytes are a header and as many transactions as it says: cheap, and False where in doubt."""
    with suppress(ValueError, IndexError):
        count, end = decode_compact_size(raw_block, HEADER_SIZE)
        for _ in range(count):
            end = parse_transaction(raw_block, end).end
        return end == len(raw_block)
    return False


def _lock(path: Path) -> int:
    """The descriptor that holds the lock of this directory; BlockingIOError if someone else has it.

    LevelDB locks by fcntl, and a second try from the same process lets that lock go, so ours comes first.
    """
    descriptor = open_own(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


"""Jobs of an upstream in a machine's words: which it was told, under which key, difficulty and version mask.

A difficulty and a version mask go out right before the notify from which on they count. Machines of one worker hold
equal parts of their jobs once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from warppool.bitcoin.coinbase import height_of
from warppool.bitcoin.target import difficulty_from_target, target_from_difficulty
from warppool.events import Now
from warppool.mining.channeljob import MAX_JOBS_PER_TIP
from warppool.mining.job import VERSION_MASK
from warppool.sv1.jobs import notify_body, notify_line
from warppool.sv1.messages import notification, result
from warppool.sv1.words import difficulty_text
from warppool.sv2.work import Work
from warppool.translate.channel import UpstreamChannel
from warppool.translate.pace import Pace
from warppool.translate.upstream import network_target_of

KEEP_ALIVE_S = 30.0
"""Silence after which a machine gets its job once more: firmware hangs up after 60 s without a notify."""

MAX_KEPT_SIZE = 128 * 1024
"""Bytes of coinbases and merkle paths in the jobs of one tip that are kept for a machine, the oldest dropped first.
That is room for 256 jobs of a usual pool, and for eight of the largest that are passed on."""

JOBS_AT_ONCE, JOB_EVERY_S = 4, 1.0
"""Jobs of one tip that a machine gets at once, and how fast more may follow: a pool with more is passed on with the
newest alone. A job of a new tip never waits."""

MAX_NTIME = 0xFFFFFFFF
"""The last time that a header can have."""

EXTRANONCE2_SIZES = (8, 4)
"""The sizes of an extranonce2 that all machines can do: some compute garbage for 5 to 7, and some end at 8."""

_SCRIPT_AT = 42
"""Where the scriptSig begins in a stripped coinbase: 4 version, 1 count, 36 outpoint, 1 length."""

T = TypeVar("T")


class MachineJob:
    """A job as a machine has it; `size` is what it takes of our memory at most."""

    __slots__ = ("channel", "difficulty", "height", "network_target", "ntime", "received_at", "size", "tip", "work")

    def __init__(self, channel: UpstreamChannel, work: Work, now: float) -> None:
        self.channel = channel
        self.work = work
        self.tip = channel.tip
        self.difficulty = difficulty_of(work.target)
        self.height = height_at(work.coinbase_tx_prefix)
        self.network_target = network_target_of(work.nbits)
        self.size = len(work.coinbase_tx_prefix) + len(work.coinbase_tx_suffix) + 32 * len(work.merkle_path)
        self.received_at = now                  # monotonic seconds
        self.ntime = work.min_ntime             # where the machine starts to count

    @property
    def is_stale(self) -> bool:
        """The tip of its channel has moved on."""
        return self.tip != self.channel.tip


class MachineJobs:
    """What one machine was told: its jobs, and what it searches them with."""

    __slots__ = ("_has_asked", "_is_clean_due", "_kept_size", "_next_key", "_pace", "again_at", "announced", "easiest",
                 "extranonce", "mask", "newest", "notified_at", "of_last_tip", "of_tip", "waiting")

    def __init__(self) -> None:
        self.extranonce: tuple[bytes, int] | None = None    # extranonce1 and the size of extranonce2, as it was told
        self.announced = 0                      # the target of the last set_difficulty, 0 for none yet
        self.easiest = 0                        # the easiest of those that it may believe in, on any job of this tip
        self.mask: int | None = None            # the version bits that it believes it may roll, if it has asked
        self.newest: MachineJob | None = None   # the last job that it got
        self.notified_at = math.inf             # monotonic seconds
        self.waiting: Work | None = None        # the upstream's newest, until the machine gets it
        self.again_at = math.inf                # when to go on with what came too fast: jobs, preferences
        self._has_asked = False                 # the configure at hand asks for version bits
        self._is_clean_due = True               # the next notify tells it to drop what it has
        self._next_key = 1
        self.of_tip: dict[int, MachineJob] = {}         # jobs of this tip by their keys
        self.of_last_tip: dict[int, MachineJob] = {}    # ... and of the tip before: known, and stale
        self._kept_size = 0                     # of those of this tip
        self._pace = Pace(JOBS_AT_ONCE, JOB_EVERY_S)

    def forget(self) -> None:
        """The work is worth nothing any more, nor is what the machine holds of it."""
        self.newest = None
        self.waiting = None
        self.again_at = math.inf
        self.notified_at = math.inf
        self._is_clean_due = True

    def tell_extranonce(self, channel: UpstreamChannel) -> None:
        """The machine searches where `channel` does, and gets its work anew."""
        self.extranonce = space_of(channel.extranonce_prefix, channel.extranonce_size)
        self.announced = 0
        self._is_clean_due = True

    def subscription(self, request_id: bytes, session_id: bytes) -> bytes:
        """The answer to a subscribe: the search space, which it has been told of."""
        assert self.extranonce is not None
        session, (extranonce1, size) = session_id.hex(), self.extranonce
        return result(request_id, [[["mining.set_difficulty", session], ["mining.notify", session]],
                                   extranonce1.hex(), size])

    def fits(self) -> bool:
        """The machine searches already where the work that waits is to be searched."""
        work = self.waiting
        return work is None or self.extranonce == space_of(work.extranonce_prefix, work.extranonce_size)

    def is_too_soon(self, channel: UpstreamChannel, now: float) -> bool:
        """The work that waits follows others of its tip too fast: it gets its turn at `again_at`."""
        newest = self.newest
        if self.waiting is None or newest is None or newest.channel is not channel or newest.is_stale or (
                not self.announced):
            return False
        next_at = self._pace.next_at(now)
        if next_at <= now:
            return False
        self.again_at = min(self.again_at, next_at)
        return True

    def deliver(self, channel: UpstreamChannel, mask: int, now: Now) -> list[bytes]:
        """The lines that bring the work that waits; without any, the newest job again where the machine searches anew.

        `mask` has the version bits that the machine asked for.
        """
        work, self.waiting = self.waiting, None
        if work is None:
            return [] if self.announced else self.again(mask, now)
        if self.newest is None or self.newest.channel is not channel or self.newest.is_stale:
            self.of_last_tip, self.of_tip = self.of_tip, {}
            self._kept_size = 0
            self.easiest = self.announced
            self._is_clean_due = True
        self._pace.take(now.monotonic)
        lines = []
        space = space_of(work.extranonce_prefix, work.extranonce_size)
        if self.extranonce != space:
            extranonce1, size = self.extranonce = space
            lines.append(notification("mining.set_extranonce", extranonce1.hex(), size))
            self._is_clean_due = True
        return [*lines, *self._notify(MachineJob(channel, _lean(work), now.monotonic), mask, now)]

    def again(self, mask: int, now: Now) -> list[bytes]:
        """The lines that bring the newest job once more, under a new key and a time of its own.

        Machines search from the start again, and with another time they find other shares.
        """
        last = self.newest
        if last is None:
            return []
        job = MachineJob(last.channel, last.work, last.received_at)
        elapsed_s = int(now.monotonic - last.received_at)
        job.ntime = min(max(last.ntime + 1, last.work.min_ntime + elapsed_s), MAX_NTIME)
        return self._notify(job, mask, now)

    def ask_for_bits(self) -> None:
        """The configure at hand asks for version bits."""
        self._has_asked = True

    def roll(self, mask: int) -> list[bytes]:
        """The machine believes that it has the version bits that it asked for: say so if its job allows fewer."""
        if not self._has_asked:
            return []
        self._has_asked = False
        self.mask = mask if mask else None
        return self._set_mask(self.newest.work, mask) if self.newest is not None else []

    def difficulty(self, target: int, network_target: int = 1) -> list[bytes]:
        """The difficulty, where the machine does not know it; it counts from the next notify.

        `target` is the upstream's; `network_target` is 1 where it is not known yet.
        """
        target = announced_target(target, network_target)
        if target == self.announced:
            return []
        self.announced = target
        self.easiest = max(self.easiest, target)
        return [b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % difficulty_text(target).encode()]

    def _set_mask(self, work: Work, mask: int) -> list[bytes]:
        """The version bits that may be rolled, where the machine believes otherwise."""
        allowed = mask & VERSION_MASK & work.version_mask
        if self.mask is None or allowed == self.mask:
            return []
        self.mask = allowed
        return [notification("mining.set_version_mask", f"{allowed:08x}")]

    def _notify(self, job: MachineJob, mask: int, now: Now) -> list[bytes]:
        key, self._next_key = self._next_key, self._next_key + 1
        self._kept_size += job.size
        while self.of_tip and (len(self.of_tip) >= MAX_JOBS_PER_TIP or self._kept_size > MAX_KEPT_SIZE):
            self._kept_size -= self.of_tip.pop(next(iter(self.of_tip))).size
        self.of_tip[key] = self.newest = job
        self.notified_at = now.monotonic
        is_clean, self._is_clean_due = self._is_clean_due, False
        work = job.work
        body = _body(work.prev_hash, work.coinbase_tx_prefix, work.coinbase_tx_suffix, work.merkle_path, work.version,
                     work.nbits)
        return [*self._set_mask(work, mask), *self.difficulty(work.target, job.network_target),
                notify_line(key, body, job.ntime, is_clean=is_clean)]


@lru_cache(maxsize=64)
def _body(prev_hash: bytes, head: bytes, tail: bytes, path: tuple[bytes, ...], version: int, nbits: int) -> bytes:
    """Channels of one pool differ in nothing that a notify says but its key: its words are found once."""
    return notify_body(prev_hash, head, tail, path, version, nbits)


@lru_cache(maxsize=512)
def _same(value: T) -> T:
    """The first value equal to this one, in the place of a copy for each machine."""
    return value


def _lean(work: Work) -> Work:
    """`work` with the parts that it has in common with other machines' held once; they are nine tenths of it."""
    return replace(work, prev_hash=_same(work.prev_hash), coinbase_tx_prefix=_same(work.coinbase_tx_prefix),
                   coinbase_tx_suffix=_same(work.coinbase_tx_suffix), merkle_path=_same(work.merkle_path))


@lru_cache(maxsize=256)
def difficulty_of(target: int) -> float:
    """What a share under `target` is credited with."""
    return float(difficulty_from_target(target))


@lru_cache(maxsize=256)
def announced_target(target: int, network_target: int) -> int:
    """What a machine is told of a job with `target` upstream: harder than neither, and of whole difficulty from 1 up.

    Some firmware reads a difficulty as a whole number. It would find shares under the next easier one, and those above
    `target` are filtered here. A hash under the network's target is a block, whatever target the upstream wants.
    """
    easier = max(target, network_target)
    difficulty = difficulty_from_target(easier)
    return easier if difficulty < 1 else target_from_difficulty(math.floor(difficulty))


def space_of(prefix: bytes, size: int) -> tuple[bytes, int]:
    """What a machine is told of its extranonce, where the upstream gave `prefix` and `size` bytes to roll, 4 or more.

    Extranonce1, and the size of extranonce2, which is 8 or 4: what is more stands as zeros behind the prefix.
    """
    rolled = next(each for each in EXTRANONCE2_SIZES if each <= size)
    return prefix + bytes(size - rolled), rolled


@lru_cache(maxsize=64)
def height_at(coinbase_tx_prefix: bytes) -> int:
    """The height that the coinbase begins with, for the books; 0 where none can be read."""
    try:
        return height_of(coinbase_tx_prefix[_SCRIPT_AT:])
    except ValueError:
        return 0

"""Jobs of an upstream in a machine's words: which were given out, under which key, difficulty and version mask.

A difficulty and a version mask go out right before the notify from which on they count. Machines of one worker hold
equal parts of their jobs once.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from warppool.bitcoin.coinbase import height_of
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.events import Now
from warppool.mining.channel import MAX_JOBS_PER_TIP
from warppool.mining.job import VERSION_MASK
from warppool.sv1.jobs import notify_body, notify_line
from warppool.sv1.messages import notification
from warppool.sv1.words import difficulty_text
from warppool.sv2.client import Work

if TYPE_CHECKING:
    from warppool.translate.channel import Channel

KEEP_ALIVE_S = 30.0
"""Silence after which a machine gets its job once more: firmware hangs up after 60 s without a notify."""

_SCRIPT_AT = 42
"""Where the scriptSig begins in a stripped coinbase: 4 version, 1 count, 36 outpoint, 1 length."""

T = TypeVar("T")


class Given:
    """A job as a machine has it. `announced` is the target it was given out with, which never changes."""

    __slots__ = ("channel", "difficulty", "height", "network_target", "ntime", "received_at", "tip", "work")

    def __init__(self, channel: Channel, work: Work, now: float) -> None:
        self.channel = channel
        self.work = work
        self.tip = channel.tip
        self.difficulty = difficulty_of(work.target)
        self.height = _height(work.coinbase_tx_prefix)
        self.network_target = _network_target(work.nbits)
        self.received_at = now                  # monotonic seconds
        self.ntime = work.min_ntime             # where the machine starts to count

    @property
    def is_stale(self) -> bool:
        """The tip of its channel has moved on."""
        return self.tip != self.channel.tip


class MachineJobs:
    """What one machine was told: its jobs, and what it searches them with."""

    __slots__ = ("_is_clean_due", "_jobs", "_next_key", "_old_jobs", "announced", "extranonce", "mask", "newest",
                 "notified_at")

    def __init__(self) -> None:
        self.extranonce: tuple[bytes, int] | None = None    # extranonce1 and the size of extranonce2, as it was told
        self.announced = 0                      # the target of the last set_difficulty, 0 for none yet
        self.mask: int | None = None            # the version bits that it believes it may roll, if it has asked
        self.newest: Given | None = None        # the last job that it was given
        self.notified_at = math.inf             # monotonic seconds
        self._is_clean_due = True               # the next notify tells it to drop what it has
        self._next_key = 1
        self._jobs: dict[int, Given] = {}       # of this tip
        self._old_jobs: dict[int, Given] = {}   # of the one before: known, and stale

    def find(self, key: int) -> Given | None:
        """The job of that key, of this tip or of the one before."""
        return self._jobs.get(key) or self._old_jobs.get(key)

    def forget(self) -> None:
        """The work is worth nothing any more, nor is what the machine holds of it."""
        self.newest = None
        self.notified_at = math.inf
        self._is_clean_due = True

    def tell_extranonce(self, channel: Channel) -> None:
        """The machine searches where `channel` does, and gets its work anew."""
        self.extranonce = channel.extranonce_prefix, channel.extranonce_size
        self.announced = 0
        self._is_clean_due = True

    def fits(self, prefix: bytes, size: int) -> bool:
        """The machine searches there already."""
        return self.extranonce == (prefix, size)

    def give(self, channel: Channel, work: Work, mask: int, now: Now) -> list[bytes]:
        """The lines that bring `work`; `mask` has the version bits that the machine asked for."""
        if self.newest is None or self.newest.channel is not channel or self.newest.is_stale:
            self._old_jobs, self._jobs = self._jobs, {}
            self._is_clean_due = True
        lines = []
        if not self.fits(work.extranonce_prefix, work.extranonce_size):
            lines.append(notification("mining.set_extranonce", work.extranonce_prefix.hex(), work.extranonce_size))
            self.extranonce = work.extranonce_prefix, work.extranonce_size
            self._is_clean_due = True
        return [*lines, *self._notify(Given(channel, _lean(work), now.monotonic), mask, now)]

    def again(self, mask: int, now: Now) -> list[bytes]:
        """The lines that bring the newest job once more, under a new key and a time of its own.

        Machines search from the start again, and with another time they find other shares.
        """
        last = self.newest
        if last is None:
            return []
        given = Given(last.channel, last.work, last.received_at)
        given.ntime = max(last.ntime + 1, last.work.min_ntime + int(now.monotonic - last.received_at))
        return self._notify(given, mask, now)

    def roll(self, mask: int) -> list[bytes]:
        """The machine asked for these version bits and believes it has them: put it right if its job allows fewer."""
        self.mask = mask if mask else None
        return self._set_mask(self.newest.work, mask) if self.newest is not None else []

    def difficulty(self, target: int) -> list[bytes]:
        """The difficulty, where the machine does not know it; it counts from the next notify."""
        if target == self.announced:
            return []
        self.announced = target
        return [b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % difficulty_text(target).encode()]

    def _set_mask(self, work: Work, mask: int) -> list[bytes]:
        """The version bits that may be rolled, where the machine believes otherwise."""
        allowed = mask & VERSION_MASK & work.version_mask
        if self.mask is None or allowed == self.mask:
            return []
        self.mask = allowed
        return [notification("mining.set_version_mask", f"{allowed:08x}")]

    def _notify(self, given: Given, mask: int, now: Now) -> list[bytes]:
        key, self._next_key = self._next_key, self._next_key + 1
        if len(self._jobs) >= MAX_JOBS_PER_TIP:
            del self._jobs[next(iter(self._jobs))]
        self._jobs[key] = self.newest = given
        self.notified_at = now.monotonic
        is_clean, self._is_clean_due = self._is_clean_due, False
        work = given.work
        body = _body(work.prev_hash, work.coinbase_tx_prefix, work.coinbase_tx_suffix, work.merkle_path, work.version,
                     work.nbits)
        return [*self._set_mask(work, mask), *self.difficulty(work.target),
                notify_line(key, body, given.ntime, is_clean=is_clean)]


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


@lru_cache(maxsize=16)
def _network_target(nbits: int) -> int:
    return target_from_nbits(nbits)


@lru_cache(maxsize=64)
def _height(coinbase_tx_prefix: bytes) -> int:
    """The height that the coinbase begins with, for the books; 0 where none can be read."""
    try:
        return height_of(coinbase_tx_prefix[_SCRIPT_AT:])
    except ValueError:
        return 0

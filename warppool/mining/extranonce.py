"""Extranonce prefixes: every channel searches a space of its own, without a lock.

Source: docs/decisions.rst#decision-prefixes.
"""

from __future__ import annotations

from array import array

from warppool.mining.template import Tip

PREFIX_SIZE = 4
"""Bytes of a prefix: one big-endian number, `server_id` in its top byte."""

MAX_EXTRANONCE_SIZE = 32
"""Bytes of prefix and rollable part together (Sv2 Mining Protocol: both are B0_32, and so is their sum)."""

_COUNTERS = 1 << 24


class PrefixPool:
    """The prefixes of one worker: of all numbers under `server_id`, those equal to `worker` modulo `workers`.

    A released prefix rests until the tip has moved and its last job is stale. Before that, a new channel would search
    what the old channel has searched, and bring the shares of the old channel again.

    Until a block comes, a stranger may open and close channels as fast as he can. Each leaves a prefix that rests, so
    those that rest or are free are plain numbers of four bytes, at most 64 MiB of them in all.
    """

    def __init__(self, server_id: int, worker: int, workers: int) -> None:
        if not (0 <= server_id <= 255 and 0 <= worker < workers):
            raise ValueError(f"server_id {server_id}, worker {worker} of {workers}")
        self._base = server_id << 24
        self._next = worker
        self._step = workers
        self._free = array("I")                                 # numbers of prefixes
        self._resting: dict[Tip | None, array[int]] = {}        # by the tip of their last job
        self._tip: Tip | None = None

    def take(self) -> bytes | None:
        """A prefix of PREFIX_SIZE bytes that no live channel has; None when all are in use."""
        if self._free:
            return self._free.pop().to_bytes(PREFIX_SIZE, "big")
        if self._next >= _COUNTERS:
            return None
        prefix = (self._base | self._next).to_bytes(PREFIX_SIZE, "big")
        self._next += self._step
        return prefix

    def release(self, prefix: bytes, tip: Tip | None = None) -> None:
        """The channel is gone. Its prefix is used again once the tip is another one than `tip`, that of its last job.

        None stands for the tip that is mined here. A channel that was with another worker may have had a later tip.
        """
        last = self._tip if tip is None else tip
        resting = self._resting.get(last)
        if resting is None:
            resting = self._resting[last] = array("I")
        resting.append(int.from_bytes(prefix, "big"))

    def moved(self, tip: Tip) -> None:
        """The chain tip is `tip`: what rested on another one is free."""
        if tip is not self._tip and tip != self._tip:
            self._tip = tip
            for last in [each for each in self._resting if each != tip]:
                self._free.extend(self._resting.pop(last))

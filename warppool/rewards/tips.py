"""The tips that were mined last, and the highest network difficulty among them, which the window is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from warppool.bitcoin.target import target_from_nbits

TIPS: Final = 2_016
"""Blocks between two changes of the difficulty on the main chain, some two weeks."""


class Tips:
    """The nbits of the last TIPS heights; owned by one thread.

    A tip stands under the height of the block that is to be found on it. Where two of one height were mined, as in a
    reorganisation, the harder one counts.
    """

    def __init__(self) -> None:
        self._nbits: dict[int, int] = {}

    def load(self, tips: Iterable[tuple[int, int]]) -> None:
        """Take (height, nbits) of each tip that is known from before."""
        for height, nbits in tips:
            self.note(height, nbits)

    def note(self, height: int, nbits: int) -> None:
        """This was mined, or would have been had we been there."""
        known = self._nbits.get(height)
        if known is None or target_from_nbits(nbits) < target_from_nbits(known):
            self._nbits[height] = nbits

    def highest(self, height: int) -> int:
        """The nbits of the highest difficulty of the last TIPS up to `height`, which is known itself."""
        for old in [each for each in self._nbits if each <= height - TIPS]:
            del self._nbits[old]
        return min((nbits for each, nbits in self._nbits.items() if each <= height), key=target_from_nbits)

    def missing(self, height: int) -> Sequence[int]:
        """The heights among the last TIPS below `height` of which nothing is known, the newest first."""
        return [each for each in range(height - 1, max(0, height - TIPS), -1) if each not in self._nbits]

"""Whether jobs on a tip may pay out balances.

A balance that a block has paid out must be gone from the books before another block can pay it. So jobs pay balances
only on a tip for which three things are known:

- each own block that is not settled was asked for at that tip, and its node still named that tip as its best after the
  last answer;
- every block from the last cleared tip up to this one was looked at, and is not ours, or is booked;
- after a start, what the block journal held is booked.

Books that are a restored copy may lack what was paid since. By these nothing is paid until the operator confirms them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Final

MOST_LOOKED: Final = 1024
"""Blocks that are known to be looked at; the newest. A reorganisation deeper than that is looked at again."""


class Clearing:
    """What is known of the tip that is mined. Hashes are 32 bytes in header order.

    `height` is that of the last tip up to which all blocks were looked at; infinite where nobody knows. `is_confirmed`:
    the books are no restored copy, or the operator has confirmed them.
    """

    def __init__(self, height: float = math.inf, *, is_confirmed: bool = True) -> None:
        self.tip: bytes | None = None
        self.height = height
        self.is_confirmed = is_confirmed
        self.has_journal = False                        # what the journal held is booked
        self._asked: frozenset[bytes] = frozenset()     # own blocks, at this tip
        self._looked: dict[bytes, None] = {}            # blocks of any chain, the newest last

    def move(self, tip: bytes) -> None:
        """Another tip is mined."""
        if tip != self.tip:
            self.tip, self._asked = tip, frozenset()

    def ask(self, blocks: Iterable[bytes]) -> None:
        """The node answered for these own blocks, and still has the tip as its best."""
        self._asked |= frozenset(blocks)

    def look(self, blocks: Iterable[bytes]) -> None:
        """These blocks of the chain are not ours, or are booked; in ascending height."""
        for block_hash in blocks:
            self._looked.pop(block_hash, None)
            self._looked[block_hash] = None
        while len(self._looked) > MOST_LOOKED:
            del self._looked[next(iter(self._looked))]

    @property
    def looked(self) -> Collection[bytes]:
        """The blocks that need no other look."""
        return self._looked.keys()

    def is_clear(self, tip: bytes, own: Iterable[bytes]) -> bool:
        """Whether jobs on `tip` may pay balances; `own` are the own blocks that are not settled.

        Where a tip was looked at, so were the blocks below it: an answer counts once its look along the chain is whole.
        """
        return (self.has_journal and self.is_confirmed and tip == self.tip and tip in self._looked
                and all(block_hash in self._asked for block_hash in own))

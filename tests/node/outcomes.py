"""The submitter's inbox for tests of what a node's thread tells: outcomes by themselves, the rest beside them."""

from __future__ import annotations

import queue
from typing import Any

from warppool.node.items import Outcome


class OutcomeQueue(queue.Queue[Any]):
    """A queue of `Outcome`; `others` has what else was put, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Any] = []

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if isinstance(item, Outcome):
            super().put(item, block, timeout)
        else:
            self.others.append(item)

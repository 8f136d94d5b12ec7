"""Books that only write down what they are told."""

from __future__ import annotations

import queue
import threading
from typing import Any

from warppool.events import ShareAccepted


class RecordingBooks:
    """`told` holds every call in order; `has_news` is a barrier for other threads."""

    def __init__(self, told: list[tuple[Any, ...]] | None = None) -> None:
        self.told: list[tuple[Any, ...]] = [] if told is None else told
        self.has_news = threading.Semaphore(0)

    def shares(self, shares: tuple[ShareAccepted, ...], reply_to: queue.Queue[Any] | None) -> None:
        self._tell("shares", shares, reply_to)

    def block(self, block_hash: bytes, height: int, user: str, time: float, difficulty: float) -> None:
        self._tell("block", block_hash, height, user, time, difficulty)

    def block_outcome(self, block_hash: bytes, outcome: str, detail: str, time: float) -> None:
        self._tell("outcome", block_hash, outcome, detail, time)

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self.has_news.release()

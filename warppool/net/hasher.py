"""Weighing shares: the executor for the larger batches.

See docs/threads.rst#owners, docs/decisions.rst#decision-few-workers.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from warppool.events import ShareSubmitted
from warppool.mining.share import Weight
from warppool.mining.validator import weigh_all
from warppool.net.inbox import Weighed

log = logging.getLogger(__name__)

EXECUTOR_MIN_BATCH = 32
"""A hop to another thread costs as much as some thirty hashes, so a worker weighs smaller batches itself."""


class Hasher:
    """The threads `hash-N`: a frozen batch in, `Weighed` into the inbox of the worker that asked."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, "hash", initializer=_name_thread)

    def submit(self, batch: tuple[ShareSubmitted, ...], reply_to: queue.Queue[Any]) -> None:
        """Weigh `batch` on another thread; any thread may ask."""
        self._executor.submit(_answer, batch, reply_to)

    def stop(self) -> None:
        """Finish what was asked and end the threads."""
        self._executor.shutdown()


def _answer(batch: tuple[ShareSubmitted, ...], reply_to: queue.Queue[Any]) -> None:
    """Always one answer, since the worker waits for it; an empty one asks it to weigh the batch itself."""
    weights: tuple[Weight, ...] = ()
    try:
        weights = weigh_all(batch)
    except Exception:
        log.exception("event=hasher.failed shares=%d", len(batch))
    finally:
        reply_to.put(Weighed(weights))


def _name_thread() -> None:
    thread = threading.current_thread()
    thread.name = thread.name.replace("_", "-")

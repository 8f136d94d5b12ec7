"""Threads are named, started by one `spawn()`, and stopped by a `STOP` on their queue."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from warppool.say import say

log = logging.getLogger("warppool")


class Stop:
    """The class of STOP, which has one value."""

    def __repr__(self) -> str:
        return "STOP"


STOP: Final = Stop()
"""The last item of a thread's queue: finish what came before it, then end."""


def spawn(name: str, run: Callable[[], None], died: Callable[[str], None]) -> threading.Thread:
    """Start `run` in a thread called `name`.

    A `run` that raises has hit a bug that its own catch-all did not hold: the traceback goes to the log and
    `died(name)` is called on that thread, so that the daemon can stop instead of limping on. The thread is no daemon
    thread: whoever spawns it also joins it.
    """

    def body() -> None:
        try:
            run()
        except BaseException:   # the one place that must see everything
            log.exception("event=thread.died thread=%s", name)
            died(name)
        else:
            say(log, logging.DEBUG, "thread.ended", thread=name)

    thread = threading.Thread(target=body, name=name)
    thread.start()
    return thread

"""`warppool mine`: the CPU miner in a terminal, with its hash rate, for trying a pool out."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable

from warppool.addresses import PoolUrl
from warppool.bitcoin.hashes import to_display
from warppool.commands.screen import Display
from warppool.errors import RemoteProtocolError
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import LinkEvent, PoolGone, Rejected, Remark, Task, check, tls_context
from warppool.mining.search import search
from warppool.service.signals import Requests, catch_signals
from warppool.stats.ratewords import human_rate

SHOW_EVERY_S = 1.0
PLAIN_EVERY_S = 10.0
"""The same where nobody watches a terminal."""

LOOK_EVERY_S = 0.1
"""How often to look whether the miner ended: its reason is shown at once."""

TIPS_EVERY_S = 10.0
"""The shortest time between two lines about new tips."""

MEASURE_NONCES = 20_000
RECONNECT_S = 1.0
MAX_RECONNECT_S = 30.0


def mine(args: argparse.Namespace) -> int:
    """Mine until SIGINT or SIGTERM; a pool that goes away is called again, later each time."""
    url = PoolUrl.parse(args.url)
    check(url)
    context = tls_context(args.trust) if url.is_tls else None
    requests = Requests()
    catch_signals(requests)
    hash_rate = args.hashrate or measure()
    screen = Screen(Display(sys.stderr, sys.stderr.isatty()))
    pause_s = RECONNECT_S
    while not requests.is_set() and not screen.display.is_gone:
        miner = CpuMiner(url, args.user, args.channel, hash_rate=hash_rate, context=context, tell=screen.tell)
        reason = _mine_once(miner, screen, requests)
        if requests.is_set():
            break
        pause_s = RECONNECT_S if miner.tally.submitted else min(2 * pause_s, MAX_RECONNECT_S)
        screen.line(f"{reason} (trying again in {pause_s:.0f} s)")
        requests.wait(pause_s)
    screen.line("stopped")
    return 1 if screen.display.is_gone else 0


def _mine_once(miner: CpuMiner, screen: Screen, requests: Requests) -> str:
    """One connection from dial to end; why it ended."""
    reasons: list[str] = []

    def body() -> None:
        try:
            miner.run()
        except (PoolGone, RemoteProtocolError) as exc:
            reasons.append(str(exc))

    thread = threading.Thread(target=body, name="miner")
    thread.start()
    began = shown = time.monotonic()
    try:
        while thread.is_alive() and not requests.wait(LOOK_EVERY_S) and not screen.display.is_gone:
            if time.monotonic() - shown >= screen.every_s:
                shown = time.monotonic()
                screen.show(miner, shown - began)
    finally:
        miner.stop()
        thread.join()
    return reasons[0] if reasons else "the miner ended"


def measure() -> float:
    """What this machine hashes a second on one thread, for the pool to set a target by."""
    began = time.thread_time()
    search(bytes(80), 0, 0, MEASURE_NONCES)
    return MEASURE_NONCES / max(1e-9, time.thread_time() - began)


class Screen:
    """What the miner's owner sees on stderr: a line that changes on a terminal, plain lines elsewhere."""

    def __init__(self, display: Display, clock: Callable[[], float] = time.monotonic) -> None:
        self.display = display
        self.every_s = SHOW_EVERY_S if display.is_terminal else PLAIN_EVERY_S
        self._clock = clock
        self._tips = 0                          # that came since the last line about one
        self._tips_at = -TIPS_EVERY_S           # when that was

    def tell(self, event: LinkEvent) -> None:
        """An event of the link; called by the miner's thread."""
        match event:
            case Remark(words):
                self.line(words)
            case Task(work, _, _, True):
                self._tip(f"job {work.job_id} on {to_display(work.prev_hash)}")
            case Rejected(reason):
                self.line(f"share refused: {reason}")

    def show(self, miner: CpuMiner, elapsed_s: float) -> None:
        """Where the miner stands."""
        tally = miner.tally
        words = (f"{human_rate(tally.hashes / max(elapsed_s, 1e-9))}  accepted {tally.accepted}  "
                 f"refused {tally.rejected}  blocks {tally.blocks}")
        if self.display.is_terminal:
            self.display.draw([words])
        else:
            self.line(words)

    def line(self, words: str) -> None:
        """One line that stays."""
        self.display.line(words)

    def _tip(self, words: str) -> None:
        """A line for a new tip, or for all that came since the last line: regtest finds several a second."""
        self._tips += 1
        now = self._clock()
        if now - self._tips_at < TIPS_EVERY_S:
            return
        self.line(f"new tip: {words}" if self._tips == 1 else f"{self._tips} new tips, the last: {words}")
        self._tips, self._tips_at = 0, now

"""The template source over JSON-RPC: thread `node-N` keeps the desk in fresh templates for as long as its node answers.

Two connections, both this thread's: one holds the long poll, the other asks plainly. A long poll that stays silent for
`refresh_s` is left standing while a plain call brings the refresh, for a node does not notice that a long poll was
given up: on a chain without traffic it would keep one of its few RPC threads for each until the next block.
"""

from __future__ import annotations

import itertools
import logging
import queue
from dataclasses import replace
from typing import Any

from warppool.errors import NodeError
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.node.gbt import Reading, check_challenge, read_template, segwit_of_chain
from warppool.node.items import NodeLost, TemplateReady
from warppool.node.jsonrpc import Credentials, JsonRpc, NodeAddress
from warppool.node.pace import Backoff, Clock, SystemClock
from warppool.say import say

log = logging.getLogger("warppool")

REFRESH_S = 30.0            # how old a template may get: the client time-out of the long poll
CALL_TIMEOUT_S = 20.0       # a small machine needs seconds for its first template
BEAT_S = 5.0                # the longest wait without a beat
SAME_TIP_TURN_S = 1.0       # the shortest time from template to template on one tip, whatever the node sends
NEW_TIP_TURN_S = 0.05       # the same where the tip moves: a regtest node may find hundreds of blocks a second

_PEOPLE_SAY = {"test": "testnet3"}      # chains by the name that people know; the others are called the same


class RpcSource:
    """Templates of one node. `run` is the body of its thread; `stop` may come from any other.

    `beat` is the monotonic time of the last sign of life of the thread, be the node there or not. `trouble` is why the
    node gives no template now, "" while it does.
    """

    def __init__(
        self,
        node: int,
        address: NodeAddress,
        credentials: Credentials,
        network: str,
        desk: queue.Queue[Any],
        *,
        plan: CoinbasePlan = LARGEST_PLAN,
        clock: Clock | None = None,
        refresh_s: float = REFRESH_S,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self.name = f"node-{node}"
        self._node = node
        self._network = network
        self._plan = plan
        self._desk = desk
        self._clock = clock or SystemClock()
        self._refresh_s = refresh_s
        self._call_timeout_s = call_timeout_s
        self._rpc = JsonRpc(address, credentials)
        self._poll = JsonRpc(address, credentials)
        self._polled: bytes | None = None           # the tip that the standing long poll waits to see replaced
        self._reading: Reading | None = None
        self._long_poll_id: str | None = None
        self._has_segwit: bool | None = None        # as the chain says; None where only templates say it
        self._template_ids = itertools.count(1)
        self._backoff = Backoff()
        self._outage = _Outage(self.name, self._clock.monotonic())
        self._is_stopping = False
        self.beat = self._clock.monotonic()
        self.trouble = ""

    def run(self) -> None:
        """Serve until `stop`; nothing that the node does ends it."""
        try:
            while not self._is_stopping:
                self._serve()
                if self._rest(self._backoff.next()):
                    break
        finally:
            self._rpc.hang_up()
            self._poll.hang_up()

    def stop(self) -> None:
        """Any thread: end `run` at once, whatever it waits for."""
        self._is_stopping = True
        self._clock.stop()
        self._rpc.close()
        self._poll.close()

    def _serve(self) -> None:
        """Templates until something fails."""
        try:
            self._check_chain()
            self._accept(self._ask_plainly())
            while not self._is_stopping:
                self._turn()
        except NodeError as exc:
            self._lose(str(exc))
        except Exception:                           # unforeseen: one bad answer never ends the loop
            if not self._is_stopping:
                log.exception("event=node.failed node=%s", self.name)
            self._lose("a fault in warppool; the log has it")

    def _check_chain(self) -> None:
        """The node must be on the pool's network, and have its blocks."""
        info = self._rpc.call("getblockchaininfo", timeout_s=self._call_timeout_s)
        chain = info.get("chain") if isinstance(info, dict) else None
        if not isinstance(chain, str):
            raise NodeError("getblockchaininfo: it names no chain")
        if chain != self._network:
            theirs = _PEOPLE_SAY.get(chain, chain[:40])
            raise NodeError(f"the node is on {theirs}, and pool.network is {self._network}")
        check_challenge(info, self._network)
        self._has_segwit = segwit_of_chain(info)
        # A private regtest has no one to download from: its node says so until the first block of the day.
        if info.get("initialblockdownload") is True and self._network != "regtest":
            raise NodeError("the node is still downloading the block chain; templates come once it has caught up")

    def _turn(self) -> None:
        """One more template: from the long poll, or plainly once that has been silent for `refresh_s`."""
        began = self._clock.monotonic()
        before = self._tip_hash()
        answer = self._poll_for_news()
        if answer is None:
            answer = self._ask_plainly()
        self._accept(answer)
        has_moved = self._tip_hash() != before
        pause = (NEW_TIP_TURN_S if has_moved else SAME_TIP_TURN_S) - (self._clock.monotonic() - began)
        if pause > 0:
            self._rest(pause)

    def _poll_for_news(self) -> Any | None:
        """The answer of the long poll, None if there is none: that alone does not mean that the node is lost."""
        if self._long_poll_id is None:              # BIP22 leaves long polls to the node's liking
            self._rest(min(BEAT_S, self._refresh_s))
            return None
        try:
            if self._polled != self._tip_hash():    # none stands, or the tip moved without a word from it
                self._poll.hang_up()
                self._poll.ask("getblocktemplate", self._request(self._long_poll_id), timeout_s=self._call_timeout_s)
                self._polled = self._tip_hash()
            if not self._await_poll():
                return None
            self._polled = None
            return self._poll.answer(self._call_timeout_s)
        except NodeError as exc:
            self._polled = None
            self._poll.hang_up()
            say(log, logging.DEBUG, "longpoll.failed", node=self.name, reason=exc)
            return None

    def _await_poll(self) -> bool:
        waited = 0.0
        while waited < self._refresh_s:
            wait = min(BEAT_S, self._refresh_s - waited)
            if self._poll.is_answered(wait):
                return True
            waited += wait
            self._touch()
        return False

    def _ask_plainly(self) -> Any:
        self._touch()
        return self._rpc.call("getblocktemplate", self._request(), timeout_s=self._call_timeout_s)

    def _request(self, long_poll_id: str | None = None) -> dict[str, object]:
        request: dict[str, object] = {"rules": ["segwit", "signet"] if self._network == "signet" else ["segwit"]}
        if long_poll_id is not None:
            request["longpollid"] = long_poll_id
        return request

    def _accept(self, answer: Any) -> None:
        """Check a template and hand it on, unless it is the one that the desk already has."""
        self._touch()
        reading = read_template(
            answer,
            network=self._network,
            source=self.name,
            template_id=next(self._template_ids),
            has_segwit=self._has_segwit,
            plan=self._plan,
            previous=self._reading,
        )
        long_poll_id = answer.get("longpollid")
        self._long_poll_id = long_poll_id if isinstance(long_poll_id, str) else None
        is_news = self._reading is None or not _is_same(reading, self._reading)
        self._backoff.reset()
        self.trouble = ""
        if self._outage.end(self._clock.monotonic()) or is_news:
            self._reading = reading
            self._desk.put(TemplateReady(self._node, reading.template))

    def _lose(self, reason: str) -> None:
        """The node fails: say so once, tell the desk once, and start afresh with the next try."""
        self._poll.hang_up()
        self._rpc.hang_up()
        self._polled = None
        self.trouble = reason
        if not self._is_stopping and self._outage.add(reason, self._clock.monotonic()):
            self._desk.put(NodeLost(self._node, reason))

    def _tip_hash(self) -> bytes | None:
        return self._reading.template.tip.prev_hash if self._reading is not None else None

    def _rest(self, seconds: float) -> bool:
        self._touch()
        is_stopped = self._clock.wait(seconds)
        self._touch()
        return is_stopped

    def _touch(self) -> None:
        self.beat = self._clock.monotonic()


class _Outage:
    """Says `node.lost` and `node.back` once each, and what else went wrong in between once for each reason."""

    _MOST_REASONS = 8       # a node that finds ever new words is not listened to

    def __init__(self, node: str, now: float) -> None:
        self._node = node
        self._since = now
        self._tries = 0
        self._reasons: list[str] = []
        self._has_served = False

    def add(self, reason: str, now: float) -> bool:
        """One more failure; True for the first."""
        self._tries += 1
        if self._tries == 1:
            self._since = now
            say(log, logging.WARNING, "node.lost", node=self._node, reason=reason)
        elif reason not in self._reasons and len(self._reasons) < self._MOST_REASONS:
            say(log, logging.WARNING, "node.missed", node=self._node, reason=reason)
        if len(self._reasons) < self._MOST_REASONS:
            self._reasons.append(reason)
        return self._tries == 1

    def end(self, now: float) -> bool:
        """The node gave a template; True if it did not before."""
        was_lost = self._tries > 0
        if was_lost:
            say(log, logging.INFO, "node.back", node=self._node, after_s=round(now - self._since), tries=self._tries)
        elif not self._has_served:
            say(log, logging.INFO, "node.found", node=self._node)
        is_first, self._has_served = not self._has_served, True
        self._tries = 0
        self._reasons.clear()
        return was_lost or is_first


def _is_same(new: Reading, old: Reading) -> bool:
    """True if miners would get the same work from both."""
    return replace(new.template, template_id=old.template.template_id) == old.template

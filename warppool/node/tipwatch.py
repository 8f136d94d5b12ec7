"""How a new tip is noticed: a call that stands at the node until the chain grows, or else quick questions in a row.

A call that stands holds one of the node's RPC threads, of which it has 16, or 4, or 1, and it holds that thread after
we are gone, too. So it always ends by itself (`waitforblockheight` with a time-out), at most one of them stands, and
the first one is short. A later one may be long only if a quick call was answered while the one before stood: then the
node has threads left for the blocks that we hand in, and for everybody else.

What wakes no poll, as a step back or a fork of the same height, is found by a quick question every two seconds, or by
the next refresh of the template.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from warppool.bitcoin.hashes import to_display
from warppool.errors import NodeError
from warppool.mining.template import Tip
from warppool.node.bell import Bell
from warppool.node.httpline import first_readable
from warppool.node.jsonrpc import WARMING_UP, CallForbidden, JsonRpc, NodeSilent, RpcRefusal
from warppool.say import say

log = logging.getLogger("warppool")

SHORT_POLL_S = 2.0          # a node with one RPC thread is busy for so long: a block found meanwhile waits
LONG_POLL_S = 30.0
PROBE_AFTER_S = 0.1         # by then the poll has a thread, so the quick call cannot have taken the last one before it
PROBE_S = 1.0               # a quick call that takes longer has waited for a thread
POLL_SLACK_S = 10.0         # after its time-out a poll is answered; with so much delay the node hangs
LOOK_EVERY_S = 2.0          # beside a poll that stands: a step back wakes no poll, nor does a fork of equal height
ASK_EVERY_S = 0.5           # where no call may stand
ASK_TEMPLATE_EVERY_S = 2.0  # where the node does not even tell its tip


class TipWatch:
    """Owned by the thread of one node. `poll` carries the call that stands, `quick` all others.

    `hear` waits so many seconds for what other threads want, and is True as soon as the wait for news is to end; a ring
    of `bell` says that `hear` has something. `touch` is told that the thread lives. All times are in seconds.
    """

    def __init__(self, name: str, poll: JsonRpc, quick: JsonRpc, bell: Bell, hear: Callable[[float], bool],
                 touch: Callable[[], None], call_timeout_s: float) -> None:
        self._name = name
        self._poll = poll
        self._quick = quick
        self._bell = bell
        self._hear = hear
        self._touch = touch
        self._call_timeout_s = call_timeout_s
        self._polled_height: int | None = None       # the height that the call at the node waits for
        self._poll_ends_at = 0.0                # real monotonic seconds: no answer by then, so the poll is lost
        self.reset()

    def reset(self) -> None:
        """The node was lost: begin as at the first time. What stood there ends by itself."""
        self._poll.hang_up()
        self._polled_height = None
        self._longest_s = SHORT_POLL_S
        self._can_wait = True                   # the node has `waitforblockheight`, and lets us call it
        self._tells_tip = True                  # the same of `getbestblockhash`

    def await_news(self, tip: Tip, at_most_s: float) -> bool:
        """Wait for another tip than `tip.prev_hash`: True as soon as there may be one, or somebody wants to know.

        False after `at_most_s`. NodeError if the node is lost; a poll that fails means only that we ask plainly.
        """
        left = at_most_s
        while left > 0:
            if self._hear(0.0):
                return True
            began = time.monotonic()
            if self._polled_height is None and self._can_wait:
                self._ask_to_wait(tip, left)
                if self._polled_height is not None and self._probe(tip):
                    return True
            if self._polled_height == tip.height:
                wait = min(LOOK_EVERY_S, left)
                is_answered, is_wanted = self._first_of((self._poll,), wait)
                self._touch()
                if is_wanted:
                    return True
                if is_answered and self._poll_says(tip):
                    return True
                self._give_up_if_late()
                has_room = not is_answered and self._longest_s == LONG_POLL_S and self._tells_tip
                if has_room and self._ask_tip() not in (None, to_display(tip.prev_hash)):
                    return True
                left -= time.monotonic() - began
            else:                               # none can stand, or one does for a tip that has gone
                pause = min(ASK_EVERY_S if self._tells_tip else ASK_TEMPLATE_EVERY_S, left)
                if self._hear(pause):
                    return True
                left -= pause
                self._end_if_answered()
                if not self._tells_tip or self._ask_tip() != to_display(tip.prev_hash):
                    return True
        return False

    def _first_of(self, sockets: Sequence[JsonRpc], wait_s: float) -> list[bool]:
        """Which of `sockets` has something to read within `wait_s`; and last, whether the wait for news is to end."""
        until = time.monotonic() + wait_s
        while True:
            *answered, is_rung = first_readable((*sockets, self._bell), max(0.0, until - time.monotonic()))
            is_wanted = is_rung and self._hear(0.0)
            if is_wanted or any(answered) or time.monotonic() >= until:
                return [*answered, is_wanted]

    # --- the call that stands -----------------------------------------------------------------------------------------

    def _ask_to_wait(self, tip: Tip, at_most_s: float) -> None:
        wait_s = min(self._longest_s, at_most_s)
        try:
            # In milliseconds, and 0 would mean for ever.
            self._poll.ask("waitforblockheight", tip.height, max(1, int(1000 * wait_s)), timeout_s=self._call_timeout_s)
        except NodeError as exc:
            self._fail(exc)
        else:
            self._polled_height = tip.height
            self._poll_ends_at = time.monotonic() + wait_s + POLL_SLACK_S

    def _probe(self, tip: Tip) -> bool:
        """Beside the poll, a quick call: has the node a thread left? True if it tells another tip."""
        is_answered, is_wanted = self._first_of((self._poll,), PROBE_AFTER_S)
        if is_answered or is_wanted:
            return False                        # nothing is learned: what holds for the next poll stays as it is
        self._longest_s = SHORT_POLL_S
        until = time.monotonic() + self._call_timeout_s
        try:
            self._quick.ask("getbestblockhash", timeout_s=self._call_timeout_s)
            is_moved, is_free, _ = self._first_of((self._poll, self._quick), PROBE_S)
            if is_free and not is_moved:
                self._longest_s = LONG_POLL_S
            elif not is_free and not is_moved:  # it waits for the thread that our poll holds
                self._first_of((self._poll, self._quick), SHORT_POLL_S + POLL_SLACK_S)
                self._touch()
            answer = self._quick.answer(max(0.0, until - time.monotonic()))
        except NodeSilent:
            raise
        except NodeError as exc:                # a refusal is an answer; of anything else a plain call will tell more
            self._note("probe", exc)
            if not isinstance(exc, RpcRefusal | CallForbidden):
                self._quick.hang_up()
                self._longest_s = SHORT_POLL_S
            return False
        finally:
            self._touch()
        return bool(answer != to_display(tip.prev_hash))

    def _poll_says(self, tip: Tip) -> bool:
        """Read the answer of the poll: True if the tip is another one."""
        self._polled_height = None
        try:
            answer = self._poll.answer(self._call_timeout_s)
        except NodeError as exc:
            return self._fail(exc)
        where = answer.get("hash") if isinstance(answer, dict) else None
        return bool(where != to_display(tip.prev_hash))

    def _fail(self, exc: NodeError) -> bool:
        """The poll came to nothing. True if the node may be lost, which a plain call will show."""
        self._polled_height = None
        self._poll.hang_up()
        self._note("poll", exc)
        if isinstance(exc, CallForbidden) or (isinstance(exc, RpcRefusal) and exc.code != WARMING_UP):
            self._can_wait = False              # it has no such call, or does not let us make it
            return False
        self._longest_s = SHORT_POLL_S
        return True

    def _give_up_if_late(self) -> None:
        if self._polled_height is not None and time.monotonic() >= self._poll_ends_at:
            self._fail(NodeError("no answer to a poll whose time is over"))

    def _end_if_answered(self) -> None:
        """A poll for a tip that has gone ends by itself; until then no other one is asked."""
        self._give_up_if_late()
        if self._polled_height is not None and first_readable((self._poll,), 0)[0]:
            self._polled_height = None
            try:
                self._poll.answer(self._call_timeout_s)
            except NodeError as exc:
                self._fail(exc)

    # --- quick questions ----------------------------------------------------------------------------------------------

    def _ask_tip(self) -> object:
        """The node's tip in display order; something else where it does not tell."""
        try:
            return self._quick.call("getbestblockhash", timeout_s=self._call_timeout_s)
        except (CallForbidden, RpcRefusal) as exc:
            self._note("question", exc)
            self._tells_tip = False
            return None

    def _note(self, what: str, exc: NodeError) -> None:
        say(log, logging.DEBUG, "watch.failed", node=self._name, call=what, reason=exc)


"""The template source over JSON-RPC: thread `node-N` keeps the job maker in fresh templates while its node answers.

Two connections, both this thread's: on one a call may stand until the chain grows (`tipwatch.py`), the other asks
plainly. A template is asked for at each new tip, and at least every half minute besides: each answer, the same one too,
shows that the node lives, and tells its time.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
from dataclasses import replace
from typing import Any, NamedTuple

from warppool.addresses import NodeAddress
from warppool.bitcoin.hashes import to_display
from warppool.errors import NodeError
from warppool.loop import Loop, Order, prompt
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.mining.template import NTIME_MAX, Template, Tip
from warppool.node.bell import Bell
from warppool.node.gbt import Reading, check_challenge, read_template, segwit_of_chain
from warppool.node.items import NodeAnswered, NodeLost, NodeReport, TemplateReady, TemplateWanted
from warppool.node.jsonrpc import WARMING_UP, CallForbidden, Credentials, JsonRpc, NodeAway, RpcRefusal
from warppool.node.outage import Outage
from warppool.node.pace import Backoff, Clock, SystemClock
from warppool.node.tipfacts import NO_FACTS, Facts, SeenTip, work_of
from warppool.node.tipwatch import TipWatch
from warppool.say import say
from warppool.stats.snapshot import Histogram

log = logging.getLogger("warppool")

REFRESH_S = 25.0            # how old a template may get; below 30 s, so that it comes before a fresh job is due
ANSWERS_PER_AGE = 4         # answers of an idle node within the time after which it counts as silent
CALL_TIMEOUT_S = 20.0       # a small machine needs seconds for its first template
TURN_LIMIT_S = 60.0         # for the watchdog: the thread may stand in some calls before it turns again
FACTS_TIMEOUT_S = 2.0       # for what a template does not tell of its tip: a new tip must not wait long for it
AGAIN_S = 1.0               # until a node is asked again that is not up yet: it is found within 2 s
SAME_TIP_TURN_S = 1.0       # the shortest time from template to template on one tip, whatever the node sends
NEW_TIP_TURN_S = 0.05       # the same where the tip moves: a regtest node may find hundreds of blocks a second

MIN_DIFFICULTY_AFTER_S = 1200       # testnet4: a block so long after its parent may be of difficulty 1, and must be
MIN_DIFFICULTY_NBITS = 0x1D00FFFF
RETARGET_BLOCKS = 2016              # the first block of a period never profits from that rule

_PEOPLE_SAY = {"test": "testnet3"}      # chains by the name that people know; the others are called the same


class WrongNetwork(NodeError):
    """The node is on another chain than the pool: only the operator can mend that."""


class SourceSettings(NamedTuple):
    """What a reload may change: the login, and the time after which the node's silence is too long."""

    credentials: Credentials
    max_age_s: float


class RpcSource(Loop[TemplateWanted]):
    """Templates of one node. `stop` ends the thread at once, whatever it waits for.

    A turn gets one template, and waits for its reason in sockets as well as in the inbox; `put` rings a bell beside
    them. `max_age_s` is the time without an answer after which the job maker takes the node's work for dead. `trouble`
    is why the node gives no template now, "" while it does; `is_misplaced` says that it is on another network.
    """

    limits = prompt(TURN_LIMIT_S)

    def __init__(
        self,
        node: int,
        address: NodeAddress,
        credentials: Credentials,
        network: str,
        job_maker: queue.Queue[Any],
        *,
        plan: CoinbasePlan = LARGEST_PLAN,
        clock: Clock | None = None,
        refresh_s: float = REFRESH_S,
        max_age_s: float = math.inf,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(f"node-{node}", clock.inbox(), clock.monotonic)
        self._node = node
        self._network = network
        self._plan = plan
        self._job_maker = job_maker
        self._longest_refresh_s = refresh_s
        self._refresh_s = min(refresh_s, max_age_s / ANSWERS_PER_AGE)
        self._call_timeout_s = call_timeout_s
        self._rpc = JsonRpc(address, credentials)
        self._poll = JsonRpc(address, credentials)
        self._is_cut_short = False                  # by `stop`
        self._bell = Bell()
        self._watch = TipWatch(self.name, self._poll, self._rpc, self._bell, self._hear, self._touch, call_timeout_s)
        self._is_found = False                      # it is on our chain, and gives templates
        self._is_wanted = False                     # somebody knows of a new tip
        self._next_at = -math.inf                   # monotonic: the node is not asked before
        self._templates = 0
        self._reading: Reading | None = None
        self._has_segwit: bool | None = None        # as the chain says; None where only templates say it
        self._facts = NO_FACTS                     # of the tip of that reading
        self._highest: SeenTip | None = None          # the tip of most work since the node was lost or left its chain
        self._border_at = math.inf                  # monotonic: the node's next template is of another difficulty
        self._has_headers = True                    # the node lets us call `getblockheader`
        self._is_steady = False                     # the node was not lost since the last reading
        self._has_said_syncing = False
        self._template_ids = itertools.count(1)
        self._backoff = Backoff()
        self._outage = Outage(self.name, clock.monotonic())
        self.trouble = ""
        self.is_misplaced = False

    def turn(self, items: list[TemplateWanted]) -> float:
        """One template, or one try to get it; nothing before the pause after the last one is over."""
        self._is_wanted = self._is_wanted or bool(items)
        if not self.is_stopping and self._monotonic() >= self._next_at:
            pause_s = self._serve()
            self._next_at = self._monotonic() + pause_s
        return self._next_at

    def reconfigure(self, settings: SourceSettings) -> None:
        """Log in so, and ask so often; once at once, for a shorter time may be nearly over, and a login may help."""
        self._rpc.log_in_as(settings.credentials)
        self._poll.log_in_as(settings.credentials)
        self._refresh_s = min(self._longest_refresh_s, settings.max_age_s / ANSWERS_PER_AGE)
        self._is_wanted = True
        self._next_at = -math.inf

    def finish(self) -> None:
        """Leave the node alone."""
        self._rpc.hang_up()
        self._poll.hang_up()
        self._bell.close()

    def report(self) -> NodeReport:
        """Whether the node gives templates, and how high its chain is."""
        return NodeReport(
            *self.vitals(), trouble=self.trouble, is_misplaced=self.is_misplaced, templates=self._templates,
            height=self._reading.template.tip.height if self._reading is not None else 0)

    @property
    def requests(self) -> Histogram:
        """How long the node took for each answer but to long polls; any thread may ask."""
        return self._rpc.took.histogram()

    def put(self, item: TemplateWanted | Order) -> None:
        """Any thread: leave `item` for the loop, which may be waiting in sockets."""
        super().put(item)
        self._bell.ring()

    def stop(self) -> None:
        """Any thread: end `run` at once, whatever it waits for."""
        self._is_cut_short = True
        super().stop()
        self._rpc.close()
        self._poll.close()

    def ask_now(self) -> None:
        """Any thread: ask for a template at once, as when somebody knows that the tip has moved."""
        self.put(TemplateWanted())

    def close(self) -> None:
        """Free what it holds; `run` does it at its end, so this is for a source that was never started."""
        self._bell.close()

    def _serve(self) -> float:
        """The next template; the seconds to wait before the one after it, or before the next try."""
        try:
            if self._is_found:
                return self._next_template()
            self._check_chain()
            self._accept(self._ask_plainly())
            self._is_found = True
            return 0.0
        except NodeError as exc:
            self._lose(str(exc))
            self.is_misplaced = isinstance(exc, WrongNetwork)
            if isinstance(exc, NodeAway) or (isinstance(exc, RpcRefusal) and exc.code == WARMING_UP):
                return AGAIN_S
        except Exception:                           # unforeseen: one bad answer never ends the loop
            if not self._is_cut_short:
                log.exception("event=node.failed node=%s", self.name)
            self._lose("a fault in warppool; the log has it")
        return self._backoff.next()

    def _check_chain(self) -> None:
        """The node must be on the pool's network, and have its blocks."""
        info = self._rpc.call("getblockchaininfo", timeout_s=self._call_timeout_s)
        chain = info.get("chain") if isinstance(info, dict) else None
        if not isinstance(chain, str):
            raise NodeError("getblockchaininfo: it names no chain")
        if chain != self._network:
            theirs = _PEOPLE_SAY.get(chain, chain[:40])
            raise WrongNetwork(f"the node is on {theirs}, and pool.network is {self._network}: mend pool.network, or "
                               "ask another node by node.url")
        check_challenge(info, self._network)
        self._has_segwit = segwit_of_chain(info)
        if info.get("initialblockdownload") is not True:
            self._has_said_syncing = False
        elif self._network == "main":
            raise NodeError("the node is still downloading the block chain; templates come once it has caught up")
        elif not self._has_said_syncing:
            # A fresh private signet, or a test chain whose last block is a day old, has no one to download from.
            self._has_said_syncing = True
            say(log, logging.INFO, "node.syncing", node=self.name, meaning="it says initialblockdownload, which "
                "refuses nothing on a test network: whether it gives a template decides")

    def _next_template(self) -> float:
        """One more template: at a new tip, at the border of a rule, when somebody asks, or once it is old.

        Returns the seconds that the next one has to wait.
        """
        assert self._reading is not None
        began = self._monotonic()
        tip = self._reading.template.tip
        self._watch.await_news(tip, min(self._refresh_s, max(0.0, self._border_at - began)))
        self._is_wanted = False
        if self.is_stopping:
            return 0.0
        self._accept(self._ask_plainly())
        has_moved = self._reading.template.tip.prev_hash != tip.prev_hash
        turn_s = NEW_TIP_TURN_S if has_moved else min(SAME_TIP_TURN_S, self._refresh_s)
        return max(0.0, turn_s - (self._monotonic() - began))

    def _ask_plainly(self) -> Any:
        self._touch()
        return self._rpc.call("getblocktemplate", self._request(), timeout_s=self._call_timeout_s)

    def _request(self) -> dict[str, object]:
        return {"rules": ["segwit", "signet"] if self._network == "signet" else ["segwit"]}

    def _accept(self, answer: Any) -> None:
        """Check a template and hand it on; of one that the job maker already has, only that it is fresh."""
        self._touch()
        answered_at = self._monotonic()
        before = self._reading
        reading = read_template(
            answer,
            network=self._network,
            source=self.name,
            template_id=next(self._template_ids),
            has_segwit=self._has_segwit,
            plan=self._plan,
            previous=before,
        )
        curtime: int = answer["curtime"]            # read_template has seen that it is a number
        tip = reading.template.tip
        is_other_tip = before is None or before.template.tip.prev_hash != tip.prev_hash
        has_facts = self._facts != NO_FACTS
        if is_other_tip or not self._is_steady or not has_facts:
            self._facts = self._facts_of(tip)
        is_reorg = self._has_stepped_back(tip)
        reading = replace(reading, template=self._with_border(reading.template, curtime, answered_at))
        is_news = before is None or not _is_same(reading, before) or (self._facts != NO_FACTS) > has_facts
        self._backoff.reset()
        self.trouble, self.is_misplaced = "", False
        self._is_steady = True
        if self._outage.end(self._monotonic()) or is_news or is_reorg:
            self._reading = reading
            self._templates += 1
            self._job_maker.put(TemplateReady(self._node, reading.template, self._facts.chainwork, curtime, answered_at,
                                         is_reorg))
        else:
            self._job_maker.put(NodeAnswered(self._node, curtime, answered_at))

    # --- what a template does not tell of its tip ---------------------------------------------------------------------

    def _facts_of(self, tip: Tip) -> Facts:
        """Work and time of the block that is built on; None for each that the node does not tell."""
        header = self._header(tip.prev_hash)
        if header is None:
            return NO_FACTS
        time = header.get("time")
        return Facts(work_of(header), time if isinstance(time, int) and 0 <= time <= NTIME_MAX else None)

    def _has_stepped_back(self, tip: Tip) -> bool:
        """Whether the node went to a tip of no more work on purpose, told once for each tip that it left.

        A node that has just left many blocks may be too busy to tell of the old tip in time, so a node that did not
        tell is asked again with each of its answers. A node that ended its connection in between may have been
        restarted, and be building its chain anew (-reindex): that is a loss, however short, and no step back.
        """
        seen, before = SeenTip(tip, self._facts, self._rpc.endings), self._highest
        if before is not None and before.endings != seen.endings:
            before = None
        if before is not None and before.tip.prev_hash != tip.prev_hash and not seen.has_more_work_than(before):
            if not self._has_left(before.tip):
                return False
            self._highest = seen
            return True
        self._highest = seen
        return False

    def _has_left(self, old: Tip) -> bool:
        """Whether the node says that this tip, which it had, is not on its chain any more."""
        header = self._header(old.prev_hash)
        confirmations = header.get("confirmations") if header is not None else None
        if isinstance(confirmations, int) and confirmations > 0:
            return not self._is_on_chain(old)       # bcoin counts confirmations of blocks beside the chain, too
        return confirmations == -1

    def _is_on_chain(self, tip: Tip) -> bool:
        try:
            there = self._rpc.call("getblockhash", tip.height - 1, timeout_s=FACTS_TIMEOUT_S)
        except RpcRefusal:                          # the chain does not reach that height any more
            return False
        except NodeError:
            return True
        return bool(there == to_display(tip.prev_hash))

    def _header(self, block_hash: bytes) -> dict[str, Any] | None:
        if not self._has_headers:
            return None
        try:
            header = self._rpc.call("getblockheader", to_display(block_hash), True, timeout_s=FACTS_TIMEOUT_S)
        except CallForbidden as exc:
            self._has_headers = False               # until the node is lost: its rights may be mended
            say(log, logging.WARNING, "node.silent", node=self.name, reason=exc, meaning="without getblockheader the "
                "tips of several nodes are compared by height alone")
            return None
        except NodeError as exc:
            say(log, logging.DEBUG, "header.missed", node=self.name, reason=exc)
            return None
        return header if isinstance(header, dict) else None

    def _with_border(self, template: Template, curtime: int, answered_at: float) -> Template:
        """On testnet4 a template of full difficulty is good for header times up to 20 minutes after its parent."""
        self._border_at = math.inf
        tip = template.tip
        if (self._network != "testnet4" or self._facts.time is None or tip.nbits == MIN_DIFFICULTY_NBITS
                or tip.height % RETARGET_BLOCKS == 0):
            return template
        border = self._facts.time + MIN_DIFFICULTY_AFTER_S
        if not tip.min_ntime <= border:             # the node does not keep to the rule; what it says is the truth
            return template
        self._border_at = answered_at + border + 1 - curtime
        return replace(template, tip=replace(tip, max_ntime=border))

    # --- the end of an outage, and its begin --------------------------------------------------------------------------

    def _lose(self, reason: str) -> None:
        """The node fails: say so once, tell the job maker once, and start afresh with the next try."""
        self._is_found = False
        self._watch.reset()
        self._rpc.hang_up()
        self.trouble = reason
        self._is_steady = False
        self._highest = None
        self._has_headers = True
        if not self._is_cut_short and self._outage.add(reason, self._monotonic()):
            self._job_maker.put(NodeLost(self._node, reason))

    def _hear(self, wait_s: float = 0.0) -> bool:
        """Amid a turn: obey what comes within `wait_s`. True as soon as the wait for a new tip is to end."""
        until = self._monotonic() + wait_s
        while True:
            self._bell.hear()                   # stilled first: a later ring is for a later item
            if self.drain(until - self._monotonic()):
                self._is_wanted = True
            self.answer()
            self._touch()
            if self._is_wanted or self.is_stopping:
                return True
            if self._monotonic() >= until:
                return False

    def _touch(self) -> None:
        self.beat = self._monotonic()


def _is_same(new: Reading, old: Reading) -> bool:
    """True if miners would get the same work from both."""
    return replace(new.template, template_id=old.template.template_id) == old.template

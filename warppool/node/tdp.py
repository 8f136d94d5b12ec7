"""The template source over Template Distribution: thread `node-N` keeps one connection to a template provider.

Templates come by themselves. The thread asks for their transactions, which it keeps (`kepttransactions.py`), and each
minute whether the provider lives (`questions.py`); blocks on its templates go back as SubmitSolution (`solutions.py`).
Nothing here blocks but the wait for the socket and the bell, and a name that is looked up: a block goes out at once,
be it between two pieces of a large answer.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from warppool.addresses import ProviderUrl
from warppool.bitcoin.hashes import to_display
from warppool.errors import NodeError, RemoteProtocolError
from warppool.loop import Loop, Order, prompt
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.mining.template import Tip
from warppool.node.bell import Bell
from warppool.node.httpline import NodeAway
from warppool.node.items import DropBlock, NodeAnswered, NodeHeard, NodeLost, NodeReport, Outcome, TemplateReady
from warppool.node.kepttransactions import TransactionsDropped, TransactionShelf, TransactionsKept, key_of
from warppool.node.outage import Outage
from warppool.node.pace import Backoff
from warppool.node.questions import ASK_EVERY_S, Questions
from warppool.node.solutions import OfferSolution, Solutions
from warppool.node.tdpline import ProviderLine, ProviderMistake
from warppool.say import say
from warppool.stats.snapshot import EMPTY
from warppool.sv2.messages.template import CoinbaseOutputConstraints
from warppool.sv2.profile import Profile
from warppool.sv2.templateclient import (
    ALIVE_CODES,
    NO_TEMPLATE,
    TemplateClientSession,
    TemplateEvent,
    TemplateGiven,
    TransactionsGiven,
)

log = logging.getLogger("warppool")

SETUP_S = 10.0              # for the set-up and the first template; a provider that has given none then is lost, and
                            # may still give one
AGAIN_S = 1.0               # until a provider is dialled again whose port is closed: it is found within 2 s
LONGEST_MISTAKE_S = 60.0    # between two connections to one that says what cannot be
TURN_LIMIT_S = 60.0         # for the watchdog: a name may take long
LAST_WORDS_S = 1.0          # at a stop, for the blocks that were handed on in the last moment
ANSWERS_PER_AGE = 3         # questions whether it lives, within the time after which silence counts
READ_BYTES_PER_S = 100e6    # that are opened and cut into transactions; an estimate
COST_OF_SIGOP = 4           # units of a block's sigop cost; providers differ in what they count, and this is enough

_NOT_FRESH = "the provider answers, and does not show that its node does"


class ProviderSettings(NamedTuple):
    """What a reload may change: the key, the profile, and the time without an answer after which the job maker takes
    the provider's work for dead.
    """

    url: ProviderUrl
    profile: Profile
    max_age_s: float


def constraints_of(plan: CoinbasePlan) -> CoinbaseOutputConstraints:
    """What a provider has to leave room for."""
    size, sigops = plan.outputs
    return CoinbaseOutputConstraints(size, COST_OF_SIGOP * sigops)


class TdpSource(Loop[OfferSolution | DropBlock]):
    """Templates of one provider, and blocks for it.

    `stop` ends the thread once the blocks that came before are on their way. `trouble` is why the provider gives no
    template now, "" while it does.
    """

    limits = prompt(TURN_LIMIT_S)
    requests = EMPTY                            # nobody waits for an answer of it
    is_misplaced = False        # nothing in the protocol tells the network

    def __init__(
        self,
        node: int,
        settings: ProviderSettings,
        network: str,
        job_maker: queue.Queue[Any],
        outcomes: queue.Queue[Any],
        *,
        plan: CoinbasePlan = LARGEST_PLAN,
        ask_every_s: float = ASK_EVERY_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(f"node-{node}", monotonic=monotonic)
        self.trouble = ""
        self._node = node
        self._network = network
        self._job_maker = job_maker
        self._outcomes = outcomes
        self._plan = plan
        self._settings = settings
        self._bell = Bell()
        self._line = ProviderLine(settings.url, settings.profile, self._bell)
        self._longest_ask_s = ask_every_s
        self._questions = Questions(min(ask_every_s, settings.max_age_s / ANSWERS_PER_AGE))
        self._shelf = TransactionShelf()
        self._solutions = Solutions()
        self._outage = Outage(self.name, monotonic())
        self._backoff, self._mistakes = Backoff(), Backoff(longest_s=LONGEST_MISTAKE_S)
        self._next_at = -math.inf               # monotonic: the provider is not dialled before
        self._due_by = math.inf                 # monotonic: for the set-up, then for the first template
        self._tip: Tip | None = None            # of this connection
        self._tip_at = 0.0                      # monotonic: when the provider told it
        self._templates = 0
        self._height = 0
        self._has_said_refused = False          # on this connection: transactions that do not come

    # --- what others ask for ------------------------------------------------------------------------------------------

    def turn(self, items: list[OfferSolution | DropBlock]) -> float:
        """Blocks first; then a connection, or one wait on it."""
        for item in items:
            self.guard(self._take, item)
        if self.is_stopping:
            return -math.inf
        if not self._line.is_up:
            if self._monotonic() < self._next_at:
                return self._next_at
            self._try(self._dial)
        else:
            self._try(self._serve)
        return -math.inf if self._line.is_up else self._next_at

    def put(self, item: OfferSolution | DropBlock | Order) -> None:
        """Any thread: leave `item` for the loop, which may be waiting for the provider."""
        super().put(item)
        self._bell.ring()

    def stop(self) -> None:
        """Any thread: end once what came before is on its way."""
        super().stop()
        self._line.cut()

    def close(self) -> None:
        """Free what it holds; `run` does it at its end, so this is for a source that was never started."""
        self._line.hang_up()
        self._bell.close()

    def finish(self) -> None:
        """Let what waits go out, within a second, and leave the provider alone."""
        until = time.monotonic() + LAST_WORDS_S
        try:
            while self._line.has_unsent and time.monotonic() < until:
                self._line.await_room(until - time.monotonic())
        except NodeError as exc:
            say(log, logging.DEBUG, "node.left", node=self.name, reason=exc)
        self.close()

    def reconfigure(self, settings: ProviderSettings) -> None:
        """Another key is proved by a new connection; a shorter patience asks more often."""
        before, self._settings = self._settings, settings
        self._questions.ask_every_s = min(self._longest_ask_s, settings.max_age_s / ANSWERS_PER_AGE)
        if (before.url, before.profile) != (settings.url, settings.profile):
            self._line.hang_up()
            self._line = ProviderLine(settings.url, settings.profile, self._bell)
            self._next_at = -math.inf

    def report(self) -> NodeReport:
        """Whether the provider gives templates, and how high its chain is."""
        return NodeReport(*self.vitals(), trouble=self.trouble, is_misplaced=False, templates=self._templates,
                          height=self._height)

    def _take(self, item: OfferSolution | DropBlock) -> None:
        if isinstance(item, OfferSolution):
            self._solutions.add(item, self._monotonic())
            self._send_blocks()
        else:
            self._solutions.drop(item.block_hash)

    # --- the connection -----------------------------------------------------------------------------------------------

    def _try(self, step: Callable[[], None]) -> None:
        """One step; whatever goes wrong in it ends the connection, and nothing else."""
        try:
            step()
        except (NodeError, RemoteProtocolError) as exc:
            self._lose(exc, str(exc))
        except Exception as exc:                # unforeseen: one bad message never ends the loop
            log.exception("event=node.failed node=%s", self.name)
            self._lose(exc, "a fault in warppool; the log has it")

    def _dial(self) -> None:
        self._line.dial(TemplateClientSession(constraints_of(self._plan), network=self._network, source=self.name))
        now = self._monotonic()
        self._questions.reset(now)
        self._solutions.reconnected(now)
        self._tip = None
        self._has_said_refused = False
        self._due_by = now + SETUP_S

    def _serve(self) -> None:
        """Say what is due, and take what comes within a second."""
        now = self._monotonic()
        self._check_deadlines(now)
        self._send_blocks()
        if self._line.is_set_up and (template_id := self._questions.next(now)) is not None:
            self._line.ask_transactions(template_id)
        due_at = min(self._questions.due_at(), now + self._solutions.until_due(now), self._due_by, now + 1.0)
        for event in self._line.wait(max(0.0, due_at - now)):
            self._hear(event)

    def _check_deadlines(self, now: float) -> None:
        if self._questions.is_late(now):
            raise NodeError("no answer to RequestTransactionData in time: the provider hangs, or the line is too slow")
        if now < self._due_by:
            return
        if not self._line.is_set_up:
            raise NodeError(f"no set-up within {SETUP_S:.0f} s: is it a template provider, and does it speak the "
                            f"profile {self._settings.profile.name}?")
        self._due_by = math.inf
        if self._tip is None:
            self._miss("the provider is there, and gives no template yet")

    def _lose(self, exc: Exception, reason: str) -> None:
        """The connection is over: say so once, tell the job maker once, and dial again later."""
        self._line.hang_up()
        if isinstance(exc, ProviderMistake | RemoteProtocolError):
            pause_s = self._mistakes.next()
        else:
            pause_s = AGAIN_S if isinstance(exc, NodeAway) else self._backoff.next()
        self._next_at = self._monotonic() + pause_s
        if not self.is_stopping and not self._line.is_cut:
            self._miss(reason)

    def _miss(self, reason: str) -> None:
        self.trouble = reason
        if self._outage.add(reason, self._monotonic()):
            self._job_maker.put(NodeLost(self._node, reason))

    # --- what the provider says ---------------------------------------------------------------------------------------

    def _hear(self, event: TemplateEvent) -> None:
        if isinstance(event, TemplateGiven):
            self._hear_template(event)
        elif event.template_id == NO_TEMPLATE:
            self._hear_life(isinstance(event, TransactionsGiven) or event.error_code in ALIVE_CODES)
        elif isinstance(event, TransactionsGiven):
            self._keep(event)
        else:
            self._miss_transactions(event.template_id, event.error_code)

    def _hear_template(self, event: TemplateGiven) -> None:
        """Mine the template; whatever else is to be done with it comes later."""
        now, template = self._monotonic(), event.template
        if template.transactions is None and (known := self._shelf.get(template)) is not None:
            template = replace(template, transactions=known)
        before, tip = self._tip, template.tip
        if event.is_new_tip:
            self._tip, self._tip_at = tip, now
        self._templates += 1
        self._height = tip.height
        self._is_back(now)
        is_reorg = (before is not None and before.prev_hash != tip.prev_hash and tip.height <= before.height)
        self._job_maker.put(TemplateReady(self._node, template, None, self._time_there(now), now, is_reorg))
        self._questions.want(template, now)
        self._solutions.given(template, now)
        if event.is_new_tip:
            self._follow_tip(tip)

    def _follow_tip(self, tip: Tip) -> None:
        """What it shows of our blocks; and what is too old by now."""
        self._questions.forget(tip.height)
        said, unseen = self._solutions.tip_moved(tip)
        self._outcomes.put(NodeHeard(self._node, tip.height - 1))
        for block_hash, verdict, reason in said:
            self._outcomes.put(Outcome(block_hash, self._node, verdict, reason))
        for solution in unseen:
            say(log, logging.WARNING, "block.unseen", node=self.name, height=solution.height,
                hash=to_display(solution.block_hash), meaning="the provider's chain has gone past it, and its tips "
                "showed neither it nor another: it stays in the journal", cure='add a [[node]] with source = "rpc"')
        self._let_go()

    def _hear_life(self, is_alive: bool) -> None:
        now = self._monotonic()
        self._questions.answered(NO_TEMPLATE, now)
        if not is_alive:
            self._miss(_NOT_FRESH)
        elif self._tip is not None:
            self._mistakes.reset()
            self._is_back(now)
            self._job_maker.put(NodeAnswered(self._node, self._time_there(now), now))

    def _is_back(self, now: float) -> None:
        self.trouble = ""
        self._backoff.reset()
        self._outage.end(now)

    def _time_there(self, now: float) -> int:
        """The provider's clock, in Unix seconds: what it said with its tip, and the time since then."""
        assert self._tip is not None
        return int(self._tip.min_ntime + now - self._tip_at)

    # --- transactions and blocks --------------------------------------------------------------------------------------

    def _keep(self, event: TransactionsGiven) -> None:
        began = self._monotonic()
        template = self._questions.answered(event.template_id, began)
        self._questions.rest(sum(map(len, event.transactions)) / READ_BYTES_PER_S, began)
        if template is None:
            return
        for _ in self._shelf.shelving(template, event.transactions, self._plan.largest(template)):
            self._look_at_inbox()
        self._questions.rest(self._monotonic() - began, self._monotonic())
        kept = self._shelf.get(template)
        assert kept is not None
        self._outcomes.put(TransactionsKept(self._node, key_of(template), kept))
        say(log, logging.DEBUG, "transactions.kept", node=self.name, template=template.template_id,
            height=template.tip.height, transactions=len(kept), kept_bytes=self._shelf.bytes)
        self._let_go()

    def _let_go(self) -> None:
        if dropped := self._shelf.let_go(self._height):
            self._outcomes.put(TransactionsDropped(self._node, dropped))

    def _miss_transactions(self, template_id: int, error_code: str) -> None:
        """No transactions: the blocks on that template go to the provider alone."""
        template = self._questions.answered(template_id, self._monotonic(), is_final=error_code in ALIVE_CODES)
        is_wanted = template is not None and self._tip is not None and template.tip == self._tip
        if is_wanted and not self._has_said_refused:
            self._has_said_refused = True
            say(log, logging.WARNING, "transactions.refused", node=self.name, template=template_id, reason=error_code,
                meaning="a block on this template goes to the provider alone, and not to the other nodes")

    def _look_at_inbox(self) -> None:
        """Amid a large answer: a block that was found meanwhile does not wait for the end of it."""
        for item in self.drain():
            self.guard(self._take, item)
        self.answer()
        self.beat = self._monotonic()

    def _send_blocks(self) -> None:
        if not self._line.is_set_up:
            return
        for solution, times in self._solutions.due(self._monotonic()):
            self._line.offer(solution)
            say(log, logging.WARNING if times else logging.INFO, "block.offered", node=self.name,
                height=solution.height, hash=to_display(solution.block_hash), template=solution.template_id,
                times=times + 1)

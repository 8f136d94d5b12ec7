"""The template server's side of a Template Distribution conversation: messages in, messages and events out.

A client gets the first template of a tip as a future one with the SetNewPrevHash that names it, both in one piece, and
never a future one ahead of time: some clients end themselves where anything comes between the two. Later templates of
the tip come alone, where they pay more by enough, and the newest one again after a while. What a client hands in is
checked in `solution.py`; what may still be asked for is kept in `templatestore.py`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

from warppool.errors import UnexpectedMessage
from warppool.events import BlockFound, Close, Happened, Holds, Now
from warppool.mining.job import Job
from warppool.mining.shorter import MAX_CLASS, ShortTemplate, size_class
from warppool.mining.template import Tip
from warppool.sv2.frame import Frame
from warppool.sv2.jobs import Step
from warppool.sv2.messages.common import (
    ALL_FLAGS,
    PROTOCOL_VERSION,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from warppool.sv2.profile import Subprotocol
from warppool.sv2.solution import Spoiled, check_solution
from warppool.sv2.templatecontext import DataQueue, TemplateContext
from warppool.sv2.types import Message

REPEAT_S = 60.0
"""The newest template is sent again so long after the last one: a client that hears nothing thinks that we are gone."""

LOOK_AGAIN_S = 1.0
"""Between two looks whether the node answers again."""

MAX_BAD = 10
"""Solutions that are none, after which a client is closed."""

MAX_ASKED = 4
"""Requests for transactions that wait; a client that has more than these asks faster than it is answered."""

MAX_CHANGES = 16
"""Changes of the constraints that are obeyed at once; each further one is worth CHANGE_S."""

CHANGE_S = 5.0

_BYTES_OF_SIGOP: Final = 34
"""A client that does not tell its sigops is thought to have one for each output of P2PKH that fits."""


class ServingPhase(IntEnum):
    """Where the conversation stands; what a phase has no place for closes the connection."""

    AWAIT_SETUP = auto()
    AWAIT_CONSTRAINTS = auto()
    SERVING = auto()
    CLOSED = auto()


class LastTemplate(NamedTuple):
    """What a client got last: at `at`, in monotonic seconds. `tip` is None where it is to be told of its tip again."""

    template_id: int
    short: ShortTemplate
    tip: Tip | None
    at: float


class TemplateServerSession:
    """One client's conversation after the handshake: no socket, no clock, no thread.

    `receive` raises UnexpectedMessage for what the phase has no place for; then nothing has changed.
    """

    __slots__ = ("_agent", "_bad", "_changes", "_constraints", "_context", "_data", "_given", "_pinned",
                 "_no_mining", "_template_at", "conn_id", "holders", "phase", "subprotocol")

    in_flight = 0
    machines = 0
    unanswered = 0

    def __init__(self, conn_id: int, context: TemplateContext, no_mining: str = "") -> None:
        self.conn_id = conn_id
        self.phase = ServingPhase.AWAIT_SETUP
        self.subprotocol = Subprotocol.COMMON       # whose messages are decoded now; Common belongs to each
        self.holders = 0                            # its size class: those with small coinbases are served first
        self._context = context
        self._no_mining = no_mining                 # why a miner is closed without a word
        self._agent = ""
        self._constraints: CoinbaseOutputConstraints | None = None
        self._changes = deque((-math.inf,), MAX_CHANGES)        # when they came, monotonic
        self._given: LastTemplate | None = None
        self._pinned = 0                            # id of the last future template, which is kept as long as its tip
        self._template_at = math.inf                # monotonic: when to see whether a template is due
        self._data = DataQueue(context)
        self._bad = 0                               # solutions that were none

    # -- what the connection asks --------------------------------------------------------------------------------

    @property
    def answers(self) -> TemplateServerSession:
        """Nothing of a client waits for a weight or a record."""
        return self

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds of the next wanted `tick`."""
        return min(self._template_at, self._data.wakes_at)

    def read_share(self, frame: Frame) -> None:
        """No share comes here."""

    def submit(self, *share_and_now: object) -> Sequence[Step]:
        """No share comes here, and so nothing to be judged or recorded."""
        return ()

    judged = recorded = not_recorded = given_up = submit

    def receive(self, message: Message, now: Now) -> list[Step]:
        """Apply one message and return what follows from it, in order."""
        step = self._STEPS.get((self.phase, type(message)))
        if step is None:
            raise UnexpectedMessage(f"{type(message).__name__} in phase {self.phase.name}")
        return step(self, message, now)

    def offer(self, job: Job, now: Now) -> list[Step]:
        """There is a new job: its template may be news to the client."""
        self._context.take(job, now.monotonic)
        return self._serve(now)

    def tick(self, now: Now) -> list[Step]:
        """A template or transactions may be due."""
        steps: list[Step] = []
        if now.monotonic >= self._data.wakes_at:
            self._send_transactions(now, steps)
        if now.monotonic >= self._template_at:
            steps += self._serve(now)
        return steps

    def closed(self, now: Now) -> list[Step]:
        """The connection is gone: no more messages."""
        if self.phase is ServingPhase.SERVING:
            self._context.clients -= 1
        self.phase, self.subprotocol = ServingPhase.CLOSED, Subprotocol.COMMON
        self._template_at = math.inf
        self._data.clear()
        self._pin(0)
        return []

    # -- set-up --------------------------------------------------------------------------------------------------

    def _setup(self, m: SetupConnection, now: Now) -> list[Step]:
        if m.protocol == Subprotocol.MINING and self._no_mining:
            return [Close(self.conn_id, self._no_mining)]
        if m.protocol != Subprotocol.TEMPLATE_DISTRIBUTION:
            return self._refuse_setup(0, "unsupported-protocol")
        if not m.min_version <= PROTOCOL_VERSION <= m.max_version:
            return self._refuse_setup(0, "protocol-version-mismatch")
        if m.flags:
            return self._refuse_setup(ALL_FLAGS, "unsupported-feature-flags")
        self._agent = m.agent
        self.phase, self.subprotocol = ServingPhase.AWAIT_CONSTRAINTS, Subprotocol.TEMPLATE_DISTRIBUTION
        return [SetupConnectionSuccess(used_version=PROTOCOL_VERSION, flags=0)]

    def _refuse_setup(self, flags: int, code: str) -> list[Step]:
        return [SetupConnectionError(flags=flags, error_code=code), self._close(code)]

    def _request_extensions(self, m: RequestExtensions, now: Now) -> list[Step]:
        return [RequestExtensionsError(m.request_id, m.requested_extensions, ())]

    def _constrain(self, m: CoinbaseOutputConstraints, now: Now) -> list[Step]:
        """How large the client's coinbase gets: it has a template that leaves room for that, at once."""
        if m == self._constraints:
            return []
        size, sigops = m.coinbase_output_max_additional_size, m.coinbase_output_max_additional_sigops
        wanted = size_class(size, size // _BYTES_OF_SIGOP + 1 if sigops is None else sigops)
        if wanted > MAX_CLASS:
            return [self._close(f"its coinbase, with {size} bytes of outputs and {sigops} sigops, takes more of a "
                                f"block than {MAX_CLASS} kWU")]
        if self.phase is not ServingPhase.SERVING:
            if not self._context.has_room:
                return [self._close("as many template clients are here as may be")]
            self._context.clients += 1
            self.phase = ServingPhase.SERVING
        self._constraints, self.holders = m, wanted
        if self._given is not None:
            self._given = self._given._replace(tip=None)
        steps: list[Step] = [Happened(self.conn_id, "info", "client.served", (
            ("agent", self._agent), ("size", size), ("sigops", sigops), ("class", wanted)))]
        self._changes.append(now.monotonic)
        if len(self._changes) == MAX_CHANGES and now.monotonic - self._changes[0] < MAX_CHANGES * CHANGE_S:
            self._template_at = now.monotonic + CHANGE_S
            return steps
        return steps + self._serve(now)

    # -- templates -----------------------------------------------------------------------------------------------

    def _serve(self, now: Now) -> list[Step]:
        """Send what the client is to have now; nothing while the node is silent, whose work may be dead."""
        given, context = self._given, self._context
        job = context.job
        self._template_at = math.inf
        if job is None or self.phase is not ServingPhase.SERVING:
            return []
        if not context.is_fresh(now.monotonic):
            self._template_at = now.monotonic + LOOK_AGAIN_S
            return []
        if given is None or given.tip != job.tip:
            return self._give(job, now, is_tip=True)
        repeat_at = given.at + REPEAT_S
        if now.monotonic >= repeat_at:
            return self._give(job, now, is_tip=False)
        self._template_at = repeat_at
        if job.template is not given.short.template:
            better_at = given.at + context.rules.interval_s
            if now.monotonic < better_at:
                self._template_at = min(repeat_at, better_at)
            else:
                short = context.store.short(job.template, self.holders)
                if short is not None and short.value >= given.short.value + context.rules.fee_delta_sat:
                    return self._give(job, now, is_tip=False)
        return []

    def _give(self, job: Job, now: Now, *, is_tip: bool) -> list[Step]:
        """The newest template; with `is_tip` as a future one, and behind it the tip that it stands on."""
        store = self._context.store
        short = store.short(job.template, self.holders)
        if short is None:
            return [self._close("no template of the node leaves room for its coinbase")]
        template_id = store.give(short, 0 if self._given is None else self._given.template_id, now.monotonic)
        self._given = LastTemplate(template_id, short, job.tip, now.monotonic)
        self._template_at = now.monotonic + REPEAT_S
        self._context.templates += 1
        steps: list[Step] = [_new_template(template_id, short, is_future=is_tip)]
        if is_tip:
            self._pin(template_id)
            steps.append(SetNewPrevHash(
                template_id=template_id, prev_hash=job.tip.prev_hash, header_timestamp=job.ntime,
                n_bits=job.tip.nbits, target=job.tip.target.to_bytes(32, "little")))
        return steps

    def _pin(self, template_id: int) -> None:
        """Keep that template as long as its tip lasts, and the one before no longer; 0 is none."""
        store = self._context.store
        if self._pinned:
            store.unpin(self._pinned)
        if template_id:
            store.pin(template_id)
        self._pinned = template_id

    # -- transactions --------------------------------------------------------------------------------------------

    def _request(self, m: RequestTransactionData, now: Now) -> list[Step]:
        """Answered soon with the transactions, or at once with the reason why not, which shows whether we are fresh."""
        store = self._context.store
        short = store.get(m.template_id, now.monotonic)
        transactions = None if short is None else short.transactions
        if transactions is not None:
            if len(self._data) >= MAX_ASKED:
                return [self._close(f"more than {MAX_ASKED} requests for transactions wait")]
            size = sum(map(len, transactions)) + 3 * len(transactions)
            self._data.add(m.template_id, size, now.monotonic)
            return [Holds(self.conn_id, self.holders, size)]
        if not self._context.is_fresh(now.monotonic):
            code = "node-not-fresh"
        elif short is None and store.was_given(m.template_id):
            code = "stale-template-id"
        else:
            code = "template-id-not-found"
        return [RequestTransactionDataError(template_id=m.template_id, error_code=code)]

    def _send_transactions(self, now: Now, steps: list[Step]) -> None:
        template_id = self._data.take(now.monotonic)
        if template_id is None:
            return
        short = self._context.store.get(template_id, now.monotonic)
        transactions = None if short is None else short.transactions
        if transactions is None:                    # its ten seconds are over
            steps.append(RequestTransactionDataError(template_id=template_id, error_code="stale-template-id"))
            return
        self._context.answers += 1
        steps.append(RequestTransactionDataSuccess(template_id=template_id, excess_data=b"",
                                                   transaction_list=transactions))

    # -- blocks --------------------------------------------------------------------------------------------------

    def _solve(self, m: SubmitSolution, now: Now) -> list[Step]:
        """A block, as the client says. One that comes again, or too late, is no fault of the client."""
        short = self._context.store.get(m.template_id, now.monotonic)
        if short is None:
            return [Happened(self.conn_id, "info", "solution.late", (("template", m.template_id),))]
        solved = check_solution(m, short)
        if isinstance(solved, Spoiled):
            return self._spoiled(m, solved)
        if not self._context.is_first(solved.block_hash):
            return []
        self._context.solutions += 1
        tip = short.template.tip
        return [BlockFound(self.conn_id, short.whole(), tip.height, solved.header, solved.coinbase_tx,
                           solved.block_hash, self._agent or "template client", None)]

    def _spoiled(self, m: SubmitSolution, spoiled: Spoiled) -> list[Step]:
        self._bad += 1
        self._context.spoiled += 1
        steps: list[Step] = [Happened(self.conn_id, "error" if spoiled.has_work else "warning", "solution.refused", (
            ("template", m.template_id), ("reason", spoiled.reason), ("agent", self._agent)))]
        if self._bad >= MAX_BAD:
            steps.append(self._close(f"{MAX_BAD} solutions that are none"))
        return steps

    def _close(self, reason: str) -> Close:
        return Close(self.conn_id, reason, is_peers_fault=True)

    _STEPS: Mapping[tuple[ServingPhase, type], Callable[..., list[Step]]] = MappingProxyType({
        (ServingPhase.AWAIT_SETUP, SetupConnection): _setup,
        (ServingPhase.AWAIT_CONSTRAINTS, RequestExtensions): _request_extensions,
        (ServingPhase.AWAIT_CONSTRAINTS, CoinbaseOutputConstraints): _constrain,
        (ServingPhase.SERVING, RequestExtensions): _request_extensions,
        (ServingPhase.SERVING, CoinbaseOutputConstraints): _constrain,
        (ServingPhase.SERVING, RequestTransactionData): _request,
        (ServingPhase.SERVING, SubmitSolution): _solve,
    })


def _new_template(template_id: int, short: ShortTemplate, *, is_future: bool) -> NewTemplate:
    template = short.template
    return NewTemplate(
        template_id=template_id, future_template=is_future, version=template.version & 0xFFFF_FFFF,
        coinbase_tx_version=template.coinbase_tx_version, coinbase_prefix=template.coinbase_prefix,
        coinbase_tx_input_sequence=template.coinbase_tx_input_sequence, coinbase_tx_value_remaining=short.value,
        coinbase_tx_outputs_count=template.coinbase_tx_outputs_count, coinbase_tx_outputs=short.outputs,
        coinbase_tx_locktime=template.coinbase_tx_locktime, merkle_path=short.path)

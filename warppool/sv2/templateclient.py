"""The pool's side of a Template Distribution conversation: messages in, messages to send and events out.

A future NewTemplate waits for the SetNewPrevHash that names it; any other one is work on the present tip at once. The
transactions of one template at a time may be asked for. What a provider may not say is a RemoteProtocolError with the
reason (`templatechecks.py`).

Source: docs/sv2-wire.rst#messages-template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

from warppool.errors import LocalProtocolError, RemoteProtocolError, UnexpectedMessage
from warppool.mining.template import Template, Tip
from warppool.sv2.messages.common import (
    PROTOCOL_VERSION,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import Subprotocol
from warppool.sv2.templatechecks import check_template, template_of, tip_of
from warppool.sv2.types import Message

MAX_FUTURE = 8                  # future templates that are held; where more come, the oldest are forgotten
MAX_OWN_WORDS = 100             # characters of a provider's words that go on into the log

NO_TEMPLATE = 0
"""An id that no template has: asked for its transactions, a provider that lives says that there are none."""

ALIVE_CODES = frozenset({"template-id-not-found", "stale-template-id"})
"""Answers to such a question by which a provider shows that it and its node live. Any other shows nothing."""


class TemplatePhase(IntEnum):
    """Where the conversation stands."""

    AWAIT_ANSWER = auto()
    TEMPLATES = auto()


@dataclass(frozen=True, slots=True)
class TemplateGiven:
    """Mine this from now on; `is_new_tip` where a SetNewPrevHash said so, be it the same tip again."""

    template: Template
    is_new_tip: bool


@dataclass(frozen=True, slots=True)
class TransactionsGiven:
    """The transactions that were asked for, as they came: raw, in the order of the block, without the coinbase."""

    template_id: int
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TransactionsRefused:
    """The provider gives none for this template."""

    template_id: int
    error_code: str


TemplateEvent = TemplateGiven | TransactionsGiven | TransactionsRefused


class TemplateClientSession:
    """A pool's conversation with one template provider: no socket, no clock, no thread.

    `constraints` are what our coinbase needs at its largest, `network` is one of the pool's names, `source` the node's
    name in the log. A step that raises has changed nothing that a later one would trust: the connection is over.
    """

    subprotocol = Subprotocol.TEMPLATE_DISTRIBUTION         # whose messages are decoded

    def __init__(self, constraints: CoinbaseOutputConstraints, *, network: str, source: str) -> None:
        self.phase = TemplatePhase.AWAIT_ANSWER
        self.asked: int | None = None               # the template whose transactions are on their way
        self._constraints = constraints
        self._network = network
        self._source = source
        self._last_id = -1
        self._future: dict[int, tuple[NewTemplate, int]] = {}       # with the height, in the order of their coming
        self._tip: Tip | None = None

    @staticmethod
    def setup(*, host: str, port: int, vendor: str, firmware: str) -> SetupConnection:
        """The first message of a template connection."""
        return SetupConnection(
            protocol=Subprotocol.TEMPLATE_DISTRIBUTION, min_version=PROTOCOL_VERSION, max_version=PROTOCOL_VERSION,
            flags=0, endpoint_host=host, endpoint_port=port, vendor=vendor, hardware_version="", firmware=firmware,
            device_id="")

    @property
    def is_set_up(self) -> bool:
        """Whether the provider has accepted the connection."""
        return self.phase is TemplatePhase.TEMPLATES

    def ask_transactions(self, template_id: int) -> RequestTransactionData:
        """Ask for the transactions of a template, one at a time; NO_TEMPLATE asks whether the provider lives."""
        if self.phase is not TemplatePhase.TEMPLATES or self.asked is not None:
            raise LocalProtocolError(f"transactions are asked for in phase {self.phase.name}, after {self.asked}")
        self.asked = template_id
        return RequestTransactionData(template_id)

    def receive(self, message: Message, unix: float) -> list[CoinbaseOutputConstraints | TemplateEvent]:
        """Apply one message of the provider; a message that comes back is to be sent. `unix` is our clock."""
        step = self._STEPS.get((self.phase, type(message)))
        if step is None:
            raise UnexpectedMessage(f"{type(message).__name__} in phase {self.phase.name}")
        return step(self, message, unix)

    def _set_up(self, m: SetupConnectionSuccess, unix: float) -> list[CoinbaseOutputConstraints]:
        if m.used_version != PROTOCOL_VERSION:
            raise RemoteProtocolError(f"the provider chose version {m.used_version}, we offered "
                                      f"{PROTOCOL_VERSION}")
        self.phase = TemplatePhase.TEMPLATES
        return [self._constraints]

    def _refused(self, m: SetupConnectionError, unix: float) -> list[TemplateEvent]:
        raise RemoteProtocolError(f"the provider refuses the connection: {m.error_code[:MAX_OWN_WORDS]}")

    def _new_template(self, m: NewTemplate, unix: float) -> list[TemplateEvent]:
        if m.template_id <= self._last_id:
            raise RemoteProtocolError(f"NewTemplate {m.template_id}, template_id: it comes after {self._last_id}")
        height = check_template(m, self._network)
        tip = self._tip
        if not m.future_template:
            if tip is None:
                raise RemoteProtocolError(f"NewTemplate {m.template_id}, future_template: false before the first tip")
            if height != tip.height:
                raise RemoteProtocolError(f"NewTemplate {m.template_id}, coinbase_prefix: height {height} on the tip "
                                          f"for {tip.height}")
        self._last_id = m.template_id
        if not m.future_template:
            assert tip is not None
            return [TemplateGiven(template_of(m, tip, self._source), is_new_tip=False)]
        while len(self._future) >= MAX_FUTURE:
            del self._future[next(iter(self._future))]
        self._future[m.template_id] = m, height
        return []

    def _new_tip(self, m: SetNewPrevHash, unix: float) -> list[TemplateEvent]:
        held = self._future.get(m.template_id)
        if held is None:
            raise RemoteProtocolError(f"SetNewPrevHash {m.template_id}, template_id: no future template that is held")
        new, height = held
        tip, before = tip_of(m, height, unix), self._tip
        if before is not None and before.prev_hash == tip.prev_hash and before.height != height:
            raise RemoteProtocolError(f"SetNewPrevHash {m.template_id}, prev_hash: the same at height {height} as "
                                      f"before at {before.height}")
        self._tip = tip
        self._future.clear()
        return [TemplateGiven(template_of(new, tip, self._source), is_new_tip=True)]

    def _transactions(self, m: RequestTransactionDataSuccess, unix: float) -> list[TemplateEvent]:
        self._answered(m)
        return [TransactionsGiven(m.template_id, m.transaction_list)]

    def _no_transactions(self, m: RequestTransactionDataError, unix: float) -> list[TemplateEvent]:
        self._answered(m)
        return [TransactionsRefused(m.template_id, m.error_code[:MAX_OWN_WORDS])]

    def _answered(self, m: RequestTransactionDataSuccess | RequestTransactionDataError) -> None:
        if self.asked is None or m.template_id != self.asked:
            raise RemoteProtocolError(f"{type(m).__name__} {m.template_id}, template_id: nobody asked for it")
        self.asked = None

    _STEPS: Mapping[tuple[TemplatePhase, type[Message]], Callable[..., list[Any]]] = {
        (TemplatePhase.AWAIT_ANSWER, SetupConnectionSuccess): _set_up,
        (TemplatePhase.AWAIT_ANSWER, SetupConnectionError): _refused,
        (TemplatePhase.TEMPLATES, NewTemplate): _new_template,
        (TemplatePhase.TEMPLATES, SetNewPrevHash): _new_tip,
        (TemplatePhase.TEMPLATES, RequestTransactionDataSuccess): _transactions,
        (TemplatePhase.TEMPLATES, RequestTransactionDataError): _no_transactions,
    }

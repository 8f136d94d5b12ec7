"""`warppool check` of a node that is a template provider: its key, a template, its transactions, and that it lives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from warppool.commands.findings import Finding
from warppool.config.changes import identity_of
from warppool.config.options import NodeConfig
from warppool.errors import ConfigError, NodeError, RemoteProtocolError
from warppool.mining.reserve import CoinbasePlan
from warppool.mining.template import Template
from warppool.node.bell import Bell
from warppool.node.kepttransactions import TransactionShelf
from warppool.node.tdp import constraints_of
from warppool.node.tdpline import ProviderLine
from warppool.service.nodes import is_insecure, provider_of
from warppool.sv2.templateclient import (
    ALIVE_CODES,
    NO_TEMPLATE,
    TemplateClientSession,
    TemplateEvent,
    TemplateGiven,
    TransactionsGiven,
    TransactionsRefused,
)

TIMEOUT_S = 10.0            # for each thing that is waited for


def provider_findings(key: str, node: NodeConfig, network: str, plan: CoinbasePlan,
                      tips: dict[str, int]) -> Iterator[Finding]:
    """What a template provider says within some seconds; the height of its tip goes to `tips`."""
    where, settings, bell = identity_of(node), provider_of(node, 0.0), Bell()
    if is_insecure(node):
        yield Finding("warn", key, f"{where} may be anybody, since its URL has no key: it is mined only while no other "
                      "node is fresh")
    line = ProviderLine(settings.url, settings.profile, bell)
    try:
        line.dial(TemplateClientSession(constraints_of(plan), network=network, source=key))
        yield from _ask(key, where, line, plan, tips)
    except (ConfigError, NodeError, RemoteProtocolError) as exc:
        yield Finding("error", key, f"{where}: {exc}")
    finally:
        line.hang_up()
        bell.close()


def _ask(key: str, where: str, line: ProviderLine, plan: CoinbasePlan, tips: dict[str, int]) -> Iterator[Finding]:
    given = _await(line, TemplateGiven, "no template")
    assert isinstance(given, TemplateGiven)
    template = given.template
    tips[key] = template.tip.height - 1
    yield Finding("ok", key, f"{where} gives templates, now for height {template.tip.height}; nothing in the protocol "
                  "tells the network")
    if template.transactions is None:
        line.ask_transactions(template.template_id)
        yield _transactions(key, template, _await(line, TransactionsGiven | TransactionsRefused, "no transactions"),
                            plan)
    line.ask_transactions(NO_TEMPLATE)
    answer = _await(line, TransactionsGiven | TransactionsRefused, "no answer to a question whether it lives")
    if isinstance(answer, TransactionsRefused) and answer.error_code not in ALIVE_CODES:
        yield Finding("warn", key, f"asked whether it lives, it answers {answer.error_code!r}: does its own node?")


def _transactions(key: str, template: Template, answer: TemplateEvent, plan: CoinbasePlan) -> Finding:
    if not isinstance(answer, TransactionsGiven):
        return Finding("warn", key, "it gives no transactions, so a block goes to it alone: see its log")
    for _ in TransactionShelf().shelving(template, answer.transactions, plan.largest(template)):
        pass
    return Finding("ok", key, f"it gives the template's {len(answer.transactions)} transactions")


def _await(line: ProviderLine, wanted: Any, lack: str) -> Any:
    """The next event of that kind; NodeError where none comes in time."""
    until = time.monotonic() + TIMEOUT_S
    while (left_s := until - time.monotonic()) > 0:
        for event in line.wait(left_s):
            if isinstance(event, wanted):
                return event
    raise NodeError(f"{lack} within {TIMEOUT_S:.0f} s")

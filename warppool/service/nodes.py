"""The nodes of the pool: for each one the thread that asks it for templates, and the one that hands it blocks.

A node is known by its URL (`config/changes.py`), and in threads, journal and log by a number that no other URL ever
gets (`node/numbers.py`). So its place in the file may change, and nodes may come and go, while the rest goes on.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from warppool.addresses import NodeAddress, ProviderUrl
from warppool.config.changes import identity_of
from warppool.config.options import NodeConfig, PoolConfig
from warppool.errors import ConfigError
from warppool.loop import Reconfigure, ServingThread
from warppool.mining.job import MAX_TAG_SIZE
from warppool.mining.reserve import CoinbasePlan
from warppool.node.jsonrpc import Cookie, Credentials, UserPassword
from warppool.node.numbers import NodeNumbers
from warppool.node.regtest import RegtestSource
from warppool.node.rpc import REFRESH_S, RpcSource, SourceSettings
from warppool.node.rpcsubmit import RpcSubmitter
from warppool.node.takers import NodeInbox
from warppool.node.tdp import ProviderSettings, TdpSource
from warppool.say import say
from warppool.service.payers import payer_of
from warppool.service.threads import Threads
from warppool.sv2.profile import PROFILES
from warppool.threads import STOP

log = logging.getLogger("warppool")

NODES_S = 2.0
"""How long a stop waits for the nodes: an embedded chain takes what it was handed for 1 s, and then flushes."""


class NodeUse(Protocol):
    """What a program says of all its nodes together: the pool's section has it, and the template provider's."""

    @property
    def network(self) -> str: ...
    @property
    def data_dir(self) -> Path: ...
    @property
    def work_max_age_s(self) -> int: ...


Source = RpcSource | TdpSource | RegtestSource


class Node(NamedTuple):
    """One node. The embedded chain, and a template provider, make templates and take blocks on one thread."""

    table: NodeConfig
    source: Source
    submitter: RpcSubmitter | None

    @property
    def inbox(self) -> NodeInbox:
        """Where its blocks go."""
        if isinstance(self.source, TdpSource):
            return NodeInbox(self.source, is_embedded=False, is_provider=True, is_insecure=is_insecure(self.table))
        if self.submitter is None:
            assert isinstance(self.source, RegtestSource)
            return NodeInbox(self.source.inbox, is_embedded=True)
        return NodeInbox(self.submitter.inbox, is_embedded=False)

    @property
    def threads(self) -> list[ServingThread]:
        """What takes blocks, and what makes templates."""
        return [self.source] if self.submitter is None else [self.submitter, self.source]


class Nodes:
    """Owned by the main thread. `by_number` has the nodes that are in the file, in its order.

    `plan` is the coinbase that templates are measured against. `job_maker` gets templates, `outcomes` what becomes of
    blocks. Each node is asked for a template every `refresh_s` at least.
    """

    def __init__(self, use: NodeUse, tables: Sequence[NodeConfig], plan: CoinbasePlan, job_maker: queue.Queue[Any],
                 outcomes: queue.Queue[Any], refresh_s: float = REFRESH_S) -> None:
        self.by_number: dict[int, Node] = {}
        self._plan = plan
        self._job_maker = job_maker
        self._outcomes = outcomes
        self._refresh_s = refresh_s
        check_providers(tables)
        self._numbers = NodeNumbers(use.data_dir)
        identities = [identity_of(table) for table in tables]
        try:
            numbers = self._numbers.of(identities)
        except OSError as exc:
            say(log, logging.WARNING, "node.unnumbered", reason=exc.strerror, consequence="the next start may know "
                "other nodes by these numbers", cure="free space on the disk of data_dir, then restart")
            numbers = self._numbers.of_this_run(identities)
        for table in tables:
            number = numbers[identity_of(table)]
            self.by_number[number] = self._made(number, table, use)

    @property
    def names(self) -> Mapping[int, str]:
        """The names in the log."""
        return {number: node.source.name for number, node in self.by_number.items()}

    @property
    def inboxes(self) -> Mapping[int, NodeInbox]:
        """Where blocks go."""
        return {number: node.inbox for number, node in self.by_number.items()}

    @property
    def askers(self) -> Mapping[int, queue.Queue[Any]]:
        """By the number of each node that can be asked what became of a block: the inbox for such questions."""
        return {number: node.source.inbox if node.submitter is None else node.submitter.inbox
                for number, node in self.by_number.items() if not isinstance(node.source, TdpSource)}

    @property
    def insecure(self) -> frozenset[int]:
        """The numbers of providers that may be anybody."""
        return frozenset(number for number, node in self.by_number.items() if is_insecure(node.table))

    @property
    def sources(self) -> Sequence[Source]:
        """What makes templates."""
        return [node.source for node in self.by_number.values()]

    @property
    def submitters(self) -> Sequence[RpcSubmitter]:
        """What hands blocks to real nodes."""
        return [node.submitter for node in self.by_number.values() if node.submitter is not None]

    def start(self, threads: Threads) -> None:
        """Start every thread, those that take blocks first."""
        for number, node in self.by_number.items():
            _say(node, number)
        threads.start(*self.submitters, *self.sources)

    def ask_now(self) -> None:
        """Ask every node for a template at once, as when somebody knows of a new tip."""
        for source in self.sources:
            if isinstance(source, RpcSource):
                source.ask_now()

    def mistake(self) -> str:
        """What is wrong where every node has been on another network since the start; "" for nothing."""
        if not all(source.is_misplaced for source in self.sources):
            return ""
        return "; ".join(f"{source.name}: {source.trouble}" for source in self.sources)

    def troubles(self) -> list[str]:
        """Why each node that has given no template has given none."""
        return [f"{source.name}: {source.trouble}" for source in self.sources if source.trouble]

    def stop_templates(self) -> None:
        """No more templates. An embedded chain and a template provider still take blocks."""
        for source in self.sources:
            if isinstance(source, RpcSource):
                source.stop()

    def stop_blocks(self, threads: Threads) -> None:
        """Hand in what was said so far, and end; what no node took is in the journal and comes at the next start."""
        for submitter in self.submitters:
            submitter.inbox.put(STOP)
        for source in self.sources:
            if not isinstance(source, RpcSource):
                source.stop()
        names = [submitter.name for submitter in self.submitters]
        threads.join(names)
        for submitter in self.submitters:
            submitter.stop()
        threads.join([*names, *(source.name for source in self.sources)], NODES_S)

    def close(self) -> None:
        """Free what a node that was never started holds."""
        for source in self.sources:
            if not isinstance(source, RegtestSource):
                source.close()

    def _made(self, number: int, table: NodeConfig, use: NodeUse) -> Node:
        if table.source == "regtest":
            return Node(table, RegtestSource(number, use.data_dir, self._job_maker, self._outcomes), None)
        if table.source == "tdp":
            return Node(table, TdpSource(number, provider_of(table, use.work_max_age_s), use.network, self._job_maker,
                                         self._outcomes, plan=self._plan), None)
        address, credentials = NodeAddress.parse(table.url), credentials_of(table)
        submitter = RpcSubmitter(number, address, credentials, self._outcomes)
        source = RpcSource(number, address, credentials, use.network, self._job_maker, plan=self._plan,
                           refresh_s=self._refresh_s, max_age_s=use.work_max_age_s)
        return Node(table, source, submitter)

    # --- another configuration ----------------------------------------------------------------------------------------

    def numbers_of(self, tables: Sequence[NodeConfig]) -> Mapping[str, int]:
        """The numbers of the nodes in `tables`.

        ConfigError where the disk does not take the numbers of new ones, or a package for one of them is missing.
        """
        check_providers(tables)
        try:
            return self._numbers.of(identity_of(table) for table in tables)
        except OSError as exc:
            raise ConfigError(f"node.url: the number of a new node cannot be written to data_dir ({exc.strerror}): "
                              "free space on its disk") from exc

    def change(self, use: NodeUse, tables: Sequence[NodeConfig], numbers: Mapping[str, int]) -> NodeChange:
        """From now on `by_number` has the nodes of `tables`. One that stays is told of another login, or key."""
        before, self.by_number, new = self.by_number, {}, []
        for table in tables:
            number = numbers[identity_of(table)]
            node = before.pop(number, None)
            if node is None:
                node = self._made(number, table, use)
                new.append(node)
                _say(node, number)
            elif isinstance(node.source, TdpSource):
                node.source.put(Reconfigure(provider_of(table, use.work_max_age_s)))
            elif node.submitter is not None:
                assert isinstance(node.source, RpcSource)
                login = credentials_of(table)
                node.submitter.inbox.put(Reconfigure(login))
                node.source.put(Reconfigure(SourceSettings(login, use.work_max_age_s)))
            self.by_number[number] = node._replace(table=table)
        for node in before.values():
            say(log, logging.INFO, "node.removed", node=node.source.name, url=identity_of(node.table))
        return NodeChange(new, list(before.values()))


class NodeChange(NamedTuple):
    """Nodes that are to be started and to be stopped, once job maker and submitter know of both."""

    new: list[Node]
    gone: list[Node]

    def follow(self, threads: Threads) -> None:
        """Start and stop them. Those that are gone end at once, whatever they wait for."""
        for node in self.gone:
            for thread in (node.source, node.submitter):
                if thread is not None:
                    thread.stop()
            threads.let_go(*node.threads)
        for node in self.new:
            threads.start(*node.threads)


def _say(node: Node, number: int) -> None:
    say(log, logging.INFO, "node.configured", node=node.source.name, url=identity_of(node.table), number=number)


def plan_of(pool: PoolConfig) -> CoinbasePlan:
    """What the pool puts into its coinbases, by which templates are measured: a reload may make the tag longer."""
    return CoinbasePlan(pool.payout_script, b" " * MAX_TAG_SIZE, payer_of(pool))


def provider_of(table: NodeConfig, max_age_s: float) -> ProviderSettings:
    """How we reach a template provider, and the key that it must prove."""
    url = ProviderUrl.parse(table.url)
    return ProviderSettings(url, PROFILES[url.profile or table.profile], max_age_s)


def check_providers(tables: Sequence[NodeConfig]) -> None:
    """ConfigError where the package that seals the connection to a template provider is not installed."""
    for index, table in enumerate(tables):
        if table.source == "tdp":
            try:
                provider_of(table, 0.0).profile.check()
            except ConfigError as exc:
                raise ConfigError(f"node[{index}].url: {exc}") from exc


def is_insecure(table: NodeConfig) -> bool:
    """Whether the node is a template provider that may be anybody."""
    return table.source == "tdp" and not ProviderUrl.parse(table.url).pin


def credentials_of(table: NodeConfig) -> Credentials:
    """How we log in at a node: by its user, where one is given, else by its cookie."""
    return UserPassword(table.user, table.password) if table.user else Cookie(table.cookie_file)

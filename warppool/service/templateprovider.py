"""The template provider: its parts are made here, and each is handed its neighbours.

Nodes give templates, the job maker says which one is mined, the worker gives it to the clients, and a block that one of
them hands in goes to the submitter, as a block of the pool's own machines does.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from warppool import __version__
from warppool.config.provider import read_provider_config
from warppool.config.provideroptions import ProviderConfig, TemplateProviderConfig
from warppool.config.translator import LEDGER_URL
from warppool.events import BlockFound, ShareAccepted
from warppool.loop import Reconfigure, ServingThread
from warppool.mining.counter import SECRET_SIZE, Shuffle
from warppool.mining.job import START_ID_SIZE, JobFactory
from warppool.mining.payrule import ToPool
from warppool.mining.reserve import SMALLEST_PLAN
from warppool.net.worker import Worker
from warppool.node.choice import Rules
from warppool.node.items import BestNode, Found
from warppool.node.jobmaker import JobMaker, JobMakerSettings
from warppool.noise.primitives import public_key
from warppool.say import say
from warppool.service.blockpath import BlockPath
from warppool.service.connector import listen_addresses
from warppool.service.ledger import Ledger
from warppool.service.log import set_up
from warppool.service.nodes import Nodes
from warppool.service.patience import Patience, impatient
from warppool.service.pool import NodeStatus, WorkBroadcast
from warppool.service.ports import Ports
from warppool.service.reload import Program, Reload
from warppool.service.run import serve
from warppool.service.service import Parts, Service
from warppool.service.specidentity import SpecIdentity, prepare_identity
from warppool.service.templateconnector import TemplateConnector
from warppool.service.threads import Threads
from warppool.sv2.templatecontext import TemplateCounts

log = logging.getLogger("warppool")

REFRESH_S = 5.0
"""How often the node is asked at least: so late may better fees be, and so soon it shows that it lives."""


def provide(args: argparse.Namespace) -> int:
    """Run the template provider until SIGTERM or SIGINT: 0 after a clean stop, 1 if a thread died."""
    def read() -> TemplateProviderConfig:
        return read_provider_config(args.config)

    config = read()
    set_up(config.log.level)
    return serve(lambda patience: TemplateProvider(config, patience, read).service)


class TemplateProvider:
    """Makes the parts of the template provider and the `service` of them; made by the main thread.

    The service is ready when every port listens and a template is there. ConfigError, LedgerError and NotNow as for the
    pool. `read` reads the configuration anew, for a reload.
    """

    def __init__(self, config: TemplateProviderConfig, patience: Patience | None = None,
                 read: Callable[[], TemplateProviderConfig] | None = None) -> None:
        self.config = config
        with ExitStack() as resources:
            self._build(config, patience or impatient(), resources)
            self.service = Service(Parts(
                resources=resources.pop_all(), ledger=self.ledger, ports=self.ports, ask_nodes=self.nodes.ask_now,
                behind=self.blocks,
                before=TemplatePath(config, self.job_maker, self.nodes), status=ProviderStatus(self),
                reload=Reload(config, Program(read or (lambda: config), self.prepare, _nothing_odd))), self.is_ready)

    def _build(self, config: TemplateProviderConfig, patience: Patience, resources: ExitStack) -> None:
        provider = config.provider
        self.is_ready = threading.Event()
        self.ledger = Ledger(provider.data_dir, "provider.data_dir", LEDGER_URL, "commit", patience, resources)
        spec = SpecIdentity(config.secrets, config.stratum.cert_validity_s) if config.stratum.sv2_spec_listen else None
        self.ports = Ports(listen_addresses(config.stratum), config.stratum, patience, resources, spec=spec)
        self.work = WorkBroadcast(self.ports, self.is_ready)
        job_inbox: queue.Queue[Any] = queue.Queue()
        outcomes: queue.Queue[Any] = queue.Queue()
        self.nodes = Nodes(provider, config.nodes, SMALLEST_PLAN, job_inbox, outcomes, refresh_s=REFRESH_S)
        resources.callback(self.nodes.close)
        self.job_maker = JobMaker(_job_factory(), job_inbox, self.work.job, nodes=self.nodes.names,
                                  rules=_rules_of(provider), best=lambda node: outcomes.put(BestNode(node)))
        self.blocks = BlockPath(provider.data_dir, outcomes, self.nodes, self.ledger, self.job_maker)
        self.submitter = self.blocks.submitter
        self.ports.add_workers(self._worker)
        self.submitter.replay()
        say(log, logging.INFO, "daemon.started", version=__version__, data_dir=str(provider.data_dir),
            network=provider.network, python=sys.version.split()[0], sqlite=sqlite3.sqlite_version)

    def prepare(self, config: TemplateProviderConfig, new: TemplateProviderConfig
                ) -> Callable[[], Sequence[ServingThread]]:
        """Do all that may fail of running with `config`, where the file says `new`; ConfigError. Returns what tells the
        threads.
        """
        take_ports = self.ports.prepare(config.stratum, has_tls=False)
        take_spec = prepare_identity(self.ports.spec, config, new)
        numbers = self.nodes.numbers_of(config.nodes)

        def take() -> Sequence[ServingThread]:
            self.config = config
            take_ports()
            take_spec()
            self.ports.tell_workers(Reconfigure(config))
            change = self.nodes.change(config.provider, config.nodes, numbers)
            self.job_maker.inbox.put(Reconfigure(JobMakerSettings(_rules_of(config.provider), self.nodes.names, b"")))
            self.submitter.inbox.put(Reconfigure(self.nodes.inboxes))
            change.follow(self.service.threads)
            return [*self.ports.threads, self.job_maker, self.submitter]

        return take

    def _worker(self, index: int, inbox: queue.Queue[Any]) -> Worker:
        ports, submitter_inbox, job_maker = self.ports, self.submitter.inbox, self.job_maker

        def found(block: BlockFound) -> None:
            submitter_inbox.put(Found(block, inbox))

        spec = None if ports.spec is None else ports.spec.identity()
        connector = TemplateConnector(self.config, spec, lambda: job_maker.answered_at)
        return Worker(index, inbox, ports.reactor.mailbox, ports.hasher, connector, record=_no_shares,
                      refused=self.ledger.refused, found=found, reconfigure=connector.reconfigure,
                      sessions=connector.context.report, log_limit=ports.log_limit)

    def counts(self) -> TemplateCounts | None:
        """What was served so far; None where the worker does not answer in time."""
        reports = self.ports.reports()
        return next((each.sessions for each in reports if isinstance(each.sessions, TemplateCounts)), None)


class TemplatePath:
    """The part before the worker: nodes and job maker."""

    def __init__(self, config: TemplateProviderConfig, job_maker: JobMaker, nodes: Nodes) -> None:
        self._secrets = config.secrets
        self._is_pinned = bool(config.stratum.sv2_listen)
        self._job_maker = job_maker
        self._nodes = nodes

    def start(self, threads: Threads) -> None:
        """Start them; the job maker gives the first template on when a node gives one."""
        threads.start(self._job_maker)
        self._nodes.start(threads)
        if self._is_pinned and self._secrets.sv2_static_priv_key is not None:
            say(log, logging.INFO, "key.loaded", public_key=public_key(self._secrets.sv2_static_priv_key))

    def stop(self, threads: Threads) -> None:
        """No more templates come; the nodes still take blocks."""
        self._nodes.stop_templates()
        self._job_maker.stop()


class ProviderStatus(NodeStatus):
    """What people read of the template provider."""

    def __init__(self, provider: TemplateProvider) -> None:
        super().__init__(provider.config.provider.network, provider.ports, provider.nodes, provider.job_maker,
                         provider.work, serving="giving templates on", idle="no template, since no node answers")
        self._counts = provider.counts

    def say_summary(self, now: float) -> None:
        """What was served, and how fresh it is."""
        counts = self._counts()
        served = {} if counts is None else asdict(counts)
        say(log, logging.INFO, "provider.summary", **served, **self.template_fields(now))


def _job_factory() -> JobFactory:
    """Jobs carry templates and times from the job maker to the sessions; nobody mines them as they are."""
    return JobFactory(payer=ToPool(SMALLEST_PLAN.payout_script), tag=b"", start_id=bytes(START_ID_SIZE),
                      shuffle=Shuffle(os.urandom(SECRET_SIZE)), encoders={}, extranonce_sizes=())


def _rules_of(provider: ProviderConfig) -> Rules:
    return Rules(provider.behind_blocks, provider.behind_s, provider.return_after_s, provider.work_max_age_s,
                 without_work="clients keep what they have, and get nothing new")


def _no_shares(shares: tuple[ShareAccepted, ...]) -> None:
    raise AssertionError("no machine mines here")


def _nothing_odd(config: TemplateProviderConfig) -> None:
    """There is nothing to warn of."""

"""Makes the connections of one worker, by the listener that they came in on.

Each worker has a connector of its own, since what its sessions share (extranonce prefixes, the cipher's buffer, dropped
V1 sessions) is that worker's alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from warppool import __version__
from warppool.addresses import Address
from warppool.config.options import TRANSLATOR_MARK, Config, Secrets, StratumConfig
from warppool.config.provideroptions import TemplatePortsConfig
from warppool.config.translatoroptions import MachinesConfig, TranslatorConfig
from warppool.errors import ConfigError
from warppool.events import Connection, Event, Now
from warppool.mining.counter import CoinbaseCounters, Shuffle
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.names import NameRule
from warppool.net.clients import Stack, Undecided
from warppool.net.inbox import Opened
from warppool.net.joboffers import OUT_OF_WORK
from warppool.net.proxyheader import ProxyHeader
from warppool.net.sniff import Guess, Sniff
from warppool.net.tls import Tls
from warppool.noise.ends import Identity, responder
from warppool.noise.primitives import new_buffer
from warppool.service.certificate import Certificate
from warppool.sv1.connection import ServerConnection as Sv1Connection
from warppool.sv1.resume import Message, ResumableSessions
from warppool.sv1.server import Context as Sv1Context
from warppool.sv2.connection import ServerConnection as Sv2Connection
from warppool.sv2.profile import PROFILES, SPEC, WARP, Profile
from warppool.sv2.server import Context as Sv2Context
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.templatecontext import TemplateContext
from warppool.translate.connection import connect
from warppool.translate.context import Times, TranslatorContext
from warppool.translate.counters import Counters
from warppool.translate.failover import Failover
from warppool.translate.upstream import Upstream, UpstreamConfig
from warppool.translate.waitingnames import Message as NameMessage
from warppool.translate.waitingnames import WaitingNames
from warppool.transport import PLAIN, Transport

SV1 = "sv1"
SV1_TLS = "sv1-tls"
SV2 = "sv2"
SV2_SPEC = "sv2-spec"
ANY = "any"
"""The kinds of listeners, by the names in the log."""

SPOKEN_SPEC: Final = "sv2-spec, seen"
"""No kind of listener: a connection whose first bytes can be of the published profile, and which gets its Noise."""

_KINDS: Final = {Guess.V1: SV1, Guess.TLS: SV1_TLS, Guess.MAYBE_WARP: SV2}
"""What serves a connection on `any_listen`, by its first bytes."""

PUBLISHED: Final = {Guess.PUBLISHED: SPOKEN_SPEC}
"""The same on `sv2_spec_listen`; and on `any_listen`, beside those, where the pool has the keys for it."""


class ListenAddress(NamedTuple):
    """One address to listen on, of one kind, and the key that says so."""

    kind: str
    address: Address
    key: str


def listen_addresses(stratum: StratumConfig | MachinesConfig | TemplatePortsConfig) -> list[ListenAddress]:
    """Every address that is listened on."""
    return [ListenAddress(kind, address, f"stratum.{key}")
            for kind, key in ((SV2, "sv2_listen"), (SV2_SPEC, "sv2_spec_listen"), (SV1, "listen"),
                              (SV1_TLS, "tls_listen"), (ANY, "any_listen"))
            for address in getattr(stratum, key, ())]


def served_profiles(secrets: Secrets, spec: Identity | None) -> dict[str, tuple[Profile, Identity]]:
    """The profiles of Stratum V2 that are served, and as whom, by the kind of their connections. `spec` is None where
    the published one is not served.
    """
    served = {}
    if secrets.sv2_static_priv_key is not None:
        served[SV2] = WARP, Identity(WARP.suite.key_pair(secrets.sv2_static_priv_key))
    if spec is not None:
        served[SPOKEN_SPEC] = SPEC, spec
    return served


class _Served(NamedTuple):
    """What miners of one profile of Stratum V2 share, and who the pool is there."""

    context: Sv2Context
    identity: Identity


class Connector:
    """Called by worker number `index` for every connection that was accepted.

    `certificate` is asked for its context at each connection, so that a reload counts from the next one on. `shuffle`
    is the one that the job factory has, too. `post` leaves a message for another worker, whose connector gets it by
    `hear`. `names` says what a worker's name means for the coins. `spec` is who the pool is in the published profile,
    None where that is not served. `templates` is what template clients on the V2 ports share, None where these are not
    served.
    """

    def __init__(self, config: Config, index: int, certificate: Certificate | None, shuffle: Shuffle,
                 post: Callable[[int, Message], None], names: NameRule, spec: Identity | None = None,
                 templates: TemplateContext | None = None) -> None:
        stratum = config.stratum
        self._policy = policy = policy_of(config)
        prefixes = PrefixPool(config.pool.server_id, index, stratum.workers)
        counters = CoinbaseCounters(shuffle, index, stratum.workers)
        self._certificate = certificate
        self._idle_timeout_s = float(stratum.idle_timeout_s)
        self._buffer = new_buffer()
        self._sv1 = Sv1Context(policy=policy, prefixes=prefixes, counters=counters,
                                    resumable=ResumableSessions(prefixes, index, stratum.workers, post),
                                    random_bytes=os.urandom,
                                    extranonce2_size=stratum.extranonce2_size, names=names)
        self._sv2 = {kind: _Served(Sv2Context(profile, policy, prefixes, counters, names, templates), identity)
                     for kind, (profile, identity) in served_profiles(config.secrets, spec).items()}
        self._on_any = _KINDS if spec is None else {**_KINDS, **PUBLISHED}

    def hear(self, message: Message, now: Now) -> Sequence[Event]:
        """A message of another worker's V1 sessions."""
        return self._sv1.resumable.receive(message, now.monotonic)

    def reconfigure(self, config: Config, now: Now) -> Sequence[Event]:
        """Channels follow other difficulties with their next job; the idle time is that of connections to come."""
        self._policy.follow(policy_of(config))
        self._idle_timeout_s = float(config.stratum.idle_timeout_s)
        return ()

    def __call__(self, opened: Opened, now: Now) -> Stack:
        """Transport and connection of one that was accepted, or whose kind is known by now."""
        if opened.is_proxied:
            return proxied(opened, now)
        if opened.listener in (ANY, SV2_SPEC):
            return Stack(Sniff(PUBLISHED if opened.listener == SV2_SPEC else self._on_any, now.monotonic),
                         Undecided(opened.conn_id))
        served = self._sv2.get(opened.listener)
        if served is not None:
            context, identity = served
            noise = responder(context.profile.suite, identity, os.urandom(32), self._buffer, now)
            return Stack(noise, self._v2(opened, context, now))
        return Stack(v1_transport(opened, self._certificate, now), Sv1Connection(
            opened.conn_id, self._sv1, idle_timeout_s=self._idle_timeout_s, now=now))

    def _v2(self, opened: Opened, context: Sv2Context, now: Now) -> Connection:
        """A miner's, until its first message shows that it is a template client's; or the latter alone, where there is
        no work for machines.
        """
        if opened.is_out_of_work and context.templates is not None:
            return TemplateConnection(opened.conn_id, context.profile, context.templates, now=now,
                                      no_mining=OUT_OF_WORK)
        return Sv2Connection(opened.conn_id, context, idle_timeout_s=self._idle_timeout_s, now=now)


class TranslatorConnector:
    """The same for a worker of the translator, all of whose machines count in `counters`. `tell` leaves a message for
    all other workers, whose connectors get it by `hear`.
    """

    def __init__(self, config: TranslatorConfig, certificate: Certificate | None,
                 tell: Callable[[NameMessage], None]) -> None:
        self.counters = Counters()
        self._names = WaitingNames(tell)
        self._certificate = certificate
        self._failover = Failover(context_of(config, self.counters, self._names))

    @property
    def is_idle(self) -> bool:
        """Any thread: whether no machine of this worker is on an upstream, or waits for one."""
        return self._failover.is_idle

    def upstreams(self) -> Sequence[Upstream]:
        """Any thread: the upstreams as this worker knows them, in the order of preference."""
        return self._failover.all

    def hear(self, message: NameMessage, now: Now) -> Sequence[Event]:
        """What another worker tells of machines that come back."""
        self._names.receive(message)
        return ()

    def reconfigure(self, config: TranslatorConfig, now: Now) -> Sequence[Event]:
        """Machines follow other upstreams and times; what they are called upstream is that of machines to come."""
        return self._failover.reconfigure(context_of(config, self.counters, self._names), now)

    def __call__(self, opened: Opened, now: Now) -> Stack:
        """Transport and connection of one that was accepted, or whose PROXY header is read."""
        if opened.is_proxied:
            return proxied(opened, now)
        return Stack(v1_transport(opened, self._certificate, now), connect(
            opened.conn_id, self._failover, now, opened.peer.rpartition(":")[0]))


def proxied(opened: Opened, now: Now) -> Stack:
    """What finds out by the first bytes whom a proxy's connection is for."""
    return Stack(ProxyHeader(opened.listener, now.monotonic), Undecided(opened.conn_id))


def v1_transport(opened: Opened, certificate: Certificate | None, now: Now) -> Transport:
    """What a V1 connection stands on, by the listener that it came in on."""
    if opened.listener == SV1:
        return PLAIN
    assert opened.listener == SV1_TLS, f"nothing serves {opened.listener}"
    assert certificate is not None, "a TLS listener without a certificate"
    return Tls(certificate.context, now.monotonic)


def fds_each(config: TranslatorConfig) -> int:
    """Connections that each machine takes: its own, and where none is shared, one to an upstream."""
    return 2 if config.translator.mode == "connection" else 1


def check_upstreams(config: TranslatorConfig) -> None:
    """ConfigError where what seals the connections to an upstream is not installed."""
    for index, upstream in enumerate(config.upstreams):
        try:
            PROFILES[upstream.url.profile].check()
        except ConfigError as exc:
            raise ConfigError(f"{TRANSLATOR_MARK}[{index}].url: {exc}") from exc


def context_of(config: TranslatorConfig, counters: Counters, names: WaitingNames) -> TranslatorContext:
    """What the sessions of one of the translator's workers share."""
    given = config.translator
    times = Times(verdict_timeout_s=float(given.verdict_timeout_s), grace_s=float(given.grace_s),
                  silence_s=float(given.silence_s), backoff_max_s=float(given.backoff_max_s),
                  return_after_s=float(given.return_after_s), idle_timeout_s=float(config.stratum.idle_timeout_s))
    upstreams = tuple(UpstreamConfig(each.url.place, each.url.host, each.url.port, each.url.pin,
                                     PROFILES[each.url.profile], each.user_identity, each.fallback_only)
                      for each in config.upstreams)
    return TranslatorContext(
        mode="channels" if given.mode == "channels" else "connection", times=times, upstreams=upstreams,
        buffer=new_buffer(), random_bytes=os.urandom, counters=counters,
        user_identity_template=given.user_identity_template, firmware=__version__,
        own_names=given.own_names, names=names)


def profiles_of(config: Config) -> tuple[Profile, ...]:
    """The profiles of Stratum V2 whose machines may come, for which jobs are to be encoded."""
    return (WARP, SPEC) if serves_spec(config) else (WARP,)


def serves_spec(config: Config) -> bool:
    """Whether some listener takes the published profile: one of its own, or a port for all where the keys are there."""
    stratum = config.stratum
    return bool(stratum.sv2_spec_listen) or bool(
        stratum.any_listen and config.secrets.has_spec_identity)


def policy_of(config: Config) -> DifficultyPolicy:
    """The `[difficulty]` section as exact numbers."""
    given = config.difficulty
    return DifficultyPolicy(start=Fraction(given.start), minimum=Fraction(given.min), maximum=Fraction(given.max),
                            shares_per_minute=Fraction(given.shares_per_minute),
                            max_shares_per_minute=Fraction(given.max_shares_per_minute))

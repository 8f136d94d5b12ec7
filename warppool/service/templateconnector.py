"""Makes the connections of a template provider's worker, by the listener that they came in on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from warppool.config.provideroptions import TemplatePortsConfig, TemplateProviderConfig
from warppool.events import Event, Now
from warppool.net.clients import Stack, Undecided
from warppool.net.inbox import Opened
from warppool.net.proxyheader import ProxyHeader
from warppool.noise.ends import Identity, responder
from warppool.noise.primitives import new_buffer
from warppool.service.connector import SV2, ListenAddress
from warppool.service.specidentity import SpecIdentity
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.templatecontext import TemplateContext, TemplateRules
from warppool.sv2.templatestore import TemplateStore

SV2_SPEC = "sv2-spec"
"""The kind of a listener for the published profile, by its name in the log."""


def template_addresses(stratum: TemplatePortsConfig) -> list[ListenAddress]:
    """Every address that template clients may connect to."""
    return [ListenAddress(kind, address, f"stratum.{key}")
            for kind, key in ((SV2_SPEC, "sv2_spec_listen"), (SV2, "sv2_listen"))
            for address in getattr(stratum, key)]


class TemplateConnector:
    """Called by the worker for every connection that was accepted. `spec` is who we are in the published profile, None
    where that is not served. `fresh_at` is when the node answered last.
    """

    def __init__(self, config: TemplateProviderConfig, spec: SpecIdentity | None,
                 fresh_at: Callable[[], float | None]) -> None:
        self.context = TemplateContext(TemplateStore(first_template_id()), rules_of_templates(config), fresh_at,
                                       config.provider.max_clients)
        self._buffer = new_buffer()
        self._served: dict[str, tuple[Profile, Identity]] = {}      # by the kind of the listener
        if config.secrets.sv2_static_priv_key is not None:
            self._served[SV2] = WARP, Identity(WARP.suite.key_pair(config.secrets.sv2_static_priv_key))
        if spec is not None:
            self._served[SV2_SPEC] = SPEC, spec.identity()

    def reconfigure(self, config: TemplateProviderConfig, now: Now) -> Sequence[Event]:
        """Other rules count at once, another number of clients for those who come."""
        self.context.rules = rules_of_templates(config)
        self.context.max_clients = config.provider.max_clients
        return ()

    def __call__(self, opened: Opened, now: Now) -> Stack:
        """Transport and connection of one that was accepted, or whose PROXY header is read."""
        if opened.is_proxied:
            return Stack(ProxyHeader(opened.listener, now.monotonic), Undecided(opened.conn_id))
        profile, identity = self._served[opened.listener]
        noise = responder(profile.suite, identity, os.urandom(32), self._buffer, now)
        return Stack(noise, TemplateConnection(opened.conn_id, profile, self.context, now=now))


def first_template_id() -> int:
    """Above all ids of earlier starts, as long as no start has given out a million templates a second."""
    return int(time.time()) << 20


def rules_of_templates(config: TemplateProviderConfig) -> TemplateRules:
    """When a later template is worth sending."""
    return TemplateRules(config.provider.fee_delta_sat, float(config.provider.interval_s))

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
from warppool.noise.primitives import new_buffer
from warppool.noise.transport import ResponderTransport
from warppool.service.connector import SV2, ListenAddress
from warppool.sv2.profile import WARP
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.templatecontext import TemplateContext, TemplateRules
from warppool.sv2.templatestore import TemplateStore


def template_addresses(stratum: TemplatePortsConfig) -> list[ListenAddress]:
    """Every address that template clients may connect to."""
    return [ListenAddress(SV2, address, "stratum.sv2_listen") for address in stratum.sv2_listen]


class TemplateConnector:
    """Called by the worker for every connection that was accepted. `fresh_at` is when the node answered last."""

    def __init__(self, config: TemplateProviderConfig, fresh_at: Callable[[], float | None]) -> None:
        self.context = TemplateContext(TemplateStore(first_template_id()), rules_of_templates(config), fresh_at,
                                       config.provider.max_clients)
        secret = config.secrets.sv2_static_priv_key
        self._static = None if secret is None else WARP.suite.key_pair(secret)
        self._buffer = new_buffer()

    def reconfigure(self, config: TemplateProviderConfig, now: Now) -> Sequence[Event]:
        """Other rules count at once, another number of clients for those who come."""
        self.context.rules = rules_of_templates(config)
        self.context.max_clients = config.provider.max_clients
        return ()

    def __call__(self, opened: Opened, now: Now) -> Stack:
        """Transport and connection of one that was accepted, or whose PROXY header is read."""
        if opened.is_proxied:
            return Stack(ProxyHeader(opened.listener, now.monotonic), Undecided(opened.conn_id))
        assert self._static is not None, "a V2 listener without a key"
        noise = ResponderTransport(WARP.suite, self._static, os.urandom(32), self._buffer, now.monotonic)
        return Stack(noise, TemplateConnection(opened.conn_id, WARP, self.context, now=now))


def first_template_id() -> int:
    """Above all ids of earlier starts, as long as no start has given out a million templates a second."""
    return int(time.time()) << 20


def rules_of_templates(config: TemplateProviderConfig) -> TemplateRules:
    """When a later template is worth sending."""
    return TemplateRules(config.provider.fee_delta_sat, float(config.provider.interval_s))

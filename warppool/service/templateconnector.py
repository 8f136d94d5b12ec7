"""Makes the connections of a template provider's worker, by the listener that they came in on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from warppool.config.provideroptions import TemplateProviderConfig
from warppool.events import Event, Now
from warppool.net.clients import Stack, Undecided
from warppool.net.inbox import Opened
from warppool.net.sniff import Sniff
from warppool.noise.ends import Identity, responder
from warppool.noise.primitives import new_buffer
from warppool.service.connector import PUBLISHED, SV2_SPEC, proxied, served_profiles
from warppool.service.servedtemplates import first_template_id
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.templatecontext import TemplateContext, TemplateRules
from warppool.sv2.templatestore import TemplateStore


class TemplateConnector:
    """Called by the worker for every connection that was accepted. `spec` is who we are in the published profile, None
    where that is not served. `fresh_at` is when the node answered last.
    """

    def __init__(self, config: TemplateProviderConfig, spec: Identity | None,
                 fresh_at: Callable[[], float | None]) -> None:
        self.context = TemplateContext(TemplateStore(first_template_id()), rules_of_templates(config), fresh_at,
                                       config.provider.max_clients)
        self._buffer = new_buffer()
        self._served = served_profiles(config.secrets, spec)

    def reconfigure(self, config: TemplateProviderConfig, now: Now) -> Sequence[Event]:
        """Other rules count at once, another number of clients for those who come."""
        self.context.rules = rules_of_templates(config)
        self.context.max_clients = config.provider.max_clients
        return ()

    def __call__(self, opened: Opened, now: Now) -> Stack:
        """Transport and connection of one that was accepted, or whose PROXY header is read."""
        if opened.is_proxied:
            return proxied(opened, now)
        if opened.listener == SV2_SPEC:             # whoever speaks something else is refused by name
            return Stack(Sniff(PUBLISHED, now.monotonic), Undecided(opened.conn_id))
        profile, identity = self._served[opened.listener]
        noise = responder(profile.suite, identity, os.urandom(32), self._buffer, now)
        return Stack(noise, TemplateConnection(opened.conn_id, profile, self.context, now=now))


def rules_of_templates(config: TemplateProviderConfig) -> TemplateRules:
    """When a later template is worth sending."""
    return TemplateRules(config.provider.fee_delta_sat, float(config.provider.interval_s))

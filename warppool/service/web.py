"""The web of a service: its port, and the two threads that serve it; nothing where the operator wants none.

The modules that need the extra are imported here, when they are needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Final

from warppool.config.faceoptions import WebConfig
from warppool.errors import ConfigError
from warppool.ledger.database import Reader
from warppool.net.listener import Listener, listen
from warppool.page.about import UNNAMED, About
from warppool.say import say
from warppool.service.faces import StoppableThread
from warppool.service.patience import Patience
from warppool.stats.snapshot import StatsSnapshot
from warppool.web import apiv1, dropins, healthroute
from warppool.web.admission import MAX_CONNECTIONS
from warppool.web.app import WebApp
from warppool.web.books import OWES_NOBODY, PayoutBooks, WebBooks
from warppool.web.pages import Pages
from warppool.web.requests import default_hosts
from warppool.web.routes import RouteTable
from warppool.web.view import WebSettings, WebViews

log = logging.getLogger("warppool")

KEY: Final = "web.listen"
NO_EXTRA: Final = (f"{KEY} needs packages that are not installed: pip install 'warppool[web]', or write listen = [] in "
                   "[web]")
WIDE_OPEN: Final = ("every address of this machine is listened on, without a password and without TLS, and whoever "
                    "reaches one may read all that the pool shows: name in web.hosts how browsers shall call it, or "
                    "listen on 127.0.0.1, for a proxy in front")

FDS_OF_LISTENER: Final = 4              # the socket, its copy, and the pipe that wakes its thread
OTHER_FDS: Final = 8                    # a connection before it is counted, and the files of the books


def web_of(web: WebConfig, latest: Callable[[], StatsSnapshot], opened: Callable[[], Reader], patience: Patience,
           resources: ExitStack, *, fee_percent: float = 0.0, payout: str = "",
           about: About = UNNAMED, payouts: PayoutBooks = OWES_NOBODY
           ) -> Sequence[StoppableThread]:
    """Bind the ports and make the threads; ConfigError. `opened` opens the books. `resources` closes what is open here.
    `about` is what the page says besides the numbers, `payout` how rewards go, and `payouts` works out who is owed and
    paid what.
    """
    if not web.listen:
        return ()
    require_extra()
    from warppool.web import metrics
    from warppool.web.server import WebServer

    listeners: list[Listener] = []
    for address in web.listen:
        listener = patience.until_done(partial(listen, "web", str(address), KEY))
        listeners.append(listener)
        resources.callback(listener.sock.close)
    if listens_everywhere(web):
        say(log, logging.WARNING, "web.wide_open", key=KEY, meaning=WIDE_OPEN)
    settings = WebSettings(is_short=web.names == "short", user_metrics=web.user_metrics,
                           fee_percent=fee_percent, payout=payout, key=os.urandom(32))
    table = RouteTable((*apiv1.ROUTES, *dropins.ROUTES, *healthroute.ROUTES, *metrics.ROUTES,
                        *Pages(about).routes()))
    views = WebViews(latest, settings, WebBooks(opened, payouts))
    app = WebApp(table, views, hosts_of(web), any_address=listens_everywhere(web))
    server = WebServer(listeners, app)
    resources.callback(server.close)
    return server, server.tasks


def fds_of(web: WebConfig) -> int:
    """How many descriptors the web may take at most, which are kept back from the miners."""
    return MAX_CONNECTIONS + FDS_OF_LISTENER * len(web.listen) + OTHER_FDS if web.listen else 0


def require_extra() -> None:
    """ConfigError where the extra is not installed."""
    if any(find_spec(package) is None for package in ("waitress", "prometheus_client")):
        raise ConfigError(NO_EXTRA)


def hosts_of(web: WebConfig) -> frozenset[str]:
    """The names by which browsers may call it."""
    return frozenset(web.hosts) or default_hosts(web.listen)


def listens_everywhere(web: WebConfig) -> bool:
    """Whether any address of this machine will do: then browsers may name it by any, too."""
    return not web.hosts and any(ip_address(address.host).is_unspecified for address in web.listen)

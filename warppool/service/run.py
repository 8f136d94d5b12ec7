"""`warppool run`: a daemon under systemd or in a terminal, from its configuration to its last answer."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import time
from collections.abc import Callable

from warppool.config.pool import read_config
from warppool.errors import ConfigError
from warppool.say import say
from warppool.service.log import set_up
from warppool.service.notify import Notifier
from warppool.service.patience import Patience, Stopped
from warppool.service.pool import Pool, say_odd
from warppool.service.service import Service
from warppool.service.signals import Requests, catch_signals, ignore_signals

log = logging.getLogger("warppool")

UMASK = 0o027
"""For what libraries make on our behalf: files 0640 and folders 0750, as our own (files.py)."""

SUMMARY_EVERY_S = 60.0
LOOK_EVERY_S = 1.0
"""How often the main thread looks whether all is well; signals wake it at once."""


def run(args: argparse.Namespace) -> int:
    """Run the pool until SIGTERM or SIGINT: 0 after a clean stop, 1 if a thread died."""
    config = read_config(args.config)
    set_up(config.log.level)
    say_odd(config)
    return serve(lambda patience: Pool(config, patience, lambda: read_config(args.config)).service)


def serve(build: Callable[[Patience], Service]) -> int:
    """Run what `build` makes until SIGTERM or SIGINT: 0 after a clean stop, 1 if a thread died.

    What `build` finds in its way it may wait for, by the Patience that it is given; systemd hears of it.
    """
    os.umask(UMASK)
    requests = Requests()
    catch_signals(requests)
    notifier = Notifier()
    notifier.status("starting")
    try:
        service = build(Patience(requests.wait, notifier.status))
    except Stopped:
        say(log, logging.INFO, "service.stopping")
        return 0
    service.start()
    freeze_memory()
    try:
        _watch(service, notifier, requests)
    finally:
        notifier.stopping()
        service.stop()
        ignore_signals()
    status = 1 if service.has_failed.is_set() else 0
    if service.is_hanging:            # Python would wait for such a thread; a disk may hold it up for minutes
        logging.shutdown()
        os._exit(status)
    return status


def freeze_memory() -> None:
    """What is there now stays: the collector need not look at it again, nor wake up for every few hundred miners."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _watch(service: Service, notifier: Notifier, requests: Requests) -> None:
    """What the main thread does while the others work: readiness, watchdog, summaries."""
    now = time.monotonic()
    summary_at = now + SUMMARY_EVERY_S
    fed_at, is_ready, waits_for, line = now, False, "", ""
    status = service.status
    step = min(LOOK_EVERY_S, notifier.watchdog_interval_s or LOOK_EVERY_S)
    while not service.has_failed.is_set():
        if not is_ready and service.is_ready.is_set():
            is_ready, line = True, status.line()
            notifier.ready(line)
            say(log, logging.INFO, "service.ready", listen=service.parts.ports.addresses, **status.ready_fields())
        elif not is_ready and (mistake := status.mistake()):
            raise ConfigError(mistake)
        elif not is_ready and status.waits_for() != waits_for:
            waits_for = status.waits_for()
            notifier.status(waits_for)
        elif is_ready and status.line() != line:
            line = status.line()
            notifier.status(line)
        if requests.wait(step if is_ready else 0.05):
            say(log, logging.INFO, "service.stopping")
            return
        if requests.take_reload():
            _reload(service, notifier, is_ready)
        if requests.take_asking():
            service.parts.ask_nodes()
        now = time.monotonic()
        service.watch(now)
        if notifier.watchdog_interval_s and now - fed_at >= notifier.watchdog_interval_s - step / 2:
            fed_at = now
            hanging = service.hanging(now)
            if hanging:
                say(log, logging.ERROR, "watchdog.unfed", hanging=",".join(hanging))
            else:
                notifier.alive()
        if now >= summary_at:
            summary_at = now + SUMMARY_EVERY_S
            status.say_summary(now)
            service.look(time.time())


def _reload(service: Service, notifier: Notifier, is_ready: bool) -> None:
    """Read anew what can change while miners stay. systemd hears READY=1 of it, but not before it is true."""
    if is_ready:
        notifier.reloading()
    service.reload()
    if is_ready:
        notifier.ready(service.status.line())

"""The web of the translator: what it shows besides the numbers is made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from warppool.config.translator import LEDGER_URL
from warppool.config.translatoroptions import TranslatorConfig
from warppool.ledger.opening import open_reader
from warppool.service.about import translator_about
from warppool.service.faces import StoppableThread
from warppool.service.patience import Patience
from warppool.service.ports import Ports
from warppool.service.web import web_of
from warppool.stats.snapshot import StatsSnapshot


def translator_web(config: TranslatorConfig, latest: Callable[[], StatsSnapshot], ports: Ports, patience: Patience,
                   resources: ExitStack) -> Sequence[StoppableThread]:
    """The threads of the web, none where the operator wants none; ConfigError."""
    data_dir = config.translator.data_dir
    return web_of(config.web, latest, partial(open_reader, LEDGER_URL, data_dir), patience, resources,
                  about=translator_about(config, ports.listeners))

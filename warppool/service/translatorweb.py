"""The web of the translator: what it shows besides the numbers is made here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from warppool.config.translator import LEDGER_URL
from warppool.config.translatoroptions import TranslatorConfig
from warppool.ledger.opening import open_reader
from warppool.service.about import translator_about
from warppool.service.faces import StoppableThread
from warppool.service.patience import Patience
from warppool.service.ports import Ports
from warppool.service.web import web_of
from warppool.stats.snapshot import StatsSnapshot

STALE_AFTER_S: Final = math.inf
"""An upstream that has died is lost after `translator.silence_s`, and then there is no work. While it is well it may
have nothing new for an hour, as the published profile lets it: so no work of an upstream is stale by its age.
"""


def translator_web(config: TranslatorConfig, latest: Callable[[], StatsSnapshot], ports: Ports, patience: Patience,
                   resources: ExitStack) -> Sequence[StoppableThread]:
    """The threads of the web, none where the operator wants none; ConfigError."""
    data_dir = config.translator.data_dir
    return web_of(config.web, latest, partial(open_reader, LEDGER_URL, data_dir), patience, resources,
                  stale_after_s=STALE_AFTER_S, about=translator_about(config, ports.listeners))

"""Templates on the pool's own V2 ports: what the job maker mines, for pools and job declarators that mine on it.

Such clients are no machines of ours. They stay where no node gives work, and are let in then, for they keep what they
have and hear that the node is not fresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from warppool.config.options import Config
from warppool.service.connector import ANY, SPOKEN_SPEC, SV2, SV2_SPEC
from warppool.sv2.templatecontext import TemplateContext, TemplateRules
from warppool.sv2.templatestore import TemplateStore

POOL_RULES: Final = TemplateRules(fee_delta_sat=1000, interval_s=30.0)
"""The template provider's defaults; who wants others runs that."""

MAX_CLIENTS: Final = 32
"""Template clients of one worker: each may ask for transactions, and the machines come first here."""


def first_template_id() -> int:
    """Above all ids of earlier starts, as long as no start has given out a million templates a second."""
    return int(time.time()) << 20


def templates_of(config: Config, index: int, first_id: int,
                 fresh_at: Callable[[], float | None]) -> TemplateContext | None:
    """What the template clients of worker number `index` share; None where templates are not served."""
    stratum = config.stratum
    if not stratum.serve_templates:
        return None
    return TemplateContext(TemplateStore(first_id + index, stratum.workers), POOL_RULES, fresh_at, MAX_CLIENTS)


def let_past(config: Config) -> frozenset[str]:
    """Kinds of listeners whose connections are let in though there is no work."""
    return frozenset((SV2, SV2_SPEC, SPOKEN_SPEC, ANY)) if config.stratum.serve_templates else frozenset()

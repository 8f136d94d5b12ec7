"""What all translator sessions of one worker are handed: values, and the worker's own buffer, counters and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from warppool.noise.primitives import Buffer
from warppool.translate.counters import Counters
from warppool.translate.upstream import UpstreamConfig
from warppool.translate.waitingnames import WaitingNames

Mode = Literal["connection", "channels"]
"""One upstream connection for each machine, or one for all machines of a worker with a channel for each."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds; `idle_timeout_s` is the V1 side's: how long an authorized machine may stay without a share."""

    verdict_timeout_s: float = 2.0
    grace_s: float = 60.0
    silence_s: float = 180.0
    backoff_max_s: float = 30.0
    return_after_s: float = 300.0
    idle_timeout_s: float = 600.0


@dataclass(frozen=True, eq=False, slots=True)
class TranslatorContext:
    """One for each worker, and used on its thread alone.

    `upstreams` stand in the order of preference. `user_identity_template` is what goes upstream as a machine's name,
    `{name}` in it standing for the V1 name. `buffer` is the worker's own; `random_bytes` makes so many bytes that
    nobody can guess. `firmware` is what we tell upstreams of our version. With `own_names` a machine mines on channels
    of its own account alone, and `names` has those that are to come back for theirs.
    """

    mode: Mode
    times: Times
    upstreams: tuple[UpstreamConfig, ...]
    buffer: Buffer
    random_bytes: Callable[[int], bytes]
    counters: Counters
    user_identity_template: str = "{name}"
    firmware: str = ""
    own_names: bool = True
    names: WaitingNames = field(default_factory=WaitingNames)

    def identity_of(self, name: str) -> str:
        """What goes upstream as the name of the worker `name`."""
        return self.user_identity_template.replace("{name}", name)

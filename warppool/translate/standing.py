"""How an upstream stands."""

from __future__ import annotations

from enum import Enum, auto


class Standing(Enum):
    """What is known of an upstream."""

    UNKNOWN = auto()
    UP = auto()
    ANSWERING = auto()          # answers probes, and not for long enough yet
    DOWN = auto()

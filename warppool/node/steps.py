"""What follows from what nodes say: the steps of the choice of node (node/choice.py), which the job maker takes."""

from __future__ import annotations

from typing import NamedTuple

from warppool.mining.template import Template


class Mine(NamedTuple):
    """Mine `template`, of node number `node`, from now on."""

    node: int
    template: Template


class EndWork(NamedTuple):
    """No work is to be handed out until the next `Mine`: what there is may be dead."""


class LogLine(NamedTuple):
    """A line for the log: a level of `logging`, the name of the event, its fields in order."""

    level: int
    event: str
    fields: tuple[tuple[str, object], ...]


Step = Mine | EndWork | LogLine

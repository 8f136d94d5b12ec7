"""Assignments: a job in the hands of a channel, under a key of its own.

Key, coinbase counter and target of an assignment are fixed before anybody can hash it. The counter stands in the
coinbase, so a header belongs to one assignment and to no other. A share is therefore worth what its key says, whatever
the machine asks for later, and a machine cannot choose the key after it has hashed.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_KEY = 0xFFFF_FFFF
"""The last key: job ids are U32 in Sv2."""


class Assignment(NamedTuple):
    """One assignment of a job: to all who get the job as it is, or again to one channel."""

    key: int                # the job's name on the wire, 1..MAX_KEY
    counter: int            # U32, the coinbase counter
    target: int             # a share under this key is at or under it, and is credited with its difficulty
    ntime: int              # Unix seconds, the header time to start from
    audience: int           # whose it is: the wire's id of a channel, or of a group of channels


class Keys:
    """Counts keys: those of one V2 connection, or of one V1 channel, where they go on when the session is resumed.

    `next` is a key that was not used before. After MAX_KEY they begin anew, when the first ones are long forgotten.
    """

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 1

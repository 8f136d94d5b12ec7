"""What the threads of the shell answer to those who ask for a report: all frozen, since they cross threads."""

from __future__ import annotations

from dataclasses import dataclass

from warppool.loop import Report


@dataclass(frozen=True, slots=True)
class WorkerReport(Report):
    """What a worker has counted since it started, and what it holds now."""

    worker: int
    connections: int                            # accepted ones
    accepted: int
    difficulty: float                           # sum of the credited difficulties
    refused: tuple[tuple[str, int], ...]        # by Sv2 code
    blocks: int
    best_difficulty: float                      # of the lowest hash among the accepted shares; 0.0 before the first
    upstreams: int = 0                          # dialled connections
    machines: int = 0                           # those that have work, be it several on one connection
    sessions: object = None                     # what the sessions count, frozen; None where they count nothing


@dataclass(frozen=True, slots=True)
class ReactorReport(Report):
    """What the reactor holds now, and how often it has looked at its sockets since the start."""

    connections: int                            # all of them, those that are being closed too
    dialled: int                                # of these: those that a worker asked for
    unsent: int                                 # bytes that wait for peers
    rounds: int

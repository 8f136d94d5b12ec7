"""Runs `python -m warppool` and counts, at SIGUSR2, what it holds of connections: objects, and bytes that wait.

    python -m bench.counting warppool run -c FILE

writes one JSON object to the file that BENCH_COUNTS names.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from warppool.commands.cli import main
from warppool.limits import Bucket
from warppool.mining.channel import Channel
from warppool.mining.course import Course
from warppool.net.clients import Client
from warppool.net.peers import Peer
from warppool.net.proxyheader import ProxyHeader
from warppool.net.sniff import Sniff
from warppool.net.tls import Tls
from warppool.noise.transport import ResponderTransport
from warppool.sv1 import connection as sv1
from warppool.sv1.resume import ResumableSessions
from warppool.sv1.server import MiningServerSession as Sv1Session
from warppool.sv2 import connection as sv2
from warppool.sv2.server import MiningServerSession as Sv2Session

CLASSES = (Peer, Client, ProxyHeader, Sniff, Tls, ResponderTransport, sv1.ServerConnection, sv2.ServerConnection,
           Sv1Session, Sv2Session, Channel, Course, Bucket)
KINDS = tuple(dict.fromkeys(each.__name__ for each in CLASSES))
KEPT = ("kept_sessions", "kept_shares", "kept_others")
"""V1 sessions with an accepted share are kept for ten minutes, so that their machines can go on. These say how many
there are, how many shares they remember, and how many sessions are asked for or on their way between workers."""


_early: list[ResumableSessions] = []
"""Those that the collector does not show, since the pool has frozen what was there at its start."""


def counts() -> dict[str, int]:
    """How many objects of each kind are alive, and how many bytes wait for peers, or for us."""
    found: Counter[str] = Counter(dict.fromkeys((*KINDS, *KEPT, "unsent", "waiting"), 0))
    for each in (*gc.get_objects(), *_early):
        kind = type(each).__name__
        if type(each) in CLASSES:
            found[kind] += 1
        if kind == "Peer":
            found["unsent"] += len(each.unsent or b"")
        elif kind == "ResumableSessions":
            found["kept_sessions"] += len(each)
            found["kept_shares"] += each.shares
            found["kept_others"] += each.held - len(each)
        elif kind == "Client":
            found["waiting"] += len(each.waiting or b"") + each.connection.backlog
    found["Channel"] -= found["kept_sessions"]          # each has its own
    return dict(found)


def _tell(number: int, frame: FrameType | None) -> None:
    gc.collect()
    path = Path(os.environ["BENCH_COUNTS"])
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(counts()))
    draft.replace(path)


def _main(arguments: list[str]) -> Any:
    signal.signal(signal.SIGUSR2, _tell)
    freeze = gc.freeze

    def freeze_and_note() -> None:
        _early.extend(each for each in gc.get_objects() if isinstance(each, ResumableSessions))
        freeze()

    gc.freeze = freeze_and_note
    sys.argv[1:] = arguments
    return main()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[2:]))

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
from warppool.sv1.resume import ResumableSessions

KINDS = ("Client", "_Peer", "ServerConnection", "TlsConnection", "MiningServerSession", "ServerChannel",
         "Bucket", "ResponderTransport")
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
        if kind in KINDS:
            found[kind] += 1
        if kind == "_Peer":
            found["unsent"] += len(each.unsent or b"")
        elif kind == "ResumableSessions":
            found["kept_sessions"] += len(each)
            found["kept_shares"] += each.shares
            found["kept_others"] += each.held - len(each)
        elif kind == "Client":
            found["waiting"] += len(each.waiting or b"") + each.connection.backlog
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

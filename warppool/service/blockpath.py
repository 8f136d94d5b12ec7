"""The part behind the workers, in the pool and in the template provider alike: submitter and block journal, and the
threads that hand blocks to the nodes.
"""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any, Final

from warppool.loop import ask_all
from warppool.node.jobmaker import JobMaker
from warppool.node.journal import JOURNAL, Journal
from warppool.node.journalthread import JournalThread
from warppool.node.submitter import Submitter
from warppool.service.ledger import Ledger
from warppool.service.log import progress
from warppool.service.nodes import Nodes
from warppool.service.threads import JOIN_S, Threads
from warppool.threads import STOP

JOURNAL_S: Final = 1.2
"""How long a stop waits for the disk of the block journal, which is given 1 s for its last fsyncs."""

MISSING: Final = "missing"
"""The pool's thread that looks for blocks which the books have lost. It ends before the books do."""


class BlockPath:
    """`outcomes` is the submitter's inbox, where nodes and journal answer. `job_maker` tells it which node is the best.

    The block journal lies in `data_dir`. `payout` hears of each own block before any node does.
    """

    def __init__(self, data_dir: Path, outcomes: queue.Queue[Any], nodes: Nodes, ledger: Ledger,
                 job_maker: JobMaker, payout: queue.Queue[Any] | None = None) -> None:
        self.journal = JournalThread(Journal(data_dir / JOURNAL), outcomes, log_progress=progress)
        self.submitter = Submitter(outcomes, self.journal, nodes.inboxes, ledger, payout=payout)
        self._nodes = nodes
        self._job_maker = job_maker

    def start(self, threads: Threads) -> None:
        """Start journal and submitter."""
        threads.start(self.journal, self.submitter)

    def stop(self, threads: Threads) -> None:
        """Blocks go to the nodes first, then their fate to the journal."""
        ask_all([self.submitter], JOIN_S)
        self._nodes.stop_blocks(threads)
        threads.join([MISSING])
        self.submitter.stop()
        threads.join([self.submitter.name, self._job_maker.name])
        self.journal.inbox.put(STOP)
        threads.join([self.journal.name], JOURNAL_S)

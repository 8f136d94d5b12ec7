"""When snapshots are made, and when jobs pay by them.

One is made at a new tip, at an own block, and else at most once a minute. It goes into the books first, and to the
thread `jobs` once it is there. After a start jobs pay by the newest snapshot of the books, until the window is read.
"""

from __future__ import annotations

import logging
import math
import queue
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from warppool.ledger.beginning import WINDOW_HOLD
from warppool.ledger.database import Reader
from warppool.ledger.payoutitems import (
    Booked,
    Booking,
    DropSnapshots,
    Hold,
    KeepSnapshot,
    PayoutRow,
    SharesBooked,
    TipRow,
    Unbooked,
)
from warppool.node.snapshotitems import Mining, SnapshotReady
from warppool.payout.snapshot import Snapshot
from warppool.rewards.headers import HeadersSeen, HeadersWanted
from warppool.rewards.inuse import SnapshotUse
from warppool.rewards.making import SnapshotMaker
from warppool.rewards.stored import read_snapshot
from warppool.rewards.tips import TIPS
from warppool.say import say

log = logging.getLogger("warppool.payout")

EVERY_S: Final = 60.0
"""Between two snapshots of one tip, but for an own block, and for the moment from which balances are paid."""

ACCOUNTS_A_MINUTE: Final = 1_000
"""Where there are more accounts the snapshots of one tip come less often: a stranger may make up many addresses, and
each costs some 80 bytes of every snapshot that is kept.
"""

RETRY_S: Final = 5.0
"""From trouble with books or headers to the next try."""

REPLACE_WITHIN_S: Final = 1.0
"""After an own block the jobs are replaced within this time: where the books are slow, by the last snapshot."""

TIDY_EVERY_S: Final = 600.0

HOLD, HOLD_OF_BLOCKS = WINDOW_HOLD, "blocks"
"""Whose shares the ledger keeps: the window's, and those of blocks that are not settled."""


class Owed(Protocol):
    """What is known of balances (`rewards.settling.Settling`)."""

    @property
    def payable(self) -> Mapping[str, int]: ...
    @property
    def settled(self) -> int: ...
    @property
    def first_share(self) -> int | None: ...
    def may_pay(self, tip: bytes) -> bool: ...


class Neighbours(NamedTuple):
    """The inboxes of other threads; where no node has headers to be asked for, `headers` is None. `own` is payout's."""

    jobs: queue.Queue[Any]
    ledger: queue.Queue[Any]
    headers: queue.Queue[Any] | None
    own: queue.Queue[Any]


class _Pending(NamedTuple):
    """A snapshot that is on its way into the books. `is_stale`: it is out of date, so jobs do not get it."""

    booking: Booking
    snapshot: Snapshot
    is_stale: bool = False


class Snapshots:
    """Owned by the thread `payout`; all times are monotonic seconds. `wakes_at` is when `look` has something to do."""

    def __init__(self, maker: SnapshotMaker, owed: Owed, neighbours: Neighbours) -> None:
        self.wakes_at = math.inf
        self.use = SnapshotUse()
        self._maker = maker
        self._owed = owed
        self._to = neighbours
        self._mining: Mining | None = None
        self._mining_at = 0.0
        self._pending: _Pending | None = None
        self._new_tips: list[TipRow] = []           # not in the books yet
        self._headers = _Headers(neighbours)
        self._due_at = -math.inf                    # no snapshot is made before
        self._replace_by = math.inf                 # jobs must be replaced by then ...
        self._replaced_tip = b""                    # ... which are on this tip
        self._tidy_at = 0.0

    # --- what happens -------------------------------------------------------------------------------------------------

    def start(self, reader: Reader, now: float) -> None:
        """Before the thread runs: jobs pay by the newest snapshot of the books from now on; LedgerError.

        Not by one of an earlier epoch: since then the pool has paid in another way. Nor by one that pays another
        payout_address: the operator may have changed the address because the old key is lost.
        """
        found, epoch = reader.newest_snapshot(), reader.epochs()[-1]
        newest = None if found is None else read_snapshot(found[1])
        if newest is not None and (newest.window.last_id < epoch.first_id
                                   or newest.rules.network != self._maker.network
                                   or newest.rules.payout_address != self._maker.payout_address):
            newest = None
        self.use.load(newest, reader.snapshot_ids(), now)
        self._maker.begin(reader.last_id())
        self._maker.tips.load((tip.height, tip.nbits) for tip in reader.tips(TIPS))
        self._tidy_at = now + TIDY_EVERY_S
        if newest is not None:
            self._to.jobs.put(SnapshotReady(newest, is_paying=False))

    @property
    def is_read(self) -> bool:
        """Whether the window is read, so that new snapshots can be made."""
        return self._maker.is_built

    def mining(self, mining: Mining, now: float) -> None:
        """A job went out, or waits for the first snapshot."""
        before = None if self._mining is None else self._mining.tip
        self._mining, self._mining_at = mining, now
        self.use.use(mining.snapshot_id, now)
        tip = mining.tip
        if before is None or (tip.prev_hash, tip.nbits) != (before.prev_hash, before.nbits):
            self._maker.tips.note(tip.height, tip.nbits)
            self._new_tips.append(TipRow(tip.height, tip.prev_hash, tip.nbits))
            self._headers.due_at = now
            self.want(now)

    def add(self, booked: SharesBooked) -> None:
        """These shares are in the ledger."""
        self._maker.add(booked)

    def want(self, now: float) -> None:
        """Make a snapshot at once: the newest one, or the one that is on its way, is out of date."""
        self._due_at = min(self._due_at, now)
        if self._pending is not None:
            self._pending = self._pending._replace(is_stale=True)

    def cleared(self, now: float) -> None:
        """Balances may be paid on the tip that is mined: by a snapshot of this tip, if it has the balances of now."""
        pending, mining = self._pending, self._mining
        made = self.use.newest if pending is None else pending.snapshot
        owed = {account: sat for account, sat in self._owed.payable.items() if sat}
        if made is None or mining is None or made.tip != mining.tip.prev_hash or dict(made.balances) != owed:
            self.want(now)
        elif pending is None:
            self._hand_out(made)                    # else that happens once it is in the books

    def replace(self, now: float) -> None:
        """Balances have changed, so that no job may pay them as before: make a snapshot, and replace all jobs."""
        self._replace_by = min(self._replace_by, now + REPLACE_WITHIN_S)
        self._replaced_tip = b"" if self._mining is None else self._mining.tip.prev_hash
        self.want(now)

    def seen(self, headers: HeadersSeen, now: float) -> None:
        """What nodes say of earlier tips."""
        self._headers.seen(headers, now)
        for row in headers.tips:
            self._maker.tips.note(row.height, row.nbits)
        self._new_tips += headers.tips

    def booked(self, answer: Booked | Unbooked, now: float) -> None:
        """The snapshot on its way is in the books, or never will be."""
        pending = self._pending
        if pending is None or pending.booking is not answer.booking:
            return
        self._pending = None
        if isinstance(answer, Unbooked):
            self._due_at = now + RETRY_S
            return
        self.use.add(pending.snapshot, now)
        if not pending.is_stale:
            self._hand_out(pending.snapshot)

    # --- what is due --------------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Do what is due; LedgerError."""
        if self._mining is None:
            return
        if now >= self._headers.due_at:
            self._headers.look(self._mining.node, self._maker.tips.missing(self._mining.tip.height), now)
        try:
            if now >= self._due_at and self._pending is None and (self._maker.is_built or self._headers.is_done):
                self._due_at = now + RETRY_S                # where the books cannot be read
                self._make(self._mining, now)
        finally:
            self._look_besides(now)

    def _look_besides(self, now: float) -> None:
        if now >= self._replace_by:
            self._replace_by = math.inf
            if self.use.newest is not None:
                self._to.jobs.put(SnapshotReady(self.use.newest, False, self._replaced_tip))
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY_S
            if old := self.use.outdated(now):
                self._to.ledger.put(Booking((DropSnapshots(tuple(old)),)))
        waits_for_books = self._pending is not None or not (self._maker.is_built or self._headers.is_done)
        self.wakes_at = min(math.inf if waits_for_books else self._due_at, self._replace_by, self._tidy_at,
                            self._headers.due_at)

    def _make(self, mining: Mining, now: float) -> None:
        unix = mining.unix + now - self._mining_at
        if not self._maker.is_built:
            self._maker.build(mining.tip, unix, self._owed.settled)
            say(log, logging.INFO, "window.read", last_id=self._maker.last_id)
        snapshot = self._maker.make(mining.tip, unix, dict(self._owed.payable), self._owed.settled)
        self._due_at = now + EVERY_S * max(1.0, len(snapshot.weights) / ACCOUNTS_A_MINUTE)
        if self.use.newest is not None and snapshot.id == self.use.newest.id and not self._new_tips:
            self._hand_out(snapshot)
            return
        rows: list[PayoutRow] = [KeepSnapshot(snapshot.id, snapshot.tip, unix, snapshot.blob), *self._new_tips,
                                 Hold(HOLD, self._maker.floor), Hold(HOLD_OF_BLOCKS, self._owed.first_share)]
        self._new_tips = []
        self._pending = _Pending(Booking(tuple(rows)), snapshot)
        self._to.ledger.put(self._pending.booking)

    def _hand_out(self, snapshot: Snapshot) -> None:
        """Jobs pay by this from now on; balances only where nothing has taken of them since it was made."""
        payable = self._owed.payable
        is_paying = self._owed.may_pay(snapshot.tip) and all(
            payable.get(account, 0) >= sat for account, sat in snapshot.balances)
        replaces = self._replaced_tip if self._replace_by < math.inf else b""
        self._replace_by = math.inf
        self._to.jobs.put(SnapshotReady(snapshot, is_paying, replaces))
        say(log, logging.DEBUG, "snapshot.made", id=snapshot.id, accounts=len(snapshot.weights), paying=is_paying)


class _Headers:
    """What is asked about earlier tips. Until that is answered or refused once, the window's weight is not known."""

    def __init__(self, neighbours: Neighbours) -> None:
        self.is_done = neighbours.headers is None
        self.due_at = math.inf                      # when `look` has something to do; at a new tip
        self._to = neighbours
        self._is_asked = False
        self._is_refused = neighbours.headers is None
        self._ask_at = -math.inf
        self._said = ""

    def look(self, node: int, missing: Sequence[int], now: float) -> None:
        """Ask for the heights that are missing, the node that is mined first."""
        self.due_at = math.inf
        if not missing:
            self.is_done = True
        elif not self._is_asked and not self._is_refused:
            if now < self._ask_at:
                self.due_at = self._ask_at
            elif self._to.headers is not None:
                self._is_asked = True
                self._to.headers.put(HeadersWanted(node, missing, self._to.own))

    def seen(self, headers: HeadersSeen, now: float) -> None:
        """The answer."""
        self._is_asked, self._is_refused = False, headers.is_refused
        self._ask_at, self.due_at = now + RETRY_S, now
        if headers.is_refused:
            self.is_done = True
        if headers.trouble and headers.trouble != self._said:
            self._said = headers.trouble
            say(log, logging.WARNING, "headers.unseen", reason=headers.trouble, meaning="how hard blocks were to find "
                "while this pool was away is not known, so its window may be too small", cure="let our user call "
                "getblockhash and getblockheader")

"""The way of a share through its worker: weighed, judged, booked, and answered when the ledger has it."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from typing import Any

from warppool.events import BlockFound, ShareAccepted, ShareSubmitted
from warppool.mining.share import Weight
from warppool.mining.validator import weigh_all
from warppool.net.dials import Dials
from warppool.net.hasher import EXECUTOR_MIN_BATCH, Hasher
from warppool.net.inbox import GivenUp, NotRecorded, Recorded
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines
from warppool.net.serving import Serving
from warppool.net.transportsteps import Connect
from warppool.say import clip, say

log = logging.getLogger("warppool.net.worker")

MAX_GIVEN_UP = 50_000
"""Shares given up whose second answer is remembered as such. Beyond, it would be counted twice, which only lets the
worker take shares a little earlier than it should."""


class ShareSteps(Serving):
    """`hasher` weighs larger batches and answers to `inbox`; `record` takes the accepted shares of one wake-up."""

    def __init__(self, mailbox: Mailbox[ReactorItem], found: Callable[[BlockFound], None], dials: Dials,
                 lines: PeerLines, connect: Connect, hasher: Hasher, inbox: queue.Queue[Any],
                 record: Callable[[tuple[ShareAccepted, ...]], None], *, awaits_records: bool) -> None:
        super().__init__(mailbox, found, dials, lines, connect)
        self._hasher = hasher
        self._inbox = inbox
        self._record = record
        self._awaits_records = awaits_records               # a translator's books answer nobody
        self._given_up: set[tuple[int, int]] = set()        # (conn_id, share_id), and their record may come yet
    def _settle(self) -> None:
        """Weigh and judge what was submitted, then tell the neighbours."""
        if self._nudged:
            self._heed_nudges()
        while self._submitted and not self._weighing:
            batch, self._submitted = self._submitted, []
            if len(batch) >= EXECUTOR_MIN_BATCH:
                self._weighing = tuple(batch)
                self._hasher.submit(self._weighing, self._inbox)
            else:
                self._judge(batch, weigh_all(batch))
        if self._accepted:
            self._book()
        self._emit()

    def _take_weights(self, weights: Sequence[Weight]) -> None:
        """The batch that was out is weighed; if the executor has failed, it is weighed here."""
        batch, self._weighing = self._weighing, ()
        self._judge(batch, weights if len(weights) == len(batch) else weigh_all(batch))

    def _judge(self, batch: Sequence[ShareSubmitted], weights: Sequence[Weight]) -> None:
        """Hand every connection its weights, those with a block first."""
        by_connection: dict[int, list[Weight]] = {}
        with_block: dict[int, list[Weight]] = {}
        for share, weight in zip(batch, weights, strict=True):
            own = by_connection.get(share.conn_id)
            if own is None:
                own = by_connection[share.conn_id] = []
            own.append(weight)
            if weight.is_block:
                with_block[share.conn_id] = own
        for conn_id, own in (with_block | by_connection).items():       # in the order of the left one, then the rest
            client = self._clients.get(conn_id)
            if client is not None:
                try:
                    self._answer(client, client.connection.judged, own)
                except Exception:
                    self._blame(client)

    def _book(self) -> None:
        shares, self._accepted = tuple(self._accepted), []
        self._counts.accept(shares)
        if log.isEnabledFor(logging.DEBUG):
            for share in shares:
                say(log, logging.DEBUG, "share.accepted", conn=share.conn_id, channel=share.channel_id,
                    user=clip(share.user), difficulty=share.difficulty)
        if self._awaits_records:
            self._unrecorded += len(shares)
        self._record(shares)

    def _first_answers(self, ids: Sequence[tuple[int, int]], kind: type[Recorded | NotRecorded | GivenUp]) -> int:
        """How many of `ids` had no answer before: one that is given up may get a second, or never."""
        if kind is not GivenUp:
            again = self._given_up.intersection(ids)
            self._given_up -= again
            return len(ids) - len(again)
        if len(self._given_up) > MAX_GIVEN_UP:
            self._given_up.clear()
        self._given_up.update(ids)
        return len(ids)

    def _answer_records(self, ids: Sequence[tuple[int, int]], kind: type[Recorded | NotRecorded | GivenUp]) -> None:
        by_connection: dict[int, list[int]] = {}
        for conn_id, share_id in ids:
            by_connection.setdefault(conn_id, []).append(share_id)
        answered = len(ids)
        if kind is GivenUp or self._given_up:
            answered = self._first_answers(ids, kind)
        self._unrecorded = max(0, self._unrecorded - answered)          # shares of blocks were not counted
        for conn_id, share_ids in by_connection.items():
            client = self._clients.get(conn_id)
            if client is not None:
                connection = client.connection
                step = (connection.recorded if kind is Recorded else connection.not_recorded if kind is NotRecorded
                        else connection.given_up)
                try:
                    self._answer(client, step, share_ids)
                except Exception:
                    self._blame(client)

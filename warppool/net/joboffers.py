"""How a worker hands a new job to its connections, and what it does when there is no job any more."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from warppool.events import BlockFound, Close
from warppool.mining.job import Job
from warppool.net.clients import Client
from warppool.net.clientsteps import ClientSteps
from warppool.net.dials import Dials
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ReactorItem
from warppool.net.peerlines import PeerLines

OUT_OF_WORK = "no node gives work"
"""Why mining connections are closed, in words for the log."""

OFFER_SLICE = 128
"""Connections whose new job goes out together: the first miner need not wait until the last one's job is sealed."""


class JobOffers(ClientSteps):
    """Offers go on over several turns where there are many connections; a newer job begins them anew."""

    def __init__(self, mailbox: Mailbox[ReactorItem], found: Callable[[BlockFound], None], dials: Dials,
                 lines: PeerLines) -> None:
        super().__init__(mailbox, found, dials, lines)
        self._latest: Job | None = None                     # the job that a new connection starts with
        self._is_out_of_work = False                        # ... until the next job, there is nothing to start with
        self._offers: deque[Client] = deque()               # who is yet to be offered the latest job
        self._tip_at: float | None = None                   # when its tip was new, while not all have had a job of it

    def _offer(self, job: Job, tip_at: float | None = None) -> None:
        """A new job for all. Those who hold few channels first: one stranger may hold as many as a thousand others."""
        self._latest = job
        self._is_out_of_work = False
        if not self._is_draining:
            for client in self._clients.values():
                client.owes_job = True
            if tip_at is not None:
                self._tip_at = tip_at if self._clients else None
            self._offers = deque(sorted(self._clients.values(), key=_holders))
            self._go_on_offering()

    def _go_on_offering(self) -> None:
        """Offer the latest job to those who have not had it yet, for as long as the turn lasts."""
        job, offers, count = self._latest, self._offers, 0
        if job is None or self._is_draining:
            offers.clear()
        while offers and not (count and self._turns.is_late()):
            if self._offer_first(offers.popleft()):
                count += 1
                if count % OFFER_SLICE == 0:
                    self._emit()
        if not offers and self._tip_at is not None:
            self._lines.notified(time.monotonic() - self._tip_at)
            self._tip_at = None

    def _offer_first(self, client: Client, *, is_late: bool = False) -> bool:
        """Offer the latest job to a client that has not had it; True if that was so. Where it `is_late`, since the peer
        did not read, the peer may have had the job for as long as it liked.

        It comes before anything that the client has to say. The peer may know the job from another connection, and
        have hashed with it already: that must not decide which difficulty it gets for this job.
        """
        if not client.owes_job or client.is_full or client.is_mute or client.is_parting or client.is_leaving:
            return False
        client.owes_job = False
        job = self._latest.as_known() if is_late and self._latest is not None else self._latest
        self._guard_client(self._step, client, client.connection.offer, job)
        return True

    def _send_away(self) -> None:
        """There is no work: close what was accepted. Shares in flight are still judged, since one may be a block."""
        self._is_out_of_work = True
        for client in list(self._clients.values()):
            if not client.is_upstream and not client.connection.stays_without_work:
                self._guard_client(self._dismiss, client)

    def _dismiss(self, client: Client) -> None:
        self._hang_up(Close(client.connection.conn_id, OUT_OF_WORK))


def _holders(client: Client) -> int:
    return client.holders

"""Where an operator's requests about balances are taken, and answered once what follows is booked (claimfiles.py)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, NamedTuple

from warppool.claimfiles import CLAIM, CONFIRM, PAID, ClaimRequest, answer, waiting
from warppool.events import Now
from warppool.ledger.payoutitems import Booked, Unbooked
from warppool.rewards.settling import Settling
from warppool.rewards.steps import ClaimReply, SettlingStep
from warppool.say import say

log = logging.getLogger("warppool.payout")

LOOK_EVERY_S: Final = 1.0


class _Asked(NamedTuple):
    request: ClaimRequest
    reply: ClaimReply


class ClaimTaker:
    """Owned by the thread `payout`. `wakes_at` (monotonic seconds) is when `look` looks into `folder` again."""

    def __init__(self, folder: Path, settling: Settling) -> None:
        self.wakes_at = 0.0
        self._folder = folder
        self._settling = settling
        self._asked: dict[object, _Asked] = {}          # by the token of the booking that is waited for
        self._said = ""

    def look(self, now: Now) -> list[SettlingStep]:
        """What follows from new requests."""
        if now.monotonic < self.wakes_at:
            return []
        self.wakes_at = now.monotonic + LOOK_EVERY_S
        if not self._settling.knows_balances:           # a block of the journal may have paid what is claimed
            return []
        try:
            requests = waiting(self._folder)
        except OSError as exc:
            self._complain(exc)
            return []
        known = {asked.request.name for asked in self._asked.values()}
        return [step for request in requests if request.name not in known for step in self._serve(request, now)]

    def booked(self, booking: Booked | Unbooked) -> None:
        """The books have answered: so is the request, where a request waits for that."""
        asked = self._asked.pop(booking.booking.token, None)
        if asked is None:
            return
        if isinstance(booking, Booked):
            self._answer(asked.request, asked.reply.is_done, asked.reply.sentence)
        else:
            self._answer(asked.request, False, f"the books did not take it: {booking.reason}")

    def _serve(self, request: ClaimRequest, now: Now) -> tuple[SettlingStep, ...]:
        if request.kind == CLAIM:
            reply = self._settling.claim(request.address, now)
        elif request.kind == PAID:
            reply = self._settling.pay(request.address, request.sat, request.txid, now)
        elif request.kind == CONFIRM:
            reply = self._settling.confirm(now)
        else:
            reply = ClaimReply((), False, request.trouble)
        if reply.token is None:
            self._answer(request, reply.is_done, reply.sentence)
        else:
            self._asked[reply.token] = _Asked(request, reply)
        return reply.steps

    def _answer(self, request: ClaimRequest, is_done: bool, sentence: str) -> None:
        try:
            answer(self._folder, request, is_done, sentence)
        except OSError as exc:                          # the file is still there, so the request is served again
            self._complain(exc)
            return
        say(log, logging.INFO, "claim.answered", kind=request.kind, address=request.address, is_done=is_done,
            sentence=sentence)

    def _complain(self, exc: OSError) -> None:
        """Once for each reason: the folder is looked at every second."""
        reason = exc.strerror or str(exc)
        if reason != self._said:
            self._said = reason
            say(log, logging.WARNING, "claim.unread", folder=str(self._folder), reason=reason,
                cure="see that the folder is there and belongs to the daemon's user")

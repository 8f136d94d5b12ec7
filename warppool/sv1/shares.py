"""Shares of one V1 connection: from the parameters of a submit to its header, and from its ruling and record to the
answer.

Answers leave in the order of the requests, since some firmware gives every submit one and the same id. An accepted
share waits for its record (architecture.md §4.6), and whatever is answered after it waits with it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias, cast

from warppool.events import Close, Now, ShareAccepted, ShareRefused
from warppool.mining.channel import MAX_SEEN, Channel, ChannelJob
from warppool.mining.intake import Intake, Ruling, Submitted
from warppool.mining.share import Reject, Weight
from warppool.sv1.answers import Answers, Step, Ticket
from warppool.sv1.jobs import key_of
from warppool.sv1.messages import accepted, error

Fields: TypeAlias = tuple[str, int, bytes, int, int, int]
"""Of a submit: worker, key of the job, extranonce2, ntime, nonce, version bits (-1 for none)."""

_HEX_SIZE = 8
_TWO_NUMBERS = struct.Struct(">II")

_BEYOND_ANY_MASK = -1
"""Stands for a version that asks for bits it may not roll: it differs from every job's outside of any mask, so that
the channel says so, in its place among the other reasons."""


_NONE: dict[int, tuple[ChannelJob, bytes]] = {}
"""Stands for no given-up shares, as nearly always: thousands of machines idle. Never written to."""


class ShareTicket(Ticket):
    """The place of a share among the answers."""

    __slots__ = ("accepted", "mine")

    def __init__(self, request_id: bytes) -> None:
        super().__init__(request_id)
        self.accepted: ShareAccepted | None = None      # while its record is awaited
        self.mine: ChannelJob | None = None             # what it was mined on


def read_submit(params: list[object] | None) -> Fields | None:
    """The fields of a submit, or None where count, type or hex are not right.

    ntime and version bits have 8 hex digits; of a nonce the leading zeros may be missing, as NerdMiner prints it.
    """
    if params is None or not 5 <= len(params) <= 6:
        return None
    for param in params:
        if type(param) is not str:
            return None
    user, job, extranonce2, ntime, nonce, bits = cast(list[str], params if len(params) == 6 else [*params, ""])
    if 0 < len(nonce) < _HEX_SIZE:
        nonce = nonce.zfill(_HEX_SIZE)
    if len(nonce) != _HEX_SIZE or len(ntime) != _HEX_SIZE or (len(params) == 6 and len(bits) != _HEX_SIZE):
        return None
    digits = f"{ntime}{nonce}{bits}{extranonce2}"
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return None
    if 2 * len(raw) != len(digits):                     # `fromhex` passes over white space
        return None
    ntime_number, nonce_number = _TWO_NUMBERS.unpack_from(raw)
    if not bits:
        return user, key_of(job), raw[8:], ntime_number, nonce_number, -1
    return user, key_of(job), raw[12:], ntime_number, nonce_number, int.from_bytes(raw[8:12], "big")


class Shares(Answers):
    """The answers of one connection in their order, and its shares that wait for their weight or their record."""

    __slots__ = ("_conn_id", "_given_up", "_intake", "_unrecorded")

    def __init__(self, conn_id: int) -> None:
        super().__init__()
        self._conn_id = conn_id
        self._intake: Intake[ShareTicket] = Intake(conn_id, "sv1")
        self._unrecorded: dict[int, ShareTicket] | None = None      # made with the first share
        self._given_up: dict[int, tuple[ChannelJob, bytes]] = _NONE     # refused, and perhaps in the books: hashes

    @property
    def in_flight(self) -> int:
        """Shares whose weight or record is still awaited."""
        return len(self._intake) + (len(self._unrecorded) if self._unrecorded else 0)

    def is_due(self) -> bool:
        """True, once, when vardiff is to be asked after what was judged."""
        return self._intake.take_due() is not None

    def refuse(self, request_id: bytes, user: str, reject: Reject) -> list[Step]:
        """A share that no header could be built of."""
        return [*self.answer(error(request_id, reject.v1_code, reject.v1_words)),
                ShareRefused(self._conn_id, user, reject.sv2_code)]

    def submit(self, request_id: bytes, fields: Fields, channel: Channel, mask: int, fault: Reject | None,
               user: str) -> list[Step]:
        """Build the header if the job is known and the extranonce2 fits; else the answer is clear already.

        `mask` has the version bits that the machine may roll, 0 for none. `fault` is what is wrong with the share
        already; `user` is whose block it would be.
        """
        _, key, extranonce2, ntime, nonce, bits = fields
        mine = channel.find(key)
        if mine is None:
            return self.refuse(request_id, _counted(user, fault), Reject.INVALID_JOB)
        if len(extranonce2) != channel.extranonce_size:
            return self.refuse(request_id, _counted(user, fault), Reject.BAD_EXTRANONCE_SIZE)
        job = mine.job
        version = asked = job.version
        if bits >= 0:
            mask &= job.version_mask
            version = asked = (version & ~mask) | (bits & mask)
            if not mask or bits & ~mask:
                asked = _BEYOND_ANY_MASK
        header = mine.header(extranonce2, version, ntime, nonce)
        ticket = ShareTicket(request_id)
        ticket.mine = mine
        self.hold(ticket)
        return [self._intake.submit(Submitted(ticket, channel, mine, user, extranonce2, asked, mask, ntime,
                                              job.tip.min_ntime, header, fault))]

    def judged(self, weights: Sequence[Weight], now: Now) -> list[Step]:
        """The weights of the shares submitted first, in their order; block before verdict."""
        steps: list[Step] = []
        for ruling in self._intake.judged(weights, now):
            self._rule(ruling, steps)
        self.send(steps)
        return steps

    def recorded(self, ids: Sequence[int]) -> list[Step]:
        """These shares are in the books."""
        steps: list[Step] = []
        unrecorded = self._unrecorded
        for share_id in ids:
            ticket = unrecorded.pop(share_id, None) if unrecorded else None
            if ticket is not None:
                ticket.line = accepted(ticket.request_id)
        self.send(steps)
        return steps

    def not_recorded(self, ids: Sequence[int], channel: Channel | None) -> list[Step]:
        """These shares will never be in the books: they are refused, if they were not yet, and may be sent again."""
        steps: list[Step] = []
        for share_id in ids:
            if share_id in self._given_up:
                mine, share_hash = self._given_up.pop(share_id)
                if channel is not None:
                    channel.forget(mine, share_hash)
                continue
            ticket = self._unrecorded.pop(share_id, None) if self._unrecorded else None
            if ticket is None or ticket.accepted is None:
                continue
            if channel is not None and ticket.mine is not None:
                channel.forget(ticket.mine, ticket.accepted.share_hash)
            self._refuse(ticket, ticket.accepted.user, Reject.NOT_RECORDED, steps)
        self.send(steps)
        return steps

    def given_up(self, ids: Sequence[int]) -> list[Step]:
        """These shares are refused, and may be in the books all the same, so that they must not be sent again."""
        steps: list[Step] = []
        for share_id in ids:
            ticket = self._unrecorded.pop(share_id, None) if self._unrecorded else None
            if ticket is None or ticket.accepted is None or ticket.mine is None:
                continue
            if self._given_up is _NONE:
                self._given_up = {}
            self._given_up[share_id] = ticket.mine, ticket.accepted.share_hash
            self._refuse(ticket, ticket.accepted.user, Reject.NOT_RECORDED, steps)
        self.send(steps)
        return steps

    def _rule(self, ruling: Ruling[ShareTicket], steps: list[Step]) -> None:
        ticket, share, reject, share_accepted, block = ruling
        if share_accepted is not None:
            ticket.accepted = share_accepted
            if self._unrecorded is None:
                self._unrecorded = {}
            self._unrecorded[share_accepted.share_id] = ticket
        if block is not None:
            steps.append(block)
        elif share_accepted is not None:
            steps.append(share_accepted)
        if reject is not None:
            self._refuse(ticket, share.user, reject, steps)
        elif share.channel.is_flooded:
            steps.append(Close(self._conn_id, f"{MAX_SEEN} shares at a time: its difficulty is far too low", True))

    def _refuse(self, ticket: ShareTicket, user: str, reject: Reject, steps: list[Step]) -> None:
        ticket.line = error(ticket.request_id, reject.v1_code, reject.v1_words)
        steps.append(ShareRefused(self._conn_id, _counted(user, reject), reject.sv2_code))


def _counted(user: str, fault: Reject | None) -> str:
    """Whose refused share it is in the books: a stranger may name whom he likes, and is not to fill them."""
    return "" if fault is Reject.UNAUTHORIZED else user

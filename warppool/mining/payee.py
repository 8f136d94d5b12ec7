"""Payees: whom the coinbase of a channel pays, and what the books have to know of that.

Account and payee are the channel's, never the connection's. A channel without a payee has no job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

COMMON_EXTRANONCE_SIZE = 12
"""Bytes of the extranonce, prefix included, by which `Payee.room` is measured: nearly all channels have so many."""


@dataclass(frozen=True, slots=True)
class Payee:
    """What of a coinbase differs from channel to channel: its own outputs.

    `account` is the canonical address and `script` its output script; both are empty in mode `pool`, where all channels
    have one coinbase. `room` is how many bytes of a stripped coinbase the channel's machine can hold, with an
    extranonce of COMMON_EXTRANONCE_SIZE bytes; 0 where the mode does not ask.
    """

    account: str
    script: bytes
    room: int

    def with_extranonce(self, size: int) -> Payee:
        """The payee of a channel whose extranonce has `size` bytes, prefix included: a longer one takes of the room."""
        if not self.room or size <= COMMON_EXTRANONCE_SIZE:
            return self
        return replace(self, room=max(1, self.room - (size - COMMON_EXTRANONCE_SIZE)))


POOL = Payee("", b"", 0)
"""The payee of every channel in mode `pool`."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By what the outputs of one coinbase were computed, for the books; all amounts in sat.

    `account` is whose own output stands there; "" where the coinbase pays nobody by name (mode `pool`), or all by the
    weights of the snapshot `snapshot_id` (16 bytes; else b""). `room` is how many bytes the size class had left for our
    outputs, 0 without a snapshot. `value` is what our outputs pay together, `fee` what was taken of it first, for
    `payout_script`. `pays_balances` says that the snapshot's balances are paid.
    """

    account: str
    snapshot_id: bytes
    room: int
    value: int
    fee: int
    payout_script: bytes
    pays_balances: bool

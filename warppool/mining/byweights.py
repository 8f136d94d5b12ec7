"""Mode `pplns`: the coinbases of a job pay all accounts of a snapshot, as many as a machine's size class has room for.

The outputs of each class are computed once for a job. A class counts only where the template has room for a coinbase of
its whole size; what a machine cannot hold is never given to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from warppool.bitcoin.transaction import parse_outputs, serialize_output
from warppool.errors import LocalProtocolError
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE, Payee, Terms
from warppool.mining.payrule import SIGOPS_SCRIPT, Extent, Own, PayRule, ToFinder, ToPool
from warppool.mining.rooms import ROOMS, half_of
from warppool.mining.template import Template
from warppool.mining.templateroom import TemplateRoom, room_of
from warppool.payout.distribution import Distribution, divide, output_size
from warppool.payout.ratio import given_class
from warppool.payout.snapshot import Snapshot

_SMALLEST_OUTPUT = output_size(bytes(22))           # of an address: P2WPKH
_SIGOPS_OUTPUT = output_size(SIGOPS_SCRIPT)
_ONE_BYTE_COUNT = 0xFC                              # outputs whose count takes one byte; of more it takes three
_AROUND_OUTPUTS = 8                                 # bytes: the input's sequence, the lock time
_FEWEST_BYTES = 65                                  # of a coinbase without outputs: no script, an extranonce


@dataclass(frozen=True, slots=True)
class ByWeights:
    """Pays by the snapshot that a job is made with; `payout_script` is that of payout_address. `rooms` are the size
    classes, the smallest first.
    """

    payout_script: bytes
    rooms: tuple[int, ...] = ROOMS

    @property
    def least(self) -> Extent:
        """Without room for the output of payout_address a template is of no use."""
        return ToPool(self.payout_script).least

    @property
    def most(self) -> Extent:
        """The outputs of the largest class, each with a signature operation."""
        size = self.rooms[-1] - _FEWEST_BYTES
        return Extent(size, size // _SIGOPS_OUTPUT)

    def rule(self, template: Template, first_half: int, snapshot: Snapshot | None, pays_balances: bool) -> PayRule:
        """Of a job on `template`. Where nobody has a weight the channel's own account is paid, as in mode `solo`."""
        if snapshot is None:
            raise LocalProtocolError("a job of pplns is made of a snapshot")
        rules = snapshot.rules
        if not snapshot.total_weight:
            return ToFinder(rules.payout_script, rules.fee_bp).rule(template, first_half, snapshot, False)
        division = divide(snapshot, template.coinbase_tx_value_remaining, pays_balances)
        around = _Around.of(template, first_half)
        room = room_of(template)
        lots = {size: _Lot.of(division.take(left)) for size in self.rooms
                if (left := around.left(size, room)) >= output_size(rules.payout_script)}
        terms = Terms("", snapshot.id, 0, division.value_sat, division.fee_sat, rules.payout_script, pays_balances)
        return _ByClass(terms, rules.min_paid_ratio, MappingProxyType(lots), tuple(lots))


class _Around(NamedTuple):
    """What stands around our own outputs in a coinbase: bytes before the extranonce, behind our outputs, and how many
    outputs the template has.
    """

    first_half: int
    behind: int
    outputs: int

    @classmethod
    def of(cls, template: Template, first_half: int) -> _Around:
        return cls(first_half, _AROUND_OUTPUTS + len(template.coinbase_tx_outputs), template.coinbase_tx_outputs_count)

    def left(self, size: int, room: TemplateRoom | None) -> int:
        """Bytes for our outputs in a coinbase of `size` bytes; below 0 where that has no place in machine or block."""
        half = half_of(size)
        if self.first_half > half or (room is not None and room.stripped_size < size):
            return -1
        left = min(size - self.first_half - COMMON_EXTRANONCE_SIZE, half) - self.behind
        has_one_byte = max(0, left) // _SMALLEST_OUTPUT + self.outputs <= _ONE_BYTE_COUNT
        left -= 1 if has_one_byte else 3
        return left if room is None else min(left, _SIGOPS_OUTPUT * (room.sigops + 1) - 1)


class _Lot(NamedTuple):
    """The own outputs of one size class: as bytes, and until they are proved as they were computed; the `room` they
    had, and what they pay to accounts.
    """

    own: Own
    expected: Sequence[tuple[int, bytes]] | None
    room: int
    paid_sat: int

    @classmethod
    def of(cls, distribution: Distribution) -> _Lot:
        outputs = distribution.outputs
        own = Own(b"".join([serialize_output(sat, script) for sat, script in outputs]), len(outputs))
        return cls(own, outputs, distribution.room, distribution.paid_sat)


@dataclass(frozen=True, slots=True)
class _ByClass:
    """The outputs of each size class: `lots` by the class's size in bytes, and the `sizes`, the smallest first.

    `common` are the terms of all of them, without the room.
    """

    common: Terms
    least_ratio: Decimal        # of what a class pays to what the largest one does
    lots: Mapping[int, _Lot]
    sizes: tuple[int, ...]

    @property
    def keys(self) -> Sequence[Hashable]:
        return self.sizes

    @property
    def around(self) -> tuple[Own, bytes] | None:
        return None

    @property
    def probes(self) -> Sequence[Hashable]:
        return self.sizes

    @property
    def serves_all(self) -> bool:
        return False

    def serves(self, payee: Payee) -> bool:
        return bool(self.sizes) and payee.room >= self.sizes[0]

    def is_cramped(self, payee: Payee) -> bool:
        """Each machine has the largest class that it holds, so nothing is left to be given to it."""
        paid = [(size, lot.paid_sat) for size, lot in self.lots.items()]
        given = given_class(paid, payee.room, payee.room, self.least_ratio)
        return given is not None and given.is_below_ratio

    def without(self, probe: Hashable) -> PayRule:
        return replace(self, lots=MappingProxyType({size: lot for size, lot in self.lots.items() if size != probe}),
                       sizes=tuple(size for size in self.sizes if size != probe))

    def proved(self) -> PayRule:
        """Hundreds of jobs may be kept, so the outputs are, too, only once."""
        return replace(self, lots=MappingProxyType({
            size: lot._replace(expected=None) for size, lot in self.lots.items()}))

    def key(self, payee: Payee) -> Hashable:
        """The largest class that the payee's machine can hold."""
        at = bisect_right(self.sizes, payee.room)
        if not at:
            raise LocalProtocolError(f"a machine that holds {payee.room} bytes, and no coinbase of so few")
        return self.sizes[at - 1]

    def own(self, key: Hashable) -> Own:
        assert isinstance(key, int)
        return self.lots[key].own

    def expected(self, key: Hashable) -> Sequence[tuple[int, bytes]]:
        assert isinstance(key, int)
        lot = self.lots[key]
        return parse_outputs(*lot.own) if lot.expected is None else lot.expected

    def terms(self, payee: Payee) -> Terms:
        key = self.key(payee)
        assert isinstance(key, int)
        return replace(self.common, room=self.lots[key].room)

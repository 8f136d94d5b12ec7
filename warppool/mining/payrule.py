"""Who is paid by the coinbases of a job: all in which the modes differ, as one frozen value.

A `Payer` is made once from the configuration. It makes the `PayRule` of each job, and a rule answers for a payee: under
which key the payee's outputs stand, and what they are. Payees with one key have one coinbase.

    mode        key             own outputs
    pool        None            the payout address gets all
    solo        the script      the payee's, then the fee
    pplns       the size class  those of the snapshot that the class has room for (`byweights.py`)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from warppool.bitcoin.sigops import legacy_sigops
from warppool.bitcoin.transaction import serialize_output
from warppool.errors import LocalProtocolError
from warppool.mining.payee import Payee, Terms
from warppool.mining.template import Template
from warppool.payout.fee import fee_of
from warppool.payout.snapshot import Snapshot

LONGEST_SCRIPT = b"\x51\x20" + bytes(32)
"""As long as the script of any address that is taken: P2TR, and P2WSH."""

SIGOPS_SCRIPT = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
"""The one kind of script of an address that has a signature operation: P2PKH."""

PROBES = (SIGOPS_SCRIPT, b"\xa9\x14" + bytes(20) + b"\x87", b"\x00\x14" + bytes(20), b"\x00\x20" + bytes(32),
          LONGEST_SCRIPT)
"""A script of each kind of address: P2PKH, P2SH, P2WPKH, P2WSH, P2TR."""


class Own(NamedTuple):
    """The pool's own outputs in a coinbase, serialized without their count, and how many they are."""

    outputs: bytes
    outputs_count: int


class Extent(NamedTuple):
    """The most that own outputs take: bytes, and signature operations."""

    size: int
    sigops: int


NO_EXTENT = Extent(0, 0)


class PayRule(Protocol):
    """Who is paid by the coinbases of one job; frozen, so any thread may ask."""

    @property
    def keys(self) -> Sequence[Hashable]:
        """The keys whose outputs are made once, with the job. Empty where each payee has outputs of its own."""

    @property
    def probes(self) -> Sequence[Hashable]:
        """The keys whose coinbases are proved with the job: all of `keys`, or one for each kind of script."""

    @property
    def serves_all(self) -> bool:
        """Every payee of the mode can be paid."""

    def serves(self, payee: Payee) -> bool:
        """Whether `payee` can be paid."""

    def is_cramped(self, payee: Payee) -> bool:
        """Whether the coinbase of `payee`, whom the rule serves, pays too little of what a larger one would."""

    def without(self, probe: Hashable) -> PayRule:
        """The rule that pays nobody whose coinbase would be as that of `probe`, which was proved to be broken."""

    def proved(self) -> PayRule:
        """The rule when all that was to be proved is proved: it needs no longer what was for that alone."""

    def key(self, payee: Payee) -> Hashable:
        """The key of the outputs of `payee`; LocalProtocolError for a payee that this rule cannot pay."""

    def own(self, key: Hashable) -> Own:
        """The own outputs under `key`."""

    @property
    def around(self) -> tuple[Own, bytes] | None:
        """Where a key is the script of an output that payees have of their own: what stands before the script's length,
        with the count of all own outputs, and what stands behind the script. None for any other keys.
        """

    def expected(self, key: Hashable) -> Sequence[tuple[int, bytes]]:
        """(sat, script) of each own output under `key`, in their order: what a proof compares the bytes with."""

    def terms(self, payee: Payee) -> Terms:
        """What the books have to know of the coinbase that `payee` gets."""


class Payer(Protocol):
    """Makes the rule of each job."""

    @property
    def least(self) -> Extent:
        """What own outputs take without which a template is of no use."""

    @property
    def most(self) -> Extent:
        """The most that own outputs take, for which a node is asked to leave room."""

    def rule(self, template: Template, first_half: int, snapshot: Snapshot | None, pays_balances: bool) -> PayRule:
        """Who is paid by a job on `template`, in whose coinbases `first_half` bytes stand before the extranonce.

        `snapshot` says who has worked, in mode `pplns`; `pays_balances` that its balances are paid.
        """


@dataclass(frozen=True, slots=True)
class ToPool:
    """Mode `pool`: `payout_script` gets all that a template leaves to the pool."""

    payout_script: bytes

    @property
    def least(self) -> Extent:
        """That of its one output."""
        return Extent(len(serialize_output(0, self.payout_script)), legacy_sigops(self.payout_script))

    most = least

    def rule(self, template: Template, first_half: int, snapshot: Snapshot | None, pays_balances: bool) -> PayRule:
        """Of a job on `template`."""
        return _ForAll(self.payout_script, template.coinbase_tx_value_remaining)


@dataclass(frozen=True, slots=True)
class _ForAll:
    """All channels have one coinbase."""

    payout_script: bytes
    value: int

    keys = (None,)
    probes = ()                 # it is checked as it is made
    around = None
    serves_all = True

    def serves(self, payee: Payee) -> bool:
        return True

    def is_cramped(self, payee: Payee) -> bool:
        return False

    def without(self, probe: Hashable) -> PayRule:
        return self

    def proved(self) -> PayRule:
        return self

    def key(self, payee: Payee) -> Hashable:
        return None

    def own(self, key: Hashable) -> Own:
        return Own(serialize_output(self.value, self.payout_script), 1)

    def expected(self, key: Hashable) -> Sequence[tuple[int, bytes]]:
        return ((self.value, self.payout_script),)

    def terms(self, payee: Payee) -> Terms:
        return Terms("", b"", 0, self.value, 0, self.payout_script, False)


@dataclass(frozen=True, slots=True)
class ToFinder:
    """Mode `solo`: the payee gets all but the fee of `fee_basis_points`, which goes to `payout_script`."""

    payout_script: bytes
    fee_basis_points: int

    @property
    def least(self) -> Extent:
        """That of the longest script of a payee, and of the fee's output where there is a fee."""
        fee = ToPool(self.payout_script).least if self.fee_basis_points else NO_EXTENT
        return Extent(len(serialize_output(0, LONGEST_SCRIPT)) + fee.size, legacy_sigops(SIGOPS_SCRIPT) + fee.sigops)

    most = least

    def rule(self, template: Template, first_half: int, snapshot: Snapshot | None, pays_balances: bool) -> PayRule:
        """Of a job on `template`."""
        value = template.coinbase_tx_value_remaining
        fee = fee_of(value, self.fee_basis_points)
        return _ToFinder(self.payout_script, value, fee, (value - fee).to_bytes(8, "little"),
                         serialize_output(fee, self.payout_script) if fee else b"")


@dataclass(frozen=True, slots=True)
class _ToFinder:
    """The payee's output first, then the fee's. Outputs of 0 sat are left out, but for the only one."""

    payout_script: bytes
    value: int
    fee: int
    rest: bytes             # what is the payee's, as 8 bytes
    fee_output: bytes
    broken: frozenset[Hashable] = frozenset()       # kinds of scripts that are not paid, since their proof failed

    keys = ()
    probes = PROBES

    @property
    def serves_all(self) -> bool:
        return not self.broken

    def serves(self, payee: Payee) -> bool:
        return _kind_of(payee.script) not in self.broken

    def is_cramped(self, payee: Payee) -> bool:
        return False

    def without(self, probe: Hashable) -> PayRule:
        assert isinstance(probe, bytes)
        return replace(self, broken=self.broken | {_kind_of(probe)})

    def proved(self) -> PayRule:
        return self

    def key(self, payee: Payee) -> Hashable:
        if not payee.script or not self.serves(payee):
            raise LocalProtocolError("a channel whose payee has no script, or one that this job cannot pay")
        return payee.script

    @property
    def around(self) -> tuple[Own, bytes] | None:
        if self.fee == self.value > 0:
            return None
        return Own(self.rest, 2 if self.fee else 1), self.fee_output

    def own(self, key: Hashable) -> Own:
        assert isinstance(key, bytes)
        around = self.around
        if around is None:
            return Own(self.fee_output, 1)
        start, end = around
        return Own(b"%b%c%b%b" % (start.outputs, len(key), key, end), start.outputs_count)

    def expected(self, key: Hashable) -> Sequence[tuple[int, bytes]]:
        assert isinstance(key, bytes)
        if self.fee == self.value > 0:
            return ((self.fee, self.payout_script),)
        fee = ((self.fee, self.payout_script),) if self.fee else ()
        return ((self.value - self.fee, key), *fee)

    def terms(self, payee: Payee) -> Terms:
        return Terms(payee.account, b"", 0, self.value, self.fee, self.payout_script, False)


def _kind_of(script: bytes) -> Hashable:
    """What scripts of one kind of address have in common: their length and their first byte."""
    return len(script), script[:1]

"""Jobs: what the daemon makes of a template, once for all channels (docs/decisions.rst#decision-jobs)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from warppool.bitcoin.coinbase import coinbase_halves, coinbase_head, tag_push
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.mining.counter import COUNTER_SIZE, COUNTERS, Shuffle
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE, POOL, Payee
from warppool.mining.payrule import NO_EXTENT, Extent, Own, Payer, PayRule
from warppool.mining.proof import fault_of
from warppool.mining.template import Template, Tip
from warppool.mining.templateroom import TemplateRoom, room_of
from warppool.payout.snapshot import Snapshot

VERSION_MASK = 0x1FFFE000
"""The sixteen header version bits that V1 and the `warp` profile let machines roll (BIP320)."""

FREE_VERSION_BITS = 0x1FFFFFE0
"""Header version bits that some session may let its machine roll. No template may need them; in jobs they are zero.

These are the sixteen of BIP320 and the eight below them (BIP323). A machine may roll the bits that its session granted.
"""

START_ID_SIZE = 4
"""Random bytes of one start of the daemon, in every scriptSig, so that no work of an earlier start is booked again."""

MAX_HEIGHT_PUSH = 8
"""Bytes that a template may put in front of the scriptSig: the BIP34 height, and perhaps some of its own."""

MAX_TAG_SIZE = 50
"""What is left of the 100 bytes of a scriptSig: 8 height, 1 push, the tag, 1 push, 4 start id, 4 coinbase counter,
32 extranonce.
"""

_BEFORE_EXTRANONCE = 42 + 1 + START_ID_SIZE + COUNTER_SIZE
"""Bytes before the extranonce besides height and tag: version 4, count 1, outpoint 36, length 1; push 1, start id and
counter."""

COMMON_EXTRANONCE_SIZES = (4, COMMON_EXTRANONCE_SIZE)
"""Total lengths that nearly every channel has: the prefix alone (standard), and 4 + 8 (extended, V1)."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One piece of work for every channel; a channel adds its extranonce prefix, its target, and whom it pays.

    `version` has zeros under FREE_VERSION_BITS, since firmware replaces, ORs or XORs the bits that it rolls. `ntime`
    (Unix seconds) is the header time that a machine starts from. `rule` says who is paid; what stands before the
    extranonce is the same for all payees. `encodings` has the job in the words of each protocol, under the protocol's
    name, encoded once. `counter` stands in the coinbase of all channels that get the job as it goes to all.
    """

    job_id: int                         # 1..2^31-1, unique in the process
    template: Template
    tip: Tip
    version: int
    version_mask: int
    ntime: int
    script_start: bytes                 # scriptSig before the push that holds start id, counter and extranonce
    start_id: bytes                     # START_ID_SIZE bytes
    counter: int                        # the coinbase counter, with bit 31 clear
    rule: PayRule
    room: TemplateRoom | None = None    # what the template leaves, where that is known
    most: Extent = NO_EXTENT            # what the node was asked to leave to own outputs
    snapshot_id: bytes = b""            # of the snapshot that the rule was made of; b"" for none
    pays_balances: bool = False         # the balances of that snapshot
    faults: tuple[str, ...] = ()        # why coinbases are not handed out, for the log
    ends: tuple[bytes, bytes] | None = None     # of tails, before and behind a payee's script, where keys are scripts
    tails: Mapping[Hashable, bytes] = field(default_factory=dict)       # what stands behind an extranonce, by rule.keys
    halves: Mapping[int, tuple[bytes, bytes]] = field(default_factory=dict)
    encodings: Mapping[str, object] = field(default_factory=dict)
    is_known: bool = False              # a machine may have had it long before it gets it here: see `as_known`

    def as_known(self) -> Job:
        """The same job for who gets it late. A machine decides when it reads on, and may have the job from another
        connection: it must not get the counter of all, with which it may have hashed, under a target of later.
        """
        return replace(self, is_known=True)

    @property
    def merkle_path(self) -> tuple[bytes, ...]:
        """Sibling hashes, deepest first."""
        return self.template.merkle_path

    @property
    def is_for_all(self) -> bool:
        """All channels have one coinbase, whoever their payees are."""
        return None in self.rule.keys

    def coinbase_halves(self, extranonce_size: int, payee: Payee = POOL) -> tuple[bytes, bytes]:
        """The stripped coinbase of `payee` before and after an extranonce of `extranonce_size` bytes (prefix included).

        The first half ends with the coinbase counter of what goes to all; a channel with one of its own replaces it.
        """
        halves = self.halves.get(extranonce_size) or self._build_halves(extranonce_size)
        return halves if halves[1] else (halves[0], self.tail(self.rule.key(payee)))

    def shared_halves(self, extranonce_size: int) -> tuple[bytes, bytes]:
        """What all payees have in common: the first half, and the second one where it is the same for all, else b""."""
        return self.halves.get(extranonce_size) or self._build_halves(extranonce_size)

    def tail(self, key: Hashable) -> bytes:
        """What stands behind the extranonce in the coinbases of all payees who have `key` by the rule."""
        return self.tails.get(key) or self._build_tail(key)

    def fault_of(self, payee: Payee, extranonce_size: int) -> str:
        """The rule that the coinbase of `payee`, whom the job serves, breaks; "" where the coinbase is proved."""
        key = self.rule.key(payee)
        return "" if key in self.tails else self._fault_of(key, extranonce_size)

    def _fault_of(self, key: Hashable, extranonce_size: int) -> str:
        stripped = self.shared_halves(extranonce_size)[0] + bytes(extranonce_size) + self.tail(key)
        return fault_of(self.template, stripped, self.rule.expected(key), self.room, self.most)

    def proved(self) -> Job:
        """The job that hands out no coinbase that breaks a rule; the same one where its rule stays as it is."""
        rule, faults = self.rule, []
        for probe in rule.probes:
            fault = self._fault_of(probe, COMMON_EXTRANONCE_SIZE)
            if fault:
                rule = rule.without(probe)
                faults.append(f"{probe.hex() if isinstance(probe, bytes) else probe}: {fault}")
        rule = rule.proved()
        return self if rule is self.rule else replace(self, rule=rule, faults=tuple(faults))

    def _build_tail(self, key: Hashable) -> bytes:
        """No number is checked here, since this runs for each payee at every tip: see `proof.py`."""
        ends = self.ends
        if ends is not None and isinstance(key, bytes):
            return b"%b%c%b%b" % (ends[0], len(key), key, ends[1])
        return _tail_start(self.template, self.rule.own(key)) + _tail_end(self.template)

    def _build_halves(self, extranonce_size: int) -> tuple[bytes, bytes]:
        push = bytes([START_ID_SIZE + COUNTER_SIZE + extranonce_size])      # at most 40: the length is the opcode
        script_prefix = b"".join((self.script_start, push, self.start_id, self.counter.to_bytes(COUNTER_SIZE, "big")))
        template = self.template
        if not self.is_for_all:
            return coinbase_head(version=template.coinbase_tx_version, script_prefix=script_prefix,
                                 extranonce_size=extranonce_size), b""
        own = self.rule.own(None)
        return coinbase_halves(
            version=template.coinbase_tx_version,
            input_sequence=template.coinbase_tx_input_sequence,
            locktime=template.coinbase_tx_locktime,
            script_prefix=script_prefix,
            extranonce_size=extranonce_size,
            outputs=own.outputs + template.coinbase_tx_outputs,
            outputs_count=own.outputs_count + template.coinbase_tx_outputs_count,
        )


def _tail_start(template: Template, own: Own) -> bytes:
    """What stands behind the extranonce, up to the end of our own outputs."""
    return b"".join((template.coinbase_tx_input_sequence.to_bytes(4, "little"),
                     encode_compact_size(own.outputs_count + template.coinbase_tx_outputs_count), own.outputs))


def _tail_end(template: Template) -> bytes:
    """What stands behind our own outputs."""
    return template.coinbase_tx_outputs + template.coinbase_tx_locktime.to_bytes(4, "little")


class JobFactory:
    """Makes jobs of templates; owned by one thread.

    `payer` says who gets what a template leaves to the pool, `tag` (at most MAX_TAG_SIZE bytes) stands in every
    coinbase, `start_id` is START_ID_SIZE random bytes, `shuffle` makes coinbase counters of job ids. Each of `encoders`
    is asked once for every job, and the halves of the coinbase are made once for each of `extranonce_sizes` (prefix
    included), which channels should have.
    """

    def __init__(self, *, payer: Payer, tag: bytes, start_id: bytes, shuffle: Shuffle,
                 encoders: Mapping[str, Callable[[Job], object]],
                 extranonce_sizes: Iterable[int] = COMMON_EXTRANONCE_SIZES) -> None:
        if len(start_id) != START_ID_SIZE:
            raise ValueError(f"a start id of {len(start_id)} bytes does not fit the scriptSig")
        self._payer = payer
        self.set_tag(tag)
        self._start_id = start_id
        self._shuffle = shuffle
        self._encoders = encoders
        self._extranonce_sizes = tuple(sorted(set(extranonce_sizes)))
        self._next_id = 1
        self._tip: Tip | None = None
        self._era = 0

    def begin_era(self) -> None:
        """Machines are to drop all jobs made so far: the next one has a tip of its own, though the chain stands."""
        self._era += 1

    def set_tag(self, tag: bytes) -> None:
        """What stands in the coinbases of later jobs; ValueError if it is too long."""
        if len(tag) > MAX_TAG_SIZE:
            raise ValueError(f"a tag of {len(tag)} bytes does not fit the scriptSig")
        self._tag_push = tag_push(tag) if tag else b""

    def make(self, template: Template, now: float, snapshot: Snapshot | None = None,
             pays_balances: bool = False) -> Job:
        """A fresh job: a new id, header time `now` (Unix seconds) or the tip's first usable one if that is later.

        In mode `pplns` the job pays by `snapshot`, and its balances where `pays_balances` says so.
        """
        tip = replace(template.tip, era=self._era) if self._era else template.tip
        if self._tip is None or tip != self._tip or tip.max_ntime != self._tip.max_ntime:
            self._tip = tip                     # one object for all jobs of a tip, so that most comparisons are `is`
        script_start = template.coinbase_prefix + self._tag_push
        rule = self._payer.rule(template, _BEFORE_EXTRANONCE + len(script_start), snapshot, pays_balances)
        around = rule.around
        tails: dict[Hashable, bytes] = {}
        halves: dict[int, tuple[bytes, bytes]] = {}
        encodings: dict[str, object] = {}
        job = Job(
            job_id=self._next_id,
            template=template,
            tip=self._tip,
            version=template.version & ~FREE_VERSION_BITS & 0xFFFFFFFF,
            version_mask=FREE_VERSION_BITS,
            ntime=min(max(int(now), self._tip.min_ntime), self._tip.max_ntime),
            script_start=script_start,
            start_id=self._start_id,
            counter=self._shuffle(self._next_id),
            rule=rule,
            ends=None if around is None else (
                _tail_start(template, around[0]), around[1] + _tail_end(template)),
            room=room_of(template) if rule.probes else None,
            most=self._payer.most,
            snapshot_id=b"" if snapshot is None else snapshot.id,
            pays_balances=pays_balances,
            tails=MappingProxyType(tails),
            halves=MappingProxyType(halves),
            encodings=MappingProxyType(encodings),
        )
        for size in self._extranonce_sizes:     # all is filled before anyone else sees the job
            halves[size] = job.shared_halves(size)
        job = job.proved()
        for key in job.rule.keys:
            tails[key] = job.tail(key)
        for name, encode in self._encoders.items():
            encodings[name] = encode(job)
        self._next_id = (self._next_id + 1) % COUNTERS or 1
        return job

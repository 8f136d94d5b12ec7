"""What the pool's own coinbase takes of a block at most, so that templates are measured against it and not a guess."""

from __future__ import annotations

from dataclasses import dataclass

from warppool.bitcoin.coinbase import restore_witness
from warppool.bitcoin.sigops import legacy_sigops
from warppool.bitcoin.transaction import parse_outputs, whole_transaction
from warppool.mining.counter import SECRET_SIZE, Shuffle
from warppool.mining.extranonce import MAX_EXTRANONCE_SIZE
from warppool.mining.job import MAX_TAG_SIZE, START_ID_SIZE, JobFactory
from warppool.mining.payrule import Extent, Payer, ToPool
from warppool.mining.template import Template

_SCRIPT_SIG = 42        # offset of the scriptSig in a stripped coinbase: version 4, count 1, outpoint 36, length 1
_ANY_SHUFFLE = Shuffle(bytes(SECRET_SIZE))


@dataclass(frozen=True, slots=True)
class Needs:
    """What one coinbase takes of its block."""

    size: int           # bytes, with its witness
    weight: int         # weight units
    sigops: int         # signature operations, each 4 units of sigop cost where segwit is active


@dataclass(frozen=True, slots=True)
class CoinbasePlan:
    """What the pool puts into all its coinbases: the script of payout_address, the tag (at most MAX_TAG_SIZE bytes),
    and the outputs that `payer` says; without one, `payout_script` is all that is paid.
    """

    payout_script: bytes
    tag: bytes
    payer: Payer | None = None

    @property
    def outputs(self) -> Extent:
        """The most that the outputs take which it adds to those of a template."""
        return self._paid.most

    @property
    def _paid(self) -> Payer:
        return self.payer or ToPool(self.payout_script)

    def largest(self, template: Template) -> Needs:
        """The needs of the largest coinbase that a channel must get on `template`: with an extranonce of 32 bytes.

        Without room for this one a template is refused. Larger ones are made where it has room for them.
        """
        factory = JobFactory(payer=ToPool(self.payout_script), tag=self.tag, start_id=bytes(START_ID_SIZE),
                             shuffle=_ANY_SHUFFLE, encoders={}, extranonce_sizes=())
        job = factory.make(template, 0.0)
        prefix, suffix = job.coinbase_halves(MAX_EXTRANONCE_SIZE)
        script_sig = prefix[_SCRIPT_SIG:] + bytes(MAX_EXTRANONCE_SIZE)
        coinbase = prefix + bytes(MAX_EXTRANONCE_SIZE) + suffix
        read = whole_transaction(restore_witness(coinbase) if template.has_witness else coinbase)
        outputs = parse_outputs(template.coinbase_tx_outputs, template.coinbase_tx_outputs_count)
        scripts = [script_sig, self.payout_script, *(script for _, script in outputs)]
        alone, least = ToPool(self.payout_script).least, self._paid.least
        more = least.size - alone.size              # beside the one output that was measured
        return Needs(read.size + more, read.weight + 4 * more,
                     sum(map(legacy_sigops, scripts)) + least.sigops - alone.sigops)


SMALLEST_PLAN = CoinbasePlan(b"\x51", b"")
"""For a program that mines nothing itself: the smallest script (OP_TRUE), so that no template is refused for it."""

LARGEST_PLAN = CoinbasePlan(b"\x20" + bytes(32) + b"\xac", b" " * MAX_TAG_SIZE)
"""For as long as the plan is unknown: the longest script of any payout address, one signature, the longest tag."""

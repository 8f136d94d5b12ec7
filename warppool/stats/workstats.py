"""What a job says to people: height, value, and the coinbase that it pays by, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.bitcoin.transaction import outputs_of
from warppool.mining.job import Job
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE, Payee
from warppool.mining.payrule import PROBES
from warppool.stats.snapshot import OutputStats, WorkStats

MAX_OUTPUTS: Final = 50
"""Outputs that are shown; of more, the largest."""

FINDER: Final = "whoever finds the block"
"""Where the script of a payee stands, in mode `solo`."""

_ANY_ROOM: Final = 1 << 30                      # bytes; the machine that can hold all has the longest coinbase
_PAYEES: Final = tuple(Payee("", script, _ANY_ROOM) for script in PROBES)


def work_of(job: Job, names: dict[bytes, str], network: str) -> WorkStats:
    """Without the ages. `names` are the addresses of scripts as the operator writes them."""
    template, tip = job.template, job.tip
    return WorkStats(
        has_work=True, height=tip.height, prev_hash=to_display(tip.prev_hash), job_id=job.job_id, node=template.source,
        value_sat=template.coinbase_tx_value_remaining,
        transactions=None if template.transactions is None else len(template.transactions),
        network_difficulty=float(difficulty_from_target(target_from_nbits(tip.nbits))),
        outputs=_outputs(job, names, network), tag=_tag_of(job))


def _tag_of(job: Job) -> str:
    """What this job's coinbase says, which a reload may have changed: the push behind what the template begins with."""
    push = job.script_start[len(job.template.coinbase_prefix):]
    return push[1:].decode("utf-8", "replace")              # behind its length, which is one byte for a tag of ours


def _outputs(job: Job, names: dict[bytes, str], network: str) -> tuple[OutputStats, ...]:
    """The largest outputs of the longest coinbase that the job has for anybody; none where it has none for a payee of
    any kind.
    """
    payee = next((payee for payee in _PAYEES if job.rule.serves(payee)), None)
    if payee is None:
        return ()
    first, second = job.coinbase_halves(COMMON_EXTRANONCE_SIZE, payee)
    outputs = outputs_of(first + bytes(COMMON_EXTRANONCE_SIZE) + second)
    largest = sorted(outputs, key=lambda output: -output[0])[:MAX_OUTPUTS]
    words = {payee.script: FINDER, **names}
    return tuple(_output(sat, script, words, network) for sat, script in largest)


def _output(sat: int, script: bytes, words: Mapping[bytes, str], network: str) -> OutputStats:
    if script in words:
        return OutputStats(words[script], sat)
    if script[:1] == b"\x6a":
        return OutputStats("commitment", sat)
    address = address_of(script, network)
    return OutputStats(address or f"script {script.hex()}", sat, is_miner=bool(address))

"""What a job says to people: height, value, and the coinbase that pays nobody but the pool, decoded."""

from __future__ import annotations

from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.bitcoin.transaction import outputs_of
from warppool.mining.job import Job
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE, POOL
from warppool.stats.snapshot import OutputStats, WorkStats

MAX_OUTPUTS = 50
"""Outputs that are shown; of more, the largest."""


def work_of(job: Job, names: dict[bytes, str], tag: str) -> WorkStats:
    """Without the ages. `names` are the addresses of scripts that are known."""
    template, tip = job.template, job.tip
    return WorkStats(
        has_work=True, height=tip.height, prev_hash=to_display(tip.prev_hash), job_id=job.job_id, node=template.source,
        value_sat=template.coinbase_tx_value_remaining,
        transactions=None if template.transactions is None else len(template.transactions),
        network_difficulty=float(difficulty_from_target(target_from_nbits(tip.nbits))), outputs=_outputs(job, names),
        tag=tag)


def _outputs(job: Job, names: dict[bytes, str]) -> tuple[OutputStats, ...]:
    if not job.rule.serves(POOL):
        return ()
    first, second = job.coinbase_halves(COMMON_EXTRANONCE_SIZE)
    found = [OutputStats(_words(script, names), sat)
             for sat, script in outputs_of(first + bytes(COMMON_EXTRANONCE_SIZE) + second)]
    return tuple(sorted(found, key=lambda output: -output.sat)[:MAX_OUTPUTS])


def _words(script: bytes, names: dict[bytes, str]) -> str:
    if script[:1] == b"\x6a":
        return "commitment"
    return names.get(script) or f"script {script.hex()}"

"""Makers of values that many tests need; the defaults are a plain regtest-like block to be found at height 840,000."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from warppool.bitcoin.coinbase import (
    INPUT_SEQUENCE,
    commitment_output,
    height_push,
    locktime_of,
    witness_commitment,
)
from warppool.bitcoin.target import target_from_nbits
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel
from warppool.mining.channeljob import ChannelJob
from warppool.mining.counter import CoinbaseCounters, Shuffle
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.job import Job, JobFactory
from warppool.mining.payee import POOL, Payee
from warppool.mining.payrule import Payer, ToPool
from warppool.mining.share import Weight, weigh
from warppool.mining.template import Template, Tip

PAYOUT = bytes.fromhex("00142a97516c354b68848cdbd8f54a226a0a55b21ed1")
EASY_NBITS = 0x207FFFFF         # every second hash is a block
HARD_NBITS = 0x17034219
NTIME = 1_700_000_000
POLICY = DifficultyPolicy(Fraction(1), Fraction(1, 1000), Fraction(0), Fraction(12), Fraction(600))
SHUFFLE = Shuffle(b"known to tests..")


def make_counters(worker: int = 0, workers: int = 1) -> CoinbaseCounters:
    return CoinbaseCounters(SHUFFLE, worker, workers)


def make_tip(number: int = 1, nbits: int = HARD_NBITS, height: int = 840_000, min_ntime: int = NTIME) -> Tip:
    prev_hash = bytes([number]) * 32 if number < 256 else number.to_bytes(32, "little")
    return Tip(prev_hash, nbits, target_from_nbits(nbits), min_ntime, height)


def make_template(tip: Tip | None = None, template_id: int = 1, path: tuple[bytes, ...] = (b"\x11" * 32, b"\x22" * 32),
                  version: int = 0x20000000, transactions: tuple[bytes, ...] | None = ()) -> Template:
    tip = tip or make_tip()
    return Template(
        template_id=template_id, tip=tip, version=version, coinbase_tx_version=2,
        coinbase_prefix=height_push(tip.height), coinbase_tx_input_sequence=INPUT_SEQUENCE,
        coinbase_tx_value_remaining=312_500_000, coinbase_tx_outputs_count=1,
        coinbase_tx_outputs=commitment_output(witness_commitment([])),
        coinbase_tx_locktime=locktime_of(tip.height), merkle_path=path,
        transactions=transactions, source="node-0")


def make_factory(encoders: Mapping[str, Callable[[Job], object]] | None = None,
                 payer: Payer | None = None) -> JobFactory:
    return JobFactory(payer=payer or ToPool(PAYOUT), tag=b"/warppool/", start_id=b"\xaa\xbb\xcc\xdd", shuffle=SHUFFLE,
                      encoders=encoders or {})


def make_channel(size: int = 8, target: int = 1 << 255, prefix: bytes = b"\x00\x00\x00\x07",
                 max_target: int = 2**256 - 1, payee: Payee | None = POOL) -> Channel:
    return Channel(3, "alice.rig1", prefix, size, target, max_target, Keys(), payee)


def find_share(job: ChannelJob, *, at_most: int, above: int = -1, extranonce: bytes = bytes(8),
               version: int | None = None, ntime: int | None = None) -> tuple[bytes, int, Weight]:
    """Search nonces for a hash in (above, at_most]: (header, nonce, weight)."""
    version = job.job.version if version is None else version
    ntime = job.job.ntime if ntime is None else ntime
    for nonce in range(1 << 20):
        header = job.header(extranonce, version, ntime, nonce)
        weight = weigh(header, job.job.tip.target)
        if above < weight.value <= at_most:
            return header, nonce, weight
    raise AssertionError("no such share in a million tries")

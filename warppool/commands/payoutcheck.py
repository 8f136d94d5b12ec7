"""What `warppool check` says of who is paid: by which rule, what the operator holds for users, and what small machines
can hold of a coinbase.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from warppool.bitcoin.coinbase import INPUT_SEQUENCE, coinbase_halves, commitment_output, height_push, tag_push
from warppool.bitcoin.hashes import HASH_SIZE
from warppool.bitcoin.transaction import serialize_output
from warppool.commands.findings import Finding
from warppool.config.options import PoolConfig
from warppool.mining.counter import COUNTER_SIZE
from warppool.mining.job import START_ID_SIZE
from warppool.mining.payee import COMMON_EXTRANONCE_SIZE
from warppool.mining.rooms import ROOMS, USUAL_ROOM, half_of
from warppool.mining.templateroom import reserved_weight

USUAL_RESERVE: Final = 8_000
"""Weight units that Bitcoin Core reserves unless it is told another `blockreservedweight` (from version 29 on)."""

HIGH_FEE_BASIS_POINTS: Final = 500
"""AxeOS says that the address is not the user's where it gets less than 95 %."""

LEAVING_FEE_BASIS_POINTS: Final = 1_000
"""SRI's translator leaves a pool that pays less than 90 % to a plain address."""

_HEIGHT: Final = 1_000_000                  # any height of these years: its push has four bytes
_LONGEST_SCRIPT: Final = bytes(34)          # of P2WSH and P2TR


class CoinbaseSize(NamedTuple):
    """Bytes of a stripped coinbase: all of it, and its halves before and after the extranonce."""

    whole: int
    first: int
    second: int


def whom(pool: PoolConfig) -> str:
    """Who is paid, in a few words that continue a sentence."""
    if pool.payout == "pool":
        return f"paying to {pool.payout_address}"
    return f"paying by name ({pool.payout}), and what is left to {pool.payout_address}"


def payout_findings(pool: PoolConfig) -> Iterator[Finding]:
    """What there is to say where names are paid; in mode `pool`, which keys have no effect."""
    if pool.payout == "pool":
        for key in ("fee_percent", "fallback_address"):
            if getattr(pool, key):
                yield Finding("warn", f"pool.{key}", "it is of no effect while pool.payout is \"pool\": no name is "
                              "paid; did you mean \"solo\" or \"pplns\"?")
        return
    yield Finding("ok", "pool.payout", f"{pool.payout}: {_RULES[pool.payout]}; {_words_of_fee(pool)}")
    if pool.fee_basis_points > HIGH_FEE_BASIS_POINTS:
        leaving = (", and SRI's translator leaves the pool" if pool.fee_basis_points > LEAVING_FEE_BASIS_POINTS else "")
        yield Finding("warn", "pool.fee_percent", f"{pool.fee_percent} % is more than 5 %: AxeOS warns its user that "
                      f"the coinbase pays somebody else{leaving}")
    if pool.fallback_address:
        yield Finding("ok", "pool.fallback_address", "a machine whose name is no address is taken, and mines for "
                      f"{pool.fallback_address}")
    if pool.payout == "solo":
        yield from _solo_findings(pool)
    else:
        yield Finding("ok", "pool.min_payout_sat", f"you hold money for users: what is under {pool.min_payout_sat} "
                      f"sat, and what a machine's coinbase has no room for, goes to {pool.payout_address} and is owed "
                      "until a later block pays it; warppool payouts lists it")
        yield Finding("ok", "node", f"machines that can hold it get a coinbase of up to {ROOMS[-1]} bytes where bitcoin"
                      f".conf says blockreservedweight={reserved_weight(ROOMS[-1])}; for each size: "
                      f"{', '.join(f'{room} bytes {reserved_weight(room)}' for room in ROOMS)}. With Bitcoin Core's "
                      f"usual {USUAL_RESERVE} a full block leaves room for {_largest_within(USUAL_RESERVE)} bytes")


def _largest_within(reserve: int) -> int:
    """The largest size class for which a node that reserves so many weight units leaves room."""
    return max(room for room in ROOMS if reserved_weight(room) <= reserve)


def _solo_findings(pool: PoolConfig) -> Iterator[Finding]:
    size = solo_coinbase(pool)
    if size.whole > ROOMS[0]:
        yield Finding("warn", "pool.coinbase_tag", f"a coinbase can have {size.whole} bytes, and NerdMiner holds "
                      f"{ROOMS[0]}: shorten it by {size.whole - ROOMS[0]} bytes")
    if max(size.first, size.second) > half_of(USUAL_ROOM):
        yield Finding("warn", "pool.coinbase_tag", f"one half of a coinbase can have {max(size.first, size.second)} "
                      f"bytes, and ESP-Miner holds {half_of(USUAL_ROOM)}: shorten it")


def solo_coinbase(pool: PoolConfig) -> CoinbaseSize:
    """The largest coinbase that a machine may get in solo, for the longest address, on a template of Core's form."""
    outputs = serialize_output(0, _LONGEST_SCRIPT)
    count = 2
    if pool.fee_basis_points:
        outputs += serialize_output(0, pool.payout_script)
        count += 1
    tag = pool.coinbase_tag.encode("utf-8")
    before_extranonce = START_ID_SIZE + COUNTER_SIZE
    push = bytes((before_extranonce + COMMON_EXTRANONCE_SIZE,))
    prefix, suffix = coinbase_halves(
        version=2, input_sequence=INPUT_SEQUENCE, locktime=_HEIGHT - 1,
        script_prefix=height_push(_HEIGHT) + tag_push(tag) + push + bytes(before_extranonce),
        extranonce_size=COMMON_EXTRANONCE_SIZE, outputs=outputs + commitment_output(bytes(HASH_SIZE)),
        outputs_count=count,
    )
    return CoinbaseSize(len(prefix) + COMMON_EXTRANONCE_SIZE + len(suffix), len(prefix), len(suffix))


_RULES: Final = {
    "solo": "each block pays the address in the name of the machine that found it",
    "pplns": "each block pays all addresses in the window, by their work",
}


def _words_of_fee(pool: PoolConfig) -> str:
    if not pool.fee_basis_points:
        return "no fee is taken"
    return f"{pool.fee_percent} % of it is the fee, to {pool.payout_address}"

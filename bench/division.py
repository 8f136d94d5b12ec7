"""What it costs to say who gets how much of a block: a snapshot, its division, and the outputs of each size class.

    python -m bench.division [--accounts N]

prints one JSON line a case: the median of several runs, in microseconds of CPU time (`time.process_time`). A tip costs
`divide` once and `take` once for each size class (`job` is both), in thread `jobs`; `snapshot` is made in thread
`payout`, whose accounts are known already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256

from bench.modes import NBITS, NETWORK, rules_of
from warppool.bitcoin.addresstext import address_of
from warppool.mining.rooms import ROOMS
from warppool.payout.distribution import divide
from warppool.payout.snapshot import Snapshot
from warppool.payout.window import WindowEnd, WindowFacts, weight_wanted

RUNS = 9
VALUE_SAT = 312_500_000
AROUND_OUTPUTS = 160        # bytes of a coinbase besides the pool's outputs


def account(number: int) -> str:
    """An address; each of the five kinds in turn."""
    digest = sha256(number.to_bytes(4, "big")).digest()
    kinds = (b"\x00\x14" + digest[:20], b"\x51\x20" + digest, b"\x76\xa9\x14" + digest[:20] + b"\x88\xac",
             b"\x00\x20" + digest, b"\xa9\x14" + digest[:20] + b"\x87")
    return address_of(kinds[number % len(kinds)], NETWORK)


def snapshot_maker(accounts: int) -> Callable[[], Snapshot]:
    """Makes a snapshot of a full window: few large accounts and many small ones, half of them with a balance, every
    tenth one gone.
    """
    rules = rules_of(account(accounts))
    wanted = weight_wanted(rules, NBITS, 0)
    names = [account(number) for number in range(accounts)]
    sizes = [1_000_003 * accounts // (1 + number) for number in range(accounts)]
    weights = {name: wanted * size // sum(sizes) for name, size in zip(names, sizes, strict=True)}
    weights[names[0]] += wanted - sum(weights.values())
    facts = WindowFacts(1, 1_000_000, 1, wanted, WindowEnd.WEIGHT, 0, NBITS)
    return partial(Snapshot.make, tip=bytes(32), tip_height=1, rules=rules, window=facts, weights=weights,
                   balances={name: 700 * number for number, name in enumerate(names[::2])},
                   gone={name: number for number, name in enumerate(names[::10])})


def tell(case: str, accounts: int, call: Callable[[], object]) -> None:
    """Print what one call costs."""
    costs = []
    for _ in range(RUNS):
        before = time.process_time()
        call()
        costs.append(time.process_time() - before)
    print(json.dumps({"bench": "division", "case": case, "accounts": accounts,
                      "cpu_us": round(statistics.median(costs) * 1e6), "runs": RUNS}), flush=True)


def main() -> None:
    """Read the arguments and print all cases."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--accounts", type=int, default=1000, help="in the snapshot (default 1000)")
    accounts = parser.parse_args().accounts
    make = snapshot_maker(accounts)
    snapshot = make()
    division = divide(snapshot, VALUE_SAT, True)
    tell("snapshot", accounts, make)
    tell("read", accounts, lambda: Snapshot.of_blob(snapshot.blob))
    tell("divide", accounts, lambda: divide(snapshot, VALUE_SAT, True))
    for size in ROOMS:
        room = size - AROUND_OUTPUTS
        tell(f"take-{size}", accounts, lambda room=room: division.take(room))
    tell("job", accounts, lambda: [division.take(size - AROUND_OUTPUTS)
                                   for division in (divide(snapshot, VALUE_SAT, True),) for size in ROOMS])


if __name__ == "__main__":
    main()

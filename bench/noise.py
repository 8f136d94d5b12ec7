"""What Noise costs: a record by its size, by libsodium directly and by PyNaCl's public binding, and a handshake.

    python -m bench.noise

prints one JSON line a case: the median of several runs, in microseconds of CPU time (`time.process_time`).
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
from typing import Any

from nacl import _sodium

from warppool.noise.primitives import MAX_PLAINTEXT, PUBLIC, direct, new_buffer
from warppool.noise.symmetricstate import WARP_SUITE
from warppool.noise.transport import InitiatorTransport, ResponderTransport

RUNS = 7
SIZES = (6, 50, 128, 1_024, 16_384, MAX_PLAINTEXT)      # bytes of plaintext; a submitted share has some 50
BATCH = 32                                              # records that come in one read under load

SERVER_SECRET, SERVER_EPHEMERAL, MINER_EPHEMERAL = (bytes([i]) * 32 for i in (1, 2, 3))
SERVER_KEY = WARP_SUITE.key_pair(SERVER_SECRET)
SERVER_PUBLIC = SERVER_KEY.public
BUFFER = new_buffer()


def tell(case: str, costs_s: list[float], **fields: object) -> None:
    """Print one case: the median of what one call cost in each run."""
    cost = round(statistics.median(costs_s) * 1e6, 3)
    print(json.dumps({"bench": "noise", "case": case, **fields, "cpu_us": cost, "runs": RUNS}), flush=True)


def costs(statement: str, rounds: int, names: dict[str, Any]) -> list[float]:
    """CPU seconds of one `statement`, of each run."""
    runs = timeit.repeat(statement, timer=time.process_time, repeat=RUNS, number=rounds, globals=names)
    return [run / rounds for run in runs]


def rounds_for(size: int) -> int:
    """So many that a run takes some 50 ms."""
    return 30_000 if size <= 1_024 else 1_000


def bench_aead() -> None:
    """`seal` and `open_sealed` alone, both ways to them."""
    for call, aead in (("direct", direct(_sodium.ffi, _sodium.lib)), ("public", PUBLIC)):
        names = {"key": bytes(32), "nonce": bytes(12), "buffer": aead.new_buffer(), **aead._asdict()}
        for size in SIZES:
            names["plaintext"] = bytes(size)
            names["sealed"] = aead.seal(names["key"], names["nonce"], b"", names["plaintext"], names["buffer"])
            sealing = costs("seal(key, nonce, b'', plaintext, buffer)", rounds_for(size), names)
            tell("aead.seal", sealing, call=call, plaintext=size)
            opening = costs("open_sealed(key, nonce, b'', sealed, buffer)", rounds_for(size), names)
            tell("aead.open", opening, call=call, plaintext=size)


def shaken() -> tuple[InitiatorTransport, ResponderTransport]:
    """Both ends of a session."""
    miner = InitiatorTransport(WARP_SUITE, SERVER_PUBLIC, MINER_EPHEMERAL, BUFFER)
    pool = ResponderTransport(WARP_SUITE, SERVER_KEY, SERVER_EPHEMERAL, BUFFER, 0.0)
    pool.open(miner.seal(b""), 0.0)
    miner.open(pool.seal(b""), 0.0)
    return miner, pool


def bench_transport() -> None:
    """A whole record with its prefix and nonce: sealed, and opened alone in a read or among others."""
    for size in SIZES:
        names = {"seal": shaken()[0].seal, "plaintext": bytes(size)}
        tell("transport.seal", costs("seal(plaintext)", rounds_for(size), names), plaintext=size)
        for records_a_read in (1, BATCH):
            tell("transport.open", [open_cost(size, records_a_read) for _ in range(RUNS)], plaintext=size,
                 records_a_read=records_a_read)


def open_cost(size: int, records_a_read: int) -> float:
    """CPU seconds of opening one record. A record opens once, so all are sealed beforehand."""
    miner, pool = shaken()
    reads = 4_000 // records_a_read if size <= 1_024 else 128 // records_a_read
    wire = [b"".join([miner.seal(bytes(size)) for _ in range(records_a_read)]) for _ in range(reads)]
    begin = time.process_time()
    for data in wire:
        pool.open(data, 0.0)
    return (time.process_time() - begin) / (reads * records_a_read)


def respond(act_one: bytes) -> bytes:
    """The pool's whole part of a handshake: act two."""
    pool = ResponderTransport(WARP_SUITE, SERVER_KEY, SERVER_EPHEMERAL, BUFFER, 0.0)
    pool.open(act_one, 0.0)
    return pool.seal(b"")


def initiate(act_two: bytes) -> None:
    """The miner's whole part of a handshake."""
    miner = InitiatorTransport(WARP_SUITE, SERVER_PUBLIC, MINER_EPHEMERAL, BUFFER)
    miner.seal(b"")
    miner.open(act_two, 0.0)


def bench_handshake() -> None:
    """Both roles."""
    act_one = InitiatorTransport(WARP_SUITE, SERVER_PUBLIC, MINER_EPHEMERAL, BUFFER).seal(b"")
    names = {"respond": respond, "initiate": initiate, "act_one": act_one, "act_two": respond(act_one)}
    tell("handshake.responder", costs("respond(act_one)", 500, names))
    tell("handshake.initiator", costs("initiate(act_two)", 500, names))


def main() -> None:
    """Run every case."""
    bench_aead()
    bench_transport()
    bench_handshake()


if __name__ == "__main__":
    main()

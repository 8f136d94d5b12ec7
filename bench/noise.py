"""What Noise costs: a message by its size, by libsodium directly and by PyNaCl's public binding; frames and handshakes
in the profiles `warp` and `spec`.

    python -m bench.noise

prints one JSON line a case: the median of several runs, in microseconds of CPU time (`time.process_time`).
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
from typing import Any, NamedTuple

from nacl import _sodium

from warppool.events import Now
from warppool.noise.certificate import LAST_TIME, issue
from warppool.noise.ends import Identity, initiator, responder
from warppool.noise.primitives import MAX_PLAINTEXT, PUBLIC, direct, new_buffer
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.noise.shaking import NoiseTransport
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import WARP_SUITE, Suite

RUNS = 7
SIZES = (6, 50, 128, 1_024, 16_384, MAX_PLAINTEXT)      # bytes of plaintext; a submitted share has some 50
BATCH = 32                                              # records that come in one read under load

SERVER_SECRET, SERVER_EPHEMERAL, MINER_EPHEMERAL, AUTHORITY_SECRET = (bytes([i]) * 32 for i in (1, 2, 3, 4))
BUFFER = new_buffer()
NOW = Now(0.0, 1_800_000_000.0)


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


class Sides(NamedTuple):
    """What both ends of a session under one suite are made of."""

    suite: Suite
    identity: Identity
    pin: bytes

    def miner(self) -> NoiseTransport:
        """The end that dials."""
        return initiator(self.suite, self.pin, MINER_EPHEMERAL, BUFFER, NOW)

    def pool(self) -> NoiseTransport:
        """The end that accepts."""
        return responder(self.suite, self.identity, SERVER_EPHEMERAL, BUFFER, NOW)

    def shaken(self) -> tuple[NoiseTransport, NoiseTransport]:
        """Both, established."""
        miner, pool = self.miner(), self.pool()
        pool.open(miner.seal(b""), 0.0)
        miner.open(pool.seal(b""), 0.0)
        return miner, pool

    def respond(self, act_one: bytes) -> None:
        """The pool's whole part of a handshake."""
        pool = self.pool()
        pool.open(act_one, 0.0)
        pool.seal(b"")

    def initiate(self, act_two: bytes) -> None:
        """The miner's whole part of a handshake, with the check of the server."""
        miner = self.miner()
        miner.seal(b"")
        miner.open(act_two, 0.0)


def sides() -> dict[str, Sides]:
    """Both suites, by the name of their profile."""
    static = SPEC_SUITE.key_pair(SERVER_SECRET)
    certificate = issue(AUTHORITY_SECRET, xonly_of_secret(SERVER_SECRET), 0, LAST_TIME).encode()
    warp = WARP_SUITE.key_pair(SERVER_SECRET)
    return {"warp": Sides(WARP_SUITE, Identity(warp), warp.public),
            "spec": Sides(SPEC_SUITE, Identity(static, lambda unix: certificate), xonly_of_secret(AUTHORITY_SECRET))}


def frame(size: int) -> bytes:
    """A frame of so many bytes, its header among them."""
    return b"\x00\x80\x1a" + (size - 6).to_bytes(3, "little") + bytes(size - 6)


def bench_transport(profile: str, both: Sides) -> None:
    """A whole frame: sealed, and opened alone in a read or among others."""
    for size in SIZES:
        names = {"seal": both.shaken()[0].seal, "plaintext": frame(size)}
        tell("transport.seal", costs("seal(plaintext)", rounds_for(size), names), profile=profile, plaintext=size)
        for frames_a_read in (1, BATCH):
            tell("transport.open", [open_cost(both, size, frames_a_read) for _ in range(RUNS)], profile=profile,
                 plaintext=size, frames_a_read=frames_a_read)


def open_cost(both: Sides, size: int, frames_a_read: int) -> float:
    """CPU seconds of opening one frame. A record opens once, so all are sealed beforehand."""
    miner, pool = both.shaken()
    reads = 4_000 // frames_a_read if size <= 1_024 else 128 // frames_a_read
    wire = [b"".join([miner.seal(frame(size)) for _ in range(frames_a_read)]) for _ in range(reads)]
    begin = time.process_time()
    for data in wire:
        pool.open(data, 0.0)
    return (time.process_time() - begin) / (reads * frames_a_read)


def bench_handshake(profile: str, both: Sides) -> None:
    """Both roles."""
    act_one, pool = both.miner().seal(b""), both.pool()
    pool.open(act_one, 0.0)
    names = {"respond": both.respond, "initiate": both.initiate, "act_one": act_one, "act_two": pool.seal(b"")}
    tell("handshake.responder", costs("respond(act_one)", 500, names), profile=profile)
    tell("handshake.initiator", costs("initiate(act_two)", 500, names), profile=profile)


def bench_certificate() -> None:
    """A certificate is made once in half of its life by each worker, and checked by a miner at each connection."""
    names = {"issue": issue, "secret": AUTHORITY_SECRET, "static": xonly_of_secret(SERVER_SECRET)}
    tell("certificate.issue", costs("issue(secret, static, 0, 1)", 500, names))


def main() -> None:
    """Run every case."""
    bench_aead()
    for profile, both in sides().items():
        bench_transport(profile, both)
        bench_handshake(profile, both)
    bench_certificate()


if __name__ == "__main__":
    main()

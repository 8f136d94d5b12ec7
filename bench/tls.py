"""What TLS costs the pool: a handshake, a line, and a connection that stands there idle.

    python -m bench.tls

prints one JSON line a case. Times are CPU time (`time.process_time`) of the pool's transport alone, in microseconds;
memory is what the process grew by a transport, in bytes of RSS, the miner's end thrown away. `bare` is the transport
without security, for comparison. It needs `cryptography` (the extra `regtest`) and the program openssl.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.command import rss
from warppool.commands.democert import self_signed
from warppool.net.tls import Tls, new_context
from warppool.transport import Plain

RUNS = 5
HANDSHAKES = 200            # of one run
LINES = 5_000
IDLE = 5_000
SHARE_LINE = (b'{"id":4,"method":"mining.submit",'
              b'"params":["alice.rig1","1a","0000000000000001","65a1b2c3","1b2c3d4e"]}\n')
NOTIFY_SIZE = 1_400         # bytes of a notify line with an 11-level merkle path
START = 0.0                 # monotonic
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def tell(case: str, values: Sequence[float], unit: str, **fields: object) -> None:
    """Print one case: the median of the runs."""
    print(json.dumps({"bench": "tls", "case": case, **fields, unit: round(statistics.median(values), 2),
                      "runs": len(values)}), flush=True)


def contexts(key: str, version: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The pool's, with a key of this kind, and a miner's that speaks this version."""
    server, client = new_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with tempfile.TemporaryDirectory() as folder:
        if key == "p256":
            pair = self_signed().write(Path(folder))
        else:
            pair = Path(folder, "cert"), Path(folder, "key")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pool", "-keyout",
                            pair[1], "-out", pair[0]], check=True, capture_output=True)
        server.load_cert_chain(*pair)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = client.maximum_version = VERSIONS[version]
    return server, client


class Miner:
    """The other end of a connection, in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.inbound, self.outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inbound, self.outbound)

    def shake(self, data: bytes = b"") -> bytes:
        """One flight of the handshake."""
        self.inbound.write(data)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outbound.read()


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Tls, Miner, float]:
    """Both ends of a connection, and the CPU seconds of the pool's."""
    miner, spent = Miner(client), 0.0
    flight = miner.shake()
    began = time.process_time()
    transport = Tls(server, START)
    spent += time.process_time() - began
    while not transport.is_established:
        began = time.process_time()
        transport.open(flight, START)
        answer = transport.seal(b"")
        spent += time.process_time() - began
        flight = miner.shake(answer)
    return transport, miner, spent


def bench_handshake(key: str, version: str) -> None:
    """From the accepted connection to the first plaintext."""
    server, client = contexts(key, version)
    costs = [sum(shaken(server, client)[2] for _ in range(HANDSHAKES)) / HANDSHAKES * 1e6 for _ in range(RUNS)]
    tell("handshake", costs, "cpu_us", key=key, version=version)


def per_line(step: Callable[[Any], object], items: Sequence[Any], lines: int) -> float:
    """CPU microseconds of a line when `step` is given each of `items`."""
    began = time.process_time()
    for item in items:
        step(item)
    return (time.process_time() - began) / lines * 1e6


def bench_lines(version: str) -> None:
    """A share that arrives, alone or with seven others in its read, and a job that leaves."""
    server, client = contexts("p256", version)
    for lines_a_read in (1, 8):
        costs = []
        for _ in range(RUNS):
            transport, miner, _ = shaken(server, client)
            reads = []
            for _ in range(LINES // lines_a_read):
                for _ in range(lines_a_read):
                    miner.tls.write(SHARE_LINE)
                reads.append(miner.outbound.read())
            costs.append(per_line(lambda data, to=transport: to.open(data, START), reads, LINES))
        tell("open", costs, "cpu_us", version=version, records_a_read=lines_a_read)
    costs = []
    for _ in range(RUNS):
        transport, _, _ = shaken(server, client)
        costs.append(per_line(transport.seal, [bytes(NOTIFY_SIZE)] * LINES, LINES))
    tell("seal", costs, "cpu_us", version=version, bytes=NOTIFY_SIZE)


def idle_memory(version: str | None) -> float:
    """Bytes of the transport of one idle connection that has spoken a little; without TLS if `version` is None."""
    server, client = contexts("p256", version or "1.3")
    held: list[object] = [None] * IDLE
    for _ in range(100):
        shaken(server, client)
    gc.collect()
    before = rss()
    for number in range(IDLE):
        if version is None:
            held[number] = Plain()
            continue
        transport, miner, _ = shaken(server, client)
        miner.tls.write(SHARE_LINE)
        transport.open(miner.outbound.read(), START)
        transport.seal(bytes(NOTIFY_SIZE))
        held[number] = transport
    gc.collect()
    return (rss() - before) / IDLE


def main() -> None:
    """Run every case; memory in a fresh process each, since none gives back what it took."""
    for version in VERSIONS:
        for key in ("p256", "rsa2048"):
            bench_handshake(key, version)
    for version in VERSIONS:
        bench_lines(version)
    fresh = multiprocessing.get_context("spawn")
    for case in (None, *VERSIONS):
        with fresh.Pool(1, maxtasksperchild=1) as processes:
            tell("idle", processes.map(idle_memory, [case] * 3, chunksize=1), "rss_bytes", version=case or "bare",
                 connections=IDLE)


if __name__ == "__main__":
    main()

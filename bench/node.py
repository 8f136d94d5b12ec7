"""A node that serves one canned template over JSON-RPC, for the pool under measurement.

    python -m bench.node --transactions 2047

prints `{"port": ...}` and serves until it is ended. The template has as many small transactions as wanted, ids, weights
and witness commitment right, and a difficulty that no share of a bench will ever meet. `POST /tip` moves the tip, and
long polls return. `POST /times` tells when that was last, and when the last template was out. Its own figures do not
matter: it is a process apart.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from warppool.bitcoin.block import block_subsidy
from warppool.bitcoin.coinbase import commitment_output, witness_commitment
from warppool.bitcoin.hashes import double_sha256, to_display
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import whole_transaction

TRANSACTIONS = 2_047        # with the coinbase 2,048 leaves: a merkle path of 11 hashes
FIRST_HEIGHT = 880_000
NBITS = 0x17030000          # of main in 2024: a hash in 10^23 is a block
FEE_SAT = 1_000
LONG_POLL_S = 60.0
COMMITMENT_AT = 9           # bytes before the script in the commitment's output


def make_transaction(number: int) -> bytes:
    """A segwit transaction of one input, which nobody has, and one output."""
    spent = number.to_bytes(32, "little") + bytes(4)
    output = (number % 1_000).to_bytes(8, "little") + b"\x16\x00\x14" + bytes(20)
    return b"".join((b"\x02\x00\x00\x00", b"\x00\x01", b"\x01", spent, b"\x00\xff\xff\xff\xff", b"\x01", output,
                     b"\x01\x01\x51", bytes(4)))


def entry_of(raw: bytes) -> dict[str, Any]:
    """The transaction as `getblocktemplate` lists it."""
    read = whole_transaction(raw)
    return {"data": raw.hex(), "txid": to_display(read.txid), "hash": to_display(read.wtxid), "depends": [],
            "fee": FEE_SAT, "sigops": 1, "weight": read.weight}


class Chain:
    """The tip, and the template on it; shared by the threads of the server, guarded by `moved`."""

    def __init__(self, transactions: int) -> None:
        raw = [make_transaction(number) for number in range(1, transactions + 1)]
        self.moved = threading.Condition()
        self.moved_at = self.answered_at = time.monotonic()     # the last byte of the last template, for the latter
        self.tips = 0
        self._entries = [entry_of(each) for each in raw]
        commitment = witness_commitment([whole_transaction(each).wtxid for each in raw])
        self._commitment = commitment_output(commitment)[COMMITMENT_AT:].hex()

    @property
    def tip(self) -> str:
        """The hash of the last block, in display order."""
        return to_display(double_sha256(b"bench %d" % self.tips))

    def move(self) -> None:
        """Another block has come: long polls return."""
        with self.moved:
            self.tips += 1
            self.moved_at = time.monotonic()
            self.moved.notify_all()

    def wait(self, height: int, at_most_s: float) -> dict[str, Any]:
        """What `waitforblockheight` answers, once a block of that height is there or the time is over."""
        with self.moved:
            self.moved.wait_for(lambda: self.tips >= height - FIRST_HEIGHT + 1, at_most_s)
            return {"hash": self.tip, "height": FIRST_HEIGHT + self.tips - 1}

    def template(self, long_poll_id: str | None) -> dict[str, Any]:
        """What `getblocktemplate` answers, once the tip is another than that of `long_poll_id`."""
        with self.moved:
            self.moved.wait_for(lambda: long_poll_id != self.tip, LONG_POLL_S)
            height = FIRST_HEIGHT + self.tips
            now = int(time.time())
            return {
                "version": 0x20000000, "rules": ["csv", "!segwit", "taproot"], "vbavailable": {}, "vbrequired": 0,
                "previousblockhash": self.tip, "transactions": self._entries, "coinbaseaux": {},
                "coinbasevalue": block_subsidy(height, "main") + FEE_SAT * len(self._entries),
                "longpollid": self.tip, "target": f"{target_from_nbits(NBITS):064x}", "mintime": now - 3_600,
                "mutable": ["time", "transactions", "prevblock"], "noncerange": "00000000ffffffff",
                "sigoplimit": 80_000, "sizelimit": 4_000_000, "weightlimit": 4_000_000, "curtime": now,
                "bits": f"{NBITS:08x}", "height": height, "default_witness_commitment": self._commitment,
            }


class Handler(BaseHTTPRequestHandler):
    """One connection: JSON-RPC, `POST /tip` and `POST /times`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True          # else the end of an answer waits 40 ms for the delayed acknowledgement
    chain: Chain

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/tip":
            self.chain.move()
            self._send(b"{}")
            return
        if self.path == "/times":
            self._send(json.dumps({"moved_at": self.chain.moved_at, "answered_at": self.chain.answered_at}).encode())
            return
        call = json.loads(body)
        result, error = self._answer(call["method"], call["params"])
        self._send(json.dumps({"id": call["id"], "result": result, "error": error}).encode())
        if call["method"] == "getblocktemplate":
            self.chain.answered_at = time.monotonic()

    def _answer(self, method: str, params: list[Any]) -> tuple[Any, Any]:
        match method:
            case "getblockchaininfo":
                return {"chain": "main", "initialblockdownload": False}, None
            case "getblocktemplate":
                return self.chain.template(params[0].get("longpollid")), None
            case "getbestblockhash":
                return self.chain.tip, None
            case "waitforblockheight":
                height, at_most_ms = params
                return self.chain.wait(height, at_most_ms / 1e3), None
            case "submitblock":
                return "high-hash", None
            case _:
                return None, {"code": -5, "message": "Block not found"}

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it is on loopback and in the way."""


class Server(ThreadingHTTPServer):
    """Its threads end with it."""

    daemon_threads = True


def main() -> None:
    """Serve until the end."""
    parser = argparse.ArgumentParser(prog="bench.node", description="A node with one canned template.")
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS, help="in the template [%(default)s]")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one [%(default)s]")
    args = parser.parse_args()
    Handler.chain = Chain(args.transactions)
    with Server(("127.0.0.1", args.port), Handler) as server:
        print(json.dumps({"port": server.server_address[1]}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

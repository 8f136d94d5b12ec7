"""What machines are credited for the work that they do: an honest one and a greedy one, on each way into the pool.

    python -m bench.credit                          # all cases, 30 s each, on a private signet of a real bitcoind
    python -m bench.credit --seconds 120            # longer, and so more exact
    python -m bench.credit --case v1                # those whose names begin so

prints one JSON line a case. `work` is the difficulty that the counted hashes are worth, `credited` the sum in the
books, `ratio` the one by the other, and `error` the standard deviation of that ratio, as chance deals the shares.
`handed_in` is what all shares are worth by the keys that they name. The honest machine hashes its newest job and hands
in what meets that job's target; what the pool calls stale, since a block came meanwhile, is taken off its work. The
greedy one keeps its difficulty moving (by password, or by hash rate and floor), hashes old keys and new ones, holds
shares back, and names first, after hashing, the key with the hardest target that its hash meets. Status 1 if the honest
one is off 1.0, or the greedy one above it, by more than four errors. Needs `tests/peers/get_bitcoind`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import select
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.server import PYTHON, SECRET, BenchFailed, Server, wait_until_ready
from tests.peers.bitcoind import PRIVATE_SIGNET, Bitcoind, program
from warppool.addresses import PoolUrl
from warppool.bitcoin.target import DIFF1, MAX_TARGET, target_from_difficulty
from warppool.noise.primitives import new_buffer
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.sv1 import client as sv1
from warppool.sv2 import client as sv2
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.messages.mining import UpdateChannel
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.work import Work as Sv2Work

EASIEST = 1e-6
AUTHORITY = bytes(range(2, 34))     # a secret key
LADDER = [EASIEST * 2**step for step in range(4)]
WORTH = DIFF1 / 2**256              # the difficulty of one hash
SLICE = 2000                        # hashes between two looks at the socket
KEYS = 12                           # of which the greedy machine chooses
DEVIATIONS = 4.0
SETTLE_S = 20.0
PROTOCOLS = ("v1", "v2", "spec", "translator")
STALE = frozenset({"Stale", "Job not found", "stale-share", "invalid-job-id"})

POOL = """
[pool]
network = "signet"
payout_address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
data_dir = "data"
[stratum]
listen = ["127.0.0.1:0"]
sv2_listen = ["127.0.0.1:0"]
sv2_spec_listen = ["127.0.0.1:0"]
[difficulty]
start = {easiest}
min = {easiest}
shares_per_minute = 600
max_shares_per_minute = 0
[[node]]
url = "{url}"
cookie_file = "{cookie}"
"""

TRANSLATOR = """
[stratum]
listen = ["127.0.0.1:0"]
[translator]
data_dir = "translator"
[[upstream]]
url = "{url}"
user_identity = "translated"
"""


class SignetPool(Server):
    """A pool on a private signet, and a translator before it; `places` are ports by the name of the case."""

    def __enter__(self) -> SignetPool:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="warppool-bench-")))
            node = stack.enter_context(Bitcoind(self._folder / "node", PRIVATE_SIGNET, network="signet"))
            config, secrets = self._folder / "warppool.toml", self._folder / "secrets.toml"
            config.write_text(POOL.format(easiest=EASIEST, url=node.url, cookie=node.cookie_file))
            secrets.touch(0o600)
            secrets.write_text(f'sv2_static_priv_key_hex = "{SECRET.hex()}"\n'
                               f'sv2_spec_static_priv_key_hex = "{SECRET.hex()}"\n'
                               f'sv2_spec_authority_priv_key_hex = "{AUTHORITY.hex()}"\n')
            self._log = self._folder / "log"
            self._pool = self._start(stack, [*PYTHON, "warppool", "run", "-c", str(config)])
            wait_until_ready(self._pool, self._log)
            self.places = self._listeners()
            url = PoolUrl("127.0.0.1", self.places["sv2"], self.public_key)
            config = self._folder / "translator.toml"
            config.write_text(TRANSLATOR.format(url=url))
            self._log = self._folder / "translator.log"
            self._pool = self._start(stack, [*PYTHON, "warppool", "translate", "-c", str(config)])
            wait_until_ready(self._pool, self._log)
            self.places["translator"] = self._listeners()["sv1"]
            self._closing = stack.pop_all()
        return self

    def _listeners(self) -> dict[str, int]:
        found = {}
        for line in self._log.read_text().splitlines():
            if "event=listener.opened" in line:
                fields = dict(field.partition("=")[::2] for field in line.split() if "=" in field)
                found[fields["kind"]] = int(fields["address"].strip('"').rpartition(":")[2])
        return found

    def credits(self) -> tuple[int, float, float]:
        """Of all shares in the books: how many, the sum of their difficulties, and that of the squares."""
        path = self._folder / "data" / "shares.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
            count, total, squares = books.execute(
                "SELECT count(*), total(difficulty), total(difficulty * difficulty) FROM shares").fetchone()
        return int(count), float(total), float(squares)


class Machine:
    """A machine on a socket. `works` are the keys of this tip, the newest last."""

    def __init__(self, port: int) -> None:
        self.works: list[Any] = []
        self.hashes = 0
        self.in_flight = 0
        self.refused: Counter[str] = Counter()
        self.stale = 0.0                # difficulty of shares that were refused since the tip had moved
        self._worth: dict[Any, float] = {}      # of shares, by the number of the request, or by channel and sequence
        self._nonce = random.getrandbits(16) << 8
        self._sock = socket.create_connection(("127.0.0.1", port), 30)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def outgoing(self) -> bytes:
        """What it has to say."""
        raise NotImplementedError

    def hear(self, data: bytes) -> None:
        """What it is told."""
        raise NotImplementedError

    def wish(self, difficulty: float) -> None:
        """Ask for another difficulty."""
        raise NotImplementedError

    def hand_in(self, work: Any, ntime: int, nonce: int) -> None:
        """Submit a share."""
        raise NotImplementedError

    def talk(self, wait_s: float = 0.0) -> None:
        """Say what is to be said and hear what there is."""
        if out := self.outgoing():
            self._sock.sendall(out)
        while select.select([self._sock], [], [], wait_s)[0]:
            data = self._sock.recv(1 << 16)
            if not data:
                raise BenchFailed("the connection was closed")
            self.hear(data)
            if out := self.outgoing():
                self._sock.sendall(out)
            wait_s = 0.0

    def until(self, is_true: Callable[[], Any], patience_s: float = 60.0) -> None:
        """Listen until it is so."""
        deadline = time.monotonic() + patience_s
        while not is_true():
            if time.monotonic() > deadline:
                raise BenchFailed("what was waited for did not come")
            self.talk(0.05)

    def search(self, work: Any, ntime: int, target: int, count: int) -> list[tuple[int, int]]:
        """(nonce, hash as a number) of all among the next hashes that meet `target`."""
        header = self.header(work, ntime)
        midstate, tail = sha256(header[:64]), header[64:76]
        limit, found = target >> 248, []
        for nonce in range(self._nonce, self._nonce + count):
            inner = midstate.copy()
            inner.update(tail + nonce.to_bytes(4, "little"))
            digest = sha256(inner.digest()).digest()
            if digest[31] <= limit and (value := int.from_bytes(digest, "little")) <= target:
                found.append((nonce, value))
        self._nonce += count
        self.hashes += count
        return found

    def header(self, work: Any, ntime: int) -> bytes:
        """The header with nonce 0."""
        raise NotImplementedError

    def start_of(self, work: Any) -> int:
        """The header time that the work starts with."""
        raise NotImplementedError

    def _new_work(self, work: Any) -> None:
        if self.works and self.works[-1].prev_hash != work.prev_hash:
            self.works.clear()
        self.works.append(work)

    @property
    def handed_in(self) -> float:
        """What all its shares would be worth, each under the key that it named."""
        return sum(self._worth.values())

    def _refused(self, number: Any, reason: str) -> None:
        self.in_flight -= 1
        self.refused[reason] += 1
        if reason in STALE:
            self.stale += self._worth[number]


class Sv1Machine(Machine):
    """A V1 machine."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._client = sv1.MiningClient("bench")
        self._client.subscribe()
        self._client.authorize("credit.rig")
        self.until(lambda: self.works)

    def outgoing(self) -> bytes:
        return self._client.outgoing()

    def hear(self, data: bytes) -> None:
        for event in self._client.receive(data):
            if isinstance(event, sv1.WorkReady):
                self._new_work(event.work)
            elif isinstance(event, sv1.ShareAnswered):
                if event.is_accepted:
                    self.in_flight -= 1
                else:
                    self._refused(event.request_id, event.words)

    def wish(self, difficulty: float) -> None:
        self._client.authorize("credit.rig", f"d={difficulty:.10f}")

    def start_of(self, work: sv1.Work) -> int:
        return work.ntime

    def header(self, work: sv1.Work, ntime: int) -> bytes:
        return work.header(bytes(work.extranonce2_size), work.version, ntime, 0)

    def hand_in(self, work: sv1.Work, ntime: int, nonce: int) -> None:
        self.in_flight += 1
        number = self._client.submit("credit.rig", work, bytes(work.extranonce2_size), work.version, ntime, nonce)
        self._worth[number] = DIFF1 / work.target


class Sv2Machine(Machine):
    """A V2 machine with so many extended channels, which are one group where the profile has groups.

    `pin` is what it holds the pool to.
    """

    def __init__(self, port: int, profile: Profile, pin: bytes, channels: int) -> None:
        super().__init__(port)
        setup = sv2.MiningClientSession.setup(host="127.0.0.1", port=port, vendor="bench", firmware="")
        self._connection = DialledConnection(profile, server_public=pin, ephemeral_secret=os.urandom(32),
                                             buffer=new_buffer(), setup=setup, unix_time=time.time())
        self._channels = channels
        self.until(lambda: len({work.channel_id for work in self.works}) == channels)

    def outgoing(self) -> bytes:
        return self._connection.outgoing()

    def hear(self, data: bytes) -> None:
        for event in self._connection.receive(data):
            if isinstance(event, sv2.SetUp):
                session = self._connection.session
                self._connection.send(*[session.open_extended("credit.rig", 0.0, MAX_TARGET, 8)
                                        for _ in range(self._channels)])
            elif isinstance(event, sv2.WorkReady):
                self._new_work(event.work)
            elif isinstance(event, sv2.SharesAccepted):
                self.in_flight -= event.news
            elif isinstance(event, sv2.ShareRejected):
                self._refused((event.channel_id, event.sequence), event.error_code)

    def wish(self, difficulty: float) -> None:
        floor = random.choice([MAX_TARGET, target_from_difficulty(str(difficulty))])
        self._connection.send(UpdateChannel(channel_id=random.choice(self.works).channel_id,
                                            nominal_hash_rate=difficulty * 2**32 * 10,
                                            maximum_target=floor.to_bytes(32, "little")))

    def start_of(self, work: Sv2Work) -> int:
        return work.min_ntime

    def header(self, work: Sv2Work, ntime: int) -> bytes:
        return work.header(bytes(work.extranonce_size), work.version, ntime, 0)

    def hand_in(self, work: Sv2Work, ntime: int, nonce: int) -> None:
        self.in_flight += 1
        share = self._connection.session.submit(work, bytes(work.extranonce_size), work.version, ntime, nonce)
        self._worth[work.channel_id, share.sequence_number] = DIFF1 / work.target
        self._connection.send(share)


def honest(machine: Machine, seconds: float) -> None:
    """The newest job, under its target, handed in at once."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        work = machine.works[-1]
        ntime = machine.start_of(work)
        for nonce, _ in machine.search(work, ntime, work.target, SLICE):
            machine.hand_in(work, ntime, nonce)
        machine.talk()


def greedy(machine: Machine, seconds: float) -> None:
    """See the head of this module."""
    dice = random.Random(7)
    deadline = time.monotonic() + seconds
    held: list[tuple[Any, int, int, int]] = []
    turn = 0
    while time.monotonic() < deadline:
        turn += 1
        if turn % 20 == 0:
            machine.wish(dice.choice(LADDER))
        keys = machine.works[-KEYS:]
        work, ntime = dice.choice(keys), max(machine.start_of(key) for key in keys)     # which all of them take
        easiest = max(key.target for key in keys)
        held += [(work, ntime, nonce, value) for nonce, value in machine.search(work, ntime, easiest, SLICE)]
        if turn % 10 == 0:
            _name_keys(machine, held)
        machine.talk()
    _name_keys(machine, held)


def _name_keys(machine: Machine, held: list[tuple[Any, int, int, int]]) -> None:
    """Each share first under the hardest key that its hash would meet, then under the one that was hashed."""
    keys = sorted(machine.works[-KEYS:], key=lambda key: key.target)
    for work, ntime, nonce, value in held:
        hardest = next((key for key in keys if value <= key.target), work)
        for key in (hardest, work) if hardest is not work else (work,):
            machine.hand_in(key, ntime, nonce)
    held.clear()


KINDS: dict[str, Callable[[Machine, float], None]] = {"honest": honest, "greedy": greedy}


def machine_of(pool: SignetPool, protocol: str) -> Machine:
    """One on its way into the pool."""
    if protocol == "v2":
        return Sv2Machine(pool.places["sv2"], WARP, pool.public_key, 1)
    if protocol == "spec":
        return Sv2Machine(pool.places["sv2-spec"], SPEC, xonly_of_secret(AUTHORITY), 2)
    return Sv1Machine(pool.places["sv1" if protocol == "v1" else "translator"])


def measure(pool: SignetPool, protocol: str, kind: str, seconds: float) -> dict[str, Any]:
    """One case, from the first hash until its last share is answered."""
    machine = machine_of(pool, protocol)
    with closing(machine):
        count, credited, squares = pool.credits()
        KINDS[kind](machine, seconds)
        machine.until(lambda: machine.in_flight <= 0, SETTLE_S)
        time.sleep(0.5)
        after = pool.credits()
    work, credited = machine.hashes * WORTH, after[1] - credited
    if kind == "honest":
        work -= machine.stale           # hashes that were worth nothing any more when they were made
    return {"bench": "credit", "case": f"{protocol}-{kind}", "seconds": seconds, "hashes": machine.hashes,
            "shares": after[0] - count, "refused": dict(machine.refused),
            "stale": round(machine.stale, 6), "handed_in": round(machine.handed_in, 6), "work": round(work, 6),
            "credited": round(credited, 6), "ratio": round(credited / work, 4),
            "error": round(math.sqrt(after[2] - squares) / work, 4)}


def main(arguments: list[str] | None = None) -> int:
    """Every case, one line each; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m bench.credit", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each case")
    parser.add_argument("--case", default="", help="only those whose names begin so")
    given = parser.parse_args(arguments)
    if not program():
        print("bench.credit: no bitcoind is there: tests/peers/get_bitcoind brings it", file=sys.stderr)
        return 1
    is_well = True
    try:
        with SignetPool() as pool:
            for protocol in PROTOCOLS:
                for kind in KINDS:
                    if f"{protocol}-{kind}".startswith(given.case):
                        found = measure(pool, protocol, kind, given.seconds)
                        print(json.dumps(found), flush=True)
                        off = (found["ratio"] - 1) / found["error"]
                        is_well &= off <= DEVIATIONS and (kind == "greedy" or off >= -DEVIATIONS)
    except BenchFailed as exc:
        print(f"bench.credit: {exc}", file=sys.stderr)
        return 1
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a new tip costs a worker that tells thousands of channels, each alone or a thousand in a group.

    python -m bench.fanout

prints one JSON line a case. One thread plays everybody, as in `bench.turns`: the time is the worker's alone, from the
job in its inbox to the sealed bytes for the reactor, and the least of many tips. A thousand channels are a connection,
as behind a farm's proxy. `single` are standard channels of machines that require standard jobs, each with a job of its
own; `group` are in groups, of `extended` and of `standard` channels.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import NamedTuple

from bench.command import choose, print_lines
from bench.server import BenchFailed
from bench.sides import Side, side_of
from bench.turns import USER, LoneWorker, make_factory, make_job, pool
from warppool.bitcoin.target import MAX_TARGET
from warppool.net.inbox import FromReactor, JobReady, Opened, Part, Received
from warppool.noise.primitives import new_buffer
from warppool.sv2 import client as sv2
from warppool.sv2.dialled import DialledConnection
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.profile import SPEC
from warppool.sv2.server import REQUIRES_STANDARD_JOBS

A_CONNECTION = 1_000        # channels
TOGETHER = 50               # opens that are sent at a time
TIPS = 12
ANSWER_SIZE = 8             # rollable bytes of an extended channel
A_THIRD = 1 / 3             # what a group may cost, where single channels cost 1


class Case(NamedTuple):
    """So many channels, by kind: single standard ones, or members of a group."""

    name: str
    channels: int
    wanted: dict[str, float]


class Proxy:
    """One connection with many channels."""

    def __init__(self, side: Side, *, is_single: bool, is_standard: bool) -> None:
        setup = sv2.MiningClientSession.setup(host="bench", port=1, vendor="bench", firmware="",
                                              flags=REQUIRES_STANDARD_JOBS if is_single else 0)
        self._connection = DialledConnection(side.profile, server_public=side.pin, ephemeral_secret=os.urandom(32),
                                             buffer=new_buffer(), setup=setup, unix_time=time.time())
        self._is_standard = is_standard
        self.is_set_up = False
        self.jobs = 0               # of a new tip, one for each channel that was told

    def outgoing(self) -> bytes:
        """What it has to say."""
        return self._connection.outgoing()

    def hear(self, data: bytes) -> None:
        """What it is told."""
        for event in self._connection.receive(data):
            if isinstance(event, sv2.SetUp):
                self.is_set_up = True
            elif isinstance(event, sv2.WorkReady):
                self.jobs += event.is_new_tip
            elif isinstance(event, sv2.OpenRefused):
                raise BenchFailed(f"an open was refused: {event.error_code}")

    def open(self, channels: int) -> bytes:
        """Ask for so many more."""
        session = self._connection.session
        self._connection.send(*[
            session.open_standard(USER, 0.0, MAX_TARGET) if self._is_standard else
            session.open_extended(USER, 0.0, MAX_TARGET, ANSWER_SIZE) for _ in range(channels)])
        return self._connection.outgoing()


class Farm:
    """A worker and the proxies that it serves."""

    def __init__(self, channels: int, *, is_single: bool, is_standard: bool) -> None:
        side = side_of(SPEC)
        self._factory = make_factory({SPEC.name: lambda job: EncodedJob(SPEC, job)})
        self.worker: LoneWorker = pool(side)
        self.channels = channels
        counts = [min(A_CONNECTION, channels - at) for at in range(0, channels, A_CONNECTION)]
        self.proxies = {number: Proxy(side, is_single=is_single, is_standard=is_standard)
                        for number in range(1, len(counts) + 1)}
        self._deliver([Opened(number, "bench", "bench") for number in self.proxies])
        for _ in range(2):
            self._deliver([Received(number, data) for number, proxy in self.proxies.items()
                           if (data := proxy.outgoing())])
        for (number, proxy), count in zip(self.proxies.items(), counts, strict=True):
            if not proxy.is_set_up:
                raise BenchFailed("a proxy was not set up")
            for at in range(0, count, TOGETHER):
                self._deliver([Received(number, proxy.open(min(TOGETHER, count - at)))])

    def _deliver(self, parts: list[Part]) -> None:
        for number, data in self.worker.turn(FromReactor(tuple(parts))):
            self.proxies[number].hear(data)

    def tip(self) -> tuple[float, int]:
        """A new tip: the worker's seconds, and the bytes that it sent. Every channel has a job of it."""
        job = make_job(self._factory)
        for proxy in self.proxies.values():
            proxy.jobs = 0
        self.worker.spent_ns = 0
        sends = self.worker.turn(JobReady(job))
        spent_s = self.worker.spent_ns / 1e9
        for number, data in sends:
            self.proxies[number].hear(data)
        told = sum(proxy.jobs for proxy in self.proxies.values())
        if told != self.channels:
            raise BenchFailed(f"{told} of {self.channels} channels have a job of the new tip")
        return spent_s, sum(len(data) for _, data in sends)


def measure(channels: int, tips: int) -> dict[str, float]:
    """All kinds side by side, a tip each in turn; milliseconds and KiB of one tip."""
    farms = {"single": Farm(channels, is_single=True, is_standard=True),
             "group_standard": Farm(channels, is_single=False, is_standard=True),
             "group_extended": Farm(channels, is_single=False, is_standard=False)}
    least = dict.fromkeys(farms, math.inf)
    sizes = dict.fromkeys(farms, 0)
    for _ in range(tips):
        for kind, farm in farms.items():
            spent_s, sizes[kind] = farm.tip()
            least[kind] = min(least[kind], spent_s)
    return {**{f"{kind}_ms": round(value * 1e3, 3) for kind, value in least.items()},
            **{f"{kind}_kib": round(size / 1024, 1) for kind, size in sizes.items()},
            **{f"ratio_{kind}": round(least[kind] / least["single"], 3) for kind in farms if kind != "single"}}


BOUNDS = {"ratio_group_standard": A_THIRD, "ratio_group_extended": A_THIRD}
CASES = [Case(f"fan-out-{channels}", channels, BOUNDS) for channels in (1_000, 5_000)]


def main(arguments: list[str] | None = None) -> int:
    """Every case, one line each; 1 if a channel was not told."""
    chosen, (_, scale) = choose("bench.fanout", __doc__, CASES, arguments)
    return print_lines("fanout", (
        {"case": case.name, **measure(max(2, round(case.channels * scale)), max(2, round(TIPS * scale))),
         "wanted": case.wanted} for case in chosen))


if __name__ == "__main__":
    sys.exit(main())

"""What the wire costs: decoding, encoding and framing the messages of the hot path, one JSON line a case.

    python -m bench.wire

prints the median of several runs, in microseconds of CPU time (`time.process_time`) for one message or frame.
"""

from __future__ import annotations

import json
import statistics
import time
import timeit
from collections.abc import Callable
from functools import partial

from warppool.sv2.codec import decode, encode
from warppool.sv2.frame import Frame, FrameReader
from warppool.sv2.messages.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
)
from warppool.sv2.profile import WARP, Subprotocol

RUNS = 7
ROUNDS = 30_000                         # so many that a run takes some 50 ms

SHARE = SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(8))
MESSAGES = [
    SHARE,
    SubmitSharesStandard(1, 2, 3, 4, 5, 6),
    SubmitSharesSuccess(1, 2, 3, 4),
    SubmitSharesError(1, 2, "difficulty-too-low"),
    SetNewPrevHash(1, 2, bytes(32), 3, 4),
    OpenExtendedMiningChannelSuccess(1, 2, bytes(32), 8, bytes(4), 0),
    NewExtendedMiningJob(1, 2, 3, 4, True, (bytes(32),) * 11, bytes(120), bytes(150)),
]


def measure(case: str, step: Callable[[], object], items: int = 1) -> None:
    """Print what `step` costs for each of the `items` that it handles."""
    rounds = max(ROUNDS // items, 20)
    costs_s = timeit.repeat(step, timer=time.process_time, repeat=RUNS, number=rounds)
    cost = round(statistics.median(costs_s) / rounds / items * 1e6, 3)
    print(json.dumps({"bench": "wire", "case": case, "cpu_us": cost, "runs": RUNS}), flush=True)


def main() -> None:
    for message in MESSAGES:
        cls, payload = type(message), encode(message)
        measure(f"decode {cls.__name__}", partial(decode, cls, payload))
        measure(f"encode {cls.__name__}", partial(encode, message))

    measure("frame encode SubmitSharesSuccess", lambda: WARP.encode(SubmitSharesSuccess(1, 2, 3, 4)))
    wire = WARP.encode(SHARE)
    reader = FrameReader(WARP.max_payload_from_client)

    def read(*pieces: bytes) -> list[Frame]:
        return [frame for piece in pieces for frame in reader.feed(piece)]

    for count in (1, 8, 1_000):
        measure(f"frames {count} in one piece", partial(read, wire * count), count)
    measure("frame in two pieces", partial(read, wire[:20], wire[20:]))

    stream = wire * 8
    measure("bytes to SubmitSharesExtended, 8 in one piece",
            lambda: [WARP.decode(Subprotocol.MINING, frame) for frame in reader.feed(stream)], 8)


if __name__ == "__main__":
    main()

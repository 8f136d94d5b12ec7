"""Random and mutated bytes by seeded dice, for the tests that show what they do not do."""

from __future__ import annotations

import random
from itertools import pairwise

EDGES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)        # bytes that lengths, counts and signs break at


def mutated(dice: random.Random, data: bytes) -> bytes:
    """`data` after one to three accidents."""
    wire = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(wire) + 1)
        end = min(len(wire), at + dice.choice((1, 1, 2, 4, 32)))
        match dice.randrange(7):
            case 0 if at < len(wire):
                wire[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(wire):
                wire[at] = dice.choice(EDGES)
            case 2:
                del wire[at:end]
            case 3:
                wire[at:at] = dice.randbytes(dice.choice((1, 2, 4, 32)))
            case 4:
                wire[at:at] = wire[at:end]
            case 5:
                wire[at:end] = dice.randbytes(end - at)
            case 6:
                del wire[at:]
    return bytes(wire)


def pieces(dice: random.Random, data: bytes) -> list[bytes]:
    """`data` as TCP may cut it."""
    cuts = sorted(dice.randint(0, len(data)) for _ in range(dice.randrange(4)))
    return [data[begin:end] for begin, end in pairwise([0, *cuts, len(data)])]

"""What a pool may say, good, wrong and broken, for the tests of those who hear it: the miner's session and the
translator's connection.
"""

from __future__ import annotations

import random

from tests.garbage import EDGES, mutated
from warppool.errors import LocalProtocolError
from warppool.sv2.frame import HEADER_SIZE, encode_frame
from warppool.sv2.messages.common import Reconnect, SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensionsSuccess
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannelError,
)
from warppool.sv2.profile import Profile
from warppool.sv2.types import Message

_CODES = ("stale-share", "duplicate-share", "not-recorded", "", "x" * 255)
_NBITS = (0x17034219, 0x207FFFFF, 0, 0xFFFFFFFF, 0x01000000)
_TARGETS = (b"\xff" * 32, bytes(31) + b"\x01", b"\x01" + bytes(31), bytes(32))

EXTENDED, STANDARD, GROUP = 1, 2, 5         # channels that the listener has, and a group


class MadPool:
    """Says anything to a peer of `profile` that has the channels EXTENDED and STANDARD, perhaps in GROUP."""

    def __init__(self, dice: random.Random, profile: Profile) -> None:
        self.dice = dice
        self.profile = profile
        self.said = 0                   # messages

    def number(self) -> int:
        return self.dice.choice((0, 1, 1, 1, 2, 2, 3, 4, 5, self.dice.getrandbits(32)))

    def job(self, *, is_future: bool, channel_id: int, job_id: int) -> Message:
        """A job as a pool gives it, but for one in a few."""
        dice = self.dice
        min_ntime = None if is_future else dice.choice((0, 1_700_000_000, 2**32 - 1))
        if dice.random() < 0.3:
            return NewMiningJob(channel_id, job_id, min_ntime, 0x20000000, dice.randbytes(32))
        levels, size = dice.choice((0, 2, 11, 255)), dice.choice((0, 60, 60, 60, 4_000, 60_000))
        return NewExtendedMiningJob(channel_id, job_id, min_ntime, 0x20000000, dice.random() < 0.8,
                                    (b"\x33" * 32,) * levels, bytes(60), bytes(size))

    def work(self) -> list[Message]:
        """A job on a channel of its kind, and mostly the tip that makes work of it."""
        dice, job_id = self.dice, self.dice.randrange(1, 6)
        channel_id, is_future = dice.choice((EXTENDED, STANDARD, GROUP)), dice.random() < 0.7
        min_ntime = None if is_future else 1_700_000_000
        given: Message = NewMiningJob(STANDARD, job_id, min_ntime, 0x20000000, dice.randbytes(32))
        if channel_id != STANDARD:
            given = NewExtendedMiningJob(channel_id, job_id, min_ntime, 0x20000000, dice.random() < 0.8,
                                         (b"\x33" * 32,) * 2, bytes(60), bytes(60))
        tip = SetNewPrevHash(channel_id, job_id, dice.randbytes(32), 1_700_000_000, dice.choice(_NBITS))
        return [given, tip] if is_future and dice.random() < 0.9 else [given]

    def messages(self) -> list[Message]:
        """Any messages of a pool, most of them good ones."""
        dice, number = self.dice, self.number
        match dice.randrange(20):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6:
                return self.work()
            case 7:
                return [self.job(is_future=dice.random() < 0.5, channel_id=number(), job_id=number())]
            case 8:
                return [SetNewPrevHash(number(), number(), dice.randbytes(32), 1_700_000_000, dice.choice(_NBITS))]
            case 9 | 10:
                return [SetTarget(number(), dice.choice(_TARGETS))]
            case 11:
                return [SetExtranoncePrefix(number(), dice.randbytes(dice.choice((0, 4, 4, 4, 24, 32))))]
            case 12 | 13:
                return [SubmitSharesSuccess(number(), number(), number(), number())]
            case 14:
                return [SubmitSharesError(number(), number(), dice.choice(_CODES))]
            case 15:
                return [OpenExtendedMiningChannelSuccess(number(), number(), dice.choice(_TARGETS), dice.randrange(40),
                                                         dice.randbytes(dice.choice((0, 4, 32))), number())]
            case 16:
                return [OpenStandardMiningChannelSuccess(number(), number(), dice.choice(_TARGETS),
                                                         dice.randbytes(dice.choice((0, 4, 32))), number())]
            case 17:
                return [dice.choice((OpenMiningChannelError(number(), "no"), UpdateChannelError(number(), "no"),
                                     RequestExtensionsSuccess(0, (2,)), Reconnect("", 0)))]
            case 18:
                if dice.random() < 0.5:
                    return [SetGroupChannel(number(), tuple(number() for _ in range(dice.randrange(3))))]
                return [CloseChannel(dice.choice((1, 2, 3, 4, 5)), dice.choice(_CODES))]
            case _:
                return [dice.choice((SetupConnectionSuccess(2, 0), SetupConnectionError(0, "no")))]

    def frames(self) -> bytes:
        """A few frames, of which some suffered accidents."""
        messages = [message for _ in range(self.dice.randint(1, 2)) for message in self.messages()]
        self.said += len(messages)
        return b"".join(map(self._spoiled, messages))

    def _spoiled(self, message: Message) -> bytes:
        dice = self.dice
        if dice.random() < 0.02:
            return encode_frame(dice.randrange(256), dice.randbytes(dice.randrange(60)), dice.getrandbits(16))
        try:
            frame = self.profile.encode(message)
        except LocalProtocolError:                  # the dialect lacks it
            return b""
        if dice.random() < 0.1:
            return mutated(dice, frame)
        if len(frame) > HEADER_SIZE and dice.random() < 0.2:        # the length holds, a field does not
            at = dice.randrange(HEADER_SIZE, len(frame))
            return frame[:at] + bytes([dice.choice(EDGES)]) + frame[at + 1:]
        return frame

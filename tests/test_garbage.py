"""Ten thousand random and mutated inputs at each level: the peer's error or a clean refusal, and nothing else.

The suites of the packages have property tests of their own, which shrink what they find; these here are plain seeded
loops, so that they can be many, go on with a session after what it refused, and watch a neighbour meanwhile.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.garbage import mutated, pieces
from tests.madman import Madman, Neighbour, PlainPair, plain_context, plain_jobs
from tests.mining.makers import EASY_NBITS
from tests.noise.ends import miner, server, shaken
from tests.sv2.pairs import Pair, make_context, make_jobs
from tests.sv2.samples import CLASSES, SAMPLES
from warppool.errors import BadFrame, MalformedPayload, RemoteProtocolError, UnexpectedMessage
from warppool.noise.transport import InitiatorTransport, ResponderTransport
from warppool.sv2.codec import encode
from warppool.sv2.frame import HEADER_SIZE, Frame, FrameReader, encode_frame
from warppool.sv2.profile import SPEC, WARP, Profile, Subprotocol
from warppool.sv2.types import Message

INPUTS = 10_000
MOST_HELD = 128 * 1024          # bytes of one connection: a frame that is not whole, and what came with it


# --- records ----------------------------------------------------------------------------------------------------------

def feed(transport: InitiatorTransport | ResponderTransport, parts: list[bytes]) -> tuple[bytes, bool]:
    """What comes out, and whether the peer's error ended it, after which nothing comes."""
    seen = b""
    for part in parts:
        seen += transport.open(part, 0.0)
        if transport.end is not None:
            assert isinstance(transport.end.error, RemoteProtocolError)
            assert transport.open(b"more", 0.0) == b""
            return seen, True
    return seen, False


def test_records_before_the_handshake() -> None:
    dice = random.Random(1)
    act_one = miner().seal(b"")
    ends: Counter[str] = Counter()
    for _ in range(INPUTS // 2):
        transport = server()
        wire = mutated(dice, act_one) if dice.random() < 0.7 else dice.randbytes(dice.randrange(120))
        seen, is_refused = feed(transport, pieces(dice, wire))
        assert seen == b""
        ends["refused" if is_refused else "established" if transport.is_established else "awaited"] += 1
    assert min(ends[end] for end in ("refused", "established", "awaited")) > 100


def test_records_after_the_handshake() -> None:
    dice = random.Random(2)
    ends: Counter[bool] = Counter()
    for number in range(INPUTS // 2):
        sender, receiver = shaken()
        if number % 4 == 0:
            sender, receiver = receiver, sender
        texts = [dice.randbytes(dice.choice((1, 6, 30, 200))) for _ in range(dice.randint(1, 4))]
        good = b"".join(sender.seal(text) for text in texts)
        wire = mutated(dice, good) if dice.random() < 0.8 else dice.randbytes(dice.randrange(300))
        seen, is_refused = feed(receiver, pieces(dice, wire))
        assert seen in [b"".join(texts[:count]) for count in range(len(texts) + 1)]
        ends[is_refused] += 1
    assert min(ends.values()) > 100


# --- frames -----------------------------------------------------------------------------------------------------------

def test_frames() -> None:
    dice = random.Random(3)
    ends: Counter[str] = Counter()
    for _ in range(INPUTS):
        good = b"".join(encode_frame(dice.randrange(256), dice.randbytes(dice.choice((0, 1, 24, 300))),
                                     dice.choice((0, 0x8000))) for _ in range(dice.randint(1, 4)))
        wire = mutated(dice, good) if dice.random() < 0.8 else dice.randbytes(dice.randrange(100))
        cap = dice.choice((0, 300, 1_291, 4_096, 1_048_576))
        reader, taken, end = FrameReader(cap), 0, "awaited"
        try:
            for piece in pieces(dice, wire):
                for frame in reader.feed(piece):
                    assert len(frame.payload) <= cap and frame.extension_type < 0x8000
                    taken += HEADER_SIZE + len(frame.payload)
            assert taken + reader.pending == len(wire)
        except BadFrame:
            end = "refused"
        ends[end] += 1
    assert min(ends["awaited"], ends["refused"]) > 1000


# --- messages ---------------------------------------------------------------------------------------------------------

def decoded(profile: Profile, subprotocol: Subprotocol, frame: Frame) -> Message | None:
    """The message, or None for the peer's error; nothing else may come of it."""
    try:
        message = profile.decode(subprotocol, frame)
    except (UnexpectedMessage, MalformedPayload):
        return None
    assert type(message) is profile.class_of(subprotocol, frame.msg_type)
    return message


def test_messages() -> None:
    dice = random.Random(4)
    read: Counter[type[Message]] = Counter()
    for _ in range(INPUTS):
        profile = dice.choice((WARP, SPEC))
        subprotocol = dice.choice(list(Subprotocol))
        cls = dice.choice(CLASSES)
        payload = mutated(dice, SAMPLES[cls][1]) if dice.random() < 0.8 else dice.randbytes(dice.randrange(150))
        table = {**profile.ids[Subprotocol.COMMON], **profile.ids[subprotocol]}
        msg_type = table.get(cls, dice.randrange(256))
        message = decoded(profile, subprotocol, Frame(0, msg_type, payload))
        if message is not None:
            read[type(message)] += 1
            again = decoded(profile, subprotocol, Frame(0, msg_type, encode(message)))
            assert again is not None and encode(again) == encode(message)
    assert len(read) == len(CLASSES) and min(read.values()) > 10


# --- sessions ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("profile", [WARP, SPEC], ids=["warp", "spec"])
def test_sessions(profile: Profile) -> None:
    """Behind Noise in one dialect, and bare in the other, whose records hold whole frames alone."""
    dice = random.Random(5)
    if profile is WARP:
        context = make_context()
        (job,) = make_jobs(1, nbits=EASY_NBITS)
        pair: Callable[[], Pair] = partial(Pair, context)
    else:
        context = plain_context(profile)
        (job,) = plain_jobs(profile, 1, nbits=EASY_NBITS)
        pair = partial(PlainPair, context)
    neighbour = Neighbour(pair(), job)
    madmen = 0
    seen: Counter[str] = Counter()
    madman: Madman | None = None
    for number in range(INPUTS):
        if madman is None:
            madman, madmen = Madman(dice, profile, pair(), job), madmen + 1
        came = madman.speak()
        seen += came
        assert madman.pair.server.backlog <= MOST_HELD
        if came["Close"] or (madman.pair.server.backlog and dice.random() < 0.5):       # it may wait for ever
            madman.pair.server.closed(madman.pair.now)
            madman = None
        if number % 50 == 0:
            neighbour.mine()
    assert madmen > 1000
    assert min(seen[name] for name in ("Send", "Close", "BlockFound", "ShareRefused", "ShareSubmitted")) > 1000

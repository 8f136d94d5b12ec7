"""Ten thousand random and mutated inputs at each level: the peer's error or a clean refusal, and nothing else.

The suites of the packages have property tests of their own, which shrink what they find; these here are plain seeded
loops, so that they can be many, go on with a session after what it refused, and watch a neighbour meanwhile.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from tests.garbage import EDGES, mutated, pieces
from tests.mining.makers import EASY_NBITS
from tests.noise.ends import miner, server, shaken
from tests.sv2.pairs import MAX_TARGET, Pair, make_context, make_jobs
from tests.sv2.samples import CLASSES, SAMPLES
from warppool.bitcoin.target import target_from_nbits
from warppool.errors import BadFrame, MalformedPayload, RemoteProtocolError, UnexpectedMessage
from warppool.events import (
    BlockFound,
    Close,
    Happened,
    Holds,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.mining.job import Job
from warppool.mining.share import weigh
from warppool.noise.transport import InitiatorTransport, ResponderTransport
from warppool.sv2.client import SharesAccepted, WorkReady
from warppool.sv2.codec import encode
from warppool.sv2.frame import HEADER_SIZE, Frame, FrameReader, encode_frame
from warppool.sv2.messages.mining import CloseChannel, SetTarget, UpdateChannel
from warppool.sv2.profile import SPEC, WARP, Profile, Subprotocol
from warppool.sv2.types import Message
from warppool.sv2.work import Work

INPUTS = 10_000


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

FOR_THE_WORKER = (BlockFound, ShareAccepted, ShareRefused, ShareSubmitted, Happened, Holds)


class Madman:
    """A miner whose frames suffer accidents, with an honest connection beside him on the same worker."""

    def __init__(self, dice: random.Random, pair: Pair, job: Job) -> None:
        self.dice = dice
        self.pair = pair
        self.ready: list[Work] = []
        pair.talk()
        pair.offer(job)
        session = pair.miner.session
        pair.miner.send(session.open_standard("mad", 0.0, MAX_TARGET), session.open_extended("mad", 0.0, MAX_TARGET, 4))
        self.ready = [event.work for event in pair.talk() if isinstance(event, WorkReady)]
        pair.events.clear()

    def plaintext(self) -> bytes:
        """A few frames, good ones and bad ones."""
        frames = [WARP.encode(self._message()) for _ in range(self.dice.randint(1, 3))]
        return b"".join(mutated(self.dice, frame) if self.dice.random() < 0.3 else self._reworded(frame)
                        for frame in frames)

    def _message(self) -> Message:
        dice, session, work = self.dice, self.pair.miner.session, self.dice.choice(self.ready)
        match dice.randrange(9):
            case 0:
                return session.open_standard("mad", dice.choice((0.0, 1e12)), MAX_TARGET)
            case 1:
                return session.open_extended("mad", 0.0, MAX_TARGET, dice.choice((0, 4, 28, 29, 65535)))
            case 2:
                return UpdateChannel(work.channel_id, dice.choice((0.0, 1e9, -1.0, float("nan"))), dice.randbytes(32))
            case 3:
                return CloseChannel(dice.randrange(3, 20), "enough")
            case 4 if dice.random() < 0.1:
                return dice.choice((SetTarget(1, bytes(32)), session.setup(host="h", port=1, vendor="v", firmware="f")))
            case _:
                extranonce = dice.randbytes(work.extranonce_size)
                return session.submit(work, extranonce, work.version ^ dice.choice((0, 1 << 13, 1)),
                                      work.min_ntime + dice.choice((0, 0, 1, -1, 90_000)), dice.getrandbits(32))

    def _reworded(self, frame: bytes) -> bytes:
        """The frame, or one whose length still holds and whose fields do not."""
        payload = bytearray(frame[HEADER_SIZE:])
        if payload and self.dice.random() < 0.5:
            payload[self.dice.randrange(len(payload))] = self.dice.choice(EDGES)
        return frame[:HEADER_SIZE] + bytes(payload)

    def speak(self) -> Counter[str]:
        """Send, have the shares judged and recorded, and check what came of it; names of the events."""
        pair = self.pair
        wire = pair.miner._transport.seal(self.plaintext())
        events = [event for part in pieces(self.dice, wire) for event in pair.server.receive(part, pair.now)]
        shares = [event for event in events if isinstance(event, ShareSubmitted)]
        if shares:
            events += pair.server.judged([weigh(each.header, each.network_target) for each in shares], pair.now)
        accepted = [event.share if isinstance(event, BlockFound) else event for event in events]
        ids = [event.share_id for event in accepted if isinstance(event, ShareAccepted)]
        answer = pair.server.recorded if self.dice.random() < 0.9 else pair.server.not_recorded
        events += answer(ids, pair.now)
        assert pair.server.in_flight == 0
        self._check(events)
        return Counter(type(event).__name__ for event in events)

    def _check(self, events: list[object]) -> None:
        ends = [number for number, event in enumerate(events) if isinstance(event, Close)]
        assert len(ends) <= 1
        for number, event in enumerate(events):
            match event:
                case Send(7, data):
                    assert not ends or number < ends[0]         # mute after a Close
                    self._read(data)
                case Close(7, reason, is_peers_fault):
                    assert reason and is_peers_fault
                case _:
                    assert isinstance(event, FOR_THE_WORKER) and event.conn_id == 7

    def _read(self, data: bytes) -> None:
        """Whatever was asked, the answer is made of whole messages of the pool."""
        for frame in FrameReader(WARP.max_payload).feed(self.pair.miner._transport.open(data, 0.0)):
            assert WARP.decode(Subprotocol.MINING, frame) is not None


class Neighbour:
    """An honest miner whose every share is accepted."""

    def __init__(self, pair: Pair, job: Job) -> None:
        self.pair = pair
        pair.talk()
        pair.offer(job)
        pair.miner.send(pair.miner.session.open_extended("honest", 0.0, MAX_TARGET, 4))
        *_, ready = pair.talk()
        self.work: Work = ready.work
        self.nonces: Iterator[int] = iter(range(1 << 32))

    def mine(self) -> None:
        work, pair = self.work, self.pair
        extranonce, network = bytes(work.extranonce_size), target_from_nbits(work.nbits)
        nonce = next(nonce for nonce in self.nonces
                     if weigh(work.header(extranonce, work.version, work.min_ntime, nonce), network).is_block)
        pair.miner.send(pair.miner.session.submit(work, extranonce, work.version, work.min_ntime, nonce))
        assert pair.talk() == []
        pair.judge()
        (answer,) = pair.record()
        assert isinstance(answer, SharesAccepted) and answer.news == 1
        pair.events.clear()


def test_sessions() -> None:
    dice = random.Random(5)
    context = make_context()
    (job,) = make_jobs(1, nbits=EASY_NBITS)
    neighbour = Neighbour(Pair(context), job)
    madmen = 0
    seen: Counter[str] = Counter()
    madman: Madman | None = None
    for number in range(INPUTS):
        if madman is None:
            madman, madmen = Madman(dice, Pair(context), job), madmen + 1
        came = madman.speak()
        seen += came
        if came["Close"]:
            madman.pair.server.closed(madman.pair.now)
            madman = None
        if number % 50 == 0:
            neighbour.mine()
    assert madmen > 1000
    assert min(seen[name] for name in ("Send", "Close", "BlockFound", "ShareRefused", "ShareSubmitted")) > 1000

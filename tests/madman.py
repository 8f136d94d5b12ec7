"""Miners in memory for the tests of garbage: one whose frames suffer accidents, and an honest one beside him."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from tests.garbage import EDGES, mutated, pieces
from tests.mining.makers import make_counters, make_factory, make_template, make_tip
from tests.over import Over
from tests.sv2.pairs import MAX_TARGET, POLICY, START, Pair
from warppool.bitcoin.target import target_from_nbits
from warppool.events import (
    BlockFound,
    Close,
    Event,
    Happened,
    Holds,
    Send,
    ShareAccepted,
    ShareRefused,
    ShareSubmitted,
)
from warppool.mining.extranonce import PrefixPool
from warppool.mining.job import Job
from warppool.mining.share import weigh
from warppool.sv2.client import ClientEvent, MiningClientSession, SharesAccepted, WorkReady
from warppool.sv2.connection import ServerConnection
from warppool.sv2.dialled import ClientFrames
from warppool.sv2.frame import HEADER_SIZE, FrameReader
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages.mining import CloseChannel, SetTarget, UpdateChannel
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.server import Context
from warppool.sv2.types import Message
from warppool.sv2.work import Work
from warppool.transport import PLAIN

FOR_THE_WORKER = (BlockFound, ShareAccepted, ShareRefused, ShareSubmitted, Happened, Holds)


def plain_context(profile: Profile) -> Context:
    """What the server connections of a test share."""
    return Context(profile, POLICY, PrefixPool(0, 0, 1), make_counters())


def plain_jobs(profile: Profile, *tips: int, nbits: int) -> list[Job]:
    """One job a tip number, of one factory."""
    factory = make_factory({profile.name: lambda job: EncodedJob(profile, job)})
    return [factory.make(make_template(make_tip(tip, nbits), template_id=n + 1), now=START.unix)
            for n, tip in enumerate(tips)]


class PlainMiner:
    """The face of a `DialledConnection` whose bytes nobody seals."""

    def __init__(self, profile: Profile, flags: int) -> None:
        self._profile = profile
        self._frames = ClientFrames(profile)
        self.session = self._frames.session
        self._unsent = profile.encode(MiningClientSession.setup(
            host="pool.test", port=34254, vendor="test", firmware="1", flags=flags))

    def receive(self, data: bytes) -> list[ClientEvent]:
        return list(self._frames.hear(data))

    def send(self, *messages: Message) -> None:
        self._unsent += b"".join(map(self._profile.encode, messages))

    def outgoing(self) -> bytes:
        unsent, self._unsent = self._unsent, b""
        return unsent

    def seal(self, plaintext: bytes) -> bytes:
        """The bytes as they go on the wire, however broken they are."""
        return plaintext

    def unseal(self, data: bytes) -> bytes:
        return data


class PlainPair(Pair):
    """A `Pair` of any dialect whose bytes nobody seals, so that frames may be broken in every way."""

    def __init__(self, context: Context, flags: int = 0) -> None:
        self.server = Over(PLAIN, ServerConnection(7, context, idle_timeout_s=600.0, now=START))
        self.miner = PlainMiner(context.profile, flags)         # type: ignore[assignment]
        self.now = START
        self.events: list[Event] = []
        self.heard: list[ClientEvent] = []


class Madman:
    """A miner whose frames suffer accidents, with an honest connection beside it on the same worker."""

    def __init__(self, dice: random.Random, profile: Profile, pair: Pair, job: Job) -> None:
        self.dice = dice
        self.profile = profile
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
        frames = [self.profile.encode(self._message()) for _ in range(self.dice.randint(1, 3))]
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
        wire = self._seal(self.plaintext())
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

    def _seal(self, plaintext: bytes) -> bytes:
        miner = self.pair.miner
        return miner.seal(plaintext) if isinstance(miner, PlainMiner) else miner._transport.seal(plaintext)

    def _read(self, data: bytes) -> None:
        """Whatever was asked, the answer is made of whole messages of the pool."""
        miner = self.pair.miner
        plaintext = miner.unseal(data) if isinstance(miner, PlainMiner) else miner._transport.open(data, 0.0)
        for frame in FrameReader(self.profile.max_payload).feed(plaintext):
            assert self.profile.decode(Subprotocol.MINING, frame) is not None


class Neighbour:
    """An honest miner whose every share is accepted."""

    def __init__(self, pair: Pair, job: Job) -> None:
        self.pair = pair
        pair.talk()
        pair.offer(job)
        pair.miner.send(pair.miner.session.open_extended("honest", 0.0, MAX_TARGET, 4))
        *_, ready = pair.talk()
        assert isinstance(ready, WorkReady)
        self.work = ready.work
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

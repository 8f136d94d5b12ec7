"""Ten thousand mutated inputs to both ends of a template connection in each dialect: refusal or nothing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from tests.garbage import EDGES, mutated, pieces
from tests.mining.makers import EASY_NBITS
from tests.sv2.profiles import EACH_PROFILE
from tests.sv2.templatepairs import RULES, SETUP, SMALL, START, Client, Jobs, Node, easy_template, make_serving, solve
from warppool.bitcoin.coinbase import commitment_output, height_push, witness_commitment
from warppool.bitcoin.target import target_from_nbits
from warppool.errors import RemoteProtocolError
from warppool.events import BlockFound, Close, Happened, Holds, Now, Send
from warppool.sv2.frame import HEADER_SIZE, encode_frame
from warppool.sv2.messages.common import SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.templateclient import MAX_FUTURE, TemplateClientSession, TemplateGiven
from warppool.sv2.templatelink import TemplateLink
from warppool.sv2.types import Message
from warppool.transport import PLAIN

INPUTS = {WARP: 2_000, SPEC: 10_000}
NOW = Now(1_000.0, 1_700_000_000.0)
HEIGHT = 150


def spoiled(dice: random.Random, profile: Profile, message: Message) -> bytes:
    """A frame that suffered an accident, or none."""
    frame = profile.encode(message)
    kind = dice.random()
    if kind < 0.02:
        return encode_frame(dice.randrange(256), dice.randbytes(dice.randrange(60)), dice.getrandbits(16))
    if kind < 0.1:
        return mutated(dice, frame)
    if kind < 0.25 and len(frame) > HEADER_SIZE:            # the length holds, a field does not
        at = dice.randrange(HEADER_SIZE, len(frame))
        return frame[:at] + bytes([dice.choice(EDGES)]) + frame[at + 1:]
    return frame


class MadProvider:
    """Says anything to a pool, most of it right."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.next_id = 1
        self.tip = 0

    def template(self, *, is_future: bool) -> NewTemplate:
        dice = self.dice
        template_id, self.next_id = self.next_id, self.next_id + dice.choice((1, 1, 1, 0, 5))
        given = NewTemplate(template_id, is_future, 0x20000000, 2, height_push(HEIGHT), 0xFFFFFFFE, 2_500_000_000, 1,
                            commitment_output(witness_commitment([])), HEIGHT - 1, (b"\x11" * 32,) * dice.randrange(3))
        match dice.randrange(24):
            case 0:
                return replace(given, merkle_path=(bytes(32),) * dice.choice((15, 16, 255)))
            case 1:
                return replace(given, coinbase_prefix=dice.randbytes(dice.randrange(20)))
            case 2:
                return replace(given, coinbase_tx_outputs=dice.randbytes(dice.choice((0, 9, 47, 60_000))))
            case 3:
                return replace(given, coinbase_tx_outputs_count=dice.getrandbits(32))
            case 4:
                return replace(given, coinbase_tx_value_remaining=dice.getrandbits(64))
            case _:
                return given

    def messages(self) -> list[Message]:
        dice = self.dice
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                given = self.template(is_future=True)
                nbits = dice.choice((EASY_NBITS, EASY_NBITS, EASY_NBITS, 0, 0xFFFFFFFF, 0x17034219))
                target = dice.choice((target_from_nbits(EASY_NBITS), target_from_nbits(EASY_NBITS), 0, 1, 2**256 - 1))
                return [given, SetNewPrevHash(given.template_id, dice.randbytes(32),
                                              int(NOW.unix) + dice.choice((0, 0, 0, 7_300)), nbits,
                                              target.to_bytes(32, "little"))]
            case 4 | 5:
                return [self.template(is_future=False)]
            case 6:
                return [self.template(is_future=True) for _ in range(dice.randrange(1, 20))]
            case 7:
                return [RequestTransactionDataError(dice.choice((0, 1, 2)), dice.choice(("", "x" * 255)))]
            case 8:
                return [RequestTransactionDataSuccess(dice.choice((0, 1, 2)), b"", (dice.randbytes(60),))]
            case _:
                return [dice.choice((SetupConnectionSuccess(2, 0), SetupConnectionError(0, "no")))]


def pool(profile: Profile) -> TemplateLink:
    """The pool's end, set up, with a question open."""
    session = TemplateClientSession(CoinbaseOutputConstraints(31, 0), network="regtest", source="node-0")
    link = TemplateLink(profile, PLAIN, session,
                        session.setup(host="h", port=1, vendor="v", firmware="f"))
    assert list(link.receive(profile.encode(SetupConnectionSuccess(2, 0)), NOW)) == []
    link.ask_transactions(1)
    assert link.outgoing()
    return link


@EACH_PROFILE
def test_a_pool_refuses_what_a_mad_provider_says(profile):
    dice = random.Random(21)
    ends: Counter[str] = Counter()
    link = None
    for _ in range(INPUTS[profile]):
        if link is None:
            link, provider = pool(profile), MadProvider(dice)
        wire = b"".join(spoiled(dice, profile, message) for message in provider.messages())
        try:
            for part in pieces(dice, wire):
                for event in link.receive(part, NOW):
                    ends[type(event).__name__] += 1
                    if isinstance(event, TemplateGiven):
                        assert event.template.tip.height == HEIGHT and len(event.template.merkle_path) <= 15
        except RemoteProtocolError:
            ends["refused"] += 1
            link = None
            continue
        link.outgoing()
        assert len(link.session._future) <= MAX_FUTURE
        if link.pending and dice.random() < 0.5:            # it may wait for the rest for ever
            link = None
    assert min(ends[each] for each in ("refused", "TemplateGiven", "TransactionsGiven", "TransactionsRefused")) > 5


class MadClient(Client):
    """Asks and hands in anything, most of it right."""

    def __init__(self, dice, profile, context, job):
        super().__init__(profile, context)
        self.dice = dice
        self.served(job)
        self.new, self.prev = self.heard[-2:]
        self.start = 0

    def messages(self):
        dice, template_id = self.dice, self.new.template_id
        match dice.randrange(9):
            case 0 | 1:
                self.start += 10
                return [solve(self.new, self.prev, start=self.start)]
            case 2:
                return [solve(self.new, self.prev, is_good=False, start=self.start)]
            case 3:
                good = solve(self.new, self.prev, start=self.start)
                coinbase = bytearray(good.coinbase_tx)
                coinbase[dice.randrange(len(coinbase))] = dice.choice(EDGES)
                return [replace(good, coinbase_tx=bytes(coinbase))]
            case 4:
                return [SubmitSolution(dice.choice((0, template_id, template_id + 1)), 0x20000000, dice.getrandbits(32),
                                       dice.getrandbits(32), dice.randbytes(dice.choice((0, 4, 60, 200, 60_000))))]
            case 5 | 6:
                return [RequestTransactionData(dice.choice((0, template_id, template_id - 1, dice.getrandbits(63))))]
            case 7:
                size, sigops = dice.choice((0, 31, 2_000, 25_000, 0x40000001, 2**32 - 1)), dice.choice((0, 4, 65_535))
                return [CoinbaseOutputConstraints(size, sigops)]
            case _:
                return [dice.choice((SETUP, SMALL, SetupConnectionSuccess(2, 0)))]


@EACH_PROFILE
def test_a_provider_refuses_what_a_mad_client_says(profile):
    dice = random.Random(22)
    context = make_serving(Node(), RULES, 4)
    job = Jobs()(easy_template(transactions=(b"\x01" * 60,) * 3))
    neighbour = Client(profile, context, 8)
    neighbour.served(job)
    seen: Counter[str] = Counter()
    client = None
    for number in range(INPUTS[profile]):
        client = client or MadClient(dice, profile, context, job)
        wire = b"".join(spoiled(dice, profile, message) for message in client.messages())
        before = len(client.events)
        for part in pieces(dice, wire):
            client.say_bytes(part)
        for event in client.events[before:]:
            assert isinstance(event, Send | Close | BlockFound | Happened | Holds)
            seen[type(event).__name__] += 1
        if client.close is not None or (client.connection.backlog and dice.random() < 0.5) or number % 40 == 39:
            client.connection.closed(client.now)
            client = None
            assert context.clients == 1
    assert min(seen[each] for each in ("Send", "Close", "BlockFound", "Happened", "Holds")) > 5
    assert neighbour.close is None and neighbour.say(RequestTransactionData(0))
    assert neighbour.now == START

"""Ten thousand mutated inputs to both ends of a template connection in each dialect: refusal or nothing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from tests.garbage import EDGES, mutated, pieces
from tests.mining.makers import EASY_NBITS
from warppool.bitcoin.coinbase import commitment_output, height_push, witness_commitment
from warppool.bitcoin.target import target_from_nbits
from warppool.errors import RemoteProtocolError
from warppool.events import Now
from warppool.sv2.frame import HEADER_SIZE, encode_frame
from warppool.sv2.messages.common import SetupConnectionError, SetupConnectionSuccess
from warppool.sv2.messages.template import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from warppool.sv2.profile import SPEC, WARP, Profile
from warppool.sv2.templateclient import MAX_FUTURE, TemplateClientSession, TemplateGiven
from warppool.sv2.templatelink import TemplateLink
from warppool.sv2.types import Message
from warppool.transport import PLAIN

INPUTS = 10_000
NOW = Now(1_000.0, 1_700_000_000.0)
HEIGHT = 150
PROFILES = pytest.mark.parametrize("profile", [WARP, SPEC], ids=["warp", "spec"])


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


@PROFILES
def test_a_pool_refuses_what_a_mad_provider_says(profile):
    dice = random.Random(21)
    ends: Counter[str] = Counter()
    link = None
    for _ in range(INPUTS):
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
    assert min(ends[each] for each in ("refused", "TemplateGiven", "TransactionsGiven", "TransactionsRefused")) > 50

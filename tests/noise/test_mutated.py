"""Ten thousand mutated certificates, handshakes and records on each side of the published profile: refusal or nothing.

The dice are seeded: what fails once fails always.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

import pytest

from tests.garbage import mutated, pieces
from tests.noise.specends import (
    AUTHORITY,
    CERTIFICATE,
    NOW,
    STATIC,
    Transport,
    frame,
    miner,
    opened,
    server,
    shaken,
)
from warppool.errors import BadRecord, HandshakeFailed
from warppool.noise.certificate import check_server
from warppool.noise.cipherstate import CipherState

pytestmark = pytest.mark.slow

COUNT = 10_000


def accidents(seed: int, data: bytes) -> Iterator[tuple[random.Random, bytes]]:
    """So many inputs that are not `data`."""
    dice = random.Random(seed)
    left = COUNT
    while left:
        bad = mutated(dice, data)
        if bad != data:
            left -= 1
            yield dice, bad


def feed(transport: Transport, dice: random.Random, data: bytes) -> bytes:
    """The plaintext of `data`, which comes in pieces."""
    return b"".join(transport.open(piece, 0.0) for piece in pieces(dice, data) if piece)


def test_no_mutated_certificate_vouches_for_a_server() -> None:
    for _, payload in accidents(1, CERTIFICATE.encode()):
        with pytest.raises(HandshakeFailed):
            check_server(STATIC.public, payload, AUTHORITY, NOW)


def test_no_mutated_key_has_the_certificate_of_a_server() -> None:
    """By chance another encoding of the same key could come out: once in 2^256 times."""
    payload, dice = CERTIFICATE.encode(), random.Random(2)
    for _ in range(COUNT // 4):
        static = bytearray(STATIC.public)
        static[dice.randrange(64)] ^= dice.randrange(1, 256)
        with pytest.raises(HandshakeFailed):
            check_server(bytes(static), payload, AUTHORITY, NOW)


def test_no_mutated_act_two_establishes_a_miner() -> None:
    responder = server()
    opened(responder, miner().seal(b""))
    act_two = responder.seal(b"")
    for dice, message in accidents(3, act_two):
        if message[:len(act_two)] == act_two:               # whole, and something follows it: a record
            continue
        initiator = miner()
        initiator.seal(b"")
        assert feed(initiator, dice, message) == b""
        assert not initiator.is_established and initiator.seal(frame(b"secret")) == b""
        if len(message) >= len(act_two):
            assert initiator.end is not None and isinstance(initiator.end.error, HandshakeFailed)
        else:
            assert initiator.end is None and initiator.pending == len(message)


def test_no_mutated_act_one_gives_a_pool_one_byte_of_plaintext() -> None:
    """Any 64 bytes are answered. What follows them from whoever did not make them opens with no key."""
    initiator = miner()
    act_one = initiator.seal(b"")
    first = shaken()[0].seal(frame(b"SetupConnection"))
    for dice, message in accidents(4, act_one):
        if message[:len(act_one)] == act_one:
            continue
        responder = server()
        assert feed(responder, dice, message + first) == b""
        assert (responder.end is None or isinstance(responder.end.error, BadRecord)), responder.end
        assert len(responder.seal(b"")) in (0, 234)


@pytest.mark.parametrize("sender", [0, 1], ids=["miner to pool", "pool to miner"])
def test_mutated_records_give_a_beginning_of_what_was_sent_and_then_nothing(sender: int) -> None:
    ends = shaken()
    sending, receiving = ends[sender], ends[1 - sender]
    frames = [frame(b"one" * 9), frame(b""), frame(b"two" * 30), frame(b"three")]
    wire, plain = sending.seal(b"".join(frames)), b"".join(frames)
    assert receiving._receive is not None
    key, ends_seen = receiving._receive.k, 0
    for dice, data in accidents(5 + sender, wire):
        transport = copy.copy(receiving)
        transport._receive = CipherState(key)
        heard = feed(transport, dice, data)
        assert plain.startswith(heard)
        if transport.end is not None:                       # else it waits for the rest of a record
            assert isinstance(transport.end.error, BadRecord)
            assert transport.open(wire, 0.0) == b"" and transport.pending == 0
            ends_seen += 1
    assert ends_seen > COUNT // 2

"""Live sessions with the `noiseprotocol` package, which shares no line and no cipher library with ours."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import noise
import pytest
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseInvalidMessage

from tests.noise.ends import (
    BUFFER,
    MINER_EPHEMERAL,
    SERVER_EPHEMERAL,
    SERVER_PUBLIC,
    SERVER_SECRET,
    WARP,
    empty,
    miner,
    opened,
    record,
    server,
)
from warppool.errors import BadRecord, HandshakeFailed
from warppool.noise.symmetricstate import WARP_SUITE
from warppool.noise.transport import InitiatorTransport, ResponderTransport

SIZES = [0, 1, 15, 16, 17, 50, 1_000, 65_519]


def test_noise_is_the_installed_package_and_not_these_tests() -> None:
    assert noise.__file__ is not None
    assert Path(__file__).parent not in Path(noise.__file__).parents
    assert __name__ == "tests.noise.test_noiseprotocol"


def messages(wire: bytes) -> Iterator[bytes]:
    """The Noise messages of whole records."""
    while wire:
        end = 2 + int.from_bytes(wire[:2], "little")
        assert end <= len(wire)
        yield wire[2:end]
        wire = wire[end:]


def peer(*, initiator: bool, ephemeral: bytes | None = None) -> NoiseConnection:
    """Their end; with an ephemeral key of our choice, as only vectors need, it warns."""
    connection = NoiseConnection.from_name(WARP_SUITE.name)
    if initiator:
        connection.set_as_initiator()
    else:
        connection.set_as_responder()
        connection.set_keypair_from_private_bytes(Keypair.STATIC, SERVER_SECRET)
    if ephemeral is not None:
        connection.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of ephemeral keypairs is already set", UserWarning)
        connection.start_handshake()
    return connection


def with_their_miner() -> tuple[ResponderTransport, NoiseConnection]:
    ours = ResponderTransport(WARP_SUITE, WARP_SUITE.key_pair(SERVER_SECRET), os.urandom(32), BUFFER, 0.0)
    theirs = peer(initiator=True)
    assert opened(ours, record(bytes(theirs.write_message()))) == b""
    [act_two] = messages(ours.seal(b""))
    assert theirs.read_message(act_two) == b""
    return ours, theirs


def with_their_server() -> tuple[InitiatorTransport, NoiseConnection]:
    ours = InitiatorTransport(WARP_SUITE, SERVER_PUBLIC, os.urandom(32), BUFFER)
    theirs = peer(initiator=False)
    [act_one] = messages(ours.seal(b""))
    assert theirs.read_message(act_one) == b""
    assert opened(ours, record(bytes(theirs.write_message()))) == b""
    return ours, theirs


both = pytest.mark.parametrize("meet", [with_their_miner, with_their_server])


@both
def test_a_live_session_carries_traffic_both_ways(
    meet: Callable[[], tuple[ResponderTransport | InitiatorTransport, NoiseConnection]],
) -> None:
    ours, theirs = meet()
    assert theirs.handshake_finished
    assert ours.is_established
    for size in SIZES * 3:
        there, back = os.urandom(size), os.urandom(size)
        [message] = messages(ours.seal(there) if there else empty(ours))
        assert bytes(theirs.decrypt(message)) == there
        assert opened(ours, record(bytes(theirs.encrypt(back)))) == back


@both
def test_a_long_plaintext_reaches_them_in_pieces(
    meet: Callable[[], tuple[ResponderTransport | InitiatorTransport, NoiseConnection]],
) -> None:
    ours, theirs = meet()
    plaintext = os.urandom(200_000)
    assert b"".join(bytes(theirs.decrypt(message)) for message in messages(ours.seal(plaintext))) == plaintext


@both
def test_each_side_refuses_what_was_changed_on_the_way(
    meet: Callable[[], tuple[ResponderTransport | InitiatorTransport, NoiseConnection]],
) -> None:
    ours, theirs = meet()
    [message] = messages(ours.seal(b"a share"))
    with pytest.raises(NoiseInvalidMessage):
        theirs.decrypt(message[:-1] + bytes([message[-1] ^ 1]))
    message = bytes(theirs.encrypt(b"a job"))
    with pytest.raises(BadRecord):
        opened(ours, record(message[:-1] + bytes([message[-1] ^ 1])))


def test_a_server_of_theirs_with_another_key_is_refused() -> None:
    ours = InitiatorTransport(WARP_SUITE, bytes(32), os.urandom(32), BUFFER)
    theirs = peer(initiator=False)
    [act_one] = messages(ours.seal(b""))
    theirs.read_message(act_one)
    with pytest.raises(HandshakeFailed, match=f"expected {'00' * 32}, got {SERVER_PUBLIC.hex()}"):
        opened(ours, record(bytes(theirs.write_message())))


def test_the_vector_is_what_they_would_send_too() -> None:
    their_miner, our_server = peer(initiator=True, ephemeral=MINER_EPHEMERAL), server()
    assert bytes(their_miner.write_message()) == WARP["act1"]
    assert opened(our_server, record(WARP["act1"])) == b""
    their_miner.read_message(next(messages(our_server.seal(b""))))
    assert their_miner.get_handshake_hash() == WARP["h_final"]
    their_server, our_miner = peer(initiator=False, ephemeral=SERVER_EPHEMERAL), miner()
    their_server.read_message(next(messages(our_miner.seal(b""))))
    assert bytes(their_server.write_message()) == WARP["act2"]
    assert their_server.get_handshake_hash() == WARP["h_final"]

"""Records of the published profile: the handshake without lengths, headers and pieces, cuts, ends, foreign bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noise import ends as warp
from tests.noise.ends import BUFFER
from tests.noise.specends import (
    MINER_EPHEMERAL,
    SPEC,
    STATIC,
    Transport,
    frame,
    miner,
    opened,
    server,
    shaken,
)
from tests.noise.test_secp256k1 import BIP324
from tests.noise.test_transport import reachable
from warppool.errors import BadFrame, BadRecord, HandshakeFailed, LocalProtocolError, RemoteProtocolError
from warppool.noise import cipherstate, published
from warppool.noise.cipherstate import RESERVED_NONCE, CipherState
from warppool.noise.handshakestate import HandshakeState
from warppool.noise.primitives import PUBLIC
from warppool.noise.published import HEADER_LEN, PublishedInitiator, PublishedResponder
from warppool.noise.shaking import HANDSHAKE_DEADLINE_S, NoiseTransport
from warppool.sv2 import frame as sv2frame
from warppool.transport import TransportEnd


@pytest.fixture(params=["miner to pool", "pool to miner"])
def ends(request: pytest.FixtureRequest) -> tuple[Transport, Transport]:
    """A sending and a receiving transport, once in each direction."""
    initiator, responder = shaken()
    return (initiator, responder) if request.param == "miner to pool" else (responder, initiator)


def drain(transport: NoiseTransport, data: bytes) -> tuple[bytes, RemoteProtocolError | None]:
    """What `data` gives, and what ends it."""
    plaintext, end = transport.open(data, 0.0), transport.end
    if end is None:
        return plaintext, None
    assert end.is_peers_fault and transport.has_news
    return plaintext, end.error


# The handshake on the wire

def test_both_acts_go_without_a_length_before_them() -> None:
    initiator, responder = miner(), server()
    act_one = initiator.seal(b"")
    assert len(act_one) == 64
    assert (initiator.is_established, responder.seal(b"")) == (False, b"")
    assert opened(responder, act_one) == b""
    act_two = responder.seal(b"")
    assert len(act_two) == 234
    assert opened(initiator, act_two) == b""
    assert initiator.is_established and responder.is_established
    assert (initiator.seal(b""), responder.seal(b"")) == (b"", b"")
    assert (initiator.pending, responder.pending) == (0, 0)
    assert (initiator.peer_key, responder.peer_key) == (STATIC.public, None)


@pytest.mark.parametrize("cut", [0, 1, 2, 31, 32, 33, 63, 64])
def test_act_one_does_not_depend_on_where_tcp_cuts_it(cut: int) -> None:
    wire, responder = miner().seal(b""), server()
    assert opened(responder, wire[:cut]) == b"" if cut else True
    assert responder.is_established == (cut == 64)
    assert opened(responder, wire[cut:]) == b"" if cut < 64 else True
    assert len(responder.seal(b"")) == 234


def test_the_handshake_has_a_deadline_at_the_pool() -> None:
    assert miner().wakes_at == math.inf
    responder = server()
    assert responder.wakes_at == HANDSHAKE_DEADLINE_S
    assert opened(responder, bytes(63)) == b""
    responder.tick(10.0)
    assert responder.end == TransportEnd("no handshake within 10 s") and responder.wakes_at == math.inf
    assert responder.open(b"\0", 10.0) == b"" and responder.seal(b"") == b""


def test_nothing_is_sealed_before_the_handshake_is_done() -> None:
    initiator, responder = miner(), server()
    assert responder.seal(frame(b"early")) == b""
    act_one = initiator.seal(frame(b"from the miner"))
    assert len(act_one) == 64
    assert opened(responder, act_one) == b"" and responder.has_news
    assert opened(initiator, responder.seal(frame(b"now"))) == frame(b"early") + frame(b"now") and initiator.has_news
    assert opened(responder, initiator.seal(b"")) == frame(b"from the miner")


@pytest.mark.parametrize("at", range(234))
def test_any_changed_byte_of_act_two_ends_the_miners_side(at: int) -> None:
    initiator, responder = miner(), server()
    opened(responder, initiator.seal(b""))
    act_two = bytearray(responder.seal(b""))
    act_two[at] ^= 1
    with pytest.raises(HandshakeFailed):
        opened(initiator, bytes(act_two))
    assert not initiator.is_established
    initiator.seal(b"")
    assert initiator.seal(frame(b"secret of the miner")) == b"" == initiator.seal(b"")


def test_the_handshake_is_dropped_when_it_is_done_and_when_it_has_failed() -> None:
    waiting, failed = miner(), miner()
    assert any(isinstance(held, HandshakeState) for held in reachable(waiting))
    drain(failed, bytes(234))
    assert isinstance(failed.end.error if failed.end else None, HandshakeFailed)
    for transport in (*shaken(), failed):
        assert not any(isinstance(held, HandshakeState) for held in reachable(transport))
        assert MINER_EPHEMERAL not in reachable(transport)


# Records

@pytest.mark.parametrize(("size", "sealed"), [
    (0, 22),
    (1, 22 + 17),
    (24, 22 + 40),
    (65_519, 22 + 65_535),
    (65_520, 22 + 65_552),
    (131_038, 22 + 131_070),
    (1_048_576, 22 + 1_048_848),
])
def test_a_frame_goes_as_a_sealed_header_and_pieces_of_its_payload(
    ends: tuple[Transport, Transport], size: int, sealed: int
) -> None:
    sender, receiver = ends
    plain = frame(bytes(range(256)) * (size // 256) + bytes(size % 256))
    wire = sender.seal(plain)
    assert len(wire) == sealed
    assert opened(receiver, wire) == plain
    assert receiver.pending == 0


def test_the_longest_frame_of_the_wire_goes_through() -> None:
    sender, receiver = shaken()
    plain = frame(bytes(2**24 - 1))
    wire = sender.seal(plain)
    assert len(wire) == 22 + 16_781_327
    assert b"".join(opened(receiver, wire[at:at + 1_000_000]) for at in range(0, len(wire), 1_000_000)) == plain


def test_the_first_frame_is_that_of_the_vector() -> None:
    sender, receiver = shaken()
    for transport, name in ((sender, "_send"), (receiver, "_receive")):
        setattr(transport, name, CipherState(SPEC["k1_initiator_to_responder"]))
    assert sender.seal(SPEC["first_client_frame_plain"]) == SPEC["first_client_frame_encrypted"]
    assert opened(receiver, SPEC["first_client_frame_encrypted"]) == SPEC["first_client_frame_plain"]


def test_the_header_is_that_of_the_frames() -> None:
    assert HEADER_LEN == sv2frame.HEADER_SIZE


@pytest.mark.parametrize("plain", [b"\0", frame(b"whole") + b"\0\0\0\0\0", frame(b"cut")[:-1], frame(b"")[:-1]])
def test_what_is_no_whole_frame_is_not_sealed(ends: tuple[Transport, Transport], plain: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="to be sealed"):
        ends[0].seal(plain)


def test_a_header_comes_out_before_its_payload(ends: tuple[Transport, Transport]) -> None:
    """So that a length over the cap is refused before anything of it is held."""
    sender, receiver = ends
    plain = frame(bytes(70_000))
    wire = sender.seal(plain)
    assert opened(receiver, wire[:22]) == plain[:6]
    assert opened(receiver, wire[22:22 + 65_534]) == b"" and receiver.pending == 65_534
    assert opened(receiver, wire[22 + 65_534:22 + 65_535]) == plain[6:6 + 65_519] and receiver.pending == 0
    assert opened(receiver, wire[22 + 65_535:]) == plain[6 + 65_519:]


@pytest.mark.parametrize("size", [4_097, 65_520, 2**24 - 1])
def test_a_length_over_the_cap_is_refused_on_its_header_alone(ends: tuple[Transport, Transport], size: int) -> None:
    """No length in a header is impossible by itself. The cap of the session's phase decides, before a payload comes."""
    sender, receiver = ends
    assert sender._send is not None
    header = sender._send.encrypt_with_ad(b"", frame(b"")[:3] + size.to_bytes(3, "little"), BUFFER)
    reader = sv2frame.FrameReader(4_096)
    with pytest.raises(BadFrame):
        list(reader.feed(opened(receiver, header)))
    assert receiver.pending == 0


def test_records_do_not_depend_on_where_tcp_cuts_them() -> None:
    initiator, responder = miner(), server()
    opened(responder, initiator.seal(b""))
    plain = frame(b"a") + frame(b"") + frame(b"bc" * 30) + frame(b"d")
    wire = responder.seal(plain)
    for cut in range(1, len(wire)):
        initiator = miner()
        initiator.seal(b"")
        assert opened(initiator, wire[:cut]) + opened(initiator, wire[cut:]) == plain
        assert initiator.pending == 0
    initiator = miner()
    assert b"".join(opened(initiator, wire[i:i + 1]) for i in range(len(wire))) == plain


def test_frames_do_not_depend_on_where_tcp_cuts_them(ends: tuple[Transport, Transport]) -> None:
    """Established, in two reads with the cut at every byte; a frame without a payload is a header and nothing else."""
    sender, receiver = ends
    plain = frame(b"") + frame(b"a") + frame(b"") + frame(b"") + frame(b"bc" * 30)
    for size in range(3 * 22 + 39 + 98):
        wire = sender.seal(plain)
        assert b"".join(opened(receiver, part) for part in (wire[:size], wire[size:]) if part) == plain
        assert receiver.pending == 0


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=100), max_size=8), st.data())
def test_any_frames_in_any_reads_come_out_as_they_went_in(payloads: list[bytes], data: st.DataObject) -> None:
    sender, receiver = shaken()
    wire = b"".join(sender.seal(frame(payload)) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    reads = [wire[begin:end] for begin, end in pairwise([0, *cuts, len(wire)]) if begin < end]
    assert b"".join(opened(receiver, read) for read in reads) == b"".join(map(frame, payloads))


def test_what_was_good_before_a_bad_record_is_delivered(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    good, bad, after = sender.seal(frame(b"good") + frame(b"")), bytearray(sender.seal(frame(b"bad"))), frame(b"after")
    bad[-1] ^= 0x80
    plaintext, error = drain(receiver, good + bytes(bad) + sender.seal(after))
    assert plaintext == frame(b"good") + frame(b"") + frame(b"bad")[:6]
    assert isinstance(error, BadRecord) and receiver.pending == 0
    assert opened(sender, receiver.seal(frame(b"recorded"))) == frame(b"recorded")


def test_records_cannot_be_replayed_swapped_left_out_or_reflected(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    first, second = sender.seal(frame(b"first")), sender.seal(frame(b"other"))
    assert isinstance(drain(sender, first)[1], BadRecord)
    plaintext, error = drain(receiver, first + first)
    assert plaintext == frame(b"first") and isinstance(error, BadRecord)
    for wire in (second + first, second, first[22:] + second, first[:22] + second[22:]):
        receiver = shaken()[0 if isinstance(sender, PublishedResponder) else 1]
        plaintext, error = drain(receiver, wire)
        assert plaintext in (b"", frame(b"first")[:6]) and isinstance(error, BadRecord)


@pytest.mark.parametrize("at", [0, 5, 6, 21, 22, 30, 71, 72, 87])
def test_any_changed_byte_of_a_record_is_refused(at: int) -> None:
    sender, receiver = shaken()
    wire = bytearray(sender.seal(frame(b"x" * 50)))
    wire[at] ^= 1
    assert isinstance(drain(receiver, bytes(wire))[1], BadRecord)


def test_the_public_binding_carries_a_session_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("seal", "open_sealed", "seal_all"):
        monkeypatch.setattr(cipherstate, name, getattr(PUBLIC, name))
    for name in ("open_into", "open_two"):
        monkeypatch.setattr(published, name, getattr(PUBLIC, name))
    sender, receiver = shaken(PUBLIC.new_buffer())
    plain = frame(b"one") + frame(bytes(70_000))
    assert opened(receiver, sender.seal(plain)) == plain
    assert opened(receiver, sender.seal(frame(b"alone"))) == frame(b"alone")


@pytest.mark.parametrize("size", [65_518 - 22, 65_519 - 22, 65_520 - 22, 65_519, 65_520])
def test_a_frame_alone_is_sealed_as_it_is_among_others(size: int) -> None:
    """In one call up to 65,497 bytes of payload, and in the same bytes."""
    (one, receiver), (other, _) = shaken(), shaken()
    assert one.seal(frame(bytes(size)) + frame(b"x"))[:-39] == (wire := other.seal(frame(bytes(size))))
    assert opened(receiver, wire) == frame(bytes(size))


def test_two_frames_without_a_payload_are_no_frame_with_one(ends: tuple[Transport, Transport]) -> None:
    """They have the length of a header and a payload of six bytes."""
    sender, receiver = ends
    both = sender.seal(frame(b"") + frame(b""))
    assert opened(receiver, both) == frame(b"") + frame(b"")
    assert opened(receiver, sender.seal(frame(b"after"))) == frame(b"after")


def test_a_payload_of_another_length_than_its_header_says_ends_the_transport() -> None:
    sender, receiver = shaken()
    assert sender._send is not None
    wire = sender._send.encrypt_all((frame(b"12345")[:6], b"1234"), BUFFER)
    assert isinstance(drain(receiver, wire + bytes(8))[1], BadRecord)


@pytest.mark.parametrize("left", [1, 2])
def test_the_nonces_end_in_both_directions(ends: tuple[Transport, Transport], left: int) -> None:
    """2^64-1 seals nothing and opens nothing, be it a header's turn or a payload's."""
    sender, receiver = ends
    assert sender._send is not None and receiver._receive is not None
    key = sender._send.k
    sender._send.n = receiver._receive.n = RESERVED_NONCE - left
    wire = sender.seal(frame(b"last")) if left == 2 else sender.seal(frame(b""))
    for more in (frame(b"one more"), frame(b"one") + frame(b"more"), frame(b"")):
        with pytest.raises(LocalProtocolError, match="no nonce"):
            sender.seal(more)
    reserved = PUBLIC.seal(key, bytes(4) + b"\xff" * 8, b"", frame(b""), BUFFER)
    plaintext, error = drain(receiver, wire + reserved)
    assert plaintext == (frame(b"last") if left == 2 else frame(b""))
    assert isinstance(error, BadRecord) and "last nonce" in str(error)


def test_a_frame_that_needs_two_nonces_is_not_sealed_with_one_left(ends: tuple[Transport, Transport]) -> None:
    sender, _ = ends
    assert sender.seal(frame(b"before")) and sender._send is not None
    sender._send.n = RESERVED_NONCE - 1
    with pytest.raises(LocalProtocolError, match="no nonce"):
        sender.seal(frame(b"header and payload"))
    assert sender._send.n == RESERVED_NONCE - 1


def test_a_pin_of_none_takes_any_server() -> None:
    initiator, responder = miner(authority=None), server(bytes(74))
    opened(responder, initiator.seal(b""))
    opened(initiator, responder.seal(b""))
    assert initiator.is_established and initiator.peer_key == STATIC.public


# Whatever bytes arrive

def established_server() -> PublishedResponder:
    return shaken()[1]


def established_miner() -> PublishedInitiator:
    return shaken()[0]


@pytest.mark.parametrize("make", [miner, server, established_miner, established_server])
@settings(max_examples=60)
@given(data=st.data())
def test_garbage_is_refused_or_awaited_and_nothing_else(make: Callable[[], Transport], data: st.DataObject) -> None:
    transport = make()
    with suppress(RemoteProtocolError):
        for piece in data.draw(st.lists(st.binary(min_size=1, max_size=240), max_size=4)):
            assert opened(transport, piece) == b""


def test_each_suite_refuses_the_bytes_of_the_other() -> None:
    """Handshakes and records, in both directions; nothing of them becomes plaintext, and nothing is answered with one.

    A spec server cannot refuse a foreign act one: any 64 bytes are a key. It answers with an act two that means
    nothing to the other side.
    """
    warp_miner, warp_server, spec_miner, spec_server = warp.miner(), warp.server(), miner(), server()
    assert isinstance(drain(warp_server, spec_miner.seal(b""))[1], HandshakeFailed)
    assert drain(spec_server, warp_miner.seal(b"")) == (b"", None) and not spec_server.is_established
    assert drain(spec_server, bytes(30)) == (b"", None) and spec_server.is_established
    assert isinstance(drain(warp_miner, spec_server.seal(b""))[1], HandshakeFailed)
    warp_server = warp.server()
    warp.opened(warp_server, warp.miner().seal(b""))
    assert drain(spec_miner, warp_server.seal(b"")) == (b"", None) and not spec_miner.is_established
    assert isinstance(drain(spec_miner, bytes(234))[1], HandshakeFailed)
    for sender, receiver in ((warp.shaken()[0], shaken()[1]), (warp.shaken()[1], shaken()[0]),
                             (shaken()[0], warp.shaken()[1]), (shaken()[1], warp.shaken()[0])):
        wire = sender.seal(frame(bytes(70_000)))
        plaintext, error = drain(receiver, wire)
        assert plaintext == b"" and isinstance(error, BadRecord)


def test_any_64_bytes_are_an_act_one_and_are_answered() -> None:
    """Every 64 bytes are an EllSwift key: those of BIP324's vectors, of which most are not canonical, among them."""
    for act_one in (*(bytes.fromhex(encoding) for encoding, _, _ in BIP324["decode"]), b"\xff" * 64):
        responder = server()
        assert opened(responder, act_one) == b"" and len(responder.seal(b"")) == 234

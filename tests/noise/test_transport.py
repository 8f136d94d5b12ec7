"""Records: lengths, cuts, pieces, ends; what comes before a bad record; what an established transport weighs."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from types import FunctionType, ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noise.ends import BUFFER, MINER_EPHEMERAL, SERVER_PUBLIC, WARP, empty, miner, opened, record, server, shaken
from warppool.errors import BadRecord, HandshakeFailed, LocalProtocolError, RemoteProtocolError
from warppool.noise import cipherstate
from warppool.noise.cipherstate import RESERVED_NONCE
from warppool.noise.handshakestate import HandshakeState
from warppool.noise.primitives import PUBLIC
from warppool.noise.symmetricstate import SymmetricState
from warppool.noise.transport import HANDSHAKE_DEADLINE_S, InitiatorTransport, ResponderTransport
from warppool.transport import TransportEnd

Transport = InitiatorTransport | ResponderTransport


@pytest.fixture(params=["miner to pool", "pool to miner"])
def ends(request: pytest.FixtureRequest) -> tuple[Transport, Transport]:
    """A sending and a receiving transport, once in each direction."""
    initiator, responder = shaken()
    return (initiator, responder) if request.param == "miner to pool" else (responder, initiator)


def lengths(wire: bytes) -> Iterator[int]:
    """The length of each record of `wire`."""
    at = 0
    while at < len(wire):
        length = int.from_bytes(wire[at : at + 2], "little")
        yield length
        at += 2 + length
    assert at == len(wire)


def drain(transport: Transport, data: bytes) -> tuple[bytes, RemoteProtocolError | None]:
    """What `data` gives, and what ends it."""
    plaintext, end = transport.open(data, 0.0), transport.end
    if end is None:
        return plaintext, None
    assert end.is_peers_fault and transport.has_news
    return plaintext, end.error


# The handshake on the wire

def test_both_acts_go_with_a_little_endian_length_before_them() -> None:
    initiator, responder = miner(), server()
    act_one = initiator.seal(b"")
    assert act_one == b"\x20\x00" + WARP["act1"]
    assert (initiator.is_established, responder.seal(b"")) == (False, b"")
    assert opened(responder, act_one) == b""
    act_two = responder.seal(b"")
    assert act_two == b"\x60\x00" + WARP["act2"]
    assert opened(initiator, act_two) == b""
    assert initiator.is_established
    assert responder.is_established
    assert (initiator.seal(b""), responder.seal(b"")) == (b"", b"")
    assert (initiator.pending, responder.pending) == (0, 0)


@pytest.mark.parametrize("cut", range(35))
def test_act_one_does_not_depend_on_where_tcp_cuts_it(cut: int) -> None:
    wire, responder = record(WARP["act1"]), server()
    assert opened(responder, wire[:cut]) == b""
    assert responder.is_established == (cut == 34)
    assert responder.pending == (0 if cut == 34 else cut)
    assert opened(responder, wire[cut:]) == b""
    assert responder.seal(b"") == record(WARP["act2"])


@pytest.mark.parametrize("length", [0, 1, 16, 31, 33, 64, 96, 65_535])
def test_a_first_record_of_another_length_is_refused_on_its_prefix(length: int) -> None:
    responder = server()
    with pytest.raises(HandshakeFailed, match=f"{length} bytes instead of 32"):
        opened(responder, length.to_bytes(2, "little"))
    assert not responder.is_established
    assert responder.seal(b"") == b""


@pytest.mark.parametrize("length", [0, 1, 16, 32, 95, 97, 234, 65_535])
def test_an_answer_of_another_length_is_refused_on_its_prefix(length: int) -> None:
    initiator = miner()
    with pytest.raises(HandshakeFailed, match=f"{length} bytes instead of 96"):
        opened(initiator, length.to_bytes(2, "little"))
    assert not initiator.is_established


def test_one_byte_of_a_prefix_is_awaited() -> None:
    for transport in (miner(), server(), *shaken()):
        assert opened(transport, b"\xff") == b""
        assert transport.pending == 1


@pytest.mark.parametrize("at", range(32))
def test_all_32_bytes_of_the_pinned_key_count(at: int) -> None:
    pinned = bytearray(SERVER_PUBLIC)
    pinned[at] ^= 1
    initiator = miner(server_public=bytes(pinned))
    with pytest.raises(HandshakeFailed, match=f"expected {pinned.hex()}, got {SERVER_PUBLIC.hex()}"):
        opened(initiator, record(WARP["act2"]))
    assert not initiator.is_established
    initiator.seal(b"")
    assert initiator.seal(b"secret of the miner") == initiator.seal(b"") == b""


@pytest.mark.parametrize("pinned", [b"", SERVER_PUBLIC[:31], SERVER_PUBLIC + b"\0"], ids=len)
def test_a_pinned_key_of_another_length_fits_no_server(pinned: bytes) -> None:
    with pytest.raises(HandshakeFailed, match="server key"):
        opened(miner(server_public=pinned), record(WARP["act2"]))


@pytest.mark.parametrize("bad", [bytes(32), b"\1" + bytes(31)])
def test_a_small_order_act_one_ends_the_transport(bad: bytes) -> None:
    responder = server()
    for data in (record(bad), record(WARP["act1"])):
        with pytest.raises(HandshakeFailed):
            opened(responder, data)
    assert (responder.is_established, responder.seal(b""), responder.pending) == (False, b"", 0)


def test_a_failed_handshake_stays_failed() -> None:
    initiator = miner()
    with pytest.raises(HandshakeFailed, match="failed tag"):
        opened(initiator, record(bytes(8) + WARP["act2"][8:]))
    with pytest.raises(HandshakeFailed, match="failed tag"):
        opened(initiator, record(WARP["act2"]))
    assert not initiator.is_established


def test_nothing_is_sealed_before_the_handshake_is_done() -> None:
    initiator, responder = miner(), server()
    assert responder.seal(b"too early, ") == responder.seal(b"and again") == b""
    act_one = initiator.seal(b"from the miner")
    assert act_one == b"\x20\x00" + WARP["act1"]
    assert opened(responder, act_one) == b"" and responder.has_news
    assert opened(initiator, responder.seal(b", and now")) == b"too early, and again, and now" and initiator.has_news
    assert opened(responder, initiator.seal(b"")) == b"from the miner"


def test_the_handshake_has_a_deadline_at_the_pool() -> None:
    assert miner().wakes_at == math.inf
    responder = server()
    assert responder.wakes_at == HANDSHAKE_DEADLINE_S
    assert opened(responder, b"\x20") == b""
    responder.tick(9.99)
    assert responder.end is None
    responder.tick(10.0)
    assert responder.end == TransportEnd("no handshake within 10 s") and responder.wakes_at == math.inf
    assert responder.open(record(WARP["act1"]), 10.0) == b"" and responder.seal(b"") == b""


def test_an_established_transport_wants_nothing_of_its_worker() -> None:
    initiator, responder = shaken()
    for sender, receiver in ((initiator, responder), (responder, initiator)):
        assert opened(receiver, sender.seal(b"x")) == b"x"
        assert (receiver.has_news, receiver.wakes_at) == (False, math.inf)
        assert receiver.end is None and receiver.recognised is None
        assert receiver.shut() == b""
    assert initiator.peer_key == SERVER_PUBLIC and responder.peer_key is None and miner().peer_key is None


# Records

@pytest.mark.parametrize(("size", "records"), [
    (0, []),
    (1, [17]),
    (65_519, [65_535]),
    (65_520, [65_535, 17]),
    (131_038, [65_535, 65_535]),
    (200_000, [65_535, 65_535, 65_535, 3_459]),
])
def test_a_plaintext_goes_in_records_of_at_most_65535_bytes(
    ends: tuple[Transport, Transport], size: int, records: list[int]
) -> None:
    sender, receiver = ends
    plaintext = bytes(range(256)) * (size // 256) + bytes(size % 256)
    wire = sender.seal(plaintext)
    assert list(lengths(wire)) == records
    assert receiver.open(wire, 0.0) == plaintext
    assert receiver.pending == 0


@pytest.mark.parametrize("length", range(16))
def test_a_record_too_short_for_a_tag_is_refused_on_its_prefix(ends: tuple[Transport, Transport], length: int) -> None:
    sender, receiver = ends
    plaintext, error = drain(receiver, sender.seal(b"good") + bytes([length, 0]))
    assert plaintext == b"good"
    assert isinstance(error, BadRecord)
    assert f"record of {length} bytes" in str(error)


def test_an_empty_record_is_legal_counts_and_yields_nothing(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    wire = empty(sender) + sender.seal(b"one") + empty(sender) + empty(sender) + sender.seal(b"two")
    assert list(lengths(wire)) == [16, 19, 16, 16, 19]
    assert opened(receiver, wire) == b"onetwo"


def test_the_longest_record_may_fail_its_tag_like_any_other(ends: tuple[Transport, Transport]) -> None:
    _, receiver = ends
    with pytest.raises(BadRecord, match="failed tag"):
        opened(receiver, record(bytes(65_535)))


def test_records_do_not_depend_on_where_tcp_cuts_them() -> None:
    """Act two and four records, an empty one among them, in two reads with the cut at every byte, and byte by byte."""
    initiator, responder = miner(), server()
    opened(responder, initiator.seal(b""))
    wire = responder.seal(b"") + b"".join(
        responder.seal(text) if text else empty(responder) for text in (b"a", b"", b"bc" * 30, b"d"))
    expected = b"a" + b"bc" * 30 + b"d"
    for cut in range(len(wire) + 1):
        initiator = miner()
        assert opened(initiator, wire[:cut]) + opened(initiator, wire[cut:]) == expected
        assert initiator.pending == 0
    initiator = miner()
    assert b"".join(opened(initiator, wire[i : i + 1]) for i in range(len(wire))) == expected


@given(st.lists(st.binary(max_size=100), max_size=8), st.data())
def test_any_stream_in_any_reads_comes_out_as_it_went_in(texts: list[bytes], data: st.DataObject) -> None:
    sender, receiver = shaken()
    wire = b"".join(sender.seal(text) if text else empty(sender) for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    reads = [wire[begin:end] for begin, end in pairwise([0, *cuts, len(wire)])]
    assert b"".join(opened(receiver, read) for read in reads) == b"".join(texts)


def test_what_was_good_before_a_bad_record_is_delivered(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    good, bad, after = sender.seal(b"good") + sender.seal(b"too"), bytearray(sender.seal(b"bad")), sender.seal(b"after")
    bad[-1] ^= 0x80
    plaintext, error = drain(receiver, good + bytes(bad) + after)
    assert plaintext == b"goodtoo"
    assert isinstance(error, BadRecord)
    assert receiver.pending == 0


def test_a_bad_record_is_the_end_of_what_comes_in_but_not_of_answers(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    assert isinstance(drain(receiver, record(bytes(20)))[1], BadRecord)
    plaintext, error = drain(receiver, sender.seal(b"good"))
    assert plaintext == b""
    assert isinstance(error, BadRecord)
    assert receiver.is_established
    assert opened(sender, receiver.seal(b"recorded")) == b"recorded"


def test_records_cannot_be_replayed_swapped_left_out_or_reflected(ends: tuple[Transport, Transport]) -> None:
    sender, _ = ends
    first, second = sender.seal(b"first"), sender.seal(b"second")
    for wire, expected in ((first + first, b"first"), (second + first, b""), (second, b"")):
        receiver = shaken()[0 if isinstance(sender, ResponderTransport) else 1]
        plaintext, error = drain(receiver, wire)
        assert plaintext == expected
        assert isinstance(error, BadRecord)
    assert isinstance(drain(sender, first)[1], BadRecord)


@pytest.mark.parametrize("at", range(2, 2 + 50 + 16))
def test_any_flipped_bit_of_a_record_is_refused(at: int) -> None:
    for bit in range(8):
        sender, receiver = shaken()
        wire = bytearray(sender.seal(b"x" * 50))
        wire[at] ^= 1 << bit
        assert isinstance(drain(receiver, bytes(wire))[1], BadRecord)


def test_the_nonces_end_in_both_directions(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    assert sender._send is not None
    assert receiver._receive is not None
    sender._send.n = receiver._receive.n = RESERVED_NONCE - 1
    last = sender.seal(b"last")
    with pytest.raises(LocalProtocolError, match="no nonce"):
        sender.seal(b"one more")
    reserved = PUBLIC.seal(sender._send.k, bytes(4) + b"\xff" * 8, b"", b"one more", BUFFER)
    plaintext, error = drain(receiver, last + record(reserved))
    assert plaintext == b"last"
    assert isinstance(error, BadRecord)
    assert "last nonce" in str(error)


def test_the_public_binding_carries_a_session_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipherstate, "seal", PUBLIC.seal)
    monkeypatch.setattr(cipherstate, "open_sealed", PUBLIC.open_sealed)
    sender, receiver = shaken(PUBLIC.new_buffer())
    plaintext, error = drain(receiver, sender.seal(bytes(70_000)) + record(bytes(20)))
    assert plaintext == bytes(70_000)
    assert isinstance(error, BadRecord)


# Whatever bytes arrive

def established_server() -> ResponderTransport:
    return shaken()[1]


def established_miner() -> InitiatorTransport:
    return shaken()[0]


@pytest.mark.parametrize("make", [miner, server, established_miner, established_server])
@settings(max_examples=300)
@given(data=st.data())
def test_garbage_is_refused_or_awaited_and_nothing_else(make: Callable[[], Transport], data: st.DataObject) -> None:
    transport = make()
    with suppress(RemoteProtocolError):
        for piece in data.draw(st.lists(st.binary(max_size=120), max_size=4)):
            assert opened(transport, piece) == b""


@pytest.mark.slow
@settings(max_examples=500)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.data())
def test_a_mutated_stream_delivers_a_prefix_of_what_was_sent(texts: list[bytes], data: st.DataObject) -> None:
    sender, receiver = shaken()
    wire = bytearray(b"".join(map(sender.seal, texts)))
    at = data.draw(st.integers(0, len(wire) - 1))
    match data.draw(st.sampled_from(["flip", "drop", "insert", "cut"])):
        case "flip":
            wire[at] ^= 1 << data.draw(st.integers(0, 7))
        case "drop":
            del wire[at]
        case "insert":
            wire.insert(at, data.draw(st.integers(0, 255)))
        case "cut":
            del wire[at:]
    plaintext, _ = drain(receiver, bytes(wire))
    assert plaintext in [b"".join(texts[:count]) for count in range(len(texts) + 1)]


# What a connection holds

def reachable(root: object) -> list[object]:
    """Every object of ours that `root` keeps alive."""
    seen, queue = {id(root): root}, [root]
    while queue:
        for held in gc.get_referents(queue.pop()):
            if id(held) not in seen and not isinstance(held, type | ModuleType | FunctionType):
                seen[id(held)] = held
                queue.append(held)
    return list(seen.values())


def test_the_handshake_is_dropped_when_it_is_done_and_when_it_has_failed() -> None:
    waiting = miner()
    assert any(isinstance(held, HandshakeState) for held in reachable(waiting))
    failed = server()
    drain(failed, record(bytes(32)))
    for transport in (*shaken(), failed):
        assert not any(isinstance(held, HandshakeState | SymmetricState) for held in reachable(transport))
        assert MINER_EPHEMERAL not in reachable(transport)


def test_what_has_been_opened_is_let_go(ends: tuple[Transport, Transport]) -> None:
    sender, receiver = ends
    wire = sender.seal(bytes(60_000)) + sender.seal(b"begun")
    assert len(opened(receiver, wire[:-1])) == 60_000
    assert sum(len(held) for held in reachable(receiver) if isinstance(held, bytes)) < 500
    assert opened(receiver, wire[-1:]) == b"begun"


@pytest.mark.parametrize("role", [0, 1], ids=["miner", "pool"])
def test_an_established_transport_weighs_well_below_a_kibibyte(role: int) -> None:
    count = 200
    shaken()                                                # whatever a first time costs
    transports: list[Transport] = []
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            transports.append(shaken()[role])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / count < 600
    assert not hasattr(transports[0], "__dict__")

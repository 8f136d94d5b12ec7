"""Two ends of a Noise session in memory, and the keys of the published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from warppool.noise.primitives import Buffer, new_buffer
from warppool.noise.symmetricstate import WARP_SUITE
from warppool.noise.transport import InitiatorTransport, ResponderTransport

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "vectors.json").read_text())
WARP = {name: text if name == "protocol_name" else bytes.fromhex(text) for name, text in VECTORS["noise_warp"].items()}

SERVER_SECRET = WARP["responder_static_secret"]
SERVER_PUBLIC = WARP["responder_static_public"]
MINER_EPHEMERAL = WARP["initiator_ephemeral_secret"]
SERVER_EPHEMERAL = WARP["responder_ephemeral_secret"]

BUFFER = new_buffer()


def record(message: bytes) -> bytes:
    """One record, written without the code under test."""
    return len(message).to_bytes(2, "little") + message


def miner(server_public: bytes = SERVER_PUBLIC, buffer: Buffer = BUFFER) -> InitiatorTransport:
    return InitiatorTransport(WARP_SUITE, server_public, MINER_EPHEMERAL, buffer)


def server(buffer: Buffer = BUFFER) -> ResponderTransport:
    return ResponderTransport(WARP_SUITE, WARP_SUITE.key_pair(SERVER_SECRET), SERVER_EPHEMERAL, buffer, 0.0)


def shaken(buffer: Buffer = BUFFER) -> tuple[InitiatorTransport, ResponderTransport]:
    """A miner's and a server's transport, established with each other."""
    initiator, responder = miner(buffer=buffer), server(buffer)
    assert opened(responder, initiator.seal(b"")) == b""
    assert opened(initiator, responder.seal(b"")) == b""
    return initiator, responder


def opened(transport: InitiatorTransport | ResponderTransport, data: bytes) -> bytes:
    """The plaintext that `data` completes; what ended the transport is raised."""
    plaintext = transport.open(data, 0.0)
    if transport.end is not None:
        assert transport.end.error is not None
        raise transport.end.error
    return plaintext


def empty(transport: InitiatorTransport | ResponderTransport) -> bytes:
    """A record without plaintext."""
    assert transport._send is not None
    return record(transport._send.encrypt_with_ad(b"", b"", BUFFER))

"""Two ends of a session in the published profile, in memory, with the keys of the published vectors."""

from __future__ import annotations

from tests.noise.ends import BUFFER, VECTORS
from warppool.events import Now
from warppool.noise.certificate import NoiseCertificate, issue
from warppool.noise.primitives import Buffer
from warppool.noise.published import PublishedInitiator, PublishedResponder
from warppool.noise.secp256k1 import sign
from warppool.noise.specsuite import SPEC_SUITE
from warppool.noise.symmetricstate import KeyPair

SPEC = {name: bytes.fromhex(text) for name, text in VECTORS["noise_spec"].items()
        if isinstance(text, str) and name not in ("protocol_name", "authority_text")}
NAME, AUTHORITY_TEXT = VECTORS["noise_spec"]["protocol_name"], VECTORS["noise_spec"]["authority_text"]

AUTHORITY = SPEC["authority_xonly"]
AUTHORITY_SECRET = SPEC["authority_secret"]
STATIC = KeyPair(SPEC["responder_static_secret"], SPEC["responder_static_ellswift"])
STATIC_XONLY = SPEC["responder_static_xonly"]
VALID_FROM, NOT_VALID_AFTER = 1_700_000_000, 2_000_000_000
CERTIFICATE = NoiseCertificate(0, VALID_FROM, NOT_VALID_AFTER, SPEC["cert_signature_aux_zero"])
NOW = 1_800_000_000.0

MINER_EPHEMERAL, SERVER_EPHEMERAL = bytes([3]) * 32, bytes([4]) * 32

Transport = PublishedInitiator | PublishedResponder


def miner(authority: bytes | None = AUTHORITY, now: float = NOW, buffer: Buffer = BUFFER) -> PublishedInitiator:
    return PublishedInitiator(SPEC_SUITE, authority, MINER_EPHEMERAL, buffer, Now(0.0, now))


def server(payload: bytes = CERTIFICATE.encode(), buffer: Buffer = BUFFER) -> PublishedResponder:
    return PublishedResponder(SPEC_SUITE, STATIC, SERVER_EPHEMERAL, buffer, 0.0, payload)


def certified(version: int = 0, valid_from: int = VALID_FROM, not_valid_after: int = NOT_VALID_AFTER,
              secret: bytes = AUTHORITY_SECRET, static: bytes = STATIC_XONLY) -> bytes:
    """A certificate that the authority signs, whatever it says."""
    whole = issue(secret, static, valid_from, not_valid_after)
    if version:
        whole = whole._replace(version=version)
        whole = whole._replace(signature=sign(secret, whole.digest_for(static)))
    return whole.encode()


def shaken(buffer: Buffer = BUFFER) -> tuple[PublishedInitiator, PublishedResponder]:
    """A miner's and a server's transport, established with each other."""
    initiator, responder = miner(buffer=buffer), server(buffer=buffer)
    assert opened(responder, initiator.seal(b"")) == b""
    assert opened(initiator, responder.seal(b"")) == b""
    return initiator, responder


def opened(transport: Transport, data: bytes) -> bytes:
    """The plaintext that `data` completes; what ended the transport is raised."""
    plaintext = transport.open(data, 0.0)
    if transport.end is not None:
        assert transport.end.error is not None
        raise transport.end.error
    return plaintext


def frame(payload: bytes, msg_type: int = 0x1A) -> bytes:
    """A frame with `payload`, written without the code under test."""
    return b"\x00\x80" + bytes([msg_type]) + len(payload).to_bytes(3, "little") + payload

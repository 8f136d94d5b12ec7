"""HandshakeState of the Noise paper (section 5.3) for the one pattern that Stratum V2 uses, NX:

    -> e
    <- e, ee, s, es

The prologue and the payload of act one are empty. Each step runs once, in this order. A handshake that fails is over.
Any other step, and any step after one that failed, is a LocalProtocolError.
"""

from __future__ import annotations

from warppool.errors import HandshakeFailed, LocalProtocolError
from warppool.noise.cipherstate import CipherState
from warppool.noise.primitives import TAG_LEN, Buffer
from warppool.noise.symmetricstate import KeyPair, Suite, SymmetricState


class HandshakeState:
    """What both roles have: the suite, its SymmetricState, and which step comes next."""

    __slots__ = ("_turn", "suite", "symmetric")

    def __init__(self, suite: Suite, buffer: Buffer, first: str) -> None:
        self.suite = suite
        self.symmetric = SymmetricState(suite, buffer)
        self.symmetric.mix_hash(b"")                                        # prologue
        self._turn = first

    def _take_turn(self, step: str) -> None:
        if self._turn != step:
            state = f"waits for {self._turn}" if self._turn else "is over"
            raise LocalProtocolError(f"{step}: the handshake {state}")
        self._turn = ""                                 # if the step fails, no other may follow


def _check_length(act: str, message: bytes, expected: int) -> None:
    if len(message) != expected:
        raise HandshakeFailed(f"{act} has {len(message)} bytes instead of {expected}")


class Initiator(HandshakeState):
    """The miner's side: `e` is its ephemeral key pair.

    `rs` is the server's static key, known after act two. The server has proved that it owns the key. Whether that is
    the right key, the caller has to check.
    """

    __slots__ = ("e", "rs")

    def __init__(self, suite: Suite, e: KeyPair, buffer: Buffer) -> None:
        super().__init__(suite, buffer, "write_act_one")
        self.e = e
        self.rs = b""

    @property
    def message_len(self) -> int:
        """Bytes of the one message that this role reads."""
        return self.suite.act_two_len

    def write_act_one(self) -> bytes:
        """Begin with `-> e`; the message is `suite.act_one_len` bytes."""
        self._take_turn("write_act_one")
        self.symmetric.mix_hash(self.e.public)                              # e
        self.symmetric.mix_hash(b"")                                        # the empty payload, still in the clear
        self._turn = "read_act_two"
        return self.e.public

    def read_act_two(self, message: bytes) -> tuple[bytes, CipherState, CipherState]:
        """Read `<- e, ee, s, es`: (payload, receive cipher, send cipher); HandshakeFailed if any byte is wrong."""
        self._take_turn("read_act_two")
        _check_length("act two", message, self.message_len)
        end_of_e = self.suite.dh_len
        end_of_s = end_of_e + self.suite.dh_len + TAG_LEN
        re = message[:end_of_e]
        self.symmetric.mix_hash(re)                                         # e
        self.symmetric.mix_key(self.suite.shared(self.e, re, True))         # ee
        self.rs = self.symmetric.decrypt_and_hash(message[end_of_e:end_of_s])       # s
        self.symmetric.mix_key(self.suite.shared(self.e, self.rs, True))    # es
        payload = self.symmetric.decrypt_and_hash(message[end_of_s:])
        send, receive = self.symmetric.split()
        return payload, receive, send


class Responder(HandshakeState):
    """The pool's side: `s` is its static key pair, `e` the ephemeral one of this handshake."""

    __slots__ = ("e", "re", "s")

    def __init__(self, suite: Suite, s: KeyPair, e: KeyPair, buffer: Buffer) -> None:
        super().__init__(suite, buffer, "read_act_one")
        self.s = s
        self.e = e
        self.re = b""

    @property
    def message_len(self) -> int:
        """Bytes of the one message that this role reads."""
        return self.suite.act_one_len

    def read_act_one(self, message: bytes) -> None:
        """Read `-> e`; HandshakeFailed if it has not `suite.act_one_len` bytes. `write_act_two` refuses a bad key."""
        self._take_turn("read_act_one")
        _check_length("act one", message, self.message_len)
        self.re = message
        self.symmetric.mix_hash(self.re)                                    # e
        self.symmetric.mix_hash(b"")                                        # the empty payload, still in the clear
        self._turn = "write_act_two"

    def write_act_two(self, payload: bytes) -> tuple[bytes, CipherState, CipherState]:
        """Answer `<- e, ee, s, es`: (message, receive cipher, send cipher).

        `payload` has `suite.act_two_payload_len` bytes, the message `suite.act_two_len`. HandshakeFailed if the key of
        act one is of low order: the shared secret would then be zero for everybody.
        """
        self._take_turn("write_act_two")
        if len(payload) != self.suite.act_two_payload_len:
            raise LocalProtocolError(f"payload of {len(payload)} bytes instead of {self.suite.act_two_payload_len}")
        self.symmetric.mix_hash(self.e.public)                              # e
        self.symmetric.mix_key(self.suite.shared(self.e, self.re, False))   # ee
        sealed_s = self.symmetric.encrypt_and_hash(self.s.public)           # s
        self.symmetric.mix_key(self.suite.shared(self.s, self.re, False))   # es
        sealed_payload = self.symmetric.encrypt_and_hash(payload)
        receive, send = self.symmetric.split()
        return self.e.public + sealed_s + sealed_payload, receive, send

"""A Stratum V2 miner that shares no line with warppool: its Noise is the `noiseprotocol` package, its layouts stand in
`tests/vectors/messages.json`, and its hashes are hashlib's. It believes nothing that it can check.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from noise.connection import NoiseConnection

PATIENCE_S = 300.0              # as tests.patience has it: for what must come, however busy the machine is
NOISE = b"Noise_NX_25519_ChaChaPoly_BLAKE2s"
ROLLABLE = 0x1FFFE000           # version bits (BIP320)
EASIEST = b"\xff" * 32

_TABLE = {
    row["name"]: (row["spec_id"] if row["warp_id"] is None else row["warp_id"],
                  [(field["name"], field["type"]) for field in row["fields"]])
    for row in json.loads((Path(__file__).parents[1] / "vectors" / "messages.json").read_text())
    if row["in_warp"] and row["subprotocol"] in ("common", "mining")
}
_NAMES = {number: name for name, (number, _) in _TABLE.items()}
_NUMBERS = {"U8": "<B", "U16": "<H", "U32": "<I", "U64": "<Q", "F32": "<f"}

Fields = dict[str, Any]


def dsha(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def target_of(nbits: int) -> int:
    return (nbits & 0x7FFFFF) << 8 * ((nbits >> 24) - 3)


def pack(kind: str, value: Any) -> bytes:
    """One field of a message that miners send."""
    if kind in _NUMBERS:
        return struct.pack(_NUMBERS[kind], value)
    if kind == "U256":
        assert len(value) == 32
        return bytes(value)
    assert kind in ("STR0_255", "B0_32"), kind
    return struct.pack("<B", len(value)) + value


def unpack(kind: str, data: bytes, at: int) -> tuple[Any, int]:
    """One field of a message that pools send: (value, where the next begins)."""
    if kind in _NUMBERS:
        end = at + struct.calcsize(_NUMBERS[kind])
        return struct.unpack(_NUMBERS[kind], data[at:end])[0], end
    if kind == "BOOL":
        assert data[at] < 2
        return bool(data[at]), at + 1
    if kind == "OPTION[U32]":
        assert data[at] < 2
        return unpack("U32", data, at + 1) if data[at] else (None, at + 1)
    if kind == "SEQ0_255[U256]":
        end = at + 1 + 32 * data[at]
        assert end <= len(data)
        return [data[begin:begin + 32] for begin in range(at + 1, end, 32)], end
    begin, length = at, 32
    if kind != "U256":
        length, begin = unpack("U16" if kind == "B0_64K" else "U8", data, at)
    assert kind != "B0_32" or length <= 32
    assert begin + length <= len(data)
    return data[begin:begin + length], begin + length


class Share(NamedTuple):
    """A header that was hashed, and what it was made of."""

    header: bytes
    job_id: int
    nonce: int
    ntime: int
    version: int
    extranonce: bytes
    coinbase: bytes             # stripped, as it was hashed; b"" on a standard channel

    @property
    def hash(self) -> bytes:
        return dsha(self.header)

    @property
    def display(self) -> str:
        return self.hash[::-1].hex()


class Channel:
    """A channel of either kind, with the rules for what a pool may send on it."""

    def __init__(self, connection: Connection, opened: Fields, is_extended: bool) -> None:
        self.connection = connection
        self.channel_id: int = opened["channel_id"]
        self.target = int.from_bytes(opened["target"], "little")
        self.prefix: bytes = opened["extranonce_prefix"]
        self.is_extended = is_extended
        self.size: int = opened["extranonce_size"] if is_extended else 0
        self.future: dict[int, Fields] = {}
        self.job: Fields = {}               # the one to be hashed
        self.tip: Fields = {}               # the SetNewPrevHash that stands
        self.sequence = 0
        self.answers: dict[int, str] = {}   # sequence number to "accepted" or the error's code
        self.owed: list[int] = []           # submitted and not answered
        self.jobs_seen: set[int] = set()

    def heard(self, name: str, fields: Fields) -> None:
        getattr(self, "_" + name.replace(".", ""))(fields)

    def _job(self, fields: Fields) -> None:
        assert fields["job_id"] not in self.jobs_seen, "a job number was used twice"
        self.jobs_seen.add(fields["job_id"])
        if fields["min_ntime"] is None:
            self.future[fields["job_id"]] = fields
        else:
            assert self.tip, "a job to be hashed now, before any SetNewPrevHash"
            self.job = fields

    def _NewMiningJob(self, fields: Fields) -> None:
        assert not self.is_extended
        self._job(fields)

    def _NewExtendedMiningJob(self, fields: Fields) -> None:
        assert self.is_extended
        self._job(fields)

    def _SetNewPrevHash(self, fields: Fields) -> None:
        assert fields["job_id"] in self.future, "SetNewPrevHash names no future job of this channel"
        self.tip, self.job = fields, self.future[fields["job_id"]]
        self.future.clear()

    def _SetTarget(self, fields: Fields) -> None:
        self.target = int.from_bytes(fields["maximum_target"], "little")

    def _SubmitSharesSuccess(self, fields: Fields) -> None:
        news = [number for number in self.owed if number <= fields["last_sequence_number"]]
        assert len(news) == fields["new_submits_accepted_count"] > 0
        assert news[-1] == fields["last_sequence_number"]
        self._answer(news, "accepted")

    def _SubmitSharesError(self, fields: Fields) -> None:
        assert fields["sequence_number"] in self.owed or fields["sequence_number"] in self.answers
        self._answer([fields["sequence_number"]], fields["error_code"].decode("ascii"))

    def _answer(self, numbers: list[int], word: str) -> None:
        for number in numbers:
            if number in self.owed:
                self.owed.remove(number)
            self.answers[number] = word

    # What a miner does.

    def shares(self, *, version: int | None = None, ntime: int | None = None) -> Iterator[Share]:
        """Headers of the job that stands, one nonce after the other."""
        job = self.job
        version = job["version"] if version is None else version
        ntime = max(self.tip["min_ntime"], job["min_ntime"] or 0) if ntime is None else ntime
        extranonce = self.sequence.to_bytes(self.size, "big") if self.is_extended else b""
        coinbase, root = b"", job.get("merkle_root", b"")
        if self.is_extended:
            coinbase = job["coinbase_tx_prefix"] + self.prefix + extranonce + job["coinbase_tx_suffix"]
            root = dsha(coinbase)
            for step in job["merkle_path"]:
                root = dsha(root + step)
        for nonce in range(1 << 32):
            header = struct.pack("<I32s32sIII", version, self.tip["prev_hash"], root, ntime, self.tip["nbits"], nonce)
            yield Share(header, job["job_id"], nonce, ntime, version, extranonce, coinbase)

    def solve(self, *, is_block: bool, **given: int) -> Share:
        """The first share that is a block, or the first that is not."""
        network = target_of(self.tip["nbits"])
        return next(share for share in self.shares(**given)
                    if (int.from_bytes(share.hash, "little") <= network) is is_block)

    def submission(self, share: Share, **changed: Any) -> tuple[str, Fields]:
        """The message for a share under the next number; `changed` replaces fields."""
        fields = {"channel_id": self.channel_id, "sequence_number": self.sequence, "job_id": share.job_id,
                  "nonce": share.nonce, "ntime": share.ntime, "version": share.version}
        if self.is_extended:
            fields["extranonce"] = share.extranonce
        fields |= changed
        self.sequence = max(self.sequence, fields["sequence_number"]) + 1
        if fields["channel_id"] == self.channel_id:
            self.owed.append(fields["sequence_number"])
        return "SubmitSharesExtended" if self.is_extended else "SubmitSharesStandard", fields

    def submit(self, share: Share, **changed: Any) -> str:
        """Submit, and wait for the answer to it."""
        name, fields = self.submission(share, **changed)
        number = fields["sequence_number"]
        self.answers.pop(number, None)
        self.connection.send((name, fields))
        self.connection.read_until(lambda: number in self.answers)
        return self.answers[number]

    def await_tip(self, prev_hash: bytes) -> None:
        """Wait for the next tip, which must be `prev_hash` and name a new job, unless it is there already."""
        before = self.tip
        if before["prev_hash"] != prev_hash:
            self.connection.read_until(lambda: self.tip is not before)
        assert self.tip["prev_hash"] == prev_hash
        assert self.job["job_id"] == self.tip["job_id"] and self.job["min_ntime"] is None


class Connection:
    """One connection after handshake and set-up, and its channels."""

    def __init__(self, port: int, server_key: bytes) -> None:
        self.channels: dict[int, Channel] = {}
        self.strays: list[tuple[str, Fields]] = []      # answers that no channel of ours is named in
        self._plain = b""
        self._wire = b""
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        try:
            self._noise = self._shake_hands(server_key)
            self._set_up(port)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._sock.close()

    def _shake_hands(self, server_key: bytes) -> NoiseConnection:
        noise = NoiseConnection.from_name(NOISE)
        noise.set_as_initiator()
        noise.start_handshake()
        state = noise.noise_protocol.handshake_state
        act_one = bytes(noise.write_message())
        assert len(act_one) == 32
        self._sock.sendall(struct.pack("<H", 32) + act_one)
        act_two = self._record()
        assert len(act_two) == 96
        assert bytes(noise.read_message(act_two)) == b""
        assert noise.handshake_finished
        assert state.rs.public_bytes == server_key, "not the key that the operator was told"
        return noise

    def _set_up(self, port: int) -> None:
        self.send(("SetupConnection", {
            "protocol": 0, "min_version": 2, "max_version": 2, "flags": 0, "endpoint_host": b"127.0.0.1",
            "endpoint_port": port, "vendor": b"elsewhere", "hardware_version": b"", "firmware": b"1",
            "device_id": b""}))
        assert self._message() == ("SetupConnection.Success", {"used_version": 2, "flags": 0})

    def open(self, user: str, *, is_extended: bool) -> Channel:
        """Open a channel; its first job and the tip are there when this returns."""
        fields = {"request_id": 77, "user_identity": user.encode(), "nominal_hash_rate": 0.0, "max_target": EASIEST}
        kind = "Extended" if is_extended else "Standard"
        self.send((f"Open{kind}MiningChannel", fields | ({"min_extranonce_size": 4} if is_extended else {})))
        name, opened = self._message()
        assert name == f"Open{kind}MiningChannel.Success" and opened["request_id"] == 77
        assert opened["group_channel_id"] == 0
        assert not is_extended or opened["extranonce_size"] >= 4
        assert len(opened["extranonce_prefix"]) == 4
        channel = self.channels[opened["channel_id"]] = Channel(self, opened, is_extended)
        for wanted in (f"New{'Extended' if is_extended else ''}MiningJob", "SetNewPrevHash"):
            name, fields = self._message()
            assert name == wanted and fields["channel_id"] == channel.channel_id
            channel.heard(name, fields)
        return channel

    def send(self, *messages: tuple[str, Fields]) -> None:
        """Put messages into one record."""
        plain = b""
        for name, fields in messages:
            number, layout = _TABLE[name]
            assert fields.keys() == {field for field, _ in layout}
            payload = b"".join(pack(kind, fields[field]) for field, kind in layout)
            plain += struct.pack("<HB", 0, number) + struct.pack("<I", len(payload))[:3] + payload
        sealed = bytes(self._noise.encrypt(plain))
        self._sock.sendall(struct.pack("<H", len(sealed)) + sealed)

    def read_until(self, is_enough: Callable[[], bool]) -> None:
        """Read messages, each into its channel, until the condition holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_enough():
            assert time.monotonic() < deadline, "the pool never said it"
            name, fields = self._message()
            channel = self.channels.get(fields["channel_id"])
            if channel is None:
                self.strays.append((name, fields))
            else:
                channel.heard(name, fields)

    def _message(self) -> tuple[str, Fields]:
        while len(self._plain) < 6 or len(self._plain) < 6 + int.from_bytes(self._plain[3:6], "little"):
            self._plain += bytes(self._noise.decrypt(self._record()))
        extension, number = struct.unpack_from("<HB", self._plain)
        assert extension == 0
        end = 6 + int.from_bytes(self._plain[3:6], "little")
        payload, self._plain = self._plain[6:end], self._plain[end:]
        name, fields, at = _NAMES[number], {}, 0
        for field, kind in _TABLE[name][1]:
            fields[field], at = unpack(kind, payload, at)
        assert at == len(payload)
        return name, fields

    def _record(self) -> bytes:
        while len(self._wire) < 2 or len(self._wire) < 2 + int.from_bytes(self._wire[:2], "little"):
            data = self._sock.recv(65536)
            assert data, "the pool closed the connection"
            self._wire += data
        end = 2 + int.from_bytes(self._wire[:2], "little")
        record, self._wire = self._wire[2:end], self._wire[end:]
        return record

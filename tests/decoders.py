"""What the field's machines and proxies make of a coinbase, to see who is paid: written anew, and of bytes alone.

Each decoder reads the bytes of the wire as its program does, with no help of ours: a fault that our encoders and our
readers have in common would be seen here. What the program could not hold or read is an AssertionError.

- AxeOS (the page of ESP-Miner, since its pull request 1391): takes the halves of a V1 notify or a V2 job apart, lists
  the outputs, and warns unless the address in front of the user's first dot gets more than 95 %.
- SRI's translator (`verify_payout`): the outputs to the user's script together must be all that the coinbase pays,
  where the user asked for `sri/solo/...`, and nine tenths for a plain address. OP_RETURN outputs are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

MAX_HALF = 384
"""Bytes of either half that ESP-Miner keeps."""

MAX_LISTED = 6
"""Outputs that AxeOS looks at."""

MAX_FRAME = 8192
"""Bytes of a V2 frame that ESP-Miner reads."""

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_OP_RETURN = 0x6A


class _Cursor:
    """Reads from the front; AssertionError at the end of the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.at:self.at + size]
        assert len(taken) == size, f"the bytes end within {size} at {self.at}"
        self.at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        first = self.number(1)
        return first if first < 0xFD else self.number({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])


@dataclass(frozen=True)
class Seen:
    """What a machine shows its owner: the height, and the outputs in their order, each (sat, address or "")."""

    height: int
    outputs: tuple[tuple[int, str], ...]
    user_sat: int

    @property
    def total_sat(self) -> int:
        return sum(sat for sat, _ in self.outputs)

    @property
    def part(self) -> Fraction:
        """What of the coinbase's value the user gets."""
        return Fraction(self.user_sat, self.total_sat)

    @property
    def is_green(self) -> bool:
        return self.part > Fraction(95, 100)


# -- the wire of V2 ---------------------------------------------------------------------------------------------------

OPEN_EXTENDED_SUCCESS, NEW_EXTENDED_JOB = 0x14, 0x1F


@dataclass(frozen=True)
class Opened:
    """What an OpenExtendedMiningChannel.Success says."""

    channel_id: int
    extranonce_prefix: bytes
    extranonce_size: int
    group_id: int


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Whole frames, each as (type of the message, payload)."""
    cursor, frames = _Cursor(data), []
    while cursor.at < len(data):
        cursor.take(2)
        kind = cursor.number(1)
        frames.append((kind, cursor.take(cursor.number(3))))
    return frames


def opened_of(payload: bytes) -> Opened:
    """Of the payload."""
    cursor = _Cursor(payload)
    cursor.take(4)
    channel_id = cursor.number(4)
    cursor.take(32)
    size = cursor.number(2)
    prefix = cursor.take(cursor.number(1))
    return Opened(channel_id, prefix, size, cursor.number(4))


def halves_of_job(payload: bytes) -> tuple[int, bytes, bytes]:
    """Of the payload of a NewExtendedMiningJob: the channel or group, and the two halves of the coinbase."""
    cursor = _Cursor(payload)
    channel_id = cursor.number(4)
    cursor.take(4)
    cursor.take(4 * cursor.number(1))                   # min_ntime, if there is one
    cursor.take(5)                                      # version, version_rolling_allowed
    cursor.take(32 * cursor.number(1))                  # merkle_path
    head = cursor.take(cursor.number(2))
    tail = cursor.take(cursor.number(2))
    assert cursor.at == len(payload)
    return channel_id, head, tail


# -- AxeOS -----------------------------------------------------------------------------------------------------------


def axeos_of_notify(line: bytes, extranonce1: bytes, extranonce2_size: int, user: str, human: str) -> Seen:
    """A `mining.notify` as it came. `human` is the part of bech32 addresses of the network that the machine takes."""
    message = json.loads(line)
    assert message["method"] == "mining.notify"
    head, tail = (bytes.fromhex(half) for half in message["params"][2:4])
    return _axeos(head, tail, len(extranonce1) + extranonce2_size, user, human)


def axeos_of_job(payload: bytes, opened: Opened, user: str, human: str) -> Seen:
    """The payload of a NewExtendedMiningJob as it came, on a channel that was opened so."""
    assert len(payload) + 6 <= MAX_FRAME
    _, head, tail = halves_of_job(payload)
    return _axeos(head, tail, len(opened.extranonce_prefix) + opened.extranonce_size, user, human)


def _axeos(head: bytes, tail: bytes, extranonce_size: int, user: str, human: str) -> Seen:
    assert max(len(head), len(tail)) <= MAX_HALF, "it cuts the coinbase, and each share is refused"
    cursor = _Cursor(head)
    cursor.take(41)                                     # version, count, outpoint
    script_size = cursor.number(1)
    rest = script_size - (len(head) - cursor.at) - extranonce_size
    assert 0 <= script_size <= 100 and rest >= 0, "the scriptSig ends within the first half"
    height = int.from_bytes(cursor.take(cursor.number(1)), "little")
    cursor = _Cursor(tail)
    cursor.take(rest + 4)                               # what is left of the scriptSig, sequence
    count = cursor.varint()
    outputs, user_sat = [], 0
    for _ in range(min(count, MAX_LISTED)):
        sat = cursor.number(8)
        address = address_of(cursor.take(cursor.varint()), human)
        outputs.append((sat, address))
        user_sat += sat if address and address == user.partition(".")[0] else 0
    if count <= MAX_LISTED:
        cursor.take(4)                                  # lock time
        assert cursor.at == len(tail), "something stands behind the lock time"
    return Seen(height, tuple(outputs), user_sat)


def address_of(script: bytes, human: str) -> str:
    """The address of an output script; "" for one that has none."""
    is_main = human == "bc"
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[-2:] == b"\x88\xac":
        return _base58check(bytes([0x00 if is_main else 0x6F]) + script[3:23])
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[-1:] == b"\x87":
        return _base58check(bytes([0x05 if is_main else 0xC4]) + script[2:22])
    if len(script) in (22, 34) and script[0] in (0x00, 0x51) and script[1] == len(script) - 2:
        return _segwit(human, script[0] and script[0] - 0x50, script[2:])
    return ""


def _base58check(payload: bytes) -> str:
    data = payload + sha256(sha256(payload).digest()).digest()[:4]
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def _segwit(human: str, version: int, program: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    values = [version, *(int(bits[at:at + 5], 2) for at in range(0, len(bits), 5))]
    hashed = [*(ord(letter) >> 5 for letter in human), 0, *(ord(letter) & 31 for letter in human), *values]
    check = _polymod([*hashed, 0, 0, 0, 0, 0, 0]) ^ (0x2BC830A3 if version else 1)
    values += [check >> 5 * (5 - at) & 31 for at in range(6)]
    return human + "1" + "".join(_BECH32[value] for value in values)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> bit & 1 else 0
    return check


# -- SRI -------------------------------------------------------------------------------------------------------------


def sri_takes(coinbase: bytes, user: str, script: bytes) -> bool:
    """Whether SRI's translator stays with a pool whose stripped coinbase this is; `script` is that of `user`."""
    cursor = _Cursor(coinbase)
    cursor.take(4 + 1 + 36)
    cursor.take(cursor.varint())
    cursor.take(4)
    total = own = 0
    for _ in range(cursor.varint()):
        sat, paid_to = cursor.number(8), cursor.take(cursor.varint())
        if paid_to[:1] != bytes([_OP_RETURN]):
            total += sat
            own += sat if paid_to == script else 0
    cursor.take(4)
    assert cursor.at == len(coinbase)
    return own == total if user.startswith("sri/solo/") else own >= -(-total * 9 // 10)

"""The area behind a message's last field: one TLV after another, each of an extension that both sides agreed on.

A TLV is the extension (U16), the field (U8), the length of the value (U16), all little-endian, and the value.

Source: Sv2 Protocol Overview §3.4.3; docs/sv2-wire.rst#tlv-byte-order.
"""

from __future__ import annotations

import struct

WORKER_NAMES = 0x0002
"""The extension Worker-Specific Hashrate Tracking: a SubmitSharesExtended may carry the name of its worker."""

MAX_WORKER_SIZE = 32
"""Bytes of a worker's name in a TLV."""

_WORKER_FIELD = 0x01
_LITTLE = struct.Struct("<HBH")
_BIG = struct.Struct(">HBH")


def worker_tlv(name: bytes) -> bytes:
    """The TLV that names a worker; `name` has 1 to MAX_WORKER_SIZE bytes of UTF-8."""
    return _LITTLE.pack(WORKER_NAMES, _WORKER_FIELD, len(name)) + name


def worker_in(area: bytes) -> bytes | None:
    """The worker's name in a TLV area, b"" where none is there; None where the area is no row of TLVs.

    TLVs of other extensions are passed over. Some peers write the numbers big-endian, as the specification's example
    has them. Such a TLV is taken where the little-endian reading fits nothing.
    """
    at, name = 0, b""
    while at < len(area):
        if len(area) - at < _LITTLE.size:
            return None
        start = at + _LITTLE.size
        extension, field, length = _LITTLE.unpack_from(area, at)
        if extension != WORKER_NAMES or start + length > len(area):
            swapped = _BIG.unpack_from(area, at)
            if swapped[0] == WORKER_NAMES and start + swapped[2] <= len(area):
                extension, field, length = swapped
        at = start + length
        if at > len(area):
            return None
        if (extension, field) == (WORKER_NAMES, _WORKER_FIELD):
            name = area[start:at]
    return name

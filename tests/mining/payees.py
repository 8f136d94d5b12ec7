"""Payees that many tests need: one of each kind of address."""

from __future__ import annotations

from warppool.mining.payee import Payee

KINDS = {
    "p2pkh": b"\x76\xa9\x14" + b"\x01" * 20 + b"\x88\xac",
    "p2sh": b"\xa9\x14" + b"\x02" * 20 + b"\x87",
    "p2wpkh": b"\x00\x14" + b"\x03" * 20,
    "p2wsh": b"\x00\x20" + b"\x04" * 32,
    "p2tr": b"\x51\x20" + b"\x05" * 32,
}
"""Output scripts, by the names of their kinds."""


def payee_of(kind: str, room: int = 0) -> Payee:
    """The payee of an address of that kind; its account is the kind's name."""
    return Payee(kind, KINDS[kind], room)


def numbered(number: int, room: int = 0) -> Payee:
    """One of thousands of payees: its script is P2WPKH."""
    return Payee(f"account{number}", b"\x00\x14" + number.to_bytes(20, "big"), room)

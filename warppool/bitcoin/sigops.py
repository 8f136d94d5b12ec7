"""Signature operations of a script, counted without running the script, as consensus counts those of a coinbase.

A block may have a limited number of them, so a template has to leave room for those of the pool's outputs.
"""

from __future__ import annotations

SIGOP_COST = 4              # units of a block's sigop cost of one signature operation outside of a witness (BIP141)
MAX_BARE_MULTISIG = 20      # a CHECKMULTISIG counts as 20, however many keys it has

_OP_PUSHDATA1 = 0x4C
_OP_PUSHDATA4 = 0x4E
_CHECKSIGS = (0xAC, 0xAD)       # OP_CHECKSIG, OP_CHECKSIGVERIFY
_MULTISIGS = (0xAE, 0xAF)       # OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY


def legacy_sigops(script: bytes) -> int:
    """The signature operations of a scriptSig or scriptPubKey, without those of P2SH and witness programs.

    Each is SIGOP_COST units of a block's sigop cost. The bytes that a push holds are no opcodes and do not count. Where
    a push goes past the end of the script, counting ends.
    """
    count = position = 0
    while position < len(script):
        opcode = script[position]
        position += 1
        if opcode in _CHECKSIGS:
            count += 1
        elif opcode in _MULTISIGS:
            count += MAX_BARE_MULTISIG
        elif opcode <= _OP_PUSHDATA4:
            position = _behind_push(script, opcode, position)
    return count


def _behind_push(script: bytes, opcode: int, position: int) -> int:
    """The offset after the bytes that a push holds; past the end of the script where the push is cut short."""
    if opcode < _OP_PUSHDATA1:
        return position + opcode
    width = 1 << (opcode - _OP_PUSHDATA1)       # 1, 2 or 4 bytes of length, little-endian
    length = script[position:position + width]
    if len(length) < width:
        return len(script)
    return position + width + int.from_bytes(length, "little")

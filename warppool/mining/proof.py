"""Proof before use: a coinbase is read back from its bytes, and held to all rules, before any machine hashes it.

A coinbase that breaks a rule makes every block with it invalid, or pays somebody else, and nothing shows that until a
block is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from warppool.bitcoin.coinbase import MAX_SCRIPT_SIG, MIN_SCRIPT_SIG, restore_witness
from warppool.bitcoin.sigops import legacy_sigops
from warppool.bitcoin.transaction import outputs_of, parse_outputs, whole_transaction
from warppool.mining.payrule import Extent
from warppool.mining.template import Template
from warppool.mining.templateroom import TemplateRoom

_SCRIPT_LENGTH_AT = 41          # in a stripped coinbase: version 4, count 1, outpoint 36
_OUTPUT_HEAD = 9                # bytes before the script of an output: value 8, length 1
_FORBIDDEN_SIZE = 64            # bytes of a stripped transaction that BIP54 forbids: it looks like two hashes


def fault_of(template: Template, stripped: bytes, expected: Sequence[tuple[int, bytes]], room: TemplateRoom | None,
             most: Extent) -> str:
    """The rule that the coinbase `stripped` of a block on `template` breaks; "" for none.

    Its own outputs, which stand before the template's, are to be `expected`: (sat, script) each. `room` is what the
    template leaves. Where the node does not tell that, own outputs are held to `most`, for which the node was asked to
    leave room.
    """
    try:
        read = whole_transaction(restore_witness(stripped) if template.has_witness else stripped)
        outputs = outputs_of(stripped)
        theirs = parse_outputs(template.coinbase_tx_outputs, template.coinbase_tx_outputs_count)
    except ValueError as exc:
        return f"form: {exc}"
    own = outputs[:max(0, len(outputs) - len(theirs))]
    paid = sum(sat for sat, _ in own)
    if not own or paid != template.coinbase_tx_value_remaining:
        return f"sum: own outputs pay {paid} sat of {template.coinbase_tx_value_remaining}"
    if own != tuple(expected):
        return "scripts: own outputs are not those that were computed"
    if outputs[len(own):] != theirs:
        return "template: its outputs do not stand behind our own"
    script_size = stripped[_SCRIPT_LENGTH_AT]
    script = stripped[_SCRIPT_LENGTH_AT + 1:_SCRIPT_LENGTH_AT + 1 + script_size]
    if not MIN_SCRIPT_SIG <= script_size <= MAX_SCRIPT_SIG or not script.startswith(template.coinbase_prefix):
        return f"scriptSig: {script_size} bytes, or without the height that the template says"
    sequence_at = _SCRIPT_LENGTH_AT + 1 + script_size
    if (len(stripped) == _FORBIDDEN_SIZE
            or int.from_bytes(stripped[sequence_at:sequence_at + 4], "little") != template.coinbase_tx_input_sequence
            or int.from_bytes(stripped[-4:], "little") != template.coinbase_tx_locktime):
        return "BIP54: sequence, lock time or size"
    return _fault_of_size(own, read.weight, [script, *[each for _, each in outputs]], room, most)


def _fault_of_size(own: Sequence[tuple[int, bytes]], weight: int, scripts: Sequence[bytes], room: TemplateRoom | None,
                   most: Extent) -> str:
    if room is None:
        size = sum(_OUTPUT_HEAD + len(script) for _, script in own)
        sigops = sum(legacy_sigops(script) for _, script in own)
        if size > most.size or sigops > most.sigops:
            return (f"room: own outputs take {size} bytes and {sigops} signature operations, and the node left "
                    f"{most.size} and {most.sigops}")
        return ""
    sigops = sum(map(legacy_sigops, scripts))
    if weight > room.weight or sigops > room.sigops:
        return (f"room: {weight} weight units and {sigops} signature operations, and the template leaves {room.weight} "
                f"and {room.sigops}")
    return ""

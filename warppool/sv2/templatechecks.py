"""What a template provider may not say: a wrong template makes every block on it worthless, so each field is checked.

Pure: messages in, our own values out; RemoteProtocolError names the field, what it holds, and why that cannot be.

Source: docs/sv2-wire.rst#messages-template, docs/sv2-wire.rst#template-checks.
"""

from __future__ import annotations

from warppool.bitcoin.block import LEAST_VERSION, block_subsidy
from warppool.bitcoin.coinbase import height_of
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import MAX_MONEY_SAT, parse_outputs
from warppool.errors import RemoteProtocolError
from warppool.mining.job import MAX_HEIGHT_PUSH
from warppool.mining.template import Template, Tip
from warppool.sv2.messages.template import NewTemplate, SetNewPrevHash

MAX_PATH = 15
"""Hashes of a merkle path: a block of 4,000,000 weight units has at most 16,666 transactions of 60 bytes."""

MAX_OUTPUTS_SIZE = 4096
"""Bytes of outputs that a provider may add: each job carries them to each machine, some of which take 8 KiB at a time.
A commitment takes 47."""

MAX_TIME_OFF_S = 7200
"""From a provider's header time to our clock: nodes refuse a block that is farther ahead."""

_FINAL = 0xFFFF_FFFF                    # an input with this sequence makes a locktime of no effect
_FIRST_TIME_LOCK = 500_000_000          # a locktime from here on is a Unix time, and no height


def check_template(m: NewTemplate, network: str) -> int:
    """The height of the block that it is for; RemoteProtocolError for what no block can have."""
    if m.version >= 1 << 31 or m.version < LEAST_VERSION:
        raise _wrong(m, "version", f"{m.version:#010x}: nodes refuse blocks below {LEAST_VERSION}")
    if len(m.coinbase_prefix) > MAX_HEIGHT_PUSH:
        raise _wrong(m, "coinbase_prefix", f"{len(m.coinbase_prefix)} bytes, and {MAX_HEIGHT_PUSH} are allowed")
    try:
        height = height_of(m.coinbase_prefix)
    except ValueError as exc:
        raise _wrong(m, "coinbase_prefix", str(exc)) from exc
    if height < 1:
        raise _wrong(m, "coinbase_prefix", "no block stands at height 0")
    if len(m.merkle_path) > MAX_PATH:
        raise _wrong(m, "merkle_path", f"{len(m.merkle_path)} hashes: a block needs {MAX_PATH} at most")
    subsidy = block_subsidy(height, network)
    if not subsidy <= m.coinbase_tx_value_remaining <= MAX_MONEY_SAT:
        raise _wrong(m, "coinbase_tx_value_remaining",
                     f"{m.coinbase_tx_value_remaining} sat at height {height}, where a block pays {subsidy} and fees")
    if m.coinbase_tx_input_sequence != _FINAL and not (
            m.coinbase_tx_locktime < min(height, _FIRST_TIME_LOCK)):
        raise _wrong(m, "coinbase_tx_locktime", f"{m.coinbase_tx_locktime} is not over at height {height}")
    _check_outputs(m)
    return height


def _check_outputs(m: NewTemplate) -> None:
    if len(m.coinbase_tx_outputs) > MAX_OUTPUTS_SIZE:
        raise _wrong(m, "coinbase_tx_outputs", f"{len(m.coinbase_tx_outputs)} bytes, and {MAX_OUTPUTS_SIZE} are "
                     "allowed")
    try:
        outputs = parse_outputs(m.coinbase_tx_outputs, m.coinbase_tx_outputs_count)
    except ValueError as exc:
        raise _wrong(m, "coinbase_tx_outputs", str(exc)) from exc
    for value, _ in outputs:
        if value:
            raise _wrong(m, "coinbase_tx_outputs", f"one of the provider's own outputs is worth {value} sat, and all "
                         "of a block is the pool's")


def tip_of(m: SetNewPrevHash, height: int, unix: float) -> Tip:
    """The tip that a block of `height` is built on; `unix` is our own clock. RemoteProtocolError.

    A provider may want a harder target than that of `n_bits`. What meets the latter is a block to every node, whatever
    the provider wants, so the tip has that one.
    """
    try:
        target = target_from_nbits(m.n_bits)
    except ValueError as exc:
        raise _wrong(m, "n_bits", str(exc)) from exc
    if not 0 < int.from_bytes(m.target, "little") <= target:
        raise _wrong(m, "target", f"it is 0, or easier than that of n_bits, {m.n_bits:08x}")
    offset_s = m.header_timestamp - unix
    if abs(offset_s) > MAX_TIME_OFF_S:
        side = "ahead of" if offset_s > 0 else "behind"
        raise _wrong(m, "header_timestamp", f"{m.header_timestamp} is {abs(offset_s):.0f} s {side} our clock: set the "
                     "clock of this machine, or that of the provider's")
    return Tip(m.prev_hash, m.n_bits, target, m.header_timestamp, height)


def template_of(m: NewTemplate, tip: Tip, source: str) -> Template:
    """Both messages in one value; `source` is the node's name in the log.

    The transactions are not known yet, unless the empty path says that there are none.
    """
    return Template(
        template_id=m.template_id,
        tip=tip,
        version=m.version,
        coinbase_tx_version=m.coinbase_tx_version,
        coinbase_prefix=m.coinbase_prefix,
        coinbase_tx_input_sequence=m.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining=m.coinbase_tx_value_remaining,
        coinbase_tx_outputs_count=m.coinbase_tx_outputs_count,
        coinbase_tx_outputs=m.coinbase_tx_outputs,
        coinbase_tx_locktime=m.coinbase_tx_locktime,
        merkle_path=m.merkle_path,
        transactions=None if m.merkle_path else (),
        source=source,
    )


def _wrong(m: NewTemplate | SetNewPrevHash, field: str, words: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{type(m).__name__} {m.template_id}, {field}: {words}")



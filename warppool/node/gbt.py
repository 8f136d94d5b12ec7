"""From an answer to `getblocktemplate` (BIP22, BIP23, BIP145) to a template, every statement in it checked.

A pool that mines on a wrong template loses its blocks without a sound, so nothing is believed that can be computed: ids
and witness commitment are made anew from the transactions. Pure: JSON and the reading before in, the next reading out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from warppool.bitcoin.block import LEAST_VERSION, MAX_BLOCK_SIGOPS, MAX_BLOCK_WEIGHT, block_subsidy
from warppool.bitcoin.coinbase import (
    INPUT_SEQUENCE,
    MAX_HEIGHT,
    commitment_output,
    height_push,
    locktime_of,
    witness_commitment,
)
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import from_display, to_display
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.merkle import merkle_path
from warppool.bitcoin.sigops import SIGOP_COST
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import MAX_MONEY_SAT, whole_transaction
from warppool.errors import NodeError
from warppool.mining.job import FREE_VERSION_BITS
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan, Needs
from warppool.mining.template import Template, Tip, TransactionFacts

MAX_BLOCK_SIZE = 4_000_000          # bytes, with witnesses, by consensus

_KNOWN_RULES = frozenset({"csv", "segwit", "taproot", "testdummy"})
_OP_TRUE_HEX = "51"
_U32_MAX = 0xFFFF_FFFF
_OUTPUT_HEAD = 9                    # bytes before the script of a short output: value 8, length 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KnownTransaction:
    """A transaction whose ids were computed from its bytes; both ids in header order."""

    raw: bytes
    txid: bytes
    wtxid: bytes
    weight: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A template, and its transactions by their wtxid in hex as the node writes it.

    The next reading takes from here what it knows: old and new templates share the bytes, and nothing is hashed twice.
    """

    template: Template
    transactions: Mapping[str, KnownTransaction]


def read_template(
    answer: Any, *, network: str, source: str, template_id: int, has_segwit: bool | None = None,
    previous: Reading | None = None, plan: CoinbasePlan = LARGEST_PLAN,
) -> Reading:
    """Check an answer to `getblocktemplate` and make it a template; NodeError names the field that is wrong.

    `network` is one of the pool's names (main, testnet4, signet, regtest), `source` the node's name in the log.
    `has_segwit` is what `segwit_of_chain` found; it is asked only where the answer has no `rules`. `plan` tells how
    large our coinbase may get beside the node's transactions.
    """
    if not isinstance(answer, dict):
        raise _wrong("it is no JSON object")
    has_segwit = _check_rules(answer, network, has_segwit)
    tip = _tip(answer, previous)
    version = _version(answer)
    transactions = _transactions(answer, previous)
    outputs = _commitment(answer, list(transactions.values())) if has_segwit else b""
    if not has_segwit:
        _refuse_witnesses(transactions.values())
    template = Template(
        template_id=template_id,
        tip=tip,
        version=version,
        coinbase_tx_version=2,
        coinbase_prefix=height_push(tip.height),
        coinbase_tx_input_sequence=INPUT_SEQUENCE,
        coinbase_tx_value_remaining=_value(answer, network, tip.height),
        coinbase_tx_outputs_count=1 if outputs else 0,
        coinbase_tx_outputs=outputs,
        coinbase_tx_locktime=locktime_of(tip.height),
        merkle_path=merkle_path([transaction.txid for transaction in transactions.values()]),
        transactions=tuple(transaction.raw for transaction in transactions.values()),
        source=source,
        facts=_facts(answer, list(transactions.values()), has_segwit),
    )
    _check_limits(answer, list(transactions.values()), plan.largest(template), has_segwit)
    return Reading(template, transactions)


def segwit_of_chain(info: Mapping[str, Any]) -> bool | None:
    """Whether segwit is active by an answer to `getblockchaininfo`; None where it does not say.

    btcd tells it as Core up to 0.18 did (`bip9_softforks`), Core 0.19 to 22 in `softforks`, later ones not at all.
    """
    for name in ("bip9_softforks", "softforks"):
        forks = info.get(name)
        segwit = forks.get("segwit") if isinstance(forks, dict) else None
        if isinstance(segwit, dict):
            return segwit.get("status") == "active" or segwit.get("active") is True
    return None


def check_challenge(told: Mapping[str, Any], network: str) -> None:
    """NodeError for a signet whose blocks need a signature, by what `getblockchaininfo` or a template tells of it.

    Core tells `signet_challenge` in both since version 28, and before that in the template alone.
    """
    if network == "signet" and (challenge := told.get("signet_challenge", _OP_TRUE_HEX)) != _OP_TRUE_HEX:
        raise NodeError(
            "the blocks of this signet need a signature, which a pool cannot give: only a signet whose "
            f"signet_challenge is {_OP_TRUE_HEX} (OP_TRUE) can be mined, and the node's is {str(challenge)[:80]!r}"
        )


def _check_rules(answer: Mapping[str, Any], network: str, has_segwit: bool | None) -> bool:
    """True if segwit is active. A rule with "!" changes what a block is: not knowing it, we must not build one."""
    known = _KNOWN_RULES
    if network == "signet":
        check_challenge({"signet_challenge": None} | dict(answer), network)     # a template must tell it
        known |= {"signet"}
    if "rules" not in answer and has_segwit is not None:
        return has_segwit                       # btcd lists no rules
    rules = _list(answer, "rules", str)
    for rule in rules:
        if rule.startswith("!") and rule[1:] not in known:
            raise _wrong(f"the network has a rule that this version does not know, {rule[1:60]!r}: update warppool")
    return "segwit" in rules or "!segwit" in rules


def _tip(answer: Mapping[str, Any], previous: Reading | None) -> Tip:
    prev_hash = _hash(answer, "previousblockhash")
    nbits = _u32_hex(answer, "bits")
    try:
        target = target_from_nbits(nbits)
    except ValueError as exc:
        raise _wrong(f"bits: {exc}") from exc
    if not target:
        raise _wrong(f"bits: no hash can meet {nbits:08x}")
    if "target" in answer and int.from_bytes(_hash(answer, "target"), "little") != target:
        raise _wrong(f"target: it is not the target of bits {nbits:08x}")
    height = _int(answer, "height", 1, MAX_HEIGHT)
    if previous is not None:
        before = previous.template.tip
        if prev_hash == before.prev_hash and height != before.height:
            raise _wrong(f"height: {height}, but {before.height} on the same previous block a moment ago")
    curtime = _int(answer, "curtime", 0, _U32_MAX)
    min_ntime = _int(answer, "mintime", 0, _U32_MAX) if "mintime" in answer else 0
    if curtime < min_ntime:         # the node's clock is behind its own chain: every block of now would be refused
        raise _wrong(f"curtime: {curtime} is below mintime, {min_ntime}: set the clock of the node's machine")
    return Tip(prev_hash, nbits, target, curtime, height)


def _version(answer: Mapping[str, Any]) -> int:
    """The version as the node wants it; the job clears the bits that miners may roll."""
    version = _int(answer, "version", -2**31, 2**31 - 1)
    if version < LEAST_VERSION:
        raise _wrong(f"version: {version}; nodes refuse blocks below {LEAST_VERSION}")
    required = _int(answer, "vbrequired", 0, _U32_MAX) if "vbrequired" in answer else 0
    if required & (~version | FREE_VERSION_BITS):
        raise _wrong(f"vbrequired: {required:08x} has bits that version {version:08x} lacks or "
                     "that machines roll (1fffffe0): such a block cannot be made here")
    return version


def _value(answer: Mapping[str, Any], network: str, height: int) -> int:
    """What our outputs may claim; more than subsidy and fees would make every block invalid."""
    value = _int(answer, "coinbasevalue", 0, MAX_MONEY_SAT)
    fees = [entry.get("fee") for entry in answer["transactions"]]
    if all(isinstance(fee, int) and not isinstance(fee, bool) for fee in fees):
        allowed = block_subsidy(height, network) + sum(fees)
        if value > allowed:
            raise _wrong(f"coinbasevalue: {value} sat, but subsidy and fees at height {height} are {allowed}")
    return value


def _transactions(answer: Mapping[str, Any], previous: Reading | None) -> dict[str, KnownTransaction]:
    """By wtxid in hex, in block order."""
    known = previous.transactions if previous is not None else {}
    found: dict[str, KnownTransaction] = {}
    txids: set[bytes] = set()
    for index, entry in enumerate(_list(answer, "transactions", dict)):
        name = entry.get("hash")
        transaction = known.get(name) if isinstance(name, str) else None
        if transaction is None:
            transaction = _new_transaction(entry, index)
        if entry.get("txid") != to_display(transaction.txid):
            raise _wrong(f"transactions[{index}].txid is not that of its data")
        if transaction.txid in txids:
            raise _wrong(f"transactions[{index}] stands in the list twice")
        _check_depends(entry, index)
        txids.add(transaction.txid)
        found[entry["hash"]] = transaction
    return found


def _new_transaction(entry: Mapping[str, Any], index: int) -> KnownTransaction:
    try:
        raw = bytes.fromhex(entry["data"])
        read = whole_transaction(raw)
    except (KeyError, TypeError, ValueError) as exc:
        raise _wrong(f"transactions[{index}].data is no transaction: {str(exc)[:80]}") from exc
    if entry.get("hash") != to_display(read.wtxid):
        raise _wrong(f"transactions[{index}].hash is not that of its data")
    return KnownTransaction(raw, read.txid, read.wtxid, read.weight)


def _check_depends(entry: Mapping[str, Any], index: int) -> None:
    """A transaction names those before it that it spends, counted from 1."""
    if "depends" in entry:
        for number in _list(entry, "depends", int):
            if not 1 <= number <= index:
                raise _wrong(f"transactions[{index}].depends: {number} does not stand before it")


def _check_limits(
    answer: Mapping[str, Any], transactions: Sequence[KnownTransaction], ours: Needs, has_segwit: bool
) -> None:
    """The block with our largest coinbase stays within what the node says and what consensus says.

    A node leaves room for header, transaction count and coinbase together: Core and Knots 2,000 units at the least.
    """
    head = HEADER_SIZE + len(encode_compact_size(1 + len(transactions)))
    sigops = [_sigops(entry) for entry in answer["transactions"]]
    # Before segwit the node counts in units of its own (sizelimit 1 MB, sigoplimit 20,000), which its limits tell.
    our_sigops = SIGOP_COST * ours.sigops if has_segwit else ours.sigops
    limits = [("sizelimit", MAX_BLOCK_SIZE, sum(len(tx.raw) for tx in transactions), head + ours.size),
              ("sigoplimit", MAX_BLOCK_SIGOPS, sum(sigops), our_sigops)]
    if has_segwit:
        limits.append(("weightlimit", MAX_BLOCK_WEIGHT, sum(tx.weight for tx in transactions), 4 * head + ours.weight))
    for name, consensus, theirs, need in limits:
        limit = min(consensus, _int(answer, name, 0, _U32_MAX) if name in answer else consensus)
        if theirs + need > limit:
            raise _wrong(f"{name}: its transactions take {theirs} of {limit}, and header and coinbase need {need}: let "
                         "the node leave room (blockreservedweight 2000 or more)")


def _facts(answer: Mapping[str, Any], transactions: Sequence[KnownTransaction], has_segwit: bool) -> TransactionFacts:
    """What a shorter template is made by. Before segwit the node counts bytes and sigops in units of a quarter."""
    unit = 1 if has_segwit else SIGOP_COST
    fees = tuple(entry.get("fee") for entry in answer["transactions"])
    has_fees = all(isinstance(fee, int) and not isinstance(fee, bool) and fee >= 0 for fee in fees)
    return TransactionFacts(
        txids=tuple(transaction.txid for transaction in transactions),
        wtxids=tuple(transaction.wtxid for transaction in transactions),
        weights=tuple(transaction.weight for transaction in transactions),
        sigop_costs=tuple(unit * _sigops(entry) for entry in answer["transactions"]),
        fees=fees if has_fees else None,
        max_weight=_limit(answer, "weightlimit" if has_segwit else "sizelimit", unit, MAX_BLOCK_WEIGHT),
        max_sigop_cost=_limit(answer, "sigoplimit", unit, MAX_BLOCK_SIGOPS),
    )


def _limit(answer: Mapping[str, Any], name: str, unit: int, consensus: int) -> int:
    return min(consensus, unit * _int(answer, name, 0, _U32_MAX)) if name in answer else consensus


def _sigops(entry: Mapping[str, Any]) -> int:
    cost = entry.get("sigops", 0)
    if not isinstance(cost, int) or cost < 0:
        raise _wrong("transactions: sigops is not a number")
    return cost


def _commitment(answer: Mapping[str, Any], transactions: Sequence[KnownTransaction]) -> bytes:
    """The output that commits to the witnesses, made here; the node's must be the same if it gives one.

    A block without witnesses may do without, but with it needs no second kind of coinbase (and a signet wants it).
    """
    commitment = witness_commitment([transaction.wtxid for transaction in transactions])
    output = commitment_output(commitment)
    theirs = answer.get("default_witness_commitment")
    # BIP145 wants the output's whole script here; btcd gives the 32 bytes alone, and nothing where no witness is.
    if theirs is not None and theirs not in (output[_OUTPUT_HEAD:].hex(), commitment.hex()):
        raise _wrong("default_witness_commitment does not commit to the transactions beside it")
    return output


def _refuse_witnesses(transactions: Iterable[KnownTransaction]) -> None:
    if any(transaction.txid != transaction.wtxid for transaction in transactions):
        raise _wrong("transactions: one has a witness, but segwit is not among the rules")


def _int(answer: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = answer.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(f"{name}: {str(value)[:40]} is not a whole number of {least}..{most}")
    return value


def _list(answer: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    values = answer.get(name)
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise _wrong(f"{name} is not a list of {kind.__name__}")
    return values


def _hash(answer: Mapping[str, Any], name: str) -> bytes:
    """64 hex digits in display order, as 32 bytes in header order."""
    try:
        return from_display(answer[name])
    except (KeyError, TypeError, ValueError) as exc:
        raise _wrong(f"{name}: {str(answer.get(name))[:80]} is not 64 hex digits") from exc


def _u32_hex(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, str) or len(value) != 8:
        raise _wrong(f"{name}: {str(value)[:40]} is not 8 hex digits")
    try:
        return int.from_bytes(bytes.fromhex(value), "big")
    except ValueError as exc:
        raise _wrong(f"{name}: {value} is not 8 hex digits") from exc


def _wrong(sentence: str) -> NodeError:
    return NodeError(f"getblocktemplate: {sentence}")

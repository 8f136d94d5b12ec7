"""The transactions of a provider's templates, kept so that a block on one of them can be made whole here.

A template is known by its merkle path and its outputs, which commit to every transaction: ids of templates are the
provider's, and may come again after it restarts. A transaction stands here once, however many templates have it; it is
known by all its bytes, since a txid alone leaves the witness open. What is kept stays until its tip is six deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from warppool.bitcoin.block import MAX_BLOCK_WEIGHT
from warppool.bitcoin.coinbase import find_commitment, witness_commitment
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.header import HEADER_SIZE
from warppool.bitcoin.merkle import merkle_path
from warppool.bitcoin.transaction import Transaction, whole_transaction
from warppool.errors import RemoteProtocolError
from warppool.mining.reserve import Needs
from warppool.mining.template import Template
from warppool.node.gbt import MAX_BLOCK_SIZE
from warppool.node.nodeblocks import BURIED_UNDER

MOST_BYTES: Final = 128 << 20
"""What one node's templates may take here: the oldest go first where a provider makes us keep more."""

MOST_TRANSACTIONS: Final = 16_666
"""Of one block: 4,000,000 weight units, and at least 240 for each."""

_OVERHEAD = 400                 # bytes that a transaction takes beside its own: ids and the places where it is named
_PIECE = 256                    # transactions that are read at one stroke


class TransactionsKey(NamedTuple):
    """What commits to the transactions of a template."""

    merkle_path: tuple[bytes, ...]
    outputs: bytes


def key_of(template: Template) -> TransactionsKey:
    """By what the transactions of `template` are known."""
    return TransactionsKey(template.merkle_path, template.coinbase_tx_outputs)


@dataclass(frozen=True, slots=True)
class TransactionsKept:
    """From the thread of node number `node` to the submitter: what was found on such a template can be made whole."""

    node: int
    key: TransactionsKey
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TransactionsDropped:
    """The same: no block on such templates can win any more."""

    node: int
    keys: tuple[TransactionsKey, ...]


@dataclass(slots=True)
class _Held:
    """One transaction, and how many templates have it."""

    raw: bytes
    read: Transaction
    uses: int = 0


class TransactionShelf:
    """What is kept for one node. Owned by that node's thread; the submitter has the same bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = 0                              # that it takes, about
        self._most_bytes = most_bytes
        self._held: dict[bytes, _Held] = {}
        self._kept: dict[TransactionsKey, tuple[int, tuple[bytes, ...]]] = {}       # with the height; the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, template: Template) -> tuple[bytes, ...] | None:
        """The transactions of `template`, None where they have not come or are gone."""
        kept = self._kept.get(key_of(template))
        return kept[1] if kept is not None else None

    def shelving(self, template: Template, raws: Sequence[bytes], ours: Needs) -> Iterator[None]:
        """Check that `raws` are the transactions of `template` and keep them, piece by piece: to be taken to its end.

        `ours` is what our largest coinbase needs beside them. RemoteProtocolError says what is wrong with them.
        """
        if len(raws) > MOST_TRANSACTIONS or sum(map(len, raws)) > MAX_BLOCK_SIZE:
            raise _wrong(template, f"{len(raws)} with {sum(map(len, raws))} bytes fit no block")
        found: list[_Held] = []
        for index, raw in enumerate(raws):
            if index % _PIECE == _PIECE - 1:
                yield
            found.append(self._held.get(raw) or _read(template, index, raw))
        yield
        _check(template, [each.read for each in found], ours)
        self._keep(template, found)

    def _keep(self, template: Template, found: Sequence[_Held]) -> None:
        key = key_of(template)
        if key in self._kept:
            return
        self.bytes += 8 * len(found)
        for each in found:
            if not each.uses:
                self._held[each.raw] = each
                self.bytes += len(each.raw) + _OVERHEAD
            each.uses += 1
        self._kept[key] = template.tip.height, tuple(each.raw for each in found)

    def let_go(self, height: int) -> tuple[TransactionsKey, ...]:
        """Blocks at `height` are mined now: drop what no block can win on now, and the oldest where it is too much."""
        dropped = [key for key, (of_height, _) in self._kept.items() if of_height <= height - BURIED_UNDER]
        for key in dropped:
            self._drop(key)
        while self.bytes > self._most_bytes and len(self._kept) > 1:
            dropped.append(next(iter(self._kept)))
            self._drop(dropped[-1])
        return tuple(dropped)

    def _drop(self, key: TransactionsKey) -> None:
        _, raws = self._kept.pop(key)
        self.bytes -= 8 * len(raws)
        for raw in raws:
            held = self._held[raw]
            held.uses -= 1
            if not held.uses:
                del self._held[raw]
                self.bytes -= len(raw) + _OVERHEAD


class KeptTransactions:
    """What all nodes have kept, as the submitter sees it; owned by the submitter."""

    def __init__(self) -> None:
        self._by_key: dict[TransactionsKey, tuple[bytes, ...]] = {}
        self._holders: dict[TransactionsKey, set[int]] = {}

    def get(self, key: TransactionsKey) -> tuple[bytes, ...] | None:
        """The transactions behind `key`."""
        return self._by_key.get(key)

    def hear(self, item: TransactionsKept | TransactionsDropped) -> None:
        """A node keeps some, or some no more."""
        if isinstance(item, TransactionsKept):
            self._by_key.setdefault(item.key, item.transactions)
            self._holders.setdefault(item.key, set()).add(item.node)
            return
        for key in item.keys:
            self._let_go(key, item.node)

    def leave(self, node: int) -> None:
        """That node is not there any more."""
        for key in list(self._by_key):
            self._let_go(key, node)

    def _let_go(self, key: TransactionsKey, node: int) -> None:
        holders = self._holders.get(key, set())
        holders.discard(node)
        if not holders:
            self._holders.pop(key, None)
            self._by_key.pop(key, None)


def _read(template: Template, index: int, raw: bytes) -> _Held:
    try:
        return _Held(raw, whole_transaction(raw))
    except ValueError as exc:
        raise _wrong(template, f"number {index} is none: {exc}") from exc


def _check(template: Template, found: Sequence[Transaction], ours: Needs) -> None:
    """They are the ones that the template commits to, and leave room for our coinbase."""
    txids = [each.txid for each in found]
    if len(set(txids)) < len(txids):
        raise _wrong(template, "one comes twice")
    if merkle_path(txids) != template.merkle_path:
        raise _wrong(template, "they do not lead to its merkle_path")
    commitment = find_commitment(template.coinbase_tx_outputs, template.coinbase_tx_outputs_count)
    if commitment is None:
        if any(each.txid != each.wtxid for each in found):
            raise _wrong(template, "one has a witness, and no output commits to it")
    elif commitment != witness_commitment([each.wtxid for each in found]):
        raise _wrong(template, "the commitment among its outputs is not to them")
    head = HEADER_SIZE + len(encode_compact_size(1 + len(found)))
    weight = sum(each.weight for each in found) + 4 * head + ours.weight
    if weight > MAX_BLOCK_WEIGHT:
        raise _wrong(template, f"with our coinbase the block would have {weight} weight units")


def _wrong(template: Template, words: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"transactions of template {template.template_id}: {words}")

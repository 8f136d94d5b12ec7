"""A found block on its way into the chain: its journal entry, who has answered, and the shares that wait for it.

It changes under the submitter's hands alone (node/submitter.py), which knows what to do about it.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from warppool.bitcoin.block import assemble_block
from warppool.bitcoin.compactsize import decode_compact_size
from warppool.bitcoin.header import HEADER_SIZE, Header
from warppool.bitcoin.target import difficulty_from_target, target_from_nbits
from warppool.bitcoin.transaction import parse_transaction
from warppool.events import BlockFound, ShareAccepted
from warppool.mining.payee import Terms
from warppool.net.inbox import NotRecorded
from warppool.node.chainitems import OwnBlock
from warppool.node.items import Outcome, Verdict
from warppool.node.journal import Entry, Told
from warppool.node.kepttransactions import TransactionsKey

WRITE_PATIENCE_S = 2.0      # for a journal entry to be written once a node has the block; it takes a moment
_BEST_FIRST = (Verdict.ACCEPTED, Verdict.SIDE, Verdict.REFUSED)


class WaitingShare(NamedTuple):
    """A share whose block is not safe yet; at `until` (monotonic seconds) it is refused."""

    share: ShareAccepted
    reply_to: queue.Queue[Any] | None
    until: float


@dataclass(slots=True)
class OpenBlock:
    """A block that not every node has answered for good."""

    entry: Entry
    conn_id: int | None = None          # whose connection found it; None if the journal brought it
    is_safe: bool = False               # said as found, and its shares may be booked
    is_written: bool = False            # its journal entry survives our end, though perhaps no power cut
    is_unkept: bool = False             # the disk refuses its entry
    at_node_since: float = math.inf     # monotonic seconds: a real node told then that it has the block
    shares: list[WaitingShare] = field(default_factory=list)
    latest: dict[int, Verdict] = field(default_factory=dict)    # by node: where it stands, as told
    final: dict[int, Verdict] = field(default_factory=dict)     # by node, in this process: buried or refused
    early: list[Outcome] = field(default_factory=list)          # before the block was safe
    booked: Verdict | None = None       # the outcome that the books hold
    key: TransactionsKey | None = None      # by what its transactions are known, where this process has its template

    @property
    def best(self) -> Verdict | None:
        """The best that any node says; None before the first."""
        return next((verdict for verdict in _BEST_FIRST if verdict in self.latest.values()), None)

    @property
    def safe_at(self) -> float:
        """When a node's word makes it safe (monotonic seconds): at once where our journal has the block as well.

        A node has not flushed what it took. Were it and we killed at the same moment, and the entry not even written,
        nobody would have the block. So the entry is waited for, unless the disk refuses it, or hangs.
        """
        return self.at_node_since + (0.0 if self.is_written or self.is_unkept else WRITE_PATIENCE_S)

    @property
    def difficulty(self) -> float:
        """The network's, at this block."""
        nbits = Header.unpack(self.entry.data[:HEADER_SIZE]).nbits
        return float(difficulty_from_target(target_from_nbits(nbits)))

    def is_news(self, node: int, verdict: Verdict) -> bool:
        """True unless this is what the node said last, in this process or in the one before a crash."""
        return self.latest.get(node) is not verdict

    def tell(self, told: Told) -> None:
        """The log has it now."""
        self.latest[told.node] = told.verdict
        self.entry = replace(self.entry, told=(*self.entry.told, told))

    def is_at(self, node: int) -> bool:
        """True if the node has told that it has the block."""
        return self.latest.get(node) in (Verdict.ACCEPTED, Verdict.SIDE)

    def is_lost(self, nodes: Collection[int]) -> bool:
        """True if every one of the nodes, by their numbers, refuses it, and no node that was there before took it."""
        return self.best is Verdict.REFUSED and all(number in self.latest for number in nodes)

    def refuse_shares(self, at_latest: float = math.inf) -> None:
        """Its machines have waited long enough: those shares that may wait until `at_latest` are refused."""
        late = [each for each in self.shares if each.until <= at_latest]
        self.shares = [each for each in self.shares if each.until > at_latest]
        for share, reply_to, _ in late:
            refuse(share, reply_to)

    def complete(self, transactions: Sequence[bytes]) -> None:
        """Its transactions have come: it is whole from now on. ValueError if it cannot be assembled."""
        header, coinbase_tx = parts_of(self.entry)
        self.entry = replace(self.entry, is_whole=True, data=assemble_block(header, coinbase_tx, transactions))


def make_entry(block: BlockFound, unix: float, transactions: Sequence[bytes] | None, node: int | None) -> Entry:
    """What the journal keeps of a block found at `unix`; ValueError if it cannot be assembled.

    Without `transactions` the block is not whole, and only `node`, whose template it was found on, can build it.
    """
    return Entry(
        block_hash=block.block_hash,
        height=block.height,
        user=block.user,
        time=unix,
        template_id=block.template.template_id,
        is_whole=transactions is not None,
        data=block.header + block.coinbase_tx if transactions is None
        else assemble_block(block.header, block.coinbase_tx, transactions),
        node=node,
        finder=block.payee.account if block.payee is not None and has_payees(block.terms) else "",
        terms=block.terms if has_payees(block.terms) else None,
    )


def has_payees(terms: Terms | None) -> bool:
    """Whether a coinbase pays accounts: not where all of it is `payout_address`'s, as in mode `pool`."""
    return terms is not None and bool(terms.account or terms.snapshot_id)


def own_block(entry: Entry, is_replay: bool) -> OwnBlock:
    """What has to be known of a block of ours to follow what it pays."""
    header, coinbase_tx = parts_of(entry)
    return OwnBlock(entry.block_hash, entry.height, header, coinbase_tx, entry.terms, entry.finder, entry.time,
                    is_replay)


def refuse(share: ShareAccepted | None, reply_to: queue.Queue[Any] | None) -> None:
    """Tell the machine, by its worker, that the share is not recorded."""
    if share is not None and reply_to is not None:
        reply_to.put(NotRecorded(((share.conn_id, share.share_id),)))


def parts_of(entry: Entry) -> tuple[bytes, bytes]:
    """(header, coinbase transaction) of an entry, whole or not; ValueError where it is no block."""
    start = HEADER_SIZE
    if entry.is_whole:
        _, start = decode_compact_size(entry.data, HEADER_SIZE)
    return entry.data[:HEADER_SIZE], entry.data[start:parse_transaction(entry.data, start).end]

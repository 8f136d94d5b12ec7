"""What the log says of a found block, from the moment that it is handed to the nodes."""

from __future__ import annotations

import logging

from warppool.bitcoin.hashes import to_display
from warppool.node.items import Verdict
from warppool.node.journal import Entry, Told
from warppool.node.journalthread import CURE
from warppool.node.openblock import OpenBlock
from warppool.say import say

log = logging.getLogger("warppool")

_LEVELS = {Verdict.ACCEPTED: logging.INFO, Verdict.SIDE: logging.WARNING, Verdict.REFUSED: logging.ERROR}


def say_submitted(entry: Entry, nodes: int) -> None:
    """It is on the queue of so many nodes."""
    say(log, logging.INFO, "block.submitted", height=entry.height, hash=to_display(entry.block_hash), nodes=nodes)


def say_found(block: OpenBlock) -> None:
    """It is safe."""
    entry = block.entry
    say(log, logging.INFO, "block.found", height=entry.height, hash=to_display(entry.block_hash), user=entry.user,
        conn=block.conn_id)


def say_stranded(entry: Entry) -> None:
    """No node here can be given it."""
    say(log, logging.CRITICAL, "block.stranded", height=entry.height, hash=to_display(entry.block_hash),
        template=entry.template_id, reason="only the node that made its template has its transactions")


def say_partial(entry: Entry) -> None:
    """Its transactions have not come from the provider of its template."""
    say(log, logging.WARNING, "block.partial", height=entry.height, hash=to_display(entry.block_hash),
        template=entry.template_id, meaning="its transactions have not come yet: until they do, only the provider of "
        "the template can build it")


def say_completed(entry: Entry, nodes: int) -> None:
    """They have come, and the whole block is on the queue of so many nodes."""
    say(log, logging.INFO, "block.completed", height=entry.height, hash=to_display(entry.block_hash), nodes=nodes)


def say_entrusted(entry: Entry) -> None:
    """A provider alone can bring it to the chain."""
    say(log, logging.WARNING, "block.entrusted", height=entry.height, hash=to_display(entry.block_hash),
        meaning="no node takes the whole block: it is kept, and handed to the template provider again until the chain "
        "is seen to have it", cure='add a [[node]] with source = "rpc"')


def say_unjournaled(block: OpenBlock, reason: str) -> None:
    """The disk refuses its journal entry."""
    entry = block.entry
    say(log, logging.CRITICAL, "block.unjournaled", height=entry.height, hash=to_display(entry.block_hash),
        user=entry.user, conn=block.conn_id, reason=reason, cure=CURE)


def say_outcome(told: Told, block_hash: bytes, is_lost: bool, **fields: object) -> None:
    """`block.accepted`, `block.side` or `block.refused`; a block that every node refused is CRITICAL."""
    level = _LEVELS[told.verdict] if not is_lost else logging.CRITICAL
    reason = {"reason": told.reason} if told.reason else {}
    say(log, level, f"block.{told.verdict.value}", **fields, hash=to_display(block_hash),
        node=f"node-{told.node}", **reason)

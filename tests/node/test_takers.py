"""Blocks on a template provider's templates: whole to every node that takes them, and to the provider as a solution."""

from __future__ import annotations

import queue
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.node.chainblocks import mine
from tests.node.test_submitter import Rig, _all_of, events
from tests.sv2.templates import UNIX, new_template, new_tip, raw_transactions
from warppool.bitcoin.block import assemble_block
from warppool.events import BlockFound
from warppool.mining.template import Template
from warppool.node.items import BestNode, DropBlock, HasBlock, Outcome, SubmitBlock, Verdict
from warppool.node.journal import Journal
from warppool.node.kepttransactions import TransactionsDropped, TransactionsKept, key_of
from warppool.node.solutions import OfferSolution
from warppool.node.takers import NodeInbox
from warppool.sv2.templatechecks import template_of, tip_of

pytestmark = pytest.mark.usefixtures("all_levels")

RAWS = raw_transactions(3)
PROVIDER, RPC = True, False


class ProviderRig(Rig):
    """The same, with providers among the nodes."""

    def __init__(self, data_dir: Path, *providers: bool, insecure: int | None = None) -> None:
        super().__init__(data_dir, ())
        self.inboxes = [NodeInbox(queue.Queue(), False, is_provider, number == insecure)
                        for number, is_provider in enumerate(providers)]
        self.submitter.reconfigure(dict(enumerate(self.inboxes)))

    def said(self, node: int) -> list[Any]:
        return _all_of(self.inboxes[node].inbox)


def template(source: str = "node-0", raws: tuple[bytes, ...] = RAWS, template_id: int = 7) -> Template:
    message = new_template(template_id, 5, transactions=raws)
    return template_of(message, tip_of(new_tip(template_id), 5, UNIX), source)


def whole(block: BlockFound, raws: tuple[bytes, ...] = RAWS) -> bytes:
    return assemble_block(block.header, block.coinbase_tx, raws)


def kept(node: int = 0, raws: tuple[bytes, ...] = RAWS) -> TransactionsKept:
    return TransactionsKept(node, key_of(template(raws=raws)), raws)


def test_a_block_whose_transactions_are_kept_goes_out_both_ways_at_once(tmp_path, caplog):
    rig = ProviderRig(tmp_path, PROVIDER, RPC)
    rig.turn(kept())
    rig.found(block := mine(template()))
    assert rig.said(0) == [OfferSolution(block.block_hash, 5, block.header, block.coinbase_tx, 7, is_watched=False,
                                         key=kept().key)]
    assert rig.said(1) == [SubmitBlock(block.block_hash, 5, whole(block))]
    (entry,) = Journal(tmp_path / "blocks").load()
    assert entry.is_whole and entry.data == whole(block)
    assert events(caplog)[:2] == ["block.submitted", "block.found"]


def test_a_block_is_made_whole_when_its_transactions_come(tmp_path, caplog):
    rig = ProviderRig(tmp_path, PROVIDER, RPC)
    rig.found(block := mine(template()))
    assert [item.is_watched for item in rig.said(0)] == [True] and rig.said(1) == []
    (entry,) = Journal(tmp_path / "blocks").load()
    assert not entry.is_whole and (entry.node, entry.template_id) == (0, 7)
    assert "block.partial" in events(caplog)
    rig.turn(kept(raws=raw_transactions(4)))
    assert rig.said(1) == []
    rig.turn(kept())
    assert rig.said(1) == [SubmitBlock(block.block_hash, 5, whole(block))]
    assert [item.is_watched for item in rig.said(0)] == [False]
    (entry,) = Journal(tmp_path / "blocks").load()
    assert entry.is_whole and entry.data == whole(block)
    assert events(caplog) == ["block.completed"]
    rig.turn(kept())
    assert rig.said(1) == []


def test_what_a_kill_left_half_goes_to_the_provider_of_its_template_alone(tmp_path, caplog):
    rig = ProviderRig(tmp_path, RPC, PROVIDER, PROVIDER)
    rig.found(block := mine(template("node-2")))
    again = ProviderRig(tmp_path, RPC, PROVIDER, PROVIDER)
    assert again.said(0) == []
    assert [item.template_id for item in again.said(1)] == [None]
    assert [(item.template_id, item.header, item.coinbase_tx) for item in again.said(2)] == [
        (7, block.header, block.coinbase_tx)]


def test_without_an_rpc_node_the_provider_has_the_word_and_the_block_is_said_to_depend_on_it(tmp_path, caplog):
    rig = ProviderRig(tmp_path, PROVIDER)
    rig.turn(kept())
    rig.found(block := mine(template()))
    assert [item.is_watched for item in rig.said(0)] == [True]
    assert "block.entrusted" in events(caplog)
    rig.outcome(block, Verdict.ACCEPTED)
    assert "block.accepted" in events(caplog) and rig.submitter._open
    rig.outcome(block, Verdict.BURIED)
    assert not rig.submitter._open and Journal(tmp_path / "blocks").load() == []


def test_a_whole_block_depends_on_the_nodes_that_took_it_whatever_the_provider_is(tmp_path):
    rig = ProviderRig(tmp_path, PROVIDER, RPC)
    rig.turn(kept(), BestNode(0))
    rig.found(block := mine(template()))
    rig.turn(HasBlock(block.block_hash, 1), Outcome(block.block_hash, 1, Verdict.ACCEPTED, ""))
    rig.said(0)
    rig.outcome(block, Verdict.BURIED, node=1)
    assert not rig.submitter._open                          # though the best tip is the provider's, who says nothing
    assert rig.said(0) == [DropBlock(block.block_hash)]


def test_a_provider_that_may_be_anybody_is_not_believed_beside_another(tmp_path):
    rig = ProviderRig(tmp_path, PROVIDER, PROVIDER, insecure=0)
    rig.turn(kept())
    rig.found(block := mine(template()))
    assert [(item.template_id, item.is_watched) for item in rig.said(0)] == [(7, False)]
    assert [(item.template_id, item.is_watched) for item in rig.said(1)] == [(None, True)]
    rig.outcome(block, Verdict.BURIED, node=1)
    assert not rig.submitter._open


def test_an_rpc_node_that_is_added_gets_what_lies_there(tmp_path):
    rig = ProviderRig(tmp_path, PROVIDER)
    rig.turn(kept())
    rig.found(block := mine(template()))
    rig.inboxes.append(NodeInbox(queue.Queue(), False))
    rig.submitter.reconfigure(dict(enumerate(rig.inboxes)))
    assert rig.said(1) == [SubmitBlock(block.block_hash, 5, whole(block), is_replay=True)]


def test_a_block_of_a_provider_that_is_gone_and_whose_transactions_never_came_is_stranded(tmp_path, caplog):
    ProviderRig(tmp_path, PROVIDER).found(mine(template()))
    events(caplog)
    Rig(tmp_path)
    assert "block.stranded" in events(caplog)


def test_transactions_that_are_dropped_are_not_used_any_more(tmp_path, caplog):
    rig = ProviderRig(tmp_path, PROVIDER, RPC)
    rig.turn(kept(), TransactionsDropped(0, (kept().key,)))
    rig.found(mine(template()))
    assert rig.said(1) == []
    block = mine(replace(template(raws=()), template_id=9))
    rig.found(block)                                        # no transactions: nothing has to come
    assert rig.said(1) == [SubmitBlock(block.block_hash, 5, whole(block, ()))]

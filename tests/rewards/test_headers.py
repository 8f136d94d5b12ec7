"""Headers of tips from before a start, asked of nodes."""

import queue

from warppool.errors import NodeError
from warppool.node.jsonrpc import CallForbidden
from warppool.rewards.headers import HeaderReader, HeadersWanted


def parent(height):
    return (height - 1).to_bytes(32, "little")


class Node:
    """Answers as a node does, for heights up to `best`; `trouble` comes with the call number `fails_at`."""

    def __init__(self, trouble=None, fails_at=None):
        self.trouble = trouble
        self.fails_at = fails_at
        self.calls = 0

    def call(self, method, *params, timeout_s):
        self.calls += 1
        if self.calls == self.fails_at:
            raise self.trouble
        if method == "getblockhash":
            return f"{params[0]:064x}"
        assert method == "getblockheader" and params[1] is True
        return {"bits": f"1d00{int(params[0], 16):04x}", "previousblockhash": f"{int(params[0], 16) - 1:064x}"}

    def hang_up(self):
        pass


def asked(*nodes, heights=(9, 8, 7), mined=0):
    reader, answers = HeaderReader({}), queue.Queue()
    reader._nodes = dict(enumerate(nodes))
    reader.turn([HeadersWanted(mined, heights, answers)])
    return answers.get_nowait()


def test_each_height_has_the_parent_and_the_nbits_of_its_header():
    seen = asked(Node())
    assert [(row.height, row.hash, row.nbits) for row in seen.tips] == [
        (height, parent(height), 0x1D000000 + height) for height in (9, 8, 7)]
    assert (seen.trouble, seen.is_refused) == ("", False)


def test_heights_with_a_gap_are_asked_for_one_by_one():
    node = Node()
    assert [(row.height, row.hash) for row in asked(node, heights=(9, 5, 4)).tips] == [
        (height, parent(height)) for height in (9, 5, 4)]
    assert node.calls == 5


def test_another_node_goes_on_where_the_first_one_fails():
    second = Node()
    seen = asked(Node(NodeError("gone"), 3), second)
    assert [row.height for row in seen.tips] == [9, 8, 7] and not seen.trouble
    assert second.calls == 3                    # the first one had told of height 9


def test_the_node_that_is_mined_is_asked_first():
    """Another one may hang, and jobs may wait for this."""
    nodes = Node(), Node(), Node()
    assert len(asked(*nodes, mined=2).tips) == 3
    assert [node.calls for node in nodes] == [0, 0, 4]
    assert len(asked(*nodes, mined=7).tips) == 3 and nodes[0].calls == 4       # a template provider is mined


def test_trouble_and_a_refusal_are_told_apart():
    assert asked(Node(NodeError("silent"), 3)).trouble == "silent"
    assert not asked(Node(NodeError("silent"), 1)).is_refused
    assert asked(Node(CallForbidden("getblockhash"), 1)).is_refused
    assert asked().trouble


def test_an_answer_that_cannot_be_read_is_trouble():
    node = Node()
    node.call = lambda method, *params, timeout_s: "ff" * 32
    assert "getblockheader" in asked(node).trouble

"""The RPC calls that we make of a node: the one list for the daemon, `warppool check`, the README and the manual.

Whoever adds a call to the daemon adds it here; a test reads the calls from the code and compares.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class RpcCall(NamedTuple):
    """One call. `params` are harmless: whatever the node answers to them, it has let us make the call.

    Without a call that `is_needed` the pool cannot mine, hand blocks in or follow them; without another one it only
    knows less, or waits longer. `purpose` completes "the pool needs it to ...".
    """

    method: str
    params: tuple[object, ...]
    purpose: str
    is_needed: bool = True


_NO_HASH: Final = "00" * 32

CALLS: Final = (
    RpcCall("getblockchaininfo", (), "see which chain the node is on"),
    RpcCall("getblocktemplate", ({"rules": ["segwit"]},), "get work"),
    # Half of a block's version: no node can read a block from it, so each refuses it, and only after the rights.
    RpcCall("submitblock", ("00",), "hand in blocks"),
    RpcCall("getblockheader", (_NO_HASH, True), "see what became of a block"),
    RpcCall("getblockhash", (0,), "see whether a block is on the best chain"),
    RpcCall("getblockcount", (), "see how deep a block is buried"),
    RpcCall("getblock", (_NO_HASH, 1), "find blocks of ours that the books lack (in mode pplns no balance is paid "
            "without it), and see what became of one without getblockheader", is_needed=False),
    RpcCall("getrawtransaction", (_NO_HASH, False, _NO_HASH), "find blocks of ours that the books lack, without "
            "reading whole blocks", is_needed=False),
    RpcCall("waitforblockheight", (0, 1), "hear of a new tip at once", is_needed=False),
    RpcCall("getbestblockhash", (), "hear of a new tip soon, and see that the node has threads to spare",
            is_needed=False),
    RpcCall("getnetworkinfo", (), "compare the node's clock with its peers'", is_needed=False),
)

METHODS: Final = tuple(call.method for call in CALLS)

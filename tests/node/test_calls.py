"""The list of calls is that of the code."""

from __future__ import annotations

import ast
from pathlib import Path

from warppool.node.calls import CALLS, METHODS

LOOK_UPS = ("chainview.py", "onchain.py", "chainasker.py")      # the first chooses among several methods
PACKAGE = Path(__file__).parents[2] / "warppool"


def called() -> set[str]:
    """The methods in `rpc.call("METHOD", ...)` and `rpc.ask("METHOD", ...)`, and all that a look-up may use."""
    found = set()
    for path in [*(PACKAGE / "node").glob("*.py"), PACKAGE / "commands/check.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                    and node.func.attr in ("call", "ask") and node.args and isinstance(node.args[0], ast.Constant)):
                found.add(node.args[0].value)
            elif path.name in LOOK_UPS and isinstance(node, ast.Constant) and str(node.value).startswith("get"):
                found.add(str(node.value).partition(":")[0])
    return found


def test_the_list_names_every_call_that_is_made_and_no_other() -> None:
    assert called() | {"getnetworkinfo"} == set(METHODS), "mend warppool/node/calls.py"
    assert len(set(METHODS)) == len(CALLS)

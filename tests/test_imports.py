"""The import rules of the house (architecture.md §2), held by reading every module's syntax tree.

The core is pure, imports point up the list of layers, and each outside package has one door.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[1]
CORE = {"errors", "limits", "transport", "events", "bitcoin", "mining", "noise", "sv1", "sv2", "translate"}
RANKS = {name: rank for rank, names in enumerate((
    ["errors"], ["limits"], ["transport"], ["events"], ["say"], ["threads"], ["loop"], ["files"], ["bitcoin"],
    ["mining"], ["noise"], ["sv1", "sv2"],
    ["translate"], ["net"], ["node"], ["ledger"], ["miner"], ["config"],
    ["service"], ["commands"])) for name in names}
"""A module imports from its own package and from those of lower rank; `sv1` and `sv2` share one and stay strangers."""

NOT_IN_CORE = {"socket", "selectors", "select", "ssl", "threading", "queue", "time", "os", "random", "secrets",
               "logging", "subprocess", "signal", "sqlite3", "concurrent", "multiprocessing", "importlib",
               "say", "threads", "loop", "files"}
NOT_IN_NET = {"sv1", "sv2", "translate"}        # net moves bytes and knows no message
DOORS = {"nacl": {"warppool/noise/primitives.py"}, "pbk": {"warppool/node/kernel.py"},
         "cryptography": {"warppool/commands/democert.py"}}


class Import(NamedTuple):
    """One imported module, by its full dotted name."""

    line: int
    name: str
    is_for_types: bool


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a module that lies in `package`, wherever in the code it stands."""
    only_types = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and _asks_type_checking(node.test)
                  for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from warppool import net` names the module only in what is imported
            names = [f"{origin}.{alias.name}" for alias in node.names] if origin == "warppool" else [origin]
        else:
            continue
        yield from (Import(node.lineno, name, id(node) in only_types) for name in names)


def _asks_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")


def violations(root: Path) -> list[str]:
    """What breaks a rule in the tree at `root`, each as `path:line: words`."""
    said = []
    for path in sorted((root / "warppool").rglob("*.py")):
        where = path.relative_to(root).as_posix()
        parts = where.removesuffix(".py").split("/")
        layer = parts[1]
        for found in imports_of(ast.parse(path.read_text(encoding="utf-8")), ".".join(parts[:-1])):
            said += [f"{where}:{found.line}: {words}" for words in _broken(where, layer, found)]
    return said


def _broken(where: str, layer: str, found: Import) -> Iterator[str]:
    first, _, rest = found.name.partition(".")
    target = rest.split(".")[0] if first == "warppool" else first
    if first == "asyncio":
        yield "asyncio"
    if layer in CORE and target in NOT_IN_CORE:
        yield f"the core imports {target}"
    if first in DOORS and where not in DOORS[first]:
        yield f"{first} has one door, {min(DOORS[first])}"
    if first not in {"warppool", *DOORS} and first not in sys.stdlib_module_names:
        yield f"{first} is no dependency"
    if first == "warppool" and layer in RANKS and target in RANKS and not found.is_for_types and layer != target:
        if RANKS[layer] <= RANKS[target]:
            yield f"{layer} imports {target}, which stands below it"
        elif layer == "net" and target in NOT_IN_NET:
            yield f"net imports {target}"


def test_every_module_has_a_layer():
    top = {path.stem for path in (CHECKOUT / "warppool").iterdir() if path.name != "__pycache__"}
    assert top - RANKS.keys() - {"__init__", "__main__", "py"} == set()


def test_the_house_keeps_its_rules():
    assert violations(CHECKOUT) == []


@pytest.mark.parametrize(("path", "source", "words"), [
    ("sv2/server.py", "import asyncio\n", "asyncio"),
    ("service/run.py", "from asyncio import run\n", "asyncio"),
    ("bitcoin/hashes.py", "import socket\n", "the core imports socket"),
    ("mining/job.py", "def f():\n    from time import time\n", "the core imports time"),
    ("noise/transport.py", "import os.path\n", "the core imports os"),
    ("sv2/messages/mining.py", "import logging as log\n", "the core imports logging"),
    ("sv2/codec.py", "from concurrent.futures import Executor\n", "the core imports concurrent"),
    ("sv2/server.py", "from warppool.say import say\n", "the core imports say"),
    ("events.py", "if TYPE_CHECKING:\n    import queue\n", "the core imports queue"),
    ("bitcoin/hashes.py", "from warppool.mining.job import Job\n", "bitcoin imports mining, which stands below it"),
    ("bitcoin/hashes.py", "from ..mining import job\n", "bitcoin imports mining, which stands below it"),
    ("bitcoin/hashes.py", "from warppool import mining\n", "bitcoin imports mining, which stands below it"),
    ("sv2/messages/common.py", "from ...net import worker\n", "sv2 imports net, which stands below it"),
    ("sv2/server.py", "import warppool.sv1.server\n", "sv2 imports sv1, which stands below it"),
    ("net/worker.py", "from warppool.sv2.connection import Sv2Connection\n", "net imports sv2"),
    ("ledger/sqlite.py", "from warppool.config.pool import Config\n", "ledger imports config, which stands below it"),
    ("threads.py", "from warppool.bitcoin import hashes\n", "threads imports bitcoin, which stands below it"),
    ("noise/cipherstate.py", "import nacl.bindings\n", "nacl has one door, warppool/noise/primitives.py"),
    ("commands/demo.py", "import pbk\n", "pbk has one door, warppool/node/kernel.py"),
    ("service/certificate.py", "from cryptography import x509\n",
     "cryptography has one door, warppool/commands/democert.py"),
    ("commands/check.py", "import requests\n", "requests is no dependency"),
])
def test_a_planted_violation_is_found(tmp_path, path, source, words):
    planted = tmp_path / "warppool" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source, encoding="utf-8")
    line = 1 if source.startswith(("import", "from")) else 2
    assert violations(tmp_path) == [f"warppool/{path}:{line}: {words}"]


@pytest.mark.parametrize(("path", "source"), [
    ("events.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from warppool.mining.job import Job\n"),
    ("sv2/server.py", "from warppool.mining import channel\nfrom .codec import decode\nfrom .. import errors\n"),
    ("noise/primitives.py", "import nacl.bindings\n"),
    ("node/kernel.py", "def f():\n    import pbk\n"),
    ("service/pool.py", "import os, queue\nfrom warppool.net import reactor\nfrom warppool.sv2 import connection\n"),
])
def test_what_the_rules_allow_passes(tmp_path, path, source):
    planted = tmp_path / "warppool" / path
    planted.parent.mkdir(parents=True)
    planted.write_text(source, encoding="utf-8")
    assert violations(tmp_path) == []

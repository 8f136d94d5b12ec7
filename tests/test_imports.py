"""The import rules (docs/architecture.rst), and the sizes, held by reading every module's syntax tree.

The core is pure, imports point up the list of layers, no imports form a circle, and each package from outside has one
module that imports it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[1]
CORE = {"errors", "limits", "transport", "events", "bitcoin", "authority", "addresses", "payout", "mining", "noise",
        "sv1", "sv2", "translate", "stats"}
RANKS = {name: rank for rank, names in enumerate((
    ["errors"], ["limits"], ["transport"], ["events"], ["say"], ["threads"], ["loop"], ["files"],
    ["claimfiles"],
    ["bitcoin"], ["authority"], ["addresses"], ["payout"], ["mining"], ["noise"], ["sv1", "sv2"],
    ["translate"], ["stats"], ["page"], ["net"], ["node"], ["ledger"], ["rewards"], ["miner"], ["notices"], ["status"],
    ["config"], ["web"], ["service"], ["commands"])) for name in names}
"""A module imports from its own package and from those of lower rank; `sv1` and `sv2` share one and stay strangers."""

NOT_IN_CORE = {"socket", "selectors", "select", "ssl", "threading", "queue", "time", "os", "random", "secrets",
               "logging", "subprocess", "signal", "sqlite3", "concurrent", "multiprocessing", "importlib",
               "say", "threads", "loop", "files", "claimfiles"}
STRANGERS = {
    "payout": {"limits", "transport", "events", "authority", "addresses"},
    "net": {"sv1", "sv2", "translate"},         # it moves bytes and knows no message
    "miner": {"translate", "net", "node", "ledger", "rewards"},
    "rewards": {"sv1", "sv2", "translate"},
    "web": {"bitcoin", "noise", "sv1", "sv2", "translate", "node", "rewards", "miner", "config"},
    "config": {"noise", "sv1", "sv2", "translate", "net", "node", "rewards", "miner"},
}
"""Layers that may not be imported, though they stand above."""

DOORS = {"nacl": {"warppool/noise/primitives.py"}, "pbk": {"warppool/node/kernel.py"},
         "cryptography": {"warppool/commands/democert.py"},
         "btclib_secp256k1": {"warppool/noise/secp256k1.py"},
         "waitress": {"warppool/web/server.py"}, "prometheus_client": {"warppool/web/metrics.py"}}


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
        elif target in STRANGERS.get(layer, ()):
            yield f"{layer} imports {target}"


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
    ("payout/window.py", "from warppool.mining.share import Share\n", "payout imports mining, which stands below it"),
    ("payout/window.py", "from warppool.events import Send\n", "payout imports events"),
    ("payout/snapshot.py", "import sqlite3\n", "the core imports sqlite3"),
    ("config/options.py", "from warppool.miner.link import Sv2Link\n", "config imports miner"),
    ("config/reading.py", "import warppool.net.listener\n", "config imports net"),
    ("miner/cpu.py", "from warppool.node import rpc\n", "miner imports node"),
    ("service/pool.py", "from warppool.commands import cli\n", "service imports commands, which stands below it"),
    ("config/pool.py", "from warppool.service.log import set_up\n", "config imports service, which stands below it"),
    ("ledger/sqlite.py", "from warppool.config.pool import Config\n", "ledger imports config, which stands below it"),
    ("threads.py", "from warppool.bitcoin import hashes\n", "threads imports bitcoin, which stands below it"),
    ("noise/cipherstate.py", "import nacl.bindings\n", "nacl has one door, warppool/noise/primitives.py"),
    ("noise/specsuite.py", "from btclib_secp256k1 import ellswift\n",
     "btclib_secp256k1 has one door, warppool/noise/secp256k1.py"),
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


# --- circles ----------------------------------------------------------------------------------------------------------

def circles(root: Path) -> list[list[str]]:
    """Modules that import each other, however far around, at run time or for types; each circle by sorted names."""
    graph = import_graph(root)
    reached = {name: _reached(graph, name) for name in graph}
    found = {tuple(sorted(other for other in reached[name] if name in reached[other]))
             for name in graph if name in reached[name]}
    return [list(circle) for circle in sorted(found)]


def import_graph(root: Path) -> dict[str, set[str]]:
    """For each module of the tree at `root`, the modules of the package that it imports, those for types too."""
    paths = {_name_of(path.relative_to(root)): path for path in (root / "warppool").rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & paths.keys()
            elif isinstance(node, ast.ImportFrom):
                base = package.split(".")[:len(package.split(".")) - node.level + 1] if node.level else []
                origin = ".".join([*base, *([node.module] if node.module else [])])
                wanted = {f"{origin}.{alias.name}" for alias in node.names}
                graph[name] |= (wanted & paths.keys()) or ({origin} & paths.keys() - {"warppool"})
    return graph


def _name_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """What `start` imports, directly or through others; `start` itself only where a circle leads back to it."""
    found: set[str] = set()
    left = list(graph[start])
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += graph[name]
    return found


def test_no_imports_form_a_circle_those_for_types_included():
    assert circles(CHECKOUT) == []


@pytest.mark.parametrize("there", ["from warppool.sv2 import b\n", "import warppool.sv2.b\n", "from . import b\n",
                                   "from .b import x\n", "def f():\n    from .b import x\n",
                                   "if TYPE_CHECKING:\n    from warppool.sv2.b import x\n"])
def test_a_circle_is_found_however_it_is_written(tmp_path, there):
    folder = tmp_path / "warppool" / "sv2"
    folder.mkdir(parents=True)
    for name, source in (("__init__", ""), ("a", there), ("b", "from warppool.sv2.c import y\n"),
                         ("c", "from warppool.sv2.a import z\n"), ("d", "from warppool.sv2.a import z\n")):
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    assert circles(tmp_path) == [["warppool.sv2.a", "warppool.sv2.b", "warppool.sv2.c"]]


# --- what reading a configuration takes -------------------------------------------------------------------------------

@pytest.mark.parametrize("module", ["pool", "translator", "reference", "changes", "running"])
def test_reading_a_configuration_imports_no_socket_no_database_and_no_client(module):
    code = f"import sys, warppool.config.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"warppool.config.{module}" in loaded
    layers = {name.split(".")[1] for name in loaded if name.startswith("warppool.")}
    assert layers <= {"addresses", "authority", "bitcoin", "config", "errors", "files", "ledger", "mining",
                      "notices", "payout"}
    assert not loaded & {"socket", "ssl", "selectors", "threading", "queue", "sqlite3", "nacl", "http.client"}


# --- sizes ------------------------------------------------------------------------------------------------------------

MAX_LINES = 400
MAX_ATTRIBUTES = 15


def attributes_of(cls: ast.ClassDef) -> set[str]:
    """The names that objects of the class hold: fields, and what methods set on `self`; not a table in capitals."""
    fields = {node.target.id for node in cls.body
              if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.isupper()}
    return fields | {node.attr for node in ast.walk(cls)
                     if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                     and isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_no_module_is_long():
    lengths = {path.relative_to(CHECKOUT / "warppool").as_posix(): len(path.read_text(encoding="utf-8").splitlines())
               for path in (CHECKOUT / "warppool").rglob("*.py")}
    assert {name for name, lines in lengths.items() if lines > MAX_LINES} == set()


def test_no_class_of_the_translator_holds_too_much():
    found = {}
    for path in (CHECKOUT / "warppool" / "translate").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and len(attributes_of(node)) > MAX_ATTRIBUTES:
                found[f"{path.stem}.{node.name}"] = len(attributes_of(node))
    assert found == {}


def test_the_attributes_of_a_class_are_counted_wherever_they_are_set():
    (cls,) = ast.parse("""
class A:
    _STEPS: dict[int, int] = {}
    x: int
    def f(self):
        self.y, self.z = 1, 2
        self.w += self.v
""").body
    assert isinstance(cls, ast.ClassDef)
    assert attributes_of(cls) == {"w", "x", "y", "z"}

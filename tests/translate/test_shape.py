"""How the package is built: no import circle."""

from __future__ import annotations

import ast
from pathlib import Path

import warppool.translate

PACKAGE = Path(warppool.translate.__file__).parent
MODULES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.glob("*.py"))}


def imports_of(tree):
    """The modules of the package that this one imports, under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warppool.translate."):
            yield node.module.split(".")[2]
        elif isinstance(node, ast.ImportFrom) and node.module == "warppool.translate":
            yield from (alias.name for alias in node.names)


def test_no_module_imports_one_that_imports_it():
    after = {name: set(imports_of(tree)) & MODULES.keys() for name, tree in MODULES.items()}
    while done := [name for name, needs in after.items() if not needs]:
        for name in done:
            del after[name]
        for needs in after.values():
            needs.difference_update(done)
    assert after == {}, "these modules import each other in a circle, or import those that do"

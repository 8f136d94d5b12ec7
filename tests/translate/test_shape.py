"""How the package is built: no import circle, no long module, no class that holds too much."""

from __future__ import annotations

import ast
from pathlib import Path

import warppool.translate
from warppool.translate.session import TranslatorSession

PACKAGE = Path(warppool.translate.__file__).parent
MODULES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.glob("*.py"))}
MAX_LINES = 400
MAX_ATTRIBUTES = 15


def imports_of(tree):
    """The modules of the package that this one imports, under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warppool.translate."):
            yield node.module.split(".")[2]
        elif isinstance(node, ast.ImportFrom) and node.module == "warppool.translate":
            yield from (alias.name for alias in node.names)


def attributes_of(node):
    """What an instance holds: the class's `__slots__`, or its annotated fields, and all that its methods set.

    A table of the class, in capitals, is no attribute of an instance.
    """
    held = set()
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__slots__" for target in statement.targets):
            held |= set(ast.literal_eval(statement.value))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and (
                not statement.target.id.strip("_").isupper()):
            held.add(statement.target.id)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and (
                isinstance(inner.value, ast.Name) and inner.value.id == "self"):
            held.add(inner.attr)
    return held


def test_no_module_imports_one_that_imports_it():
    after = {name: set(imports_of(tree)) & MODULES.keys() for name, tree in MODULES.items()}
    while done := [name for name, needs in after.items() if not needs]:
        for name in done:
            del after[name]
        for needs in after.values():
            needs.difference_update(done)
    assert after == {}, "these modules import each other in a circle, or import those that do"


def test_no_module_is_long():
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.glob("*.py")}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_class_holds_too_much():
    held = {f"{name}.{node.name}": attributes_of(node) for name, tree in MODULES.items() for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)}
    assert "seek_at" in held["route.Route"]
    assert {name: sorted(each) for name, each in held.items() if len(each) > MAX_ATTRIBUTES} == {}


def test_a_session_holds_little_with_all_that_it_inherits():
    slots = {name for cls in TranslatorSession.__mro__ for name in getattr(cls, "__slots__", ())}
    assert len(slots) <= MAX_ATTRIBUTES

"""One name, one thing: no two public classes of the package have one name (docs/style.rst#style-words)."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

ONE_IDEA_IN_TWO_PROTOCOLS = {
    "Context", "MiningServerSession", "ReconnectAsked", "ServerConnection", "SetNewPrevHash", "Share", "Work",
    "WorkReady",
}
"""Each stands once in V1 and once in V2, or in two subprotocols of V2, and says so where it stands."""

OLD_WORDS = {"desk": "job maker", "surroundings": "context", "giving": "assignment", "hush": "the limit of the log"}
"""Invented words that were given up, and what is said in their place (docs/glossary.rst)."""


def homes(root: Path) -> dict[str, set[str]]:
    """The modules of each public class, by its name."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (root / "warppool").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(path.relative_to(root / "warppool").as_posix())
    return found


def shared(root: Path) -> dict[str, set[str]]:
    """Names of more than one class that are not allowed to be."""
    return {name: where for name, where in homes(root).items()
            if len(where) > 1 and not (name in ONE_IDEA_IN_TWO_PROTOCOLS and len(where) == 2
                                       and {each.split("/")[0] for each in where} <= {"sv1", "sv2"})}


def test_no_two_classes_have_one_name():
    assert shared(CHECKOUT) == {}


def test_what_is_allowed_is_still_shared():
    found = homes(CHECKOUT)
    assert {name for name in ONE_IDEA_IN_TWO_PROTOCOLS if len(found[name]) < 2} == set()


@pytest.mark.parametrize("word", OLD_WORDS)
def test_a_word_that_was_given_up_names_no_module_and_no_class(word):
    modules = [path.stem for path in (CHECKOUT / "warppool").rglob("*.py")]
    assert [name for name in [*modules, *homes(CHECKOUT)] if word in name.lower()] == []


@pytest.mark.parametrize(("first", "second"), [
    ("net/worker.py", "node/worker.py"),            # neither is a protocol
    ("sv1/a.py", "translate/a.py"),
])
def test_a_planted_name_is_found(tmp_path, first, second):
    for path in (first, second):
        module = tmp_path / "warppool" / path
        module.parent.mkdir(parents=True)
        module.write_text("class Share:\n    pass\n\n\nclass _Share:\n    pass\n", encoding="utf-8")
    assert shared(tmp_path) == {"Share": {first, second}}

"""What code and pages say of each other leads somewhere: pages and labels under docs/, files, objects, wire tables.

A reference in code is a path and, behind `#`, a label of that page: `docs/warp.rst#warp-noise`. Names of files in the
pages are paths from the checkout or from the package; a bare name such as `counter.py` is some file of the package.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from warppool.sv2 import types
from warppool.sv2.messages import common, extensions, mining, template

CHECKOUT = Path(__file__).parents[1]
REFERRING = ("warppool", "tests", "bench", "systemd", "docs", "README.rst", "CONTRIBUTING.rst", "tox.ini", "setup.cfg",
             ".ci/run", "warppool.py")
SUFFIXES = {".py", ".rst", ".c", ".toml", ".service", ".ini", ".cfg", ".1", ""}
NOT_OURS = {"node_modules", "__pycache__", "_build", "vectors", "firmware"}

PAGE = re.compile(r"\bdocs/([\w./-]*\w\.(?:rst|1))(?:#([\w-]+))?")
NOT_A_REFERENCE = re.compile(r"\b[\w-]+\.md\b|\(§[\d.]+|(?<=[(\s]):(?:ref|doc):`[^`]+`")
"""What a reader of the code cannot follow: papers that are not here, sections of nothing, and Sphinx's own roles."""

LABEL = re.compile(r"^\.\. _([\w-]+):$", re.MULTILINE)
FILE = re.compile(r"``((?:[\w.-]+/)*[\w-]+\.(?:py|json|toml|cfg|ini|c))``")
INCLUDE = re.compile(r"^\.\. literalinclude:: (\S+)\n   :pyobject: (\S+)$", re.MULTILINE)
MADE_BY_OPERATORS = {"secrets.toml", "warppool.toml", "translator.toml", "running.toml"}


def files(root: Path, names: tuple[str, ...] = REFERRING) -> Iterator[Path]:
    """Every file under `names` in which something may be referred to."""
    for name in names:
        path = root / name
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file() and each.suffix in SUFFIXES and not NOT_OURS & set(each.parts):
                yield each


def labels(page: Path) -> list[str]:
    return LABEL.findall(page.read_text(encoding="utf-8"))


def unresolved(root: Path) -> list[str]:
    """References to pages that lead nowhere, each as `path:line: reference`."""
    said = []
    for path in files(root):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            where = f"{path.relative_to(root).as_posix()}:{number}"
            for page, label in PAGE.findall(line):
                target = root / "docs" / page
                if not target.is_file() or (label and label not in labels(target)):
                    said.append(f"{where}: docs/{page}{'#' if label else ''}{label}")
            if not where.startswith("docs/"):
                said += [f"{where}: {words}" for words in NOT_A_REFERENCE.findall(line)]
    return said


def test_every_reference_leads_to_a_page_and_a_label():
    this = Path(__file__).relative_to(CHECKOUT).as_posix()
    assert [said for said in unresolved(CHECKOUT) if not said.startswith(this)] == []


@pytest.mark.parametrize(("line", "reference"), [
    ("see docs/warp.rst#nowhere", "docs/warp.rst#nowhere"),
    ("(docs/nothing.rst).", "docs/nothing.rst"),
    ("docs/howto/nothing.rst#warp", "docs/howto/nothing.rst#warp"),
    ("(style.md §6)", "style.md"),
    ("waits for its record (§4.6)", "(§4.6"),
    ("close last (:ref:`threads`)", ":ref:`threads`"),
])
def test_a_planted_reference_that_leads_nowhere_is_found(tmp_path, line, reference):
    (tmp_path / "warppool").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/warp.rst").write_text(".. _warp:\n\nThe profile\n===========\n", encoding="utf-8")
    (tmp_path / "README.rst").write_text("docs/warp.rst#warp, docs/warp.rst\n", encoding="utf-8")
    for name in ("CONTRIBUTING.rst", "tox.ini", "setup.cfg", "warppool.py"):
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / "warppool/net.py").write_text(f'"""A module.\n\n{line}\n"""\n', encoding="utf-8")
    assert unresolved(tmp_path) == [f"warppool/net.py:3: {reference}"]


def test_no_label_stands_on_two_pages():
    found = Counter(label for page in (CHECKOUT / "docs").rglob("*.rst") for label in labels(page))
    assert [label for label, count in found.items() if count > 1] == []


def pages() -> list[Path]:
    return [path for path in files(CHECKOUT, ("docs", "CONTRIBUTING.rst")) if path.suffix == ".rst"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_every_file_that_a_page_names_is_there(page):
    known = {path.name for path in (CHECKOUT / "warppool").rglob("*.py")} | MADE_BY_OPERATORS
    lost = [name for name in FILE.findall(page.read_text(encoding="utf-8"))
            if not (CHECKOUT / name).is_file() and not (CHECKOUT / "warppool" / name).is_file()
            and name.removeprefix("data_dir/") not in known]
    assert lost == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_every_object_that_a_page_shows_is_there(page):
    for name, dotted in INCLUDE.findall(page.read_text(encoding="utf-8")):
        body = ast.parse((page.parent / name).read_text(encoding="utf-8")).body
        for part in dotted.split("."):
            found = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part]
            assert len(found) == 1, f"{name} has no {dotted}"
            body = found[0].body


# --- the tables of messages -------------------------------------------------------------------------------------------

MESSAGES = {
    "Common": common, "Mining": mining, "Template Distribution messages": template,
}
HEADING = re.compile(r"^(\S[^\n]*)\n(~{4,}|\^{4,})$", re.MULTILINE)
ROW = re.compile(r"^(\w+) +([A-Z][\w\[\]]*)(?: |$)", re.MULTILINE)


def tables() -> dict[type, list[tuple[str, str]]]:
    """(field, type) of each message in docs/sv2-wire.rst, by its class."""
    text = (CHECKOUT / "docs/sv2-wire.rst").read_text(encoding="utf-8")
    headings = [*HEADING.finditer(text)]
    found: dict[type, list[tuple[str, str]]] = {}
    module = None
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        title, line = heading.groups()
        if line[0] == "~":
            module = MESSAGES.get(title)
        elif module is not None:
            part = text[heading.end():following.start() if following else len(text)]
            rows = ROW.findall(part.split("\n====")[2]) if part.count("\n====") >= 3 else []
            found[getattr(module, title.replace(".", ""))] = rows
    return found


def test_the_page_of_the_wire_has_every_message_with_its_fields():
    described = tables()
    for module in MESSAGES.values():
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, types.Message) and cls is not types.Message:
                hints = get_type_hints(cls, include_extras=True)
                rows = [(name, kind.replace("[", "_").rstrip("]")) for name, kind in described[cls]]
                expected = [(name, getattr(types, kind)) for name, kind in rows]
                tails = {getattr(types, f"TAIL_{kind}", None) for _, kind in rows}
                assert [name for name, _ in expected] == [*hints], cls.__name__
                for name, kind in expected:
                    assert hints[name] == kind or hints[name] in tails, f"{cls.__name__}.{name}"


def test_the_page_of_the_wire_has_the_messages_of_extensions():
    text = (CHECKOUT / "docs/sv2-wire.rst").read_text(encoding="utf-8")
    for cls in (extensions.RequestExtensions, extensions.RequestExtensionsSuccess, extensions.RequestExtensionsError):
        for field in get_type_hints(cls):
            assert field in text, f"{cls.__name__}.{field}"

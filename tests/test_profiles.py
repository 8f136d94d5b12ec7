"""What differs between the profiles is data: nobody but their own module asks which one it has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "warppool"
HOME = "sv2/profile.py"
"""The module of the profiles."""

NAMES = {"WARP", "SPEC"}


def is_profile(node: ast.expr) -> bool:
    """One of the two, or something that is called a profile, or the name of such a thing."""
    if isinstance(node, ast.Attribute):
        return (node.attr in NAMES or node.attr.strip("_") == "profile"
                or (node.attr == "name" and is_profile(node.value)))
    if isinstance(node, ast.Call):
        return any(is_profile(each) for each in [node.func, *node.args])
    return isinstance(node, ast.Name) and (node.id in NAMES or node.id.strip("_") == "profile")


def questions(source: str) -> list[int]:
    """The lines that ask for the profile: by a comparison, as a condition, in a match, or by its class."""
    found = []
    tree = ast.parse(source)
    looked_up = [node.slice for node in ast.walk(tree)              # the word of a URL, or else that of an option
                 if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "PROFILES"]
    for node in ast.walk(tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            asked = [node.test]
        elif isinstance(node, ast.BoolOp) and node not in looked_up:
            asked = node.values
        elif isinstance(node, ast.UnaryOp):
            asked = [node.operand]
        elif isinstance(node, ast.Match):
            asked = [node.subject]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            asked = node.args[:1]
        found += [node.lineno for each in asked if is_profile(each)]
    return found


def test_nobody_asks_which_profile_it_has() -> None:
    asked = {path.relative_to(PACKAGE).as_posix(): questions(path.read_text(encoding="utf-8"))
             for path in PACKAGE.rglob("*.py")}
    assert asked.pop(HOME) is not None
    assert {module: lines for module, lines in asked.items() if lines} == {}


NEVER_SENT = {"Reconnect", "SetExtranoncePrefix", "SetGroupChannel", "ChannelEndpointChanged"}
"""Some programs end themselves at the first, some firmware passes over the others and mines on for nothing."""


def made(source: str) -> set[str]:
    """The messages of these that the module makes."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {getattr(call, "attr", getattr(call, "id", "")) for call in calls} & NEVER_SENT


def test_what_peers_die_of_or_do_not_heed_is_never_sent() -> None:
    assert {path.name: made(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")
            if made(path.read_text(encoding="utf-8"))} == {}
    assert made("steps.append(common.Reconnect(new_host='', new_port=0))") == {"Reconnect"}


@pytest.mark.parametrize("line", [
    "if profile is SPEC: pass", "x = 1 if self._profile is not WARP else 2", "if context.profile.name == 'spec': pass",
    "while not profile: pass", "x = profile and 1", "match profile.name:\n    case 'warp': pass",
    "if kind in (1, 2) and self.profile == other: pass", "isinstance(self.profile, Odd)", "x = id(SPEC) == y",
    "assert profile is WARP",
])
def test_a_planted_question_is_found(line: str) -> None:
    assert questions(line)


@pytest.mark.parametrize("line", [
    "if profile.has_groups: pass", "x = profile.encode(m)", "x = is_old and self.profile.checks_sequence",
    "x = codes.get(profile.name)", "x = PROFILES[url.profile or table.profile]", "serve(WARP)",
    "if m.flags & ~profile.flags: pass",
])
def test_what_asks_for_a_field_is_none(line: str) -> None:
    assert questions(line) == []

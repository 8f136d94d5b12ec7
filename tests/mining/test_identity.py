"""Who may be told apart in the books."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.mining.identity import read_identity, user_of


@pytest.mark.parametrize("name", [
    "a", "bc1qxyz.rig1", "a b", "ü" * 127, "x" * 255, "\udcff", "日本", "a.", "a..b", "a.b.c", "alice@home"])
def test_names_of_workers(name):
    assert read_identity(name) == name


@pytest.mark.parametrize("name", [
    "", "x" * 256, "ü" * 128, "a\nb", "\0", "a\x7f", "\x85", "\ud800", "a\udfff", "alice\n", "\talice",
    ".rig9", ".", " .rig9", "\u200b.rig9", "..a", " ", "\u00a0\u200b", "\ufeff",
    "a\udc9bb", "\udcc2\udc9b", "a\udcc2\udc85"])
def test_what_is_no_name(name):
    assert read_identity(name) is None


SIX_OF_ONE = ["alice.rig1", "alice.rig1 ", " alice.rig1", "\u00a0alice.rig1", "alice.rig1\u200b", "\ufeffalice.rig1"]
INSIDE = ["alice .rig1", "alice\u200b.rig1", "alice. rig1", "alice\u3000.\u200erig1", "alice\u2060\u00ad.rig1"]
OTHERS = ["\u3164alice.rig1", "alice.rig1\ufe0f", "alice\u2800.rig1", "alice.rig1\U000e0020", "\udca0alice.rig1",
          "alice.rig1\u2028", "alice\u180e.rig1", " \u200b \u00a0alice.rig1"]


@pytest.mark.parametrize("said", [*SIX_OF_ONE, *INSIDE, *OTHERS])
def test_what_cannot_be_seen_makes_no_other_name(said):
    assert read_identity(said) == "alice.rig1"


def test_bytes_that_are_a_character_together_are_that_character():
    assert read_identity("Andr\udcc3\udca9.a") == "André.a"


def test_what_is_cut_off_does_not_count_as_length():
    assert read_identity(" " * 300 + "x" * 255 + "\u200b" * 300) == "x" * 255


def test_what_is_inside_a_name_stays():
    assert read_identity("al\u200dice b") == "al\u200dice b"


def test_the_user_of_a_name():
    assert [user_of(name) for name in ("alice", "alice.rig1", "alice.a.b", "alice.")] == ["alice"] * 4


@given(st.text(max_size=20) | st.text(" .a\u200b\u00a0\udca0\udcff", max_size=8))
def test_a_name_that_was_read_is_read_as_itself(said):
    name = read_identity(said)
    if name is not None:
        assert read_identity(name) == name
        assert user_of(name) == user_of(name).strip() != ""
        assert not any(unicodedata.category(character) == "Cc" for character in name)
        assert 0 < len(name.encode("utf-8", "surrogateescape")) <= 255

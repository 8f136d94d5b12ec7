"""A name that a stranger chose becomes the name of one file in one folder, and of no other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.stats.filenames import LONGEST, file_name

PLAIN = re.compile(r"[A-Za-z0-9_\-%~@:+=,][A-Za-z0-9_.\-%~@:+=,]*", re.ASCII)


@pytest.mark.parametrize(("user", "name"), [
    ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    ("alice_1-b", "alice_1-b"),
    ("", "%"),
    ("%", "%25"),
    (".", "%2E"),
    ("..", "%2E."),
    (".hidden", "%2Ehidden"),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
    ("a/b", "a%2Fb"),
    ("a%2Fb", "a%252Fb"),
    ("a\0b\nc", "a%00b%0Ac"),
    ("a~b", "a%7Eb"),
    ("*?'\"<>|\\ ", "%2A%3F%27%22%3C%3E%7C%5C%20"),
    ("\u202eevil", "%E2%80%AEevil"),
    ("\udcff\ud800", "%ED%B3%BF%ED%A0%80"),
    ("\udcff", "%FF"),
])
def test_a_name_is_written_so(user: str, name: str) -> None:
    assert file_name(user) == name


@pytest.mark.parametrize("user", ["x" * 200, "x" * 201, "/" * 255, "\u202e" * 85, "~" * 255])
def test_long_names_are_cut_and_stay_apart(user: str) -> None:
    name, other = file_name(user), file_name(user + "y")
    assert len(name) <= LONGEST and PLAIN.fullmatch(name)
    assert name != other


def test_what_looks_like_a_cut_name_is_another() -> None:
    cut = file_name("x" * 300)
    assert "~" in cut
    assert file_name(cut) != cut


@given(st.text(max_size=80) | st.binary(max_size=255).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_name_is_one_plain_file(user: str) -> None:
    name = file_name(user)
    assert PLAIN.fullmatch(name) and len(name) <= LONGEST


@given(st.lists(st.text(alphabet="./%~aA\0\udcff2E5", max_size=8), unique=True, max_size=50))
def test_no_two_users_share_a_file(users: list[str]) -> None:
    assert len({file_name(user) for user in users}) == len(users)

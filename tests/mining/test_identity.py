"""Who may be told apart in the books."""

from __future__ import annotations

import pytest

from warppool.mining.identity import is_user_identity


@pytest.mark.parametrize("name", ["a", "bc1qxyz.rig1", "a b", "ü" * 127, "x" * 255, "\udc80", "日本"])
def test_names_of_workers(name):
    assert is_user_identity(name)


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, "a\nb", "\0", "a\x7f", "\x85", "\ud800", "a\udfff"])
def test_what_is_no_name(name):
    assert not is_user_identity(name)

"""Runs the scenarios of a file once for each profile that is served.

A file says so by importing the fixture: `from tests.sv2.profiles import profile  # noqa: F401`. What `tests.sv2.pairs`
makes then follows the profile of the run. Where the profiles differ, a scenario asks a field of the profile, as the
sessions do, and never for its name.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sv2 import pairs
from warppool.sv2.profile import SPEC, WARP, Profile

SERVED = (WARP, SPEC)
"""The profiles that the pool serves, and that its clients speak."""

EACH_PROFILE = pytest.mark.parametrize("profile", SERVED, ids=lambda each: each.name)
"""For one scenario whose `profile` is each of them in turn, and which asks `tests.sv2.pairs` for nothing."""


@pytest.fixture(scope="module", params=SERVED, ids=lambda each: each.name, autouse=True)
def profile(request: pytest.FixtureRequest) -> Iterator[Profile]:
    """The profile of this run."""
    before = pairs.DIALECT[0]
    pairs.DIALECT[0] = request.param
    yield request.param
    pairs.DIALECT[0] = before


@pytest.fixture(autouse=True)
def in_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a file about what the published profile alone has: `from tests.sv2.profiles import in_spec  # noqa: F401`."""
    monkeypatch.setattr(pairs, "DIALECT", [SPEC])

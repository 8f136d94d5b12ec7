"""Runs the scenarios of a file once for each profile that an upstream may speak.

A file says so by importing the fixture: `from tests.translate.profiles import profile  # noqa: F401`. All pools of the
world then speak the profile of the run. Where the profiles differ, a scenario asks a field of it (`dialect()`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.translate.world import SPEC, Pool
from warppool.sv2.profile import WARP, Profile


def dialect() -> Profile:
    """The profile of this run."""
    return Pool.profile


@pytest.fixture(scope="module", params=(WARP, SPEC), ids=lambda each: each.name, autouse=True)
def profile(request: pytest.FixtureRequest) -> Iterator[Profile]:
    """The profile of this run."""
    before, Pool.profile = Pool.profile, request.param
    yield request.param
    Pool.profile = before

"""What tests of nodes share."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Have `caplog` take every line of ours, DEBUG too."""
    caplog.set_level(logging.DEBUG, "warppool")

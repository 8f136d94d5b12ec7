"""Every test here runs twice: TLS around the machines' connections, and none."""

from __future__ import annotations

import pytest

from tests.translate.world import World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("layer", ["plain", "tls"], indirect=True)


@pytest.fixture(autouse=True)
def layer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state machine of Hypothesis, which takes no parameters, chooses for itself."""
    monkeypatch.setattr(World, "is_plain", getattr(request, "param", "plain") == "plain")

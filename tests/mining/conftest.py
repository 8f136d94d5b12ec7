"""Templates, jobs and channels for the tests of the mining core."""

from __future__ import annotations

import pytest

from tests.mining.makers import make_factory, make_template
from warppool.mining.job import Job, JobFactory
from warppool.mining.template import Template


@pytest.fixture
def factory() -> JobFactory:
    return make_factory()


@pytest.fixture
def template() -> Template:
    return make_template()


@pytest.fixture
def job(factory: JobFactory, template: Template) -> Job:
    return factory.make(template, now=1_700_000_100.0)

"""The example file and the README say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.app.test_config import MAIN_ADDRESS, SECRETS
from warppool.app.config import config_of, read_config
from warppool.app.options import SECTIONS, Config, Secrets, options_of
from warppool.app.reference import EXAMPLE, PLACEHOLDER_ADDRESS, README, example, table, with_table

CHECKOUT = Path(__file__).parents[2]
ANEW = "write it anew by `python3 -m warppool.app.reference`"


def test_the_example_file_is_in_step():
    assert (CHECKOUT / EXAMPLE).read_text(encoding="utf-8") == example(), ANEW


def test_the_table_of_the_readme_is_in_step():
    readme = (CHECKOUT / README).read_text(encoding="utf-8")
    assert table() in readme, ANEW
    assert readme == with_table(readme), ANEW


def test_the_table_has_every_key():
    for name, section in SECTIONS.items():
        for key, _, _ in options_of(section):
            assert f"``{name}.{key}``" in table()
    for key, _, _ in options_of(Secrets):
        assert f"``secrets.toml: {key}``" in table()


@pytest.mark.parametrize("text", [example(), re.sub(r"(?m)^#(?=\w+ = )", "", example())],
                         ids=["as it stands", "every # taken off"])
def test_the_example_is_read_and_means_the_defaults(tmp_path, text):
    (tmp_path / "warppool.toml").write_text(text.replace(PLACEHOLDER_ADDRESS, MAIN_ADDRESS))
    (tmp_path / "secrets.toml").write_text(SECRETS)
    (tmp_path / "secrets.toml").chmod(0o600)
    state = {"STATE_DIRECTORY": "/var/lib/warppool"}
    config = read_config(tmp_path / "warppool.toml", state)
    least = config_of({"pool": {"payout_address": MAIN_ADDRESS}}, folder=tmp_path, secrets=config.secrets,
                      environ=state, source="")
    assert isinstance(config, Config)
    assert config == least


def test_the_quick_start_is_one_line_for_each_job():
    lines = (CHECKOUT / README).read_text(encoding="utf-8").splitlines()
    make = "    python3 -m venv .venv && .venv/bin/pip install "
    assert lines.count(make + "'.[regtest]' && .venv/bin/warppool demo") == 1
    assert lines.count(make + "'.[regtest,test]' && .venv/bin/python -m pytest") == 1

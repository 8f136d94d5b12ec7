"""The example files and the README say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.config.test_pool import MAIN_ADDRESS, SECRETS
from warppool.addresses import Address
from warppool.config.declare import options_of
from warppool.config.options import Secrets
from warppool.config.pool import config_of, read_config
from warppool.config.provider import provider_config_of, read_provider_config
from warppool.config.reference import PLACEHOLDERS, README, REFERENCES
from warppool.config.translator import read_translator_config, translator_config_of

CHECKOUT = Path(__file__).parents[2]
ANEW = "write it anew by `python3 -m warppool.config.reference`"
UPSTREAM_URL = f"stratum2+tcp://pool.example:34254/{'07' * 32}"

POOL, TRANSLATOR, PROVIDER = REFERENCES
each_reference = pytest.mark.parametrize("reference", REFERENCES, ids=[item.form.file for item in REFERENCES])


def all_shown(example):
    """The example with every # taken off that stands before a default, but for tables that need not be there."""
    head, mark, tables = example.partition("#[")
    return re.sub(r"(?m)^#(?=\w+ = )", "", head) + mark + tables


@each_reference
def test_the_example_file_is_in_step(reference):
    assert (CHECKOUT / reference.path).read_text(encoding="utf-8") == reference.example(), ANEW


@each_reference
def test_the_table_of_the_readme_is_in_step(reference):
    readme = (CHECKOUT / README).read_text(encoding="utf-8")
    assert reference.table() in readme, ANEW
    assert readme == reference.with_table(readme), ANEW


@each_reference
def test_the_table_has_every_key(reference):
    for name, section in reference.form.sections.items():
        for key, _, _ in options_of(section):
            assert f"``{name}.{key}``" in reference.table()


def test_the_table_of_the_pool_has_every_secret():
    for key, _, _ in options_of(Secrets):
        assert f"``secrets.toml: {key}``" in POOL.table()


@pytest.mark.parametrize("text", [POOL.example(), all_shown(POOL.example())],
                         ids=["as it stands", "every # taken off"])
def test_the_example_is_read_and_means_the_defaults(tmp_path, text):
    (tmp_path / "warppool.toml").write_text(text.replace(str(PLACEHOLDERS["pool.payout_address"]), MAIN_ADDRESS))
    (tmp_path / "secrets.toml").write_text(SECRETS)
    (tmp_path / "secrets.toml").chmod(0o600)
    state = {"STATE_DIRECTORY": "/var/lib/warppool"}
    config = read_config(tmp_path / "warppool.toml", state)
    least = config_of({"pool": {"payout_address": MAIN_ADDRESS}}, folder=tmp_path, secrets=config.secrets,
                      environ=state, source="")
    assert config == least


def test_the_example_of_a_notice_and_of_the_web_is_read_once_its_marks_are_taken_off(tmp_path):
    text = re.sub(r"(?m)^#(?=\w+ = |\[)", "", POOL.example())
    (tmp_path / "warppool.toml").write_text(text.replace(str(PLACEHOLDERS["pool.payout_address"]), MAIN_ADDRESS))
    (tmp_path / "secrets.toml").write_text(SECRETS + '\nnotice_urls = ["https://chat.example/token"]\n')
    (tmp_path / "secrets.toml").chmod(0o600)
    config = read_config(tmp_path / "warppool.toml", {"STATE_DIRECTORY": "/var/lib/warppool"})
    (notice,) = config.notices
    assert (notice.name, notice.url, notice.format) == ("chat", "https://chat.example/token", "json")
    assert config.web.listen == (Address("127.0.0.1", 8080),)


@pytest.mark.parametrize("text", [TRANSLATOR.example(), all_shown(TRANSLATOR.example())],
                         ids=["as it stands", "every # taken off"])
def test_the_translators_example_is_read_and_means_the_defaults(tmp_path, text):
    (tmp_path / "translator.toml").write_text(text.replace(str(PLACEHOLDERS["upstream.url"]), UPSTREAM_URL))
    state = {"STATE_DIRECTORY": "/var/lib/warppool-translator"}
    config = read_translator_config(tmp_path / "translator.toml", state)
    least = translator_config_of({"upstream": [{"url": UPSTREAM_URL, "user_identity": "farm.unnamed"}]},
                                 folder=tmp_path, environ=state, source="")
    assert config == least


def test_the_table_of_the_translator_has_its_secret_and_no_other():
    assert [line for line in TRANSLATOR.table().splitlines() if "secrets.toml: " in line] == [
        "   * - ``secrets.toml: notice_urls``"]


@pytest.mark.parametrize("text", [PROVIDER.example(), all_shown(PROVIDER.example())],
                         ids=["as it stands", "every # taken off"])
def test_the_providers_example_is_read_and_means_the_defaults(tmp_path, text):
    (tmp_path / "template-provider.toml").write_text(text)
    (tmp_path / "secrets.toml").write_text(f'{SECRETS}\nsv2_spec_static_priv_key_hex = "{"07" * 32}"\n'
                                           f'sv2_spec_authority_priv_key_hex = "{"08" * 32}"\n')
    (tmp_path / "secrets.toml").chmod(0o600)
    state = {"STATE_DIRECTORY": "/var/lib/warppool-template-provider"}
    config = read_provider_config(tmp_path / "template-provider.toml", state)
    least = provider_config_of({"provider": {}}, folder=tmp_path, secrets=config.secrets, environ=state, source="")
    assert config == least


def test_the_quick_start_is_one_line_for_each_job():
    lines = (CHECKOUT / README).read_text(encoding="utf-8").splitlines()
    make = "    python3 -m venv .venv && .venv/bin/pip install "
    assert lines.count(make + "'.[regtest]' && .venv/bin/warppool demo") == 1
    assert lines.count(make + "'.[regtest,test]' && .venv/bin/python -m pytest") == 1

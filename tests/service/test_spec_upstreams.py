"""Upstreams of the published profile, in the translator as a service."""

from __future__ import annotations

import pytest

from tests.net.far import closed_port
from warppool.config.translator import read_translator_config
from warppool.errors import ConfigError
from warppool.noise import secp256k1
from warppool.service.connector import context_of
from warppool.service.translator import Translator
from warppool.sv2.profile import SPEC, WARP
from warppool.translate.counters import Counters

AUTHORITY = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
WARP_KEY = "07" * 32


def config(folder, *keys):
    path = folder / "translator.toml"
    path.write_text('[stratum]\nlisten = ["127.0.0.1:0"]\n[translator]\ndata_dir = "data"\n' + "".join(
        f'[[upstream]]\nurl = "stratum2+tcp://127.0.0.1:{closed_port()}/{key}"\nuser_identity = "farm"\n'
        for key in keys))
    return read_translator_config(path, {})


@pytest.fixture
def no_library(monkeypatch):
    def missing():
        raise ConfigError("Stratum V2 of the published profile needs btclib-secp256k1: pip install 'warppool[spec]'")

    monkeypatch.setattr(secp256k1, "library", missing)


def test_each_upstream_has_the_profile_of_its_url(tmp_path):
    upstreams = context_of(config(tmp_path, AUTHORITY, WARP_KEY), Counters()).upstreams
    assert [each.profile for each in upstreams] == [SPEC, WARP]
    assert [len(each.pin) for each in upstreams] == [32, 32]


@pytest.mark.usefixtures("no_library")
def test_without_the_library_the_start_says_what_to_install(tmp_path):
    with pytest.raises(ConfigError, match=r"upstream\[1\]\.url: .* pip install 'warppool\[spec\]'"):
        Translator(config(tmp_path, WARP_KEY, AUTHORITY))


@pytest.mark.usefixtures("no_library")
def test_a_reload_to_such_an_upstream_changes_nothing_without_the_library(tmp_path):
    translator = Translator(before := config(tmp_path, WARP_KEY))
    try:
        with pytest.raises(ConfigError, match="btclib-secp256k1"):
            translator.prepare(after := config(tmp_path, AUTHORITY), after)
        assert translator.config == before
    finally:
        translator.service.parts.resources.close()

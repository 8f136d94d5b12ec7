"""template-provider.toml: what is right comes out typed, and every way to get it wrong has one line that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from warppool.addresses import Address
from warppool.config.anyfile import books_of, read_any
from warppool.config.options import Secrets
from warppool.config.pool import read_config
from warppool.config.provider import provider_config_of, read_provider_config
from warppool.config.provideroptions import TemplateProviderConfig
from warppool.errors import ConfigError

KEY = bytes(range(32))
SPEC_SECRETS = Secrets(sv2_spec_static_priv_key=KEY, sv2_spec_authority_priv_key=KEY)


def config_of(document: dict[str, Any], secrets: Secrets | None = None) -> TemplateProviderConfig:
    return provider_config_of(document, folder=Path("/etc/warppool"), secrets=secrets,
                              environ={"STATE_DIRECTORY": "/state"}, source="p.toml")


def words_of(document: dict[str, Any], secrets: Secrets | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        config_of(document, secrets)
    return str(caught.value)


def test_an_empty_section_is_enough_for_a_node_of_this_machine():
    config = config_of({"provider": {}}, SPEC_SECRETS)
    assert (config.provider.network, config.provider.data_dir) == ("main", Path("/state"))
    assert (config.provider.fee_delta_sat, config.provider.interval_s) == (1000, 30)
    assert [node.url for node in config.nodes] == ["http://127.0.0.1:8332"]


@pytest.mark.parametrize(("network", "port"), [("main", 8442), ("testnet4", 48442), ("signet", 38442),
                                               ("regtest", 18447)])
def test_the_port_is_the_networks_unless_a_listener_is_written(network, port):
    config = config_of({"provider": {"network": network}})
    assert config.stratum.sv2_spec_listen == (Address("::", port),) and config.stratum.sv2_listen == ()
    own = config_of({"provider": {"network": network}, "stratum": {"sv2_listen": ["127.0.0.1:1"]}})
    assert own.stratum.sv2_spec_listen == () and own.stratum.sv2_listen == (Address("127.0.0.1", 1),)


@pytest.mark.parametrize(("document", "words"), [
    ({}, "p.toml: [provider] is missing: it takes [provider] with network"),
    ({"pool": {}}, "p.toml: [provider] is missing: it looks like a pool's, for `warppool run`"),
    ({"provider": {"interval_s": 0}}, "p.toml: provider.interval_s holds 0: it takes a whole number, 1 to 3600"),
    ({"provider": {"intervall_s": 1}}, "p.toml: provider.intervall_s is not known: did you mean interval_s?"),
    ({"provider": {}, "ledger": {}}, "p.toml: ledger is not known: did you mean ["),
    ({"provider": {}, "node": [{"source": "regtest"}]}, 'the embedded chain mines only network = "regtest"'),
    ({"provider": {}, "node": [{"source": "tdp", "url": "stratum2+tcp://h:1", "insecure": True}]},
     'node.source holds "tdp": here it takes rpc or regtest'),
    ({"provider": {}, "node": [{}, {}]}, "that node stands there twice"),
    ({"provider": {}, "stratum": {"sv2_listen": ["[::]:8442"], "sv2_spec_listen": ["0.0.0.0:8442"]}},
     "each needs a port of its own"),
])
def test_mistakes_have_one_line(document, words):
    assert words in words_of(document)


def test_the_warp_listener_needs_its_key():
    document = {"provider": {}, "stratum": {"sv2_listen": ["127.0.0.1:1"]}}
    assert "sv2_static_priv_key_hex is missing" in words_of(document, Secrets())
    assert config_of(document, Secrets(sv2_static_priv_key=KEY)).secrets.sv2_static_priv_key == KEY


def test_the_published_listener_needs_its_keys():
    assert "sv2_spec_static_priv_key_hex is missing" in words_of({"provider": {}}, Secrets())


def test_a_user_needs_its_password():
    document = {"provider": {}, "stratum": {"sv2_listen": ["127.0.0.1:1"]}, "node": [{"user": "x"}]}
    assert "node_passwords holds 0" in words_of(document, Secrets(sv2_static_priv_key=KEY))
    config = config_of(document, Secrets(sv2_static_priv_key=KEY, node_passwords=("hunter2",)))
    assert config.nodes[0].password == "hunter2"


def test_a_file_is_known_by_its_section(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[provider]\ndata_dir = "here"\n[stratum]\nsv2_listen = ["127.0.0.1:1"]\n')
    (tmp_path / "secrets.toml").write_text(f'sv2_static_priv_key_hex = "{KEY.hex()}"\n')
    (tmp_path / "secrets.toml").chmod(0o600)
    config = read_any(path, {})
    assert isinstance(config, TemplateProviderConfig) and config == read_provider_config(path, {})
    assert books_of(config) == ("sqlite:///shares.db", tmp_path / "here")
    with pytest.raises(ConfigError, match=r"has a \[provider\], so it is for `warppool template-provider`"):
        read_config(path, {})

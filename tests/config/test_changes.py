"""What differs between two configurations, and what of it a running program takes over."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.config.otherkeys import ADDRESS, NOTICE, OTHER_KEY, POOL, PROVIDER, TRANSLATOR, keys_of
from warppool.config.anyfile import any_of
from warppool.config.changes import HIDDEN, NOTHING, Change, changes_between, identity_of, taken_over, toml_of
from warppool.config.declare import Effect, Form, options_of
from warppool.config.options import POOL_FORM, Config, Secrets
from warppool.config.pool import config_of
from warppool.config.provider import provider_config_of
from warppool.config.provideroptions import PROVIDER_FORM, TemplateProviderConfig
from warppool.config.running import running_toml
from warppool.config.translator import translator_config_of
from warppool.config.translatoroptions import TRANSLATOR_FORM, TranslatorConfig, TranslatorSecrets
from warppool.errors import ConfigError

KEY = "07" * 32
URL = f"stratum2+tcp://pool.example:34254/{KEY}"
FOLDER = Path("/etc/warppool")
SECRETS = Secrets(sv2_static_priv_key=bytes.fromhex(KEY))
SPEC_SECRETS = replace(SECRETS, sv2_spec_static_priv_key=b"\1" * 32, sv2_spec_authority_priv_key=b"\2" * 32)


def pool_of(document: Mapping[str, Any] | None = None, secrets: Secrets = SPEC_SECRETS) -> Config:
    given: dict[str, Any] = {"pool": {"network": "regtest", "payout_address": ADDRESS}} | dict(document or {})
    given["pool"] = {"network": "regtest", "payout_address": ADDRESS} | given["pool"]
    return config_of(given, folder=FOLDER, secrets=secrets, environ={"STATE_DIRECTORY": "/state"}, source="w.toml")


def translator_of(document: Mapping[str, Any] | None = None, secrets: TranslatorSecrets | None = None
                  ) -> TranslatorConfig:
    given = dict(document or {})
    given["upstream"] = [{"url": URL, "user_identity": "farm"} | item for item in given.get("upstream", [{}])]
    return translator_config_of(given, folder=FOLDER, environ={"STATE_DIRECTORY": "/state"}, source="t.toml",
                                secrets=secrets)


def provider_of(document: Mapping[str, Any] | None = None, secrets: Secrets = SPEC_SECRETS) -> TemplateProviderConfig:
    given: dict[str, Any] = {"provider": {"network": "regtest"}, "stratum": {}} | dict(document or {})
    given["provider"] = {"network": "regtest"} | given["provider"]
    given["stratum"] = {"sv2_listen": ["127.0.0.1:1"]} | given["stratum"]
    return provider_config_of(given, folder=FOLDER, secrets=secrets, environ={"STATE_DIRECTORY": "/state"},
                              source="p.toml")


def nodes(*tables: Mapping[str, Any], passwords: tuple[str, ...] = (), **pool: Any) -> Config:
    return pool_of({"pool": pool, "node": list(tables)}, replace(SPEC_SECRETS, node_passwords=passwords))


def rpc(host: str, **more: Any) -> dict[str, Any]:
    return {"url": f"http://{host}:8332", **more}


def declared(form: Form, name: str) -> Effect:
    section, _, key = name.partition(".")
    return next(option.on_reload for known, _, option in options_of(form.sections[section]) if known == key)


@pytest.mark.parametrize(("form", "others"), [
    (POOL_FORM, POOL), (TRANSLATOR_FORM, TRANSLATOR), (PROVIDER_FORM, PROVIDER)])
def test_there_is_another_value_for_every_key(form, others):
    assert list(others) == list(keys_of(form))


@pytest.mark.parametrize("name", [name for name in POOL if not name.startswith("notice.")])
def test_each_key_of_the_pool_is_one_change_that_is_taken_or_left_as_the_reference_says(name):
    section, _, key = name.partition(".")
    value: Any = POOL[name]
    more = {"tls_listen": ["127.0.0.1:4333"]} if key in ("tls_cert", "tls_key") else {}
    if section == "node":
        old, document = pool_of(), {"node": [{key: value}]}
        secrets = replace(SPEC_SECRETS, node_passwords=("hunter2",)) if key == "user" else SPEC_SECRETS
        new = pool_of(document, secrets)
    else:
        old, new = pool_of({section: more}), pool_of({section: more | {key: value}})
    changes = [change for change in changes_between(old, new) if not change.key.startswith("secrets")]
    if name in ("node.source", "node.url"):
        expected = Effect.RESTART if key == "source" else Effect.NOW
        assert [(change.key, change.on_reload) for change in changes] == [("node.url", expected)]
    else:
        label = f"node[{old.nodes[0].url}].{key}" if section == "node" else name
        assert [(change.key, change.on_reload) for change in changes] == [(label, declared(POOL_FORM, name))]
    is_left = changes[0].on_reload is Effect.RESTART
    assert taken_over(old, new) == (old if is_left else new)
    assert changes_between(old, old) == changes_between(new, new) == ()


@pytest.mark.parametrize(("make", "secrets"), [(pool_of, SPEC_SECRETS), (translator_of, TranslatorSecrets())])
@pytest.mark.parametrize("name", [name for name in POOL if name.startswith("notice.")])
def test_each_key_of_a_notice_is_one_change_that_waits_for_a_restart(name, make, secrets):
    _, _, key = name.partition(".")
    told = replace(secrets, notice_urls=("https://chat.example/hunter2",))
    old = make({"notice": [NOTICE]}, told)
    new = make({"notice": [NOTICE | {key: POOL[name]}]}, secrets if key == "command" else told)
    changes = [change for change in changes_between(old, new) if not change.key.startswith("secrets")]
    label = name if key == "name" else f"notice[chat].{key}"
    assert [(change.key, change.on_reload) for change in changes] == [(label, Effect.RESTART)]
    assert declared(POOL_FORM, name) is Effect.RESTART and taken_over(old, new) == old
    assert "hunter2" not in repr(changes_between(old, new)) + running_toml(old) + repr(old)


def test_notices_that_come_and_go_wait_for_a_restart():
    old, new = pool_of(), pool_of({"notice": [NOTICE | {"command": ["/bin/cat"]}]})
    assert changes_between(old, new) == (Change("notice.name", "[]", '["chat"]', Effect.RESTART),)
    assert taken_over(old, new) == old and taken_over(new, old) == new


@pytest.mark.parametrize("name", [name for name in TRANSLATOR if not name.startswith("notice.")])
def test_each_key_of_the_translator_is_one_change_that_is_taken_or_left_as_the_reference_says(name):
    section, _, key = name.partition(".")
    value: Any = TRANSLATOR[name]
    more = {"tls_listen": ["127.0.0.1:4333"]} if key in ("tls_cert", "tls_key") else {}
    old = translator_of({section: more} if section != "upstream" else {})
    new = translator_of({section: more | {key: value}} if section != "upstream" else {section: [{key: value}]})
    label = f"upstream[pool.example:34254].{key}" if section == "upstream" and key != "url" else name
    (change,) = changes_between(old, new)
    assert (change.key, change.on_reload) == (label, declared(TRANSLATOR_FORM, name))
    assert taken_over(old, new) == (old if change.on_reload is Effect.RESTART else new)


@pytest.mark.parametrize("name", [name for name in PROVIDER if name not in ("node.source", "node.url")])
def test_each_key_of_the_template_provider_is_taken_or_left_as_the_reference_says(name):
    section, _, key = name.partition(".")
    secrets = replace(SPEC_SECRETS, node_passwords=("hunter2",)) if name == "node.user" else SPEC_SECRETS
    old = provider_of()
    new = provider_of({section: [{key: PROVIDER[name]}] if section == "node" else {key: PROVIDER[name]}}, secrets)
    (change,) = (change for change in changes_between(old, new) if not change.key.startswith("secrets"))
    label = f"node[{old.nodes[0].url}].{key}" if section == "node" else name
    assert (change.key, change.on_reload) == (label, declared(PROVIDER_FORM, name))
    assert taken_over(old, new) == (old if change.on_reload is Effect.RESTART else new)
    read = any_of(tomllib.loads(running_toml(new), parse_float=Decimal), folder=FOLDER, secrets=None, environ={},
                  source="running.toml")
    assert changes_between(read, new, with_secrets=False) == (), "and running.toml says it"


@pytest.mark.parametrize("make", [pool_of, provider_of])
@pytest.mark.parametrize(("old", "new"), [
    (SPEC_SECRETS, replace(SPEC_SECRETS, sv2_spec_static_priv_key=b"\3" * 32, sv2_spec_authority_priv_key=None,
                           sv2_spec_certificate=Path("/new"))),
    (SPEC_SECRETS, replace(SPEC_SECRETS, sv2_spec_static_priv_key=b"\3" * 32, sv2_spec_authority_priv_key=b"\4" * 32)),
    (SPEC_SECRETS, SECRETS), (SECRETS, SPEC_SECRETS)])
def test_who_vouches_for_a_static_key_waits_for_the_restart_with_that_key(make, old, new):
    changes = changes_between(make(secrets=old), make(secrets=new))
    assert len(changes) > 1 and {change.on_reload for change in changes} == {Effect.RESTART}
    assert taken_over(make(secrets=old), make(secrets=new)).secrets == old


@pytest.mark.parametrize("make", [pool_of, provider_of])
def test_who_vouches_for_the_same_static_key_may_change_at_a_reload(make):
    new = replace(SPEC_SECRETS, sv2_spec_authority_priv_key=None, sv2_spec_certificate=Path("/new"))
    assert {change.on_reload for change in changes_between(make(), make(secrets=new))} == {Effect.NEWCOMERS}
    assert taken_over(make(), make(secrets=new)).secrets == new


def test_of_keys_changed_together_each_is_taken_or_left_by_itself_with_what_follows_from_it():
    old = pool_of()
    new = pool_of({"pool": {"coinbase_tag": "x" * 54, "payout_address": POOL["pool.payout_address"],
                            "data_dir": "elsewhere"},
                   "stratum": {"workers": 2, "max_per_ip": 5}, "ledger": {"url": "sqlite:///other.db"}})
    runs = taken_over(old, new)
    assert (runs.pool.coinbase_tag, runs.pool.is_tag_cut) == ("x" * 50, True)
    assert (runs.pool.payout_address, runs.pool.payout_script) == (old.pool.payout_address, old.pool.payout_script)
    assert (runs.pool.data_dir, runs.ledger) == (old.pool.data_dir, old.ledger)
    assert (runs.stratum.workers, runs.stratum.max_per_ip) == (1, 5)
    left = [change.key for change in changes_between(runs, new)]
    assert left == ["pool.payout_address", "pool.data_dir", "stratum.workers", "ledger.url"], "named anew each time"


# --- nodes and upstreams ----------------------------------------------------------------------------------------------

def test_a_node_is_known_by_its_url_whatever_its_place():
    old = nodes(rpc("a", cookie_file="/a"), rpc("b"), rpc("c"))
    new = nodes(rpc("c"), rpc("a", cookie_file="/new"), rpc("d"))
    assert changes_between(old, new) == (
        Change("node.url", '["http://a:8332", "http://b:8332", "http://c:8332"]',
               '["http://c:8332", "http://a:8332", "http://d:8332"]', Effect.NOW),
        Change("node[http://a:8332].cookie_file", '"/a"', '"/new"', Effect.NOW))
    assert taken_over(old, new).nodes == new.nodes


def test_with_another_network_no_node_is_taken_over():
    old = nodes(rpc("a"))
    new = nodes(rpc("b", user="x"), passwords=("hunter2",), network="signet")
    assert [(change.key, change.on_reload) for change in changes_between(old, new)] == [
        ("pool.network", Effect.RESTART), ("node.url", Effect.RESTART),
        ("secrets.toml: node_passwords", Effect.RESTART)]
    assert taken_over(old, new) == old


@pytest.mark.parametrize(("before", "after"), [
    ([{"source": "regtest"}], [rpc("a")]), ([rpc("a")], [rpc("a"), {"source": "regtest"}])])
def test_the_embedded_chain_comes_and_goes_with_a_restart(before, after):
    old, new = nodes(*before), nodes(*after)
    (change,) = changes_between(old, new)
    assert (change.key, change.on_reload) == ("node.url", Effect.RESTART)
    assert '"regtest"' in change.old + change.new
    assert taken_over(old, new) == old


def test_beside_the_embedded_chain_nodes_come_and_go():
    old, new = nodes({"source": "regtest"}, rpc("a")), nodes({"source": "regtest"}, rpc("b"))
    assert taken_over(old, new) == new


def test_a_password_alone_is_a_change_and_is_never_shown():
    old = nodes(rpc("a", user="x"), passwords=("hunter2",))
    new = nodes(rpc("a", user="x"), passwords=("correct horse",))
    (change,) = changes_between(old, new)
    assert change == Change("secrets.toml: node_passwords", HIDDEN, HIDDEN, Effect.NOW)
    assert taken_over(old, new).nodes[0].password == "correct horse"
    assert changes_between(old, new, with_secrets=False) == ()


def test_the_pools_own_key_waits_for_a_restart_and_is_never_shown():
    old = pool_of({"stratum": {"sv2_listen": [], "listen": ["127.0.0.1:1"]}}, Secrets())
    new = pool_of({"stratum": {"sv2_listen": [], "listen": ["127.0.0.1:1"]}}, SECRETS)
    assert changes_between(old, new) == (
        Change("secrets.toml: sv2_static_priv_key_hex", NOTHING, HIDDEN, Effect.RESTART),)
    assert taken_over(old, new) == old
    assert KEY not in repr(changes_between(old, new)) and KEY not in repr(changes_between(new, old))


def test_a_certificate_waits_with_the_listener_that_it_is_for():
    old = pool_of()
    new = pool_of({"stratum": {"tls_listen": ["127.0.0.1:4333"], "tls_cert": "c.pem"}})
    assert {change.on_reload for change in changes_between(old, new)} == {Effect.RESTART}
    assert taken_over(old, new) == old
    assert taken_over(new, old) == new


def test_an_upstream_is_known_by_host_and_port_so_another_key_is_a_change_of_the_same():
    old, new = translator_of(), translator_of({"upstream": [{"url": URL.replace(KEY, OTHER_KEY)}]})
    (change,) = changes_between(old, new)
    assert change.key == "upstream[pool.example:34254].url" and OTHER_KEY in change.new
    assert taken_over(old, new) == new
    assert identity_of(new.upstreams[0]) == identity_of(old.upstreams[0]) == "pool.example:34254"


@pytest.mark.parametrize(("value", "words"), [
    (None, "none"), (True, "true"), (7, "7"), ("a\"b\\", '"a\\"b\\\\"'), (("a", "b"), '["a", "b"]'),
    (Path("/a b"), '"/a b"'), ("\U0001f4b0", '"\U0001f4b0"')])
def test_values_are_shown_as_toml_writes_them(value, words):
    assert toml_of(value) == words
    assert value is None or not isinstance(value, str) or json.loads(words) == value


# --- any mixture ------------------------------------------------------------------------------------------------------

def mixture(chosen: set[str], order: list[int]) -> Config:
    """A pool with other values under the chosen keys, and with nodes in some order."""
    document: dict[str, Any] = {"node": [rpc(f"node{number}") for number in order]}
    for name in chosen:
        section, _, key = name.partition(".")
        if section == "node":
            document["node"][0][key] = POOL[name]
            if key == "user":
                document["node"][0].pop("cookie_file", None)
        elif section == "notice":
            document.setdefault("notice", [dict(NOTICE)])[0][key] = POOL[name]
        else:
            document.setdefault(section, {})[key] = POOL[name]
    passwords = ("hunter2",) if "node.user" in chosen else ()
    urls: tuple[str, ...] = ("https://chat.example/hunter2",) if "notice" in document else ()
    if "notice.command" in chosen:
        urls = ()
        document["notice"][0].pop("format", None)
    return pool_of(document, replace(SPEC_SECRETS, node_passwords=passwords, notice_urls=urls))


MIXTURES = st.tuples(st.sets(st.sampled_from(sorted(set(POOL) - {"node.source", "node.url", "node.cookie_file"}))),
                     st.permutations([0, 1, 2]), st.integers(1, 3))


@given(MIXTURES, MIXTURES)
@settings(deadline=None)
def test_of_any_two_files_what_runs_after_a_reload_is_whole(before, after):
    try:
        old, new = (mixture(chosen, order[:count]) for chosen, order, count in (before, after))
    except ConfigError:
        assume(False)
    runs = taken_over(old, new)
    left = changes_between(runs, new)
    assert all(change.on_reload is Effect.RESTART for change in left), "the rest is taken"
    assert taken_over(runs, new) == runs, "another reload changes nothing more"
    assert {change.key for change in left} <= {change.key for change in changes_between(old, new)}
    document = tomllib.loads(running_toml(runs), parse_float=Decimal)
    read = any_of(document, folder=FOLDER, secrets=None, environ={}, source="running.toml")
    assert changes_between(read, runs, with_secrets=False) == (), "and running.toml says it"

"""`warppool check` of a node that is a template provider."""

from __future__ import annotations

import time

import pytest

from tests.config.test_pool import ADDRESS, SECRETS
from tests.node.provider import ScriptedProvider
from tests.sv2.profiles import EACH_PROFILE
from tests.sv2.templates import new_template, new_tip, raw_transactions
from warppool.commands import providercheck
from warppool.commands.cli import main
from warppool.sv2.messages.template import (
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
)


@pytest.fixture
def check(tmp_path, capsys):
    def run(url: str, more: str = "") -> tuple[int, list[str]]:
        (tmp_path / "warppool.toml").write_text(
            f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "data"\n'
            f'[stratum]\nlisten = []\nsv2_listen = ["127.0.0.1:0"]\n[[node]]\nsource = "tdp"\nurl = "{url}"\n{more}')
        (tmp_path / "secrets.toml").write_text(SECRETS)
        (tmp_path / "secrets.toml").chmod(0o600)
        status = main(["check", "-c", str(tmp_path / "warppool.toml")])
        return status, [line for line in capsys.readouterr().out.splitlines() if " node[0]: " in line]

    return run


def say_pair(provider: ScriptedProvider, raws: tuple[bytes, ...] = ()) -> None:
    provider.say(new_template(7, 12, transactions=raws), new_tip(7, header_timestamp=int(time.time())))


def data(raws: tuple[bytes, ...] | str):
    def answer(message):
        if not isinstance(message, RequestTransactionData):
            return []
        if isinstance(raws, str):
            return [RequestTransactionDataError(message.template_id, raws)]
        return [RequestTransactionDataSuccess(message.template_id, b"", raws)]
    return answer


@EACH_PROFILE
def test_a_provider_that_is_well_gives_a_template_and_its_transactions(check, profile):
    with ScriptedProvider(profile) as provider:
        provider.answer = data(raw_transactions(3))
        say_pair(provider, raw_transactions(3))
        status, lines = check(provider.text())
        assert status == 0
        assert "gives templates, now for height 12" in lines[0] and "3 transactions" in lines[1]
        assert len(lines) == 2 and lines[0].startswith("ok node[0]: stratum2+tcp://127.0.0.1:")


def test_one_that_may_be_anybody_gives_no_transactions_and_shows_no_life_is_warned_of(check):
    with ScriptedProvider() as provider:
        provider.answer, provider.life_code = data("stale-template-id"), "node-not-fresh"
        say_pair(provider, raw_transactions(3))
        status, lines = check(f"stratum2+tcp://127.0.0.1:{provider.port}", 'insecure = true\nprofile = "warp"\n')
        assert status == 0
        assert [line.split()[0] for line in lines] == ["warn", "ok", "warn", "warn"]
        assert "may be anybody" in lines[0] and "'node-not-fresh'" in lines[3]


def test_one_that_says_what_cannot_be_or_nothing_is_an_error(check, monkeypatch):
    monkeypatch.setattr(providercheck, "TIMEOUT_S", 0.3)
    with ScriptedProvider() as provider:
        provider.answer = data(raw_transactions(4))
        say_pair(provider, raw_transactions(3))
        status, lines = check(provider.text())
        assert status == 1 and "do not lead to its merkle_path" in lines[-1]
        status, lines = check(provider.text())
        assert status == 1 and "no template within" in lines[-1]
        other = "02" * 32
        status, lines = check(f"stratum2+tcp://127.0.0.1:{provider.port}/{other}")
        assert status == 1 and "key" in lines[-1]
    status, lines = check(provider.text())
    assert status == 1 and "Connection refused" in lines[-1]

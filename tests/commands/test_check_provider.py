"""`warppool check` of a template-provider.toml: what it says of keys, ports and nodes."""

from __future__ import annotations

import pytest

from tests.node.stub import Mood, StubNode, make_transaction
from tests.service.templateclients import PINS, write_provider_config
from warppool.authority import authority_key_text
from warppool.commands.cli import main
from warppool.config.provider import read_provider_config
from warppool.config.running import write_running
from warppool.sv2.profile import SPEC, WARP


@pytest.fixture
def stub(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as running:
        yield running


@pytest.fixture
def check(tmp_path, stub, capsys):
    """Write a configuration with that node, run the command; (status, lines)."""

    def run(*flags: str, **provider: object) -> tuple[int, list[str]]:
        path = write_provider_config(tmp_path, {"url": stub.url, "cookie_file": str(stub.cookie)}, **provider)
        status = main(["check", "-c", str(path), *flags])
        out, err = capsys.readouterr()
        assert err == ""
        return status, [line.replace(f"{tmp_path}/", "") for line in out.splitlines()]

    return run


def test_all_is_well(check, stub):
    stub.add_transactions(make_transaction(1))
    status, lines = check()
    assert status == 0
    assert lines[0] == "ok config: template-provider.toml is read, a template provider's, for regtest"
    assert f"ok secrets: clients on sv2_listen pin the public key {PINS[WARP].hex()}" in lines
    (spec,) = (line for line in lines if authority_key_text(PINS[SPEC]) in line)
    assert spec.startswith("ok secrets: ")
    assert [line.split(":")[0] for line in lines[3:7]] == [
        "ok provider.data_dir", "ok stratum.sv2_listen", "ok stratum.sv2_spec_listen", "ok limits"]
    (node,) = (line for line in lines if line.startswith("ok node[0]") and "gives templates" in line)
    assert node.endswith("now for height 1 and 1 transactions")


def test_books_that_run_would_refuse_are_an_error(check, tmp_path):
    (tmp_path / "provider").mkdir()
    (tmp_path / "provider" / "shares.db").write_bytes(b"")
    status, lines = check()
    (line,) = (line for line in lines if line.startswith("error ledger: "))
    assert status == 2 and "provider/shares.db: the file is empty (0 bytes)" in line


def test_a_node_that_refuses_is_an_error(check, stub):
    stub.mood = Mood.UNAUTHORIZED
    status, lines = check()
    assert status == 1 and lines[-1].startswith("error node[0]: ")


def test_a_node_on_another_network_is_an_error(check, stub):
    stub.network = "main"
    status, lines = check()
    assert status == 1 and "is on main" in lines[-1]


def test_files_alone_and_what_a_reload_would_change(check, stub, tmp_path):
    status, lines = check("--no-network")
    assert status == 0 and stub.calls == [] and len(lines) == 3
    (tmp_path / "provider").mkdir()
    write_running(tmp_path / "provider", read_provider_config(tmp_path / "template-provider.toml", {}))
    status, lines = check("--no-network", "--diff", interval_s=10, network="signet")
    assert status == 0
    assert lines[-2:] == [
        'warn provider.network: "regtest" becomes "signet": it needs a restart',
        "ok provider.interval_s: 30 becomes 10: a reload makes it count at once"]

"""`warppool check` against a scripted node and a machine with every fault."""

from __future__ import annotations

import os
import re
import resource
import socket
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.config.test_changes import translator_of
from tests.config.test_pool import ADDRESS, MAIN_ADDRESS, SECRETS
from tests.node.stub import Mood, RpcFault, StubNode
from warppool.authority import authority_key_text
from warppool.commands import check as module
from warppool.commands import findings
from warppool.commands.cli import main
from warppool.commands.democert import self_signed
from warppool.config.pool import read_config
from warppool.config.running import write_running
from warppool.errors import ConfigError
from warppool.node.calls import CALLS, METHODS
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.service.lock import DataDirLock

ANYONES = "bcrt1zqqqsyqcyq5rqwzqfpg9scrgwpugpzysn7264x6"       # of witness version 2
TEST_ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
LISTEN = '[stratum]\nlisten = []\nsv2_listen = ["127.0.0.1:0"]\n'


@pytest.fixture
def node(tmp_path):
    with StubNode(cookie=tmp_path / "cookie") as stub:
        yield stub


@pytest.fixture
def check(tmp_path, node, capsys):
    """Write a configuration for `node`, run the command; (status, lines)."""

    def run(more: str = LISTEN, pool: str = "data_dir = 'data'", mode: int = 0o600,
            options: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        (tmp_path / "warppool.toml").write_text(
            f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\n{pool}\n{more}'
            f'[[node]]\nurl = "{node.url}"\ncookie_file = "cookie"\n', encoding="utf-8")
        (tmp_path / "secrets.toml").write_text(SECRETS)
        (tmp_path / "secrets.toml").chmod(mode)
        status = main(["check", "-c", str(tmp_path / "warppool.toml"), *options])
        out, err = capsys.readouterr()
        assert err == ""
        lines = [line.replace(f"{tmp_path}/", "").replace(node.url, "URL") for line in out.splitlines()]
        assert all(line.split(" ")[0] in ("ok", "warn", "error") and ": " in line for line in lines)
        return status, lines

    return run


def graded(lines: list[str], grade: str) -> list[str]:
    return [line for line in lines if line.startswith(f"{grade} ")]


def test_all_is_well(check, node, tmp_path):
    before = sorted(tmp_path.iterdir())
    status, lines = check()
    assert status == 0
    assert graded(lines, "error") == graded(lines, "warn") == []
    assert [line.split(":")[0] for line in lines] == [
        "ok config", "ok secrets", "ok pool.data_dir", "ok stratum.sv2_listen", "ok status.dir", "ok status socket",
        "ok limits", "ok clock", "ok node[0]", "ok node[0]"]
    assert lines[2] == "ok pool.data_dir: data will be made"
    assert lines[-2] == "ok node[0]: URL is on regtest and gives templates, now for height 1 and 0 transactions"
    assert lines[-1] == f"ok node[0]: it lets us make every call that the pool makes: {', '.join(METHODS)}"
    assert set(METHODS) - {"getblockchaininfo", "getblocktemplate"} <= {name for name, _ in node.calls}, "each is tried"
    assert node.submitted == [b"\0"], "no block"
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "secrets.toml", tmp_path / "warppool.toml"])


def test_a_wrong_configuration_is_an_error_and_status_1(check, tmp_path, capsys):
    status, lines = check(pool="colour = 1")
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("error config: warppool.toml: pool.colour is not known: did you mean ")
    status, lines = check(mode=0o644)
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("error config: secrets.toml: others may read it (mode 0644): chmod 600 secrets.toml, or")
    assert main(["check", "-c", str(tmp_path / "none.toml")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().out


SPEC_PORT = '[stratum]\nlisten = []\nsv2_listen = []\nsv2_spec_listen = ["127.0.0.1:0"]\n'
SPEC_STATIC, SPEC_AUTHORITY = bytes(range(1, 33)), bytes(range(2, 34))


@pytest.fixture
def spec_keys(tmp_path, monkeypatch):
    """The keys of the published profile are among the secrets."""
    for name, key in (("STATIC", SPEC_STATIC), ("AUTHORITY", SPEC_AUTHORITY)):
        monkeypatch.setenv(f"WARPPOOL__SECRETS__SV2_SPEC_{name}_PRIV_KEY_HEX_FILE", str(tmp_path / name))
        (tmp_path / name).write_text(key.hex())


@pytest.mark.usefixtures("spec_keys")
def test_the_port_of_the_published_profile_is_tried_and_its_authority_said(check, monkeypatch):
    status, lines = check(SPEC_PORT)
    assert (status, graded(lines, "error")) == (0, [])
    key = authority_key_text(xonly_of_secret(SPEC_AUTHORITY))
    assert f"ok secrets: machines on sv2_spec_listen know the authority key {key}" in lines
    assert "ok stratum.sv2_spec_listen: 127.0.0.1:0 is free" in lines
    monkeypatch.setattr("warppool.service.specidentity.library", no_library)
    status, lines = check(SPEC_PORT)
    assert (status, graded(lines, "error")) == (1, ["error secrets: it needs pip install 'warppool[spec]'"])


def no_library():
    raise ConfigError("it needs pip install 'warppool[spec]'")


def test_a_port_for_all_is_tried_with_its_certificate(check, tmp_path):
    anyone = '[stratum]\nlisten = []\nsv2_listen = []\nany_listen = ["127.0.0.1:0"]\n'
    status, lines = check(anyone)
    assert status == 1
    assert [line.partition(" does not exist")[0] for line in graded(lines, "error")] == [
        "error stratum.tls_cert: fullchain.pem"]
    self_signed().write(tmp_path)
    status, lines = check(anyone)
    assert graded(lines, "error") == [] and "ok stratum.any_listen: 127.0.0.1:0 is free" in lines


@pytest.mark.usefixtures("spec_keys")
def test_the_authority_is_said_with_the_listeners_where_its_key_counts(check, tmp_path):
    self_signed().write(tmp_path)
    for ports, who in (('any_listen = ["127.0.0.1:0"]', "any_listen"),
                       ('any_listen = ["127.0.0.1:0"]\nsv2_spec_listen = ["127.0.0.1:0"]',
                        "sv2_spec_listen and any_listen")):
        _, lines = check(f"[stratum]\nlisten = []\nsv2_listen = []\n{ports}\n")
        (line,) = (line for line in lines if "authority key" in line)
        assert line.startswith(f"ok secrets: machines on {who} know the authority key 9")


def test_who_is_believed_as_a_proxy_is_said_and_everybody_is_a_warning(check):
    status, lines = check(LISTEN + 'proxy_from = ["10.0.0.0/8", "192.0.2.7", "::/0"]\n')
    assert status == 0
    assert [line for line in lines if "proxy_from" in line] == [
        "ok stratum.proxy_from: what comes from 10.0.0.0/8 must begin with a PROXY header, whose address counts",
        "ok stratum.proxy_from: what comes from 192.0.2.7/32 must begin with a PROXY header, whose address counts",
        "warn stratum.proxy_from: ::/0 is everybody, who may then come as whomever he likes: name the nets of the "
        "proxies alone"]


def test_an_address_whose_coins_anyone_can_spend_is_a_warning(check, monkeypatch):
    monkeypatch.setenv("WARPPOOL__POOL__PAYOUT_ADDRESS", ANYONES)
    status, lines = check()
    assert status == 0
    assert graded(lines, "warn") == [
        "warn pool.payout_address: anyone can spend what a block pays there, since no rule guards that kind of address "
        "yet: use an address of today"]


def test_a_tag_that_is_cut_is_a_warning(check, monkeypatch):
    monkeypatch.setenv("WARPPOOL__POOL__COINBASE_TAG", "t" * 51)
    status, lines = check()
    assert status == 0
    assert graded(lines, "warn") == ["warn pool.coinbase_tag: more than 50 bytes: it is cut, and the next release will "
                                     "refuse it: shorten it"]


def test_a_port_that_is_taken_is_an_error(check):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, lines = check(f'[stratum]\nlisten = []\nsv2_listen = ["127.0.0.1:{port}"]\n')
    assert status == 1
    assert len(graded(lines, "error")) == 1
    assert f"error stratum.sv2_listen: port {port} of 127.0.0.1:{port} is taken by another program" in lines[3]


def test_while_the_pool_runs_its_directory_and_ports_are_its_own(check, tmp_path):
    lock = DataDirLock(tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        status, lines = check(f'[stratum]\nlisten = []\nsv2_listen = ["127.0.0.1:{port}"]\n')
    lock.release()
    assert status == 0
    assert graded(lines, "warn") == [
        f"warn pool.data_dir: data is held by a running warppool (pid {os.getpid()}); a second is refused",
        f"warn stratum.sv2_listen: 127.0.0.1:{port} was not tried, since a warppool runs (pid {os.getpid()})"]


TLS = LISTEN + 'tls_listen = ["127.0.0.1:0"]\n'


def about_tls(lines: list[str]) -> list[str]:
    return [line for line in lines if " stratum.tls_cert: " in line or " stratum.tls_key: " in line]


def test_a_good_pair_is_told_of(check, tmp_path):
    end = datetime(2090, 1, 2, 3, tzinfo=UTC)
    self_signed(("pool.example", "192.0.2.1"), None, end).write(tmp_path)
    status, lines = check(TLS)
    assert status == 0
    [line] = about_tls(lines)
    assert re.fullmatch(r"ok stratum\.tls_cert: fullchain\.pem is for pool\.example, 192\.0\.2\.1, signed by itself, "
                        r"until 2090-01-02T03:00:00Z; its SHA-256 fingerprint is [0-9a-f]{64}", line)
    assert about_tls(check()[1]) == [], "nobody asks for it where nothing listens"


def test_a_pair_that_ends_or_lies_open_is_a_warning(check, tmp_path):
    _, key = self_signed(not_after=datetime.now(UTC) + timedelta(days=3, hours=1)).write(tmp_path)
    key.chmod(0o644)
    status, lines = check(TLS)
    assert status == 0
    ok, ending, lies_open = about_tls(lines)
    assert ok.startswith("ok stratum.tls_cert: ") and ending.startswith("warn stratum.tls_cert: it ends on ")
    assert "in 3 days" in ending
    assert lies_open == "warn stratum.tls_key: everybody on this machine may read privkey.pem: chmod 640 privkey.pem"


@pytest.mark.parametrize(("name", "key"), [("fullchain.pem", "tls_cert"), ("privkey.pem", "tls_key")])
def test_a_bad_pair_is_an_error(check, tmp_path, name, key):
    self_signed().write(tmp_path)
    (tmp_path / name).unlink()
    status, lines = check(TLS)
    assert status == 1
    assert about_tls(lines) == [f"error stratum.{key}: {name} does not exist: name the file there, or switch TLS off "
                                "by tls_listen = [] and any_listen = []"]


def test_a_data_directory_that_cannot_be_used_is_an_error(check, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    status, lines = check(pool='data_dir = "file/x"')
    assert (status, graded(lines, "error")) == (1, ["error pool.data_dir: file is no directory: name another one"])
    monkeypatch.setattr("os.access", lambda path, mode: False)
    status, lines = check()
    assert status == 1
    assert "may not be written by this user" in graded(lines, "error")[0]


@pytest.mark.parametrize(("hard", "more", "grade", "words"), [
    (65536, "", "ok", "65536 files may be open, room for 65472 miners"),
    (1024, "", "warn", "1024 files may be open, room for 960 miners: raise LimitNOFILE="),
    (1024, "max_connections = 960\n", "ok", "1024 files may be open, room for 960 miners"),
    (1024, "max_connections = 961\n", "warn", "room for 960 miners, and stratum.max_connections is 961: raise"),
    (10, "max_connections = 1\n", "warn", "10 files may be open, room for 0 miners"),
    (resource.RLIM_INFINITY, "", "ok", "any number of files may be open"),
])
def test_limits(check, monkeypatch, hard, more, grade, words):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (5, hard))
    status, lines = check(LISTEN + more)
    assert status == 0
    assert any(line.startswith(f"{grade} limits: ") and words in line for line in lines)


def test_a_node_that_is_behind_another_is_a_warning(check, node, tmp_path):
    with StubNode(cookie=tmp_path / "cookie2") as other:
        for _ in range(3):
            other.grow()
        more = LISTEN + f'[[node]]\nurl = "{other.url}"\ncookie_file = "cookie2"\n'
        status, lines = check(more)
        assert status == 0
        (line,) = graded(lines, "warn")
        assert line.startswith("warn node[1]: its tip is 3 blocks behind that of node[0] now")
        for _ in range(3):
            node.grow()
        assert graded(check(more)[1], "warn") == []


@pytest.mark.parametrize(("offset", "grade", "words"), [
    (60, "", ""), (-60, "", ""), (200, "warn", "200 s ahead of ours"), (-200, "warn", "200 s behind ours"),
    (8000, "error", "8000 s ahead of ours"),
])
def test_a_node_whose_clock_is_far_from_ours(check, node, offset, grade, words):
    node.clock_offset_s = offset
    status, lines = check()
    assert status == (grade == "error")
    found = [line for line in lines if "the node's clock is" in line]
    assert len(found) == bool(grade)
    assert all(line.startswith(f"{grade} clock: ") for line in found)
    shown = int(words.split()[0]) if words else 0
    assert all(any(f"{seconds} s {words.split(' s ')[1]}" in line for seconds in range(shown - 9, shown + 9))
               for line in found)


def test_a_disk_that_is_full_is_an_error(check, monkeypatch):
    full = os.statvfs("/")
    monkeypatch.setattr("os.statvfs", lambda path: os.statvfs_result((*full[:4], 3, *full[5:])))
    status, lines = check()
    assert status == 1
    assert graded(lines, "error")[0].endswith("lies on a disk that is full: make room, or name another data_dir")


@pytest.mark.parametrize(("port", "reserved", "is_lent"), [
    (3333, "", False), (34254, "", True), (34254, "34254,34255", False), (34255, "34254-34260\n", False),
    (34255, "1-5,34254", True), (0, "", False),
])
def test_a_port_that_outgoing_connections_may_take_is_told(tmp_path, monkeypatch, port, reserved, is_lent):
    (tmp_path / "range").write_text("32768\t60999\n")
    (tmp_path / "reserved").write_text(reserved)
    monkeypatch.setattr(findings, "PORT_RANGE", tmp_path / "range")
    monkeypatch.setattr(findings, "RESERVED_PORTS", tmp_path / "reserved")
    assert findings.may_be_lent(port) is is_lent
    monkeypatch.setattr(findings, "PORT_RANGE", tmp_path / "none")
    assert not findings.may_be_lent(port), "another system"


def test_a_clock_that_was_never_set_is_an_error(check, node, monkeypatch):
    node.extra["curtime"] = 1_700_000_600
    monkeypatch.setattr(module.time, "time", lambda: 1_600_000_000.5)
    status, lines = check()
    assert status == 1
    assert graded(lines, "error") == [
        "error clock: it shows 2020-09-13T12:26:40Z, which is past: set it, and have NTP keep it"]


def test_a_clock_behind_the_chain_is_an_error_and_on_regtest_the_doing_of_the_blocks(check, node, monkeypatch):
    ahead = int(time.time()) + 100
    template = node.template() | {"mintime": ahead, "curtime": ahead}
    node.hooks["getblocktemplate"] = lambda params: template
    status, lines = check()
    assert status == 0
    assert re.match(r"warn clock: the blocks of this regtest chain are (99|100) s ahead of this clock, ", lines[-1])
    node.network = "testnet4"
    monkeypatch.setenv("WARPPOOL__POOL__NETWORK", "testnet4")
    monkeypatch.setenv("WARPPOOL__POOL__PAYOUT_ADDRESS", TEST_ADDRESS)
    status, lines = check()
    assert status == 1
    assert re.match(r"error clock: it is (99|100) s behind what the next block may show: set it", lines[-1])


def test_a_start_outside_of_its_bounds_is_a_warning(check):
    for more, words in (("[difficulty]\nmin = 2000\n", "start at difficulty.min, 2000: raise it, or lower min"),
                        ("[difficulty]\nmax = 10\n", "start at difficulty.max, 10: lower it, or raise max")):
        status, lines = check(LISTEN + more)
        assert status == 0
        assert graded(lines, "warn") == [f"warn difficulty.start: it holds 1024.0, and machines {words}"]


@pytest.mark.parametrize(("offset", "warned"), [(11, True), (-11, True), (10, False), ("x", False)])
def test_a_clock_apart_from_its_peers_is_a_warning(check, node, offset, warned):
    node.hooks["getnetworkinfo"] = lambda params: {"timeoffset": offset}
    status, lines = check()
    assert status == 0
    assert [line[:50] for line in lines[10:]] == ["warn clock: the node's clock and its peers' are 11"] * warned


@pytest.mark.parametrize("method", ["getblockchaininfo", "getblocktemplate"])
@pytest.mark.parametrize(("mood", "sentence"), [
    (Mood.HANG, "no whole answer from NODE in time"),
    (Mood.UNAUTHORIZED,
     "the node refuses the cookie of cookie (HTTP 401): is it the cookie of the node at node.url?"),
    (Mood.FORBIDDEN, "the node forbids METHOD (HTTP 403): let this machine in by rpcallowip, and where it has an "
     "rpcwhitelist, add METHOD for this user there"),
    (Mood.BUSY, "the node is starting or too busy (HTTP 503): 'Work queue depth exceeded'"),
    (Mood.WARM_UP, "the node is starting: Loading block index..."),
    (Mood.GARBAGE, "what NODE says is not HTTP: '\\x00\\x01\\x02 what?\\r\\n'"),
    (Mood.NOT_JSON, "METHOD: its answer is not JSON: 'hello'"),
    (Mood.HALF, "NODE hung up in the middle of an answer"),
    (Mood.DRIBBLE, "no whole answer from NODE in time"),
    (Mood.CLOSE, "no answer from NODE: Remote end closed connection without response"),
    (Mood.WRONG_ID, "METHOD: the answer to another call (id ID)"),
])
def test_a_node_that_does_not_answer_well_is_one_error_that_says_how(check, node, monkeypatch, mood, sentence, method):
    if mood in (Mood.HANG, Mood.DRIBBLE):
        monkeypatch.setattr(module, "NODE_TIMEOUT_S", 0.25)
    node.moods[method] = mood
    status, lines = check()
    words = lines[-1].replace(node.url.removeprefix("http://"), "NODE").replace(method, "METHOD")
    assert status == 1
    assert [line.split(" ")[0] for line in lines] == ["ok"] * 8 + ["error"]
    assert re.sub(r"\(id \d+\)", "(id ID)", words) == f"error node[0]: URL: {sentence}"


@pytest.mark.parametrize("call", CALLS, ids=METHODS)
def test_a_call_that_the_node_forbids_is_named(check, node, call):
    node.moods[call.method] = Mood.FORBIDDEN
    status, lines = check()
    said = [line for line in lines if line.split(" ")[0] != "ok"]
    assert status == call.is_needed
    assert len(said) == 1
    assert said[0].startswith(f"{'error' if call.is_needed else 'warn'} node[0]: ")
    for word in (f"the node forbids {call.method} (HTTP 403)", "rpcallowip", f"rpcwhitelist, add {call.method} for"):
        assert word in said[0]


def test_every_call_that_is_forbidden_has_its_line(check, node):
    for method in ("submitblock", "getblockheader"):
        node.moods[method] = Mood.FORBIDDEN
    lines = check()[1]
    assert [re.search(r"needs (\w+)", line)[1] for line in graded(lines, "error")] == ["submitblock", "getblockheader"]
    assert not any("every call" in line for line in lines)


def test_a_call_that_the_node_does_not_have_is_named_where_it_is_needed(check, node):
    def unknown(params):
        raise RpcFault(-32601, "Method not found")

    node.hooks["getnetworkinfo"] = unknown
    assert check()[0] == 0
    node.hooks["submitblock"] = unknown
    status, lines = check()
    assert status == 1
    assert "the pool needs submitblock to hand in blocks, and this node has no such call" in graded(lines, "error")[0]


def test_a_node_that_keeps_its_clock_to_itself_is_well(check, node):
    node.moods["getnetworkinfo"] = Mood.CLOSE
    assert check()[0] == 0


def test_a_node_that_is_away_or_shows_another_cookie_or_none_is_an_error(check, node, tmp_path):
    cookie = tmp_path / "cookie"
    cookie.write_text("__cookie__:of-yesterday")
    assert check()[1][-1] == ("error node[0]: URL: the node refuses the cookie of cookie (HTTP 401): is it "
                               "the cookie of the node at node.url?")
    node.stop()
    address = node.url.removeprefix("http://")
    assert check()[1][-1] == (f"error node[0]: URL: cannot connect to {address}: Connection refused: is the "
                               "node running, with server=1, and is node.url its RPC port?")
    cookie.unlink()
    assert check()[1][-1] == ("error node[0]: URL: no cookie at cookie: is the node running, and is "
                               "node.cookie_file in its directory?")


def test_a_node_of_another_network_is_an_error(check, node):
    node.network = "main"
    status, lines = check()
    assert status == 1
    assert lines[-1] == ("error node[0]: URL is on main, and pool.network is regtest: ask another node, or mend "
                         "pool.network")


def test_a_node_that_still_downloads_is_a_warning(check, node, monkeypatch):
    node.network = "main"
    node.hooks["getblockchaininfo"] = lambda params: {"chain": "main", "blocks": 7, "initialblockdownload": True}
    monkeypatch.setenv("WARPPOOL__POOL__NETWORK", "main")
    monkeypatch.setenv("WARPPOOL__POOL__PAYOUT_ADDRESS", MAIN_ADDRESS)
    status, lines = check()
    assert status == 0
    assert lines[-1] == ("warn node[0]: URL is still downloading the chain, at height 7: mining begins when it has "
                         "caught up")


@pytest.mark.parametrize("answer", [None, [], "main", {}, {"chain": 7}, {"chain": "x" * 500}])
def test_a_node_that_says_nonsense_of_itself_is_an_error(check, node, answer):
    node.hooks["getblockchaininfo"] = lambda params: answer
    status, lines = check()
    assert status == 1
    assert lines[-1].startswith("error node[0]: URL is on ")
    assert len(lines[-1]) < 200


def test_a_node_without_a_template_is_an_error(check, node):
    def refuse(params):
        raise RpcFault(-9, "Bitcoin Core is not connected!")

    node.hooks["getblocktemplate"] = refuse
    status, lines = check()
    assert status == 1
    assert "Bitcoin Core is not connected!" in lines[-1]
    node.hooks["getblocktemplate"] = lambda params: {"height": "seven"}
    assert check()[0] == 1


def test_the_embedded_chain_is_asked_for_by_its_extra(check, node, tmp_path, monkeypatch):
    more = LISTEN + '[[node]]\nsource = "regtest"\n'
    pytest.importorskip("pbk", reason="the extra [regtest] is not installed")
    assert check(more)[1][-3] == "ok node[0]: the embedded chain is installed"
    monkeypatch.setitem(sys.modules, "pbk", None)
    status, lines = check(more)
    assert status == 1
    assert "pip install 'warppool[regtest]'" in graded(lines, "error")[0]


# --- what a reload would change ---------------------------------------------------------------------------------------

DIFF = ("--diff", "--no-network")


def test_without_network_only_files_are_read(check, node, tmp_path, monkeypatch):
    for owner, names in ((findings, ("holder", "ports", "data_dir")), (module, ("place", "files", "clock", "JsonRpc"))):
        for name in names:
            monkeypatch.setattr(owner, name, None)
    status, lines = check(options=DIFF)
    assert (status, node.calls) == (0, [])
    assert [line.split(":")[0] for line in lines] == ["ok config", "ok secrets", "ok diff"]
    assert lines[-1] == "ok diff: data has no running.toml: nothing has run there"
    assert not (tmp_path / "data").exists()


def test_each_key_that_differs_has_a_line_and_the_status_stays_0(check, tmp_path):
    check(options=DIFF)
    (tmp_path / "data").mkdir()
    write_running(tmp_path / "data", read_config(tmp_path / "warppool.toml", {}))
    assert check(options=DIFF)[1][-1] == "ok diff: nothing differs from what runs, as data/running.toml has it"
    status, lines = check(LISTEN + "workers = 2\n[difficulty]\nmin = 0.5\nstart = 9\n",
                          pool="data_dir = 'data'\ncoinbase_tag = '/mine/'", options=DIFF)
    assert status == 0
    assert lines[2:] == [
        'ok pool.coinbase_tag: "/warppool/" becomes "/mine/": a reload makes it count from the next job on',
        "warn stratum.workers: 1 becomes 2: it needs a restart",
        "ok difficulty.start: 1024.0 becomes 9: a reload makes it count for who comes then",
        "ok difficulty.min: 0.001 becomes 0.5: a reload makes it count from the next job on"]


def test_a_mistake_is_status_1_so_that_a_reload_stops(check, tmp_path):
    status, lines = check(pool="colour = 1", options=DIFF)
    assert status == 1 and len(lines) == 1 and "colour is not known" in lines[0]
    (tmp_path / "fullchain.pem").write_text("junk")
    status, lines = check(LISTEN + 'tls_listen = ["127.0.0.1:0"]\n', options=DIFF)
    assert status == 1 and any(line.startswith("error stratum.tls_key: ") for line in lines)


def test_a_running_toml_that_cannot_be_read_is_no_mistake_of_the_file(check, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/running.toml").write_text("colour = 1")
    status, lines = check(options=DIFF)
    assert status == 0 and lines[-1].startswith("warn diff: data/running.toml: colour is not known")
    assert lines[-1].endswith("the next start writes that file anew")
    (tmp_path / "data/running.toml").unlink()
    write_running(tmp_path / "data", translator_of())
    assert check(options=DIFF)[1][-1].startswith("warn diff: data is that of another program")

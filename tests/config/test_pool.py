"""Configuration: every way to get it wrong has one line that says so, and what is right comes out typed."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from warppool.addresses import Address, ProviderUrl
from warppool.bitcoin.address import script_of
from warppool.config.changes import identity_of
from warppool.config.datadir import default_data_dir
from warppool.config.options import Config
from warppool.config.pool import read_config
from warppool.errors import ConfigError
from warppool.mining.job import MAX_TAG_SIZE
from warppool.service.connector import profiles_of, serves_spec
from warppool.sv2.profile import SPEC, WARP

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
MAIN_ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
POOL = f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "data"\n'
UNGUARDED_ADDRESS = "bcrt1pqypqy20zhz"
"""Of witness version 1, with a program of two bytes: anyone can spend what is paid there."""
KEY = "07" * 32
OTHER = "08" * 32
TDP = POOL + "[[node]]\nsource = 'tdp'\n"
SECRETS = f'sv2_static_priv_key_hex = "{KEY}"\n'


@pytest.fixture
def read(tmp_path):
    """Write both files, read them as the daemon would."""

    def write_and_read(text: str = POOL, secrets: str | None = SECRETS, environ: dict[str, str] | None = None,
                       mode: int = 0o600, with_secrets: bool = True) -> Config:
        (tmp_path / "warppool.toml").write_text(text, encoding="utf-8")
        if secrets is not None:
            path = tmp_path / "secrets.toml"
            path.write_text(secrets, encoding="utf-8")
            path.chmod(mode)
        return read_config(tmp_path / "warppool.toml", environ or {}, with_secrets=with_secrets)

    return write_and_read


def words_of(error: pytest.ExceptionInfo[ConfigError], tmp_path: Path) -> str:
    words = str(error.value)
    assert words.isprintable(), "one line, and nothing that a terminal would obey"
    return words.replace(f"{tmp_path}/", "")


# --- what is right ----------------------------------------------------------------------------------------------------

def test_the_least_file_gives_every_default(read, tmp_path):
    config = read()
    assert config.pool.network == "regtest"
    assert config.pool.payout_script == script_of(ADDRESS, "regtest")
    assert config.pool.coinbase_tag == "/warppool/"
    assert config.pool.data_dir == tmp_path / "data"
    assert config.pool.server_id == 0
    assert (config.pool.payout, config.pool.fee_percent, config.pool.fee_basis_points) == ("pool", 0, 0)
    assert (config.pool.fallback_address, config.pool.fallback_script) == ("", b"")
    assert (config.pool.window, config.pool.window_days, config.pool.window_rampup) == (8, 90, True)
    assert (config.pool.min_payout_sat, config.pool.min_paid_ratio) == (100_000, Decimal("0.9"))
    assert config.stratum.listen == (Address("::", 3333),)
    assert config.stratum.tls_listen == ()
    assert config.stratum.tls_cert == tmp_path / "fullchain.pem"
    assert config.stratum.tls_key == tmp_path / "privkey.pem"
    assert config.stratum.sv2_listen == (Address("::", 34254),)
    assert config.stratum.sv2_spec_listen == config.stratum.any_listen == config.stratum.proxy_from == ()
    assert not config.stratum.has_tls
    assert (config.stratum.extranonce2_size, config.stratum.workers) == (8, 1)
    assert (config.stratum.max_connections, config.stratum.max_per_ip, config.stratum.idle_timeout_s) == (0, -1, 600)
    assert config.difficulty.start == Decimal(1024)
    assert (config.difficulty.min, config.difficulty.max) == (Decimal("0.001"), 0)
    assert config.difficulty.shares_per_minute == Decimal(12)
    (node,) = config.nodes
    assert (node.source, node.url, node.user, node.password) == ("rpc", "http://127.0.0.1:8332", "", "")
    assert node.cookie_file == Path("/var/lib/bitcoind/.cookie")
    assert (config.ledger.url, config.ledger.durability) == ("sqlite:///shares.db", "commit")
    assert config.ledger.path == tmp_path / "data/shares.db"
    assert config.log.level == "info"
    assert config.secrets.sv2_static_priv_key == bytes.fromhex(KEY)


def test_what_the_file_says_is_taken(read, tmp_path):
    config = read(POOL + """
        coinbase_tag = "äö"
        server_id = 255
        [stratum]
        listen = []
        tls_listen = ["127.0.0.1:4333", "[::1]:4333"]
        tls_cert = "/etc/ssl/chain.pem"
        sv2_listen = ["0.0.0.0:0", "0.0.0.0:0"]
        any_listen = ["[::]:443"]
        proxy_from = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "::ffff:192.0.2.8"]
        workers = 3
        [difficulty]
        start = 1e-9
        min = 4.6e-10
        max = 7
        [[node]]
        source = "regtest"
        [[node]]
        url = "http://[::1]:18443/"
        user = "alice"
        [[node]]
        url = "http://node:18443"
        cookie_file = "cookie"
        [ledger]
        url = "sqlite:////srv/books.db"
        durability = "none"
        [log]
        level = "debug"
    """, SECRETS + 'node_passwords = ["hunter2"]')
    assert config.pool.coinbase_tag == "äö"
    assert config.stratum.listen == ()
    assert config.stratum.tls_listen == (Address("127.0.0.1", 4333), Address("::1", 4333))
    assert config.stratum.tls_cert == Path("/etc/ssl/chain.pem")
    assert config.stratum.sv2_listen == (Address("0.0.0.0", 0), Address("0.0.0.0", 0))
    assert config.stratum.any_listen == (Address("::", 443),) and config.stratum.has_tls
    assert list(map(str, config.stratum.proxy_from)) == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32", "192.0.2.8/32"]
    assert config.difficulty.start == Decimal("1e-9"), "exactly as written, through no float"
    assert config.difficulty.max == Decimal(7)
    assert [node.source for node in config.nodes] == ["regtest", "rpc", "rpc"]
    assert [node.password for node in config.nodes] == ["", "hunter2", ""]
    assert config.nodes[2].cookie_file == tmp_path / "cookie"
    assert config.ledger.path == Path("/srv/books.db")
    assert config.log.level == "debug"


@pytest.mark.parametrize(("written", "basis_points"), [
    ("0.01", 1), ("0.29", 29), ("1", 100), ("1.10", 110), ("2.50000", 250), ("1e1", 1000), ("57.77", 5777),
    ("100", 10_000)])
def test_the_fee_is_exact_in_basis_points(read, written, basis_points):
    assert read(f"{POOL}payout = 'solo'\nfee_percent = {written}").pool.fee_basis_points == basis_points


def test_the_fallback_is_an_address_of_the_network(read):
    address = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"
    assert read(f"{POOL}fallback_address = '{address}'").pool.fallback_script == script_of(address, "regtest")


def test_addresses_print_as_they_are_written():
    assert str(Address("::", 3333)) == "[::]:3333"
    assert str(Address("0.0.0.0", 80)) == "0.0.0.0:80"


def test_secrets_are_not_in_what_a_traceback_would_print(read):
    config = read(POOL + '[[node]]\nuser = "alice"', SECRETS + 'node_passwords = ["hunter2"]')
    assert "hunter2" not in repr(config)
    assert KEY not in repr(config)
    assert repr(bytes.fromhex(KEY)) not in repr(config)


SPEC_PORT = POOL + '[stratum]\nsv2_listen = []\nsv2_spec_listen = ["[::]:2"]\n'
SPEC_KEYS = (f'sv2_spec_static_priv_key_hex = "{bytes(range(1, 33)).hex()}"\n'
             f'sv2_spec_authority_priv_key_hex = "{bytes(range(2, 34)).hex()}"\n')


def test_the_published_profile_is_served_with_keys_of_its_own_alone(read):
    config = read(SPEC_PORT, SPEC_KEYS)
    assert serves_spec(config) and profiles_of(config) == (WARP, SPEC)
    assert config.secrets.sv2_static_priv_key is None
    with pytest.raises(ConfigError, match=r"sv2_spec_static_priv_key_hex is missing: make both keys by .*--spec.*, "
                                          r"or switch the listener off by sv2_spec_listen = \[\]"):
        read(SPEC_PORT)


@pytest.mark.parametrize(("ports", "keys", "is_served"), [
    ("", "", False), ("", SPEC_KEYS, False), ("any_listen = ['[::]:2']", "", False),
    ("any_listen = ['[::]:2']", SPEC_KEYS, True)])
def test_a_port_for_all_takes_the_published_profile_where_its_keys_are_there(read, ports, keys, is_served):
    config = read(f"{POOL}[stratum]\n{ports}", SECRETS + keys)
    assert serves_spec(config) is is_served
    assert profiles_of(config) == ((WARP, SPEC) if is_served else (WARP,))


@pytest.mark.parametrize(("lines", "limit"), [
    ("", 600), ("shares_per_minute = 200", 600), ("shares_per_minute = 1000", 3000), ("max_shares_per_minute = 0", 0),
    ("max_shares_per_minute = 36", 36), ("shares_per_minute = 1000\nmax_shares_per_minute = 0", 0)])
def test_the_limit_on_shares_follows_the_wanted_ones_where_it_is_not_set(read, lines, limit):
    assert read(POOL + f"[difficulty]\n{lines}").difficulty.max_shares_per_minute == limit


@pytest.mark.parametrize(("tag", "used", "is_cut"), [
    ("t" * 50, "t" * 50, False), ("t" * 51, "t" * 50, True), ("é" * 27, "é" * 25, True),
    ("t" * 49 + "é", "t" * 49, True)])
def test_a_tag_of_the_release_before_is_cut_between_two_characters(read, tag, used, is_cut):
    pool = read(POOL + f"coinbase_tag = '{tag}'").pool
    assert (pool.coinbase_tag, pool.is_tag_cut) == (used, is_cut)


# --- the environment --------------------------------------------------------------------------------------------------

def test_the_environment_wins_over_the_file(read, tmp_path):
    config = read(POOL, environ={
        "WARPPOOL__POOL__COINBASE_TAG": "7", "WARPPOOL__POOL__SERVER_ID": "9", "WARPPOOL__POOL__DATA_DIR": "other",
        "WARPPOOL__STRATUM__SV2_LISTEN": '["127.0.0.1:1"]', "WARPPOOL__DIFFICULTY__START": "0.5",
        "WARPPOOL__NODE__URL": "http://n:1", "WARPPOOL": "x", "WARPPOOL_REQUIRE_PEERS": "1",
    })
    assert (config.pool.coinbase_tag, config.pool.server_id) == ("7", 9)
    assert config.pool.data_dir == tmp_path / "other"
    assert config.ledger.path == tmp_path / "other/shares.db"
    assert config.stratum.sv2_listen == (Address("127.0.0.1", 1),)
    assert config.difficulty.start == Decimal("0.5")
    assert config.nodes[0].url == "http://n:1"


@pytest.mark.parametrize(("variable", "value", "words"), [
    ("WARPPOOL__POOL__NETWORK", "mainnet", 'holds "mainnet": it takes main, testnet4, signet or regtest'),
    ("WARPPOOL__STRATUM__WORKERS", "two", 'holds "two": it takes a whole number, 1 to 32, written as in TOML'),
    ("WARPPOOL__STRATUM__WORKERS", "2\nx = 3", r'holds "2\nx = 3": it takes a whole number, 1 to 32, written'),
    ("WARPPOOL__STRATUM__WORKERS", "0", "holds 0: it takes a whole number, 1 to 32"),
    ("WARPPOOL__DIFFICULTY__MIN", "1e99999999999999999999",
     'holds "1e99999999999999999999": it takes a number, 1e-10 to 1e30, written as in TOML'),
    ("WARPPOOL__POOL__PAYOUT_ADDRESS", MAIN_ADDRESS, f": '{MAIN_ADDRESS}' is an address for main, not for regtest: "
     "give an address for regtest"),
    ("WARPPOOL__STRATUM__WORKER", "1", "is not known: did you mean workers?"),
    ("WARPPOOL__STRATUMS__WORKERS", "1", "is not known: did you mean [stratum]?"),
    ("WARPPOOL__POOL", "1", "is not known: did you mean"),
    ("WARPPOOL__SECRETS__NODE_PASSWORDS", "[]", "is not known: secrets do not go into the environment: put it into a "
     "file, and name that by WARPPOOL__SECRETS__NODE_PASSWORDS_FILE"),
    ("WARPPOOL__SECRETS__PASSWORD_FILE", "/x", "did you mean WARPPOOL__SECRETS__NODE_PASSWORDS_FILE?"),
    ("WARPPOOL__POOL__NETWORK_FILE", "/none/x", "/none/x: cannot be read: No such file or directory: name a file"),
    ("WARPPOOL__SECRETS__NODE_PASSWORDS_FILE", "", "is empty: it takes the path of a file"),
])
def test_a_wrong_variable_is_named(read, tmp_path, variable, value, words):
    with pytest.raises(ConfigError) as error:
        read(environ={variable: value})
    said = words_of(error, tmp_path)
    assert said.startswith(variable)
    assert words in said


def test_a_variable_that_could_mean_several_nodes_is_refused(read):
    with pytest.raises(ConfigError, match=r"WARPPOOL__NODE__URL could mean any of 2 \[\[node\]\]"):
        read(POOL + "[[node]]\n[[node]]\n", environ={"WARPPOOL__NODE__URL": "http://n:1"})


# --- what is wrong ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "words"), [
    # not a file of ours
    ("[pool", "warppool.toml: is not TOML: "),
    ("x = 0x" + "f" * 9999, "warppool.toml: x is not known: "),
    ("x = " + "[" * 9999, "warppool.toml: is not TOML: "),
    # unknown
    ("[pol]\n", "warppool.toml: pol is not known: did you mean [pool]?"),
    ("coinbase_tag = 1", "warppool.toml: coinbase_tag is not known: did you mean pool.coinbase_tag?"),
    (POOL + 'payout_adress = "x"', "warppool.toml: pool.payout_adress is not known: did you mean payout_address?"),
    (POOL + 'listen = ["[::]:1"]', "warppool.toml: pool.listen is not known: did you mean stratum.listen?"),
    (POOL + 'cookie_file = "x"', "warppool.toml: pool.cookie_file is not known: did you mean cookie_file in [[node]]?"),
    (POOL + '"\\u001b[31m" = 1', r'warppool.toml: pool."\u001b[31m" is not known: did you mean '),
    (POOL + f'sv2_static_priv_key_hex = "{KEY}"',
     "warppool.toml: pool.sv2_static_priv_key_hex is not known: it belongs into secrets.toml"),
    (f'node_passwords = ["{KEY}"]', "warppool.toml: node_passwords is not known: it belongs into secrets.toml"),
    ("[[upstream]]\n" + POOL, "warppool.toml: has an [[upstream]], so it is for `warppool translate`"),
    # wrong shape
    ("pool = 3", "warppool.toml: pool holds 3: it takes a table, headed [pool]"),
    (POOL + "[node]\n", "warppool.toml: node holds a table: it takes tables, each headed [[node]]"),
    ("node = []\n" + POOL, "warppool.toml: node holds []: it takes tables, each headed [[node]]"),
    ("node = [1]\n" + POOL, "warppool.toml: node holds [1]: it takes tables, each headed [[node]]"),
    # missing
    ("", "warppool.toml: pool.payout_address is missing: it takes an address of the network"),
    # [pool]
    ('[pool]\nnetwork = "mainnet"', 'warppool.toml: pool.network holds "mainnet": it takes main, testnet4, signet or'),
    ("[pool]\nnetwork = 1", "warppool.toml: pool.network holds 1: it takes main, testnet4, signet or regtest"),
    ("[pool]\npayout_address = ''", 'pool.payout_address holds "": it takes an address of the network'),
    ("[pool]\npayout_address = 'foo'", "toml: pool.payout_address: 'foo' has a wrong checksum: give an address"),
    (f"[pool]\npayout_address = '{ADDRESS}'", "is an address for regtest, not for main: give an address for main"),
    (POOL + "payout = 'prop'", 'pool.payout holds "prop": it takes pool, solo or pplns'),
    (POOL + "custody = false", "warppool.toml: pool.custody is not known: did you mean"),
    (POOL + "fee_percent = 1.255", "pool.fee_percent holds 1.255: it takes a number, 0 to 100, with at most two"),
    (POOL + "fee_percent = 100.01", "pool.fee_percent holds 100.01: it takes a number, 0 to 100, with at most two"),
    (POOL + "fee_percent = -0.5", "pool.fee_percent holds -0.5: it takes a number, 0 to 100"),
    (POOL + "fee_percent = nan", "it takes a number, 0 to 100"),
    (POOL + "fee_percent = '2'", 'pool.fee_percent holds "2": it takes a number, 0 to 100'),
    (POOL + f"fallback_address = '{MAIN_ADDRESS}'",
     f"pool.fallback_address: '{MAIN_ADDRESS}' is an address for main, not for regtest: give an address for regtest"),
    (POOL + "fallback_address = 'bob'", "toml: pool.fallback_address: 'bob' has"),
    (POOL + f"fallback_address = '{UNGUARDED_ADDRESS}'", "anyone can spend what a block pays there"),
    (POOL + "window = 0", "pool.window holds 0: it takes a number, 0.1 to 1000"),
    (POOL + "window_days = 0", "pool.window_days holds 0: it takes a whole number, 1 to 3650"),
    (POOL + "window_rampup = 1", "pool.window_rampup holds 1: it takes true or false"),
    (POOL + "min_payout_sat = 545", "pool.min_payout_sat holds 545: it takes a whole number, 546 to 100000000"),
    (POOL + "min_payout_sat = 1e6", "it takes a whole number, 546 to 100000000"),
    (POOL + "min_paid_ratio = 1.01", "pool.min_paid_ratio holds 1.01: it takes a number, 0 to 1, with at most two"),
    (POOL + f"coinbase_tag = '{'é' * 28}'", f"it takes text of at most {MAX_TAG_SIZE} bytes"),
    (POOL + r'coinbase_tag = "a\nb"', r'pool.coinbase_tag holds "a\nb": it takes text of at most 50 bytes'),
    (POOL + "server_id = 256", "pool.server_id holds 256: it takes a whole number, 0 to 255"),
    (POOL + "server_id = -1", "pool.server_id holds -1: it takes a whole number, 0 to 255"),
    (POOL + "server_id = true", "pool.server_id holds true: it takes a whole number, 0 to 255"),
    (POOL + "server_id = 1.0", "pool.server_id holds 1.0: it takes a whole number, 0 to 255"),
    (POOL + "server_id = 0x" + "f" * 5000, "it takes a whole number, 0 to 255"),
    (POOL.replace('"data"', '""'), 'pool.data_dir holds "": it takes a path'),
    (POOL.replace('"data"', "7"), "pool.data_dir holds 7: it takes a path"),
    # [stratum]
    (POOL + "[stratum]\nlisten = '[::]:1'", 'stratum.listen holds "[::]:1": it takes a list of addresses'),
    (POOL + "[stratum]\nlisten = [3333]", "stratum.listen holds [3333]: it takes a list of addresses"),
    (POOL + "[stratum]\nlisten = ['3333']", 'stratum.listen holds ["3333"]: one item holds \'3333\': it takes an'),
    (POOL + "[stratum]\nlisten = ['[::]:65536']", 'holds \'[::]:65536\': it takes an address with a port of 0 to'),
    (POOL + f"[stratum]\nlisten = ['[::]:{'1' * 5000}']", "it takes a list of addresses"),
    (POOL + "[stratum]\nlisten = ['[::]:-1']", "it takes an address with a port of 0 to 65535"),
    (POOL + "[stratum]\nlisten = ['localhost:3333']", 'holds \'localhost:3333\': it takes an IP address and no name'),
    (POOL + "[stratum]\nlisten = [':3333']", "it takes an IP address and no name"),
    (POOL + "[stratum]\nlisten = [':::3333']", "an IPv6 address stands in brackets"),
    (POOL + "[stratum]\nlisten = ['[127.0.0.1]:3333']", "an IPv6 address stands in brackets, and no other does"),
    (POOL + "[stratum]\nextranonce2_size = 3", "extranonce2_size holds 3: it takes 4 or 8"),
    (POOL + "[stratum]\nextranonce2_size = 6", "extranonce2_size holds 6: it takes 4 or 8"),
    (POOL + "[stratum]\nextranonce2_size = true", "extranonce2_size holds true: it takes 4 or 8"),
    (POOL + "[stratum]\nextranonce2_size = 9", "extranonce2_size holds 9: it takes 4 or 8"),
    (POOL + "[stratum]\nworkers = 0", "stratum.workers holds 0: it takes a whole number, 1 to 32"),
    (POOL + "[stratum]\nworkers = '2'", 'stratum.workers holds "2": it takes a whole number, 1 to 32'),
    (POOL + "[stratum]\nmax_connections = -1", "stratum.max_connections holds -1: it takes a whole number, 0 to"),
    (POOL + "[stratum]\nmax_per_ip = 0.5", "stratum.max_per_ip holds 0.5: it takes a whole number, -1 to"),
    (POOL + "[stratum]\nidle_timeout_s = 0", "stratum.idle_timeout_s holds 0: it takes a whole number, 1 to 86400"),
    (POOL + "[stratum]\ntls_cert = []", "stratum.tls_cert holds []: it takes a path"),
    (POOL + "[stratum]\nlisten = ['[::]:34254']",
     'stratum.sv2_listen holds "[::]:34254": stratum.listen takes "[::]:34254" already, and each needs a port of its'),
    (POOL + "[stratum]\nsv2_listen = ['0.0.0.0:3333']", 'stratum.listen takes "[::]:3333" already'),
    (POOL + "[stratum]\nlisten=[]\nsv2_listen = ['127.0.0.1:1', '0.0.0.0:1']", 'takes "127.0.0.1:1" already'),
    (POOL + "[stratum]\nlisten=[]\nsv2_listen = ['[::1]:1', '[0:0::1]:1']", 'takes "[::1]:1" already'),
    (POOL + "[stratum]\nany_listen = ['[::]:3333']",
     'stratum.any_listen holds "[::]:3333": stratum.listen takes "[::]:3333" already, and each needs a port of'),
    (POOL + "[stratum]\nany_listen = '[::]:1'", 'any_listen holds "[::]:1": it takes a list of addresses'),
    (POOL + "[stratum]\nproxy_from = '10.0.0.0/8'",
     'stratum.proxy_from holds "10.0.0.0/8": it takes a list of nets, such as ["10.0.0.0/8"], or []'),
    (POOL + "[stratum]\nproxy_from = [10]", "stratum.proxy_from holds [10]: it takes a list of nets"),
    (POOL + f"[stratum]\nproxy_from = ['{'1' * 65}']", "it takes a list of nets"),
    (POOL + "[stratum]\nproxy_from = ['10.0.0.1/8']", "'10.0.0.1/8' names an address within a net: write "
     '"10.0.0.0/8" for the net, or "10.0.0.1" for the address'),
    (POOL + "[stratum]\nproxy_from = ['proxy.example']", "'proxy.example' is no net: write one such as"),
    (POOL + "[stratum]\nlisten = []\nsv2_listen = []", "stratum.sv2_listen holds []: without any listener nobody can"),
    # [difficulty]
    (POOL + "[difficulty]\nstart = 0", "difficulty.start holds 0: it takes a number, 1e-10 to 1e30"),
    (POOL + "[difficulty]\nstart = inf", "difficulty.start holds Infinity: it takes a number, 1e-10 to 1e30"),
    (POOL + "[difficulty]\nmin = nan", "difficulty.min holds NaN: it takes a number, 1e-10 to 1e30"),
    (POOL + "[difficulty]\nmin = false", "difficulty.min holds false: it takes a number, 1e-10 to 1e30"),
    (POOL + "[difficulty]\nmin = '1'", 'difficulty.min holds "1": it takes a number, 1e-10 to 1e30'),
    (POOL + "[difficulty]\nmax = -1", "difficulty.max holds -1: it takes a number, 1e-10 to 1e30, or 0"),
    (POOL + "[difficulty]\nmax_shares_per_minute = 35", "difficulty.max_shares_per_minute holds 35: it takes 0, for no "
     "limit, or at least 3 x difficulty.shares_per_minute, 36.0: fewer are chance"),
    (POOL + "[difficulty]\nmin = 2\nmax = 1", "difficulty.max holds 1: it takes 0, for no limit, or at least"),
    (POOL + "[difficulty]\nshares_per_minute = 0", "shares_per_minute holds 0: it takes a number, 0.01 to 6000"),
    # [[node]]
    (POOL + "[[node]]\nsource = 'tdp'", 'node.url holds "http://127.0.0.1:8332": where node.source is "tdp" it takes '
     "stratum2+tcp://HOST:PORT/KEY"),
    (POOL + "[[node]]\nsource = 'core'", 'node.source holds "core": it takes rpc, tdp or regtest'),
    (POOL + "[[node]]\n[[node]]\nsource = 1", "node[1].source holds 1: it takes rpc, tdp or regtest"),
    (POOL + "[[node]]\nurl = 'stratum2+tcp://n:1'", 'where node.source is "rpc" it takes http://HOST:PORT, or node.s'),
    (TDP + "url = 'stratum2+tcp://n:1'", "without a KEY behind it the provider may be anybody"),
    (TDP + "url = 'stratum2+tcp://n:1/9xyz'", 'node.url holds "stratum2+tcp://n:1/9xyz": the URL of a template provi'),
    (TDP + "url = 'stratum2+tcp://n'", "the URL of a template provider is"),
    (TDP + "url = 'stratum2+tcp://u@n:1'", "it takes http://HOST:PORT; the user goes into"),
    (TDP + f"url = 'stratum2+tcp://n:1/{KEY}'\nuser = 'u'", 'node.user holds "u": a template provider has no login'),
    (TDP + f"url = 'stratum2+tcp://n:1/{KEY}'\n[[node]]\nsource = 'tdp'\nurl = 'stratum2+tcp://n:1/{OTHER}'",
     "that node stands there twice"),
    (TDP + f"url = 'stratum2+tcp://n:1/{KEY}'\ninsecure = 1", "node.insecure holds 1: it takes true or false"),
    (POOL + "[[node]]\nurl = 'https://n:1'", 'node.url holds "https://n:1": it takes http://HOST:PORT'),
    (POOL + "[[node]]\nurl = 'http://n'", 'node.url holds "http://n": it takes http://HOST:PORT'),
    (POOL + "[[node]]\nurl = 'http://n:0'", 'node.url holds "http://n:0": it takes http://HOST:PORT'),
    (POOL + "[[node]]\nurl = 'http://n:x'", 'node.url holds "http://n:x": it takes http://HOST:PORT'),
    (POOL + "[[node]]\nurl = 'http://n:1/a b'", 'node.url holds "http://n:1/a b": it takes http://HOST:PORT'),
    (POOL + "[[node]]\nurl = 1", "node.url holds 1: it takes http://HOST:PORT"),
    (POOL + "[[node]]\nuser = 1", "node.user holds 1: it takes text"),
    (POOL + "[[node]]\nuser = 'a'\ncookie_file = '/c'", 'node.cookie_file holds "/c": it takes either cookie_file or'),
    (POOL + "[[node]]\nurl = 'http://A:1'\n[[node]]\nurl = 'http://a:1/'", 'node[1].url holds "http://a:1/": that node '
     "stands there twice, and nodes are known by their URL: remove one of the two"),
    (POOL + "[[node]]\nsource = 'regtest'\n[[node]]\nsource = 'regtest'",
     'node[1].source holds "regtest": one embedded chain is all that data_dir holds'),
    (f"[pool]\npayout_address = '{MAIN_ADDRESS}'\n[[node]]\nsource = 'regtest'",
     'node.source holds "regtest": the embedded chain mines only network = "regtest", and pool.network is main'),
    # [ledger], [log]
    (POOL + "[ledger]\nurl = 'postgresql://u:p@x/y'", "which this version cannot use yet: it may be sqlite:///"),
    (POOL + "[ledger]\nurl = 'shares.db'", "warppool.toml: ledger.url is 'shares.db': it may be sqlite:///shares.db"),
    (POOL + "[ledger]\nurl = 'sqlite:///'", "ledger.url is 'sqlite:///': it may be sqlite:///shares.db"),
    (POOL + "[ledger]\nurl = 1", "warppool.toml: ledger.url holds 1: it takes sqlite:///FILE"),
    (POOL + "[ledger]\ndurability = 'some'", 'ledger.durability holds "some": it takes commit or none'),
    (POOL + "[log]\nlevel = 'loud'", 'log.level holds "loud": it takes debug, info, warning or error'),
    (POOL + f"[log]\nlevel = '{'x' * 500}'", f'log.level holds "{"x" * 79}...: it takes debug'),
    (POOL + "[log]\nlevel = 1979-05-27", "log.level holds 1979-05-27: it takes debug, info, warning or error"),
])
def test_each_mistake_has_its_own_line(read, tmp_path, text, words):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert words in words_of(error, tmp_path)


def test_a_password_in_a_url_is_not_repeated(read):
    with pytest.raises(ConfigError, match=r"node\.url holds something else: .* secrets\.toml") as error:
        read(POOL + "[[node]]\nurl = 'http://alice:hunter2@n:1'")
    assert "hunter2" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/none.toml: cannot be read: No such file")):
        read_config(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/latin.toml: is not UTF-8 at byte 5")):
        read_config(tmp_path / "latin.toml", {})


# --- secrets ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("secrets", "words"), [
    (None, "secrets.toml: sv2_static_priv_key_hex is missing: make one by (umask 077; warppool-keygen >> "),
    ("", "secrets.toml: sv2_static_priv_key_hex is missing"),
    ("sv2_static_priv_key_hex = 'zz'", "secrets.toml: sv2_static_priv_key_hex holds something else: it takes 64 hex"),
    (f"sv2_static_priv_key_hex = '{'z' * 64}'", "it takes 64 hex digits, as warppool-keygen makes them"),
    (f"sv2_static_priv_key_hex = '{'0 ' * 32}'", "it takes 64 hex digits, as warppool-keygen makes them"),
    (f"sv2_static_priv_key_hex = '{'00' * 32}'", "it takes 64 hex digits, as warppool-keygen makes them"),
    ("sv2_static_priv_key_hex = 7", "it takes 64 hex digits, as warppool-keygen makes them"),
    ("sv2_static_priv_key = 'x'", "toml: sv2_static_priv_key is not known: did you mean sv2_static_priv_key_hex?"),
    (SECRETS + "node_passwords = 'x'", "secrets.toml: node_passwords holds something else: it takes a list of texts"),
    (SECRETS + "node_passwords = ['']", "secrets.toml: node_passwords holds something else: it takes a list of texts"),
    (SECRETS + "node_passwords = ['a']",
     "secrets.toml: node_passwords holds 1: it takes one for each [[node]] with a user, and there are 0"),
    ("x = [", "secrets.toml: is not TOML"),
])
def test_each_mistake_in_the_secrets_has_its_own_line(read, tmp_path, secrets, words):
    with pytest.raises(ConfigError) as error:
        read(POOL, secrets)
    assert words in words_of(error, tmp_path)


def test_a_user_without_its_password_is_refused(read):
    with pytest.raises(ConfigError, match=r"node_passwords holds 1: .* there are 2"):
        read(POOL + "[[node]]\nuser = 'a'\n[[node]]\nuser = 'b'\n", SECRETS + "node_passwords = ['x']")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_secrets_that_others_may_read_are_refused(read, tmp_path, mode):
    with pytest.raises(ConfigError) as error:
        read(mode=mode)
    assert words_of(error, tmp_path) == (f"secrets.toml: others may read it (mode {mode:04o}): chmod 600 secrets.toml, "
                                          "or, where a container engine made it so, name the folder that it is in by "
                                          "CREDENTIALS_DIRECTORY")


def test_tighter_secrets_are_taken(read):
    assert read(mode=0o400).secrets.sv2_static_priv_key == bytes.fromhex(KEY)


def test_the_credential_of_systemd_comes_first_and_may_have_its_mode(read, tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert read(environ=environ).secrets.sv2_static_priv_key == bytes.fromhex(KEY), "none there yet"
    (credentials / "secrets.toml").write_text(f'sv2_static_priv_key_hex = "{"08" * 32}"')
    (credentials / "secrets.toml").chmod(0o444)
    assert read(environ=environ, mode=0o644).secrets.sv2_static_priv_key == bytes.fromhex("08" * 32)


def test_secrets_may_come_from_files_that_the_environment_names(read, tmp_path):
    """As container engines mount them: one file for each, 0444; a variable wins over secrets.toml."""
    for name, text in (("key", "09" * 32 + "\n"), ("passwords", "hunter2\ncorrect horse\n"), ("network", "regtest\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o444)
    nodes = "[[node]]\nuser = 'a'\n[[node]]\nurl = 'http://b:1'\nuser = 'b'\n"
    config = read(POOL.replace("regtest", "signet", 1) + nodes, environ={
        "WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE": str(tmp_path / "key"),
        "WARPPOOL__SECRETS__NODE_PASSWORDS_FILE": str(tmp_path / "passwords"),
        "WARPPOOL__POOL__NETWORK_FILE": str(tmp_path / "network")})
    assert config.secrets.sv2_static_priv_key == bytes.fromhex("09" * 32)
    assert [node.password for node in config.nodes] == ["hunter2", "correct horse"]
    assert config.pool.network == "regtest"


def test_no_key_is_needed_without_stratum_v2(read):
    assert read(POOL + "[stratum]\nsv2_listen = []", None).secrets.sv2_static_priv_key is None


def test_a_port_for_all_needs_the_key_too(read):
    with pytest.raises(ConfigError, match=r"is missing: make .*, or switch Stratum V2 off by sv2_listen = \[\] "
                       r"and any_listen = \[\]"):
        read(POOL + "[stratum]\nsv2_listen = []\nany_listen = ['[::]:1']", None)


def test_without_secrets_nothing_that_needs_them_is_asked(read):
    config = read(POOL + "[[node]]\nuser = 'a'", "not TOML", mode=0o644, with_secrets=False)
    assert config.secrets.sv2_static_priv_key is None
    assert config.nodes[0].password == ""


# --- data_dir ---------------------------------------------------------------------------------------------------------

def test_data_dir_is_systemds_where_the_file_does_not_say(read):
    text = POOL.replace('data_dir = "data"\n', "")
    config = read(text, environ={"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"})
    assert config.pool.data_dir == Path("/var/lib/one")
    assert config.ledger.path == Path("/var/lib/one/shares.db")


def test_data_dir_without_systemd_is_the_first_that_can_be_written(monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert default_data_dir({}) == Path("/var/lib/warppool")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert default_data_dir({"XDG_STATE_HOME": "/home/a/state"}) == Path("/home/a/state/warppool")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/a"))
    assert default_data_dir({"XDG_STATE_HOME": "relative"}) == Path("/home/a/.local/state/warppool")


@pytest.mark.parametrize(("url", "pin", "profile"), [
    (f"stratum2+tcp://tp.example:8442/{KEY}", bytes.fromhex(KEY), "warp"),
    ("stratum2+tcp://tp.example:8442/9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72", None, "spec"),
])
def test_the_key_of_a_template_provider_tells_its_profile(read, url, pin, profile):
    node = read(TDP + f"url = '{url}'").nodes[0]
    read = ProviderUrl.parse(node.url)
    assert (read.host, read.port, read.profile, len(read.pin)) == ("tp.example", 8442, profile, 32)
    assert pin in (None, read.pin)
    assert identity_of(node) == "stratum2+tcp://tp.example:8442"


def test_a_template_provider_without_a_key_has_to_be_wanted_so(read):
    node = read(TDP + "url = 'stratum2+tcp://[::1]:8442'\ninsecure = true\nprofile = 'warp'").nodes[0]
    assert (node.insecure, node.profile, ProviderUrl.parse(node.url).pin) == (True, "warp", b"")
    assert identity_of(node) == "stratum2+tcp://[::1]:8442"


NOTICE = POOL + "[[notice]]\nname = 'chat'\nevents = ['block.found']\n"


@pytest.mark.parametrize(("text", "words"), [
    (POOL + "[web]\nlisten = '127.0.0.1:8080'", "web.listen holds \"127.0.0.1:8080\": it takes a list of addresses"),
    (POOL + "[web]\nlisten = ['127.0.0.1:3333']",
     "web.listen holds \"127.0.0.1:3333\": stratum.listen takes \"[::]:3333\" already"),
    (POOL + "[web]\nlisten = ['127.0.0.1:8080', '127.0.0.1:8080']", "web.listen takes"),
    (POOL + "[web]\nhosts = ['http://pool.example/']", "web.hosts holds [\"http://pool.example/\"]: it takes a list"),
    (POOL + "[web]\nhosts = 'pool.example'", "web.hosts holds \"pool.example\": it takes a list of host names"),
    (POOL + "[web]\nhosts = ['pool.example:8080']", "web.hosts holds [\"pool.example:8080\"]: it takes a list"),
    (POOL + "[web]\nhosts = ['*.example']", "web.hosts holds [\"*.example\"]: it takes a list of host names"),
    (POOL + "[web]\nhosts = ['[::1]']", "web.hosts holds [\"[::1]\"]: it takes a list of host names"),
    (POOL + "[web]\nhosts = ['pool.example.']", "web.hosts holds [\"pool.example.\"]: it takes a list of host"),
    (POOL + "[web]\nnames = 'none'", "web.names holds \"none\": it takes short or full"),
    (POOL + "[web]\nuser_metrics = 1", "web.user_metrics holds 1: it takes true or false"),
    (POOL + "[web]\nport = 80", "web.port is not known: did you mean"),
    (POOL + "[[web]]\n", "web holds [a table]: it takes a table, headed [web]"),
    (POOL + "[status]\ndir = ''", "status.dir holds \"\": it takes a path"),
    (POOL + "[status]\ndir = 1", "status.dir holds 1: it takes a path"),
    (POOL + "[ledger]\nkeep_days = -1", "ledger.keep_days holds -1: it takes a whole number, 0 to 36500"),
    (POOL + "[ledger]\nkeep_days = 1.5", "ledger.keep_days holds 1.5: it takes a whole number, 0 to 36500"),
    (POOL + "[notice]\nname = 'chat'", "notice holds a table: it takes tables, each headed [[notice]]"),
    (POOL + "[[notice]]\nname = 'chat'", "notice.events is missing: it takes list of events"),
    (POOL + "[[notice]]\nevents = ['block.found']", "notice.name is missing: it takes a name"),
    (POOL + "[[notice]]\nname = ''\nevents = ['block.found']", "notice.name holds \"\": it takes a name"),
    (POOL + "[[notice]]\nname = 'chat'\nevents = []", "notice.events holds []: it takes a list of events: block."),
    (POOL + "[[notice]]\nname = 'chat'\nevents = ['block']", "notice.events holds [\"block\"]: it takes a list of"),
    (NOTICE + "command = 'cat'", "notice.command holds \"cat\": it takes a list of texts"),
    (NOTICE + "command = ['']", "notice.command holds [\"\"]: it takes a list of texts, none of them empty"),
    (NOTICE + "command = ['/bin/cat']\nformat = 'text'", "notice.format holds \"text\": a command gets JSON: remove"),
    (NOTICE + "command = ['tell', '-v']", "notice.command holds \"tell\" first: no PATH is searched for it"),
    (NOTICE + "format = 'slack'", "notice.format holds \"slack\": it takes json, text, discord or telegram"),
    (NOTICE + "gone_min = 0", "notice.gone_min holds 0: it takes a whole number, 1 to 10080"),
    (NOTICE + "digest_hour = 24", "notice.digest_hour holds 24: it takes a whole number, 0 to 23"),
    (NOTICE + "url = 'https://chat.example/'", "notice.url is not known: did you mean"),
    (NOTICE, "secrets.toml: notice_urls holds 0: it takes one for each [[notice]] without a command, and there are 1"),
    (NOTICE + "command = ['a']\n" + NOTICE.removeprefix(POOL) + "command = ['a']",
     "notice[1].name holds \"chat\": that name stands there twice"),
])
def test_what_is_wrong_with_the_faces_is_one_clear_line(read, text, words):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "ports"), [
    (POOL, ()), (POOL + "[web]\n", (8080,)), (POOL + "[web]\nnames = 'full'", (8080,)),
    (POOL + "[web]\nlisten = []", ()), (POOL + "[web]\nlisten = ['[::]:80', '127.0.0.1:81']", (80, 81))])
def test_a_web_is_there_where_the_file_has_a_heading_for_it(read, text, ports):
    assert tuple(address.port for address in read(text).web.listen) == ports


def test_names_of_the_web_are_as_browsers_send_them(read):
    text = POOL + "[web]\nhosts = ['Pool.Example', '192.0.2.1', '2001:DB8:0::1', 'a_b-c']"
    assert read(text).web.hosts == ("pool.example", "192.0.2.1", "2001:db8::1", "a_b-c")


def test_the_environment_may_say_of_the_web_what_the_file_does_not(read):
    assert read(environ={"WARPPOOL__WEB__NAMES": "full"}).web.listen == (Address("127.0.0.1", 8080),)
    assert read(environ={"WARPPOOL__WEB__LISTEN": "[]"}).web.listen == ()


@pytest.mark.parametrize("url", ["chat.example", "ftp://chat.example/", "https:///x", "https://u:hunter2@chat.example/",
                                 "https://chat.example:x/", "https://chat.example/a b", "http://chat.example/",
                                 "https://chat.example/\u00e9"])
def test_the_url_of_a_notice_is_never_shown(read, url):
    with pytest.raises(ConfigError, match=r"notice_urls holds something else: it takes a list of URLs"):
        read(NOTICE, SECRETS + f'notice_urls = ["{url}"]\n')


def test_no_table_of_the_environment_can_be_one_that_is_not_there(read):
    with pytest.raises(ConfigError, match=r"WARPPOOL__NOTICE__NAME could mean any of 0 \[\[notice\]\]"):
        read(POOL, environ={"WARPPOOL__NOTICE__NAME": "chat"})

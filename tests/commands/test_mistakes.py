"""What people get wrong: each mistake is one line that names the key and the cure, and never a traceback.

A table of more than a hundred, over the kinds that newcomers and odd machines brought: bad files, files that are
folders, secrets in the wrong place, wrong networks, nodes that are not there, full disks and closed outputs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.config.test_pool import ADDRESS, KEY, MAIN_ADDRESS, SECRETS
from tests.ledger.books import book, share
from tests.node.stub import StubNode
from tests.service.process import PATIENCE_S, PoolProcess, environ, write_config
from tests.service.test_run import SECRET
from warppool.commands import cli
from warppool.commands.democert import self_signed

CHECKOUT = Path(__file__).parents[2]
POOL = f'[pool]\nnetwork = "regtest"\npayout_address = "{ADDRESS}"\ndata_dir = "data"\n'
LISTEN = '[stratum]\nlisten = []\nsv2_listen = ["127.0.0.1:0"]\n'
GOOD = POOL + LISTEN + '[[node]]\nurl = "http://127.0.0.1:1"\ncookie_file = "cookie"\n'
TLS = POOL + '[stratum]\nlisten = []\nsv2_listen = []\ntls_listen = ["127.0.0.1:0"]\n'
UPSTREAM = f'[[upstream]]\nurl = "stratum2+tcp://127.0.0.1:1/{KEY}"\nuser_identity = "farm"\n'
TRANSLATOR = '[stratum]\nlisten = ["127.0.0.1:0"]\n[translator]\ndata_dir = "data"\n' + UPSTREAM


class Case(NamedTuple):
    """`make` lays out the folder; then `command` ends with `status`, and one line has all of `words`."""

    name: str
    words: tuple[str, ...]
    text: str | bytes = GOOD
    secrets: str | bytes | None = SECRETS
    mode: int = 0o600
    make: Callable[[Path], object] = lambda folder: None
    command: tuple[str, ...] = ("run", "-c", "{}/warppool.toml")
    env: tuple[tuple[str, str], ...] = ()
    status: int = 2


def pool(name: str, text: str | bytes, *words: str) -> Case:
    """A mistake in warppool.toml."""
    return Case(name, ("warppool.toml", *words), text)


def secret(name: str, text: str | bytes | None, *words: str, pool_text: str = GOOD) -> Case:
    """A mistake in secrets.toml."""
    return Case(name, ("secrets.toml", *words), pool_text, text)


def variable(name: str, value: str, *words: str) -> Case:
    """A mistake in the environment."""
    return Case(f"{name}={value[:20]}", (name, *words), env=((name, value),))


def check(name: str, *words: str, text: str = GOOD, make: Callable[[Path], object] = lambda folder: None) -> Case:
    """What only `warppool check` sees."""
    return Case(f"check: {name}", words, text, make=make, command=("check", "-c", "{}/warppool.toml"), status=1)


def translator(name: str, text: str, *words: str) -> Case:
    """A mistake in translator.toml, which here bears the name of the pool's."""
    return Case(f"translator: {name}", words, text, command=("translate", "-c", "{}/warppool.toml"))


def usage(*arguments: str, words: tuple[str, ...], status: int = 2) -> Case:
    """A mistake on the command line."""
    return Case(" ".join(arguments)[:60], words, command=arguments, status=status)


def folder_named(name: str) -> Callable[[Path], object]:
    """Puts a folder where a file belongs."""
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir(parents=True)
    return make


def file_with(name: str, content: bytes = b"", mode: int = 0o644) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    return make


def key_pair(*spoil: Callable[[Path], object]) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        self_signed().write(folder)
        for step in spoil:
            step(folder)
    return make


def swapped(folder: Path) -> None:
    (folder / "fullchain.pem").rename(folder / "x")
    (folder / "privkey.pem").rename(folder / "fullchain.pem")
    (folder / "x").rename(folder / "privkey.pem")


NODE = POOL + LISTEN + "[[node]]\n"
CASES = [
    # --- files that are no TOML, or no text
    pool("no file of ours", "hello", "is not TOML", "line 1", "key = value"),
    pool("UTF-8 with BOM", b"\xef\xbb\xbf" + GOOD.encode(), "BOM", "save it as UTF-8"),
    pool("UTF-16 LE", GOOD.encode("utf-16"), "UTF-16", "save it as UTF-8"),
    pool("UTF-16 BE", b"\xfe\xff" + GOOD.encode("utf-16-be"), "UTF-16", "save it as UTF-8"),
    pool("Latin-1", b"# caf\xe9\n" + GOOD.encode(), "not UTF-8 at byte 5", "line 1", "save it as UTF-8"),
    pool("binary", bytes(range(256)), "is not"),
    pool("open heading", "[pool", "is not TOML", "mend"),
    pool("open text", '[pool]\nnetwork = "regtest\n', "is not TOML", "line 2"),
    pool("text without quotation marks", "[pool]\nnetwork = regtest\n", "line 2", "network", "quotation marks"),
    pool("bitcoin.conf habit", "[pool]\npayout_address=bc1q\n", "payout_address", "quotation marks"),
    pool("yes for true", "[pool]\nx = yes\n", "line 2", "quotation marks"),
    pool("semicolon comment", "; a pool\n" + GOOD, "line 1", "# comment"),
    pool("colon", "[pool]\nnetwork: regtest\n", "line 2", "key = value"),
    pool("key twice", POOL + 'network = "main"\n', "line 5", "network", "twice", "remove one"),
    pool("section twice", POOL + LISTEN + '[pool]\nserver_id = 1\n', "[pool]", "twice", "under one heading"),
    pool("[node] and [[node]]", POOL + "[node]\n[[node]]\n", "node", "twice"),
    pool("endless nesting", "x = " + "[" * 9999, "is not TOML"),
    pool("only [node]", POOL + "[node]\n", "node holds a table", "[[node]]"),
    pool("empty", "", "pool.payout_address is missing", "an address"),
    pool("Windows line ends, and an error after them", GOOD.replace("\n", "\r\n") + "x = 1\r\n", "node.x is not known"),
    # --- keys that belong elsewhere
    pool("password of a node", NODE + 'user = "a"\npassword = "hunter2"\n', "node.password", "secrets.toml",
         "node_passwords"),
    pool("rpcpassword", NODE + 'rpcpassword = "hunter2"\n', "node.rpcpassword", "secrets.toml", "node_passwords"),
    pool("rpcuser", NODE + 'rpcuser = "a"\n', "node.rpcuser", "user in [[node]]"),
    pool("rpcauth", NODE + 'rpcauth = "a:b$c"\n', "node.rpcauth", "user in [[node]]"),
    pool("password in a URL", NODE + 'url = "http://a:hunter2@n:1"\n', "node.url", "secrets.toml"),
    pool("the static key", POOL + f'sv2_static_priv_key_hex = "{KEY}"\n', "sv2_static_priv_key_hex", "secrets.toml"),
    pool("[secrets]", POOL + f'[secrets]\nsv2_static_priv_key_hex = "{KEY}"\n', "secrets", "a file of their own"),
    pool("key of another section", POOL + 'listen = ["[::]:1"]\n', "pool.listen", "stratum.listen"),
    pool("misspelt", GOOD.replace("payout_address", "payout_adress"), "payout_adress", "did you mean payout_address"),
    pool("misspelt section", GOOD.replace("[pool]", "[pol]"), "pol is not known", "did you mean [pool]"),
    secret("a key of the pool", SECRETS + f'payout_address = "{ADDRESS}"\n', "payout_address", "warppool.toml",
           "pool.payout_address"),
    secret("a section of the pool", SECRETS + "[pool]\nserver_id = 1\n", "pool", "warppool.toml"),
    secret("password", SECRETS + 'password = "hunter2"\n', "password", "node_passwords"),
    secret("old name of the key", f'sv2_static_priv_key = "{KEY}"\n', "did you mean sv2_static_priv_key_hex"),
    # --- secrets
    secret("no secrets", None, "sv2_static_priv_key_hex is missing", "warppool-keygen"),
    secret("nothing in it", "", "sv2_static_priv_key_hex is missing", "warppool-keygen"),
    secret("secrets with BOM", b"\xef\xbb\xbf" + SECRETS.encode(), "BOM", "save it"),
    secret("key of the secrets twice", SECRETS * 2, "line 2", "sv2_static_priv_key_hex", "twice", "remove one"),
    secret("bare key", KEY + "\n", "line 1", "key = value"),
    secret("without quotation marks", f"sv2_static_priv_key_hex = x{KEY}\n", "sv2_static_priv_key_hex",
           "quotation marks"),
    secret("short", 'sv2_static_priv_key_hex = "5ecre7"\n', "sv2_static_priv_key_hex", "64 hex digits"),
    secret("passwords without users", SECRETS + 'node_passwords = ["hunter2"]\n', "node_passwords holds 1",
           "there are 0"),
    secret("a user without a password", SECRETS, "node_passwords holds 0", "there are 1",
           pool_text=GOOD.replace('cookie_file = "cookie"', 'user = "a"')),
    *(Case(f"secrets of mode {mode:o}", ("secrets.toml", f"{mode:04o}", "chmod 600", "CREDENTIALS_DIRECTORY"),
           mode=mode) for mode in (0o444, 0o440, 0o644, 0o666)),
    Case("a folder for secrets.toml", ("secrets.toml", "Is a directory", "name the file"), secrets=None,
         make=folder_named("secrets.toml")),
    Case("a folder for the credential", ("secrets.toml", "Is a directory"), make=folder_named("c/secrets.toml"),
         env=(("CREDENTIALS_DIRECTORY", "{}/c"),)),
    variable("WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX", KEY, "do not go into the environment", "_FILE"),
    variable("WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE", "/none/key", "/none/key", "No such file"),
    variable("WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE", "{}", "Is a directory", "name the file"),
    variable("WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE", "{}/warppool.toml", "64 hex digits"),
    variable("WARPPOOL__SECRETS__NODE_PASSWORDS_FILE", "", "is empty", "path of a file"),
    variable("WARPPOOL__SECRETS__KEY_FILE", "/x", "did you mean WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE"),
    variable("WARPPOOL__POOL__NETWORK_FILE", "/none/network", "/none/network", "No such file"),
    # --- the environment
    variable("WARPPOOL__POOL__NETWORK", "mainnet", "mainnet", "it takes main, testnet4, signet or regtest"),
    variable("WARPPOOL__STRATUM__WORKERS", "many", "many", "whole number"),
    variable("WARPPOOL__STRATUM__LISTEN", "3333", "3333", "list of addresses"),
    variable("WARPPOOL__STRATUM__WORKER", "1", "did you mean workers"),
    variable("WARPPOOL__STRATUMS__WORKERS", "1", "did you mean [stratum]"),
    variable("WARPPOOL__NODE__PASSWORD", "hunter2", "secrets.toml", "node_passwords"),
    # --- folders where files belong, files where folders belong
    Case("a folder for warppool.toml", ("warppool.toml", "Is a directory", "name the file in it"),
         make=folder_named("warppool.toml")),
    Case("the folder of warppool.toml", ("Is a directory", "name the file in it"), command=("run", "-c", "{}")),
    Case("no warppool.toml", ("none.toml", "No such file", "name a file that exists"),
         command=("run", "-c", "{}/none.toml")),
    Case("a file for data_dir", ("pool.data_dir", "Not a directory", "name another data_dir"), make=file_with("data")),
    Case("a file above data_dir", ("pool.data_dir", "Not a directory"),
         GOOD.replace('"data"', '"warppool.toml/data"')),
    Case("a folder for the lock", ("pool.data_dir", "warppool.lock", "Is a directory"),
         make=folder_named("data/warppool.lock")),
    Case("a folder for the ledger", ("shares.db", "is a directory", "ledger.url"),
         make=folder_named("data/shares.db")),
    Case("a ledger of 0 bytes", ("shares.db", "empty (0 bytes)", "put back a copy"),
         make=file_with("data/shares.db")),
    Case("a ledger that is none", ("shares.db", "no SQLite database", "ledger.url"),
         make=file_with("data/shares.db", b"not a database" * 100)),
    Case("a file for the journal of blocks", ("blocks", "Not a directory"), make=file_with("data/blocks")),
    Case("a ledger in a folder that is not there", ("books.db", "directory is there"),
         GOOD + '[ledger]\nurl = "sqlite:////none/books.db"\n'),
    Case("a ledger that is a URL of the web", ("ledger.url", "sqlite:///shares.db"),
         GOOD + '[ledger]\nurl = "http://x/y"\n'),
    # --- TLS
    Case("no certificate", ("stratum.tls_cert", "does not exist", "tls_listen = []"), TLS),
    Case("a folder for the certificate", ("stratum.tls_cert", "Is a directory", "name the file"), TLS,
         make=folder_named("fullchain.pem")),
    Case("no key", ("stratum.tls_key", "does not exist"), TLS,
         make=key_pair(lambda folder: (folder / "privkey.pem").unlink())),
    Case("a folder for the key", ("stratum.tls_key", "Is a directory", "name the file"), TLS,
         make=key_pair(folder_named("privkey.pem"))),
    Case("both swapped", ("stratum.tls_cert", "swapped"), TLS, make=key_pair(swapped)),
    Case("an empty certificate", ("stratum.tls_cert", "no certificate in PEM form"), TLS,
         make=key_pair(file_with("fullchain.pem"))),
    # --- networks and addresses
    pool("mainnet", GOOD.replace('"regtest"', '"mainnet"'), "pool.network", "main, testnet4"),
    pool("testnet", GOOD.replace('"regtest"', '"testnet"'), "pool.network", "testnet4"),
    pool("an address of main", GOOD.replace(ADDRESS, MAIN_ADDRESS), "pool.payout_address", "for main, not for regtest"),
    pool("an address of regtest", GOOD.replace('network = "regtest"\n', ""), "pool.payout_address", "not for main"),
    pool("an address with a typing error", GOOD.replace(ADDRESS, ADDRESS[:-1] + "q"), "pool.payout_address",
         "give an address for regtest"),
    pool("the placeholder", GOOD.replace(ADDRESS, "bc1q..."), "pool.payout_address", "give an address"),
    pool("the embedded chain on main", f'[pool]\npayout_address = "{MAIN_ADDRESS}"\n[[node]]\nsource = "regtest"\n',
         "node.source", 'network = "regtest"'),
    # --- listeners
    pool("a net that is an address", GOOD.replace("[stratum]", '[stratum]\nproxy_from = ["10.0.0.1/8"]'),
         "stratum.proxy_from", "10.0.0.0/8"),
    pool("a proxy's name", GOOD.replace("[stratum]", '[stratum]\nproxy_from = ["lb.example"]'), "stratum.proxy_from",
         "lb.example", "10.0.0.0/8"),
    pool("a port for all that another has", GOOD.replace("[stratum]", '[stratum]\nany_listen = ["[::]:7", "[::]:7"]'),
         "stratum.any_listen", "a port of its own"),
    Case("no certificate for all", ("stratum.tls_cert", "does not exist", "any_listen = []"),
         TLS.replace("tls_listen", "any_listen")),
    pool("a name to listen on", GOOD.replace("127.0.0.1:0", "localhost:1"), "stratum.sv2_listen", "an IP address"),
    pool("a port alone", GOOD.replace("127.0.0.1:0", "3333"), "stratum.sv2_listen", "[::]:3333"),
    pool("a port too high", GOOD.replace("127.0.0.1:0", "[::]:99999"), "stratum.sv2_listen", "0 to 65535"),
    pool("no list", POOL + '[stratum]\nlisten = "[::]:3333"\n', "stratum.listen", "a list of addresses"),
    pool("a URL to listen on", GOOD.replace("127.0.0.1:0", "stratum+tcp://x:1"), "stratum.sv2_listen", "an IP address"),
    pool("one port twice", POOL + '[stratum]\nsv2_listen = ["[::]:3333"]\n', "stratum.listen", "a port of its own"),
    pool("no listener", POOL + "[stratum]\nlisten = []\nsv2_listen = []\n", "stratum.sv2_listen", "[::]:34254"),
    # --- nodes
    pool("https", NODE + 'url = "https://n:1"\n', "node.url", "http://HOST:PORT"),
    pool("no scheme", NODE + 'url = "127.0.0.1:8332"\n', "node.url", "http://HOST:PORT"),
    pool("no port", NODE + 'url = "http://127.0.0.1"\n', "node.url", "http://HOST:PORT"),
    pool("cookie and user", NODE + 'user = "a"\ncookie_file = "/c"\n', "node.cookie_file", "not both"),
    check("nobody listens", "node[0]", "Connection refused", "server=1", "node.url", make=file_with("cookie", b"a:b")),
    check("a node by a name that nobody knows", "node[0]", "node.invalid", "node.url", make=file_with("cookie", b"a:b"),
          text=GOOD.replace("127.0.0.1:1", "node.invalid:1")),
    check("no cookie", "node[0]", "no cookie at", "node.cookie_file"),
    check("a folder for the cookie", "node[0]", "Is a directory", "node.cookie_file", make=folder_named("cookie")),
    check("others may read the secrets", "secrets.toml", "0644", "chmod 600",
          make=lambda folder: (folder / "secrets.toml").chmod(0o644)),
    # --- the translator
    translator("a pool's file", GOOD, "upstream is missing", "warppool run"),
    translator("no upstream", "[translator]\n", "upstream is missing", "stratum2+tcp://"),
    translator("V1 upstream", TRANSLATOR.replace("stratum2+tcp", "stratum+tcp"), "upstream.url", "stratum2+tcp://"),
    translator("an upstream without its key", TRANSLATOR.replace(f"/{KEY}", ""), "upstream.url", "64 hex digits"),
    translator("one upstream twice", TRANSLATOR + UPSTREAM, "upstream[1].url", "twice"),
    translator("a pool's key", TRANSLATOR + '[pool]\nnetwork = "main"\n', "pool is not known", "did you mean"),
    Case("a translator's file for the pool", ("warppool.toml", "warppool translate"), TRANSLATOR),
    # --- the command line
    usage("run", "-c", "", words=("Is a directory",)),
    usage("runn", words=("runn", "invalid choice")),
    usage("run", "-c", "/none/warppool.toml", words=("/none/warppool.toml", "No such file", "name a file")),
    usage("demo", "--blocks", "0", words=("--blocks", "whole number from 1 to 1000")),
    usage("mine", "stratum+udp://h:1", "-u", "a", words=("stratum+udp://h:1", "stratum+tcp://HOST:PORT")),
    usage("mine", "h:3333", "-u", "a", words=("h:3333", "stratum+tcp://HOST:PORT")),
    usage("mine", "stratum2+tcp://h:1", "-u", "a", words=("stratum2+tcp://h:1", "64 hex digits")),
    usage("mine", "stratum+tls://h:1", "-u", "a", "--trust", "/none/ca.pem", words=("--trust", "No such file")),
    usage("mine", "stratum+ssl://h:1", "-u", "a", "--trust", "/", words=("--trust", "name the file")),
    usage("shares", "-c", "{}/warppool.toml", words=("shares.db", "no such file"), status=1),
    usage("shares", "-c", "{}/warppool.toml", "--since", "yesterday", words=("--since", "2026-11-22T10:00:00Z")),
    usage("gen-sv2-key", "-o", "{}", words=("-o", "never overwritten", "name a new file")),
    usage("gen-sv2-key", "-o", "/none/secrets.toml", words=("-o", "No such file")),
]


def laid_out(folder: Path, case: Case) -> None:
    text = case.text.encode() if isinstance(case.text, str) else case.text
    (folder / "warppool.toml").write_bytes(text)
    if case.secrets is not None:
        secrets = case.secrets.encode() if isinstance(case.secrets, str) else case.secrets
        (folder / "secrets.toml").write_bytes(secrets)
        (folder / "secrets.toml").chmod(case.mode)
    case.make(folder)


def test_the_table_is_long():
    assert len(CASES) >= 100
    assert [case for case in CASES if [other.name for other in CASES].count(case.name) > 1] == []


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_mistake_is_one_line_with_its_key_and_its_cure(tmp_path, capsys, monkeypatch, case):
    laid_out(tmp_path, case)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("WARPPOOL__", "CREDENTIALS_"))]:
        monkeypatch.delenv(name)
    for name, value in case.env:
        monkeypatch.setenv(name, value.replace("{}", str(tmp_path)))
    if case.name == "shares -c {}/warppool.toml --since yesterday":
        (tmp_path / "data").mkdir()
        book(tmp_path / "data/shares.db", share(1))
    status = cli.main([argument.replace("{}", str(tmp_path)) for argument in case.command])
    out, err = capsys.readouterr()
    said = [line for line in out.splitlines() if line.startswith("error ")] if case.command[0] == "check" else (
        [line for line in err.splitlines() if line.startswith("warppool: error: ")])
    assert status == case.status, (out, err)
    assert len(said) == 1, (out, err)
    assert "Traceback" not in out + err
    assert said[0].isprintable() and len(said[0]) < 600
    for word in case.words:
        assert word in said[0], said[0]
    for hidden in ("hunter2", "5ecre7"):
        assert hidden not in out + err, "a secret is not repeated"


# --- in a process of its own: what belongs to a process ---------------------------------------------------------------

ENDS = (f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from warppool.commands.cli import main; "
        "sys.exit(main(sys.argv[1:]))")


def shell(line: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in which `warppool` is ours."""
    script = f'warppool() {{ "{sys.executable}" -c "$ENDS" "$@"; }}\n{line}'
    return subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S,
                          env=environ(ENDS=ENDS, **env), errors="backslashreplace")


OUTPUTS = [
    ("warppool gen-sv2-key > /dev/full", 1, ("stdout cannot be written", "No space left", "make room")),
    ("warppool shares > /dev/full", 1, ("stdout cannot be written", "No space left", "make room")),
    ("warppool shares --format csv > /dev/full", 1, ("stdout cannot be written", "No space left")),
    ("warppool check > /dev/full", 1, ("stdout cannot be written", "No space left")),
    ("warppool -h > /dev/full", 1, ("stdout cannot be written", "No space left")),
    ("warppool --version > /dev/full", 1, ("stdout cannot be written", "No space left")),
    ("warppool gen-sv2-key >&-", 1, ("stdout cannot be written", "it is closed", "send it to a file")),
    ("warppool shares >&-", 1, ("stdout cannot be written", "it is closed")),
    ("warppool check >&-", 1, ("stdout cannot be written", "it is closed")),
    ("warppool --version >&-", 1, ("stdout cannot be written", "it is closed")),
]


@pytest.mark.parametrize(("line", "status", "words"), OUTPUTS, ids=[line for line, _, _ in OUTPUTS])
def test_output_that_cannot_be_written_is_one_line(tmp_path, line, status, words):
    (tmp_path / "warppool.toml").write_text(GOOD)
    with open(os.open(tmp_path / "secrets.toml", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(SECRETS)
    (tmp_path / "data").mkdir()
    book(tmp_path / "data/shares.db", *map(share, range(3)))
    for command in ("shares", "check"):
        line = line.replace(f"warppool {command}", f"warppool {command} -c warppool.toml")
    done = shell(line, tmp_path)
    assert done.returncode == status, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("warppool: error: ") and all(word in said for word in words)


def test_with_every_output_closed_it_still_ends_as_it_should(tmp_path):
    for line, status in (("warppool run -c none.toml >&- 2>&- <&-", 2), ("warppool gen-sv2-key >&- 2>&-", 1),
                         ("warppool run -c none.toml 2> /dev/full", 2)):
        done = shell(line, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize("locale", [{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
                                    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}], ids=str)
def test_a_locale_that_knows_ascii_alone_costs_no_answer(tmp_path, locale):
    """Names of files and of machines need not be ASCII; nor need they be UTF-8."""
    home = Path(os.fsdecode(os.fsencode(tmp_path) + "/b\xe4ckerei-\u20bf".encode() + b"-\xff"))
    home.mkdir()
    (home / "warppool.toml").write_text(GOOD.replace("[pool]", '[pool]\ncoinbase_tag = "b\xe4cker"'), encoding="utf-8")
    (home / "secrets.toml").write_text(SECRETS)
    (home / "secrets.toml").chmod(0o600)
    (home / "data").mkdir()
    book(home / "data/shares.db", share(1, user="\u20bf.rig"))
    for command, status, words in (("check", 1, "ok config"), ("shares --format csv", 0, "rig"), ("shares", 0, "rig")):
        done = shell(f"warppool {command} -c */warppool.toml", tmp_path, **locale)
        assert done.returncode == status, done.stderr
        assert words in done.stdout and done.stderr == ""
    done = shell("warppool run -c */none.toml", tmp_path, **locale)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "No such file" in done.stderr


def test_without_a_home_the_key_is_named(tmp_path, capsys, monkeypatch):
    """A user that no passwd knows, in a container: there is no place for the books unless the file says one."""
    def nobody(uid):
        raise KeyError(f"uid not found: {uid}")

    (tmp_path / "warppool.toml").write_text(GOOD.replace('data_dir = "data"\n', ""))
    for name in ("HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert cli.main(["shares", "-c", str(tmp_path / "warppool.toml")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "data_dir is not given" in said and "$HOME" in said and 'write data_dir = "' in said


def test_a_node_of_another_network_ends_the_start_with_the_cure(tmp_path):
    """It would wait for ever otherwise: no node changes its network."""
    with StubNode(network="signet", cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        with PoolProcess(config) as started:
            assert started.wait(PATIENCE_S) == 2
            last = started.lines[-1]
    assert last.startswith("warppool: error: node-0: the node is on signet, and pool.network is regtest: mend ")


def test_one_node_of_the_right_network_is_enough_to_wait_for(tmp_path):
    with StubNode(network="signet", cookie=tmp_path / "cookie") as stub:
        config = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": "cookie"})
        config.write_text(config.read_text() + '[[node]]\nurl = "http://127.0.0.1:1"\ncookie_file = "cookie"\n')
        with PoolProcess(config) as started:
            started.wait_for("node.lost", lambda fields: fields["node"] == "node-0")
            started.wait_for("node.lost", lambda fields: fields["node"] == "node-1")
            started.outlive(0.5)
            started.terminate()
            assert started.wait() == 0

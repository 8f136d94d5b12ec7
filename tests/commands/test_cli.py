"""The command line: exit statuses, one line for each mistake, and nothing secret where it does not belong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_pool import POOL
from tests.config.test_translator import UPSTREAM
from tests.ledger.books import book, share
from tests.patience import PATIENCE_S
from warppool import __version__
from warppool.commands import cli, keys
from warppool.errors import ConfigError, LedgerError, MissingExtra
from warppool.noise.primitives import public_key

CHECKOUT = Path(__file__).parents[2]
COMMANDS = ("run", "translate", "demo", "check", "mine", "shares", "gen-sv2-key")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as end:
        cli.main([command, "-h"])
    assert end.value.code == 0
    assert f"usage: warppool {command}" in capsys.readouterr().out


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["-h"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(f"    {command}" in out for command in COMMANDS)


@pytest.mark.parametrize(("program", "words"), [
    (cli.main, f"warppool {__version__}\n"), (cli.keygen, f"warppool-keygen {__version__}\n"),
    (cli.translator, f"warppool-translator {__version__}\n"),
])
def test_version(capsys, program, words):
    with pytest.raises(SystemExit) as end:
        program(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == words


@pytest.mark.parametrize(("args", "words"), [
    ([], "the following arguments are required: COMMAND"),
    (["walk"], "invalid choice: 'walk'"),
    (["run"], "-c FILE is missing, and there is no /none/warppool.toml: name the configuration"),
    (["translate"], "-c FILE is missing, and there is no /none/translator.toml: name the configuration"),
    (["check"], "-c FILE is missing, and there is no /none/warppool.toml: name the configuration"),
    (["shares"], "-c FILE is missing, and there is no /none/warppool.toml: name the configuration"),
    (["run", "-c", "x", "y\nz"], "unrecognized arguments: y z"),
    (["demo", "--blocks", "0"], "'0' is no whole number from 1 to 1000"),
    (["demo", "--blocks", "1" * 5000], "is no whole number from 1 to 1000"),
    (["mine", "url"], "the following arguments are required: -u/--user"),
    (["mine", "url", "-u", "a", "--hashrate", "nan"], "'nan' is no number above 0"),
    (["mine", "url", "-u", "a", "--channel", "wide"], "invalid choice: 'wide'"),
    (["shares", "-c", "x", "--format", "xml"], "invalid choice: 'xml'"),
    (["run", "-c", "/none/warppool.toml"], "/none/warppool.toml: cannot be read: No such file or directory"),
    (["translate", "-c", "/none/translator.toml"], "/none/translator.toml: cannot be read: No such file or directory"),
    (["shares", "-c", "/none/warppool.toml"], "/none/warppool.toml: cannot be read: No such file or directory"),
])
def test_wrong_usage_is_one_line_and_status_2(capsys, monkeypatch, args, words):
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", Path("/none/warppool.toml"))
    monkeypatch.setattr(cli, "DEFAULT_TRANSLATOR_CONFIG", Path("/none/translator.toml"))
    assert cli.main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("warppool: error: ")
    assert words in err
    assert err.count("\n") == 1


def test_without_a_file_the_one_in_etc_is_meant_where_it_exists(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "DEFAULT_CONFIG", tmp_path / "warppool.toml")
    monkeypatch.setattr(cli, "DEFAULT_TRANSLATOR_CONFIG", tmp_path / "translator.toml")
    for name, program in (("warppool.toml", lambda: cli.main(["run"])),
                          ("translator.toml", lambda: cli.translator([]))):
        (tmp_path / name).write_text("colour = 1")
        assert program() == 2
        assert f"{tmp_path / name}: " in capsys.readouterr().err
    for command in ("run", "check", "shares"):
        with pytest.raises(SystemExit):
            cli.main([command, "-h"])
        assert "(default: /" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("raised", "status"), [
    (ConfigError("pool.network holds 1:\nit takes main"), 2),
    (MissingExtra("pip install 'warppool[regtest]'"), 2),
    (LedgerError("the books are gone"), 1),
])
def test_errors_raised_on_purpose_are_one_line(capsys, monkeypatch, raised, status):
    def fail(args):
        raise raised

    monkeypatch.setattr(cli, "gen_sv2_key", fail)
    assert cli.main(["gen-sv2-key"]) == status
    assert capsys.readouterr().err == f"warppool: error: {' '.join(str(raised).split())}\n"


def test_an_interrupt_is_the_shells_130(monkeypatch, capsys):
    def interrupted(args):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli, "gen_sv2_key", interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)       # whoever runs the tests may have it ignored
    assert cli.main(["gen-sv2-key"]) == 130
    assert capsys.readouterr().err == ""


def test_a_reader_that_leaves_early_gets_no_traceback():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as gone:
        done = subprocess.run([sys.executable, "-m", "warppool", "gen-sv2-key"], cwd=CHECKOUT, stdout=gone,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_command_is_imported_when_it_is_called_and_no_sooner():
    code = "import sys, warppool.commands.cli as cli; cli.keygen([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True,
                          timeout=PATIENCE_S)
    loaded = set(done.stdout.split())
    assert "warppool.commands.keys" in loaded
    assert not {"warppool.service.run", "warppool.config.pool", "warppool.net", "sqlite3"} & loaded


def test_the_translator_has_a_name_of_its_own(capsys, tmp_path):
    (tmp_path / "translator.toml").write_text(POOL)
    for program, prog in ((lambda args: cli.main(["translate", *args]), "warppool"),
                          (cli.translator, "warppool-translator")):
        assert program(["-c", str(tmp_path / "translator.toml")]) == 2
        assert capsys.readouterr().err == (f"{prog}: error: {tmp_path}/translator.toml: upstream is missing: it looks "
                                           "like a pool's, for `warppool run`\n")


# --- shares -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def books(tmp_path):
    """A configuration whose books hold three shares, and secrets that nobody may read."""
    (tmp_path / "warppool.toml").write_text(POOL)
    (tmp_path / "secrets.toml").write_text("not even TOML")
    (tmp_path / "data").mkdir()
    book(tmp_path / "data/shares.db", share(0, user="alice.1"), share(1, user="bob"), share(2, user="alice.2"))
    return str(tmp_path / "warppool.toml")


@pytest.mark.parametrize(("more", "workers"), [
    ([], ["alice.1", "bob", "alice.2"]),
    (["--user", "alice"], ["alice.1", "alice.2"]),
    (["--user", "bob", "--format", "jsonl"], ["bob"]),
    (["--since", "2036-11-22T10:00:00Z"], []),
])
def test_shares_prints_the_books_of_the_configuration(books, capsys, more, workers):
    assert cli.main(["shares", "-c", books, *more]) == 0
    assert [json.loads(line)["worker"] for line in capsys.readouterr().out.splitlines()] == workers


def test_shares_as_csv_has_a_header(books, capsys):
    assert cli.main(["shares", "-c", books, "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_shares_prints_the_translators_books_too(tmp_path, capsys):
    (tmp_path / "translator.toml").write_text(UPSTREAM + '[translator]\ndata_dir = "data"\n')
    (tmp_path / "data").mkdir()
    book(tmp_path / "data/shares.db", share(0, user="rig.1"))
    assert cli.main(["shares", "-c", str(tmp_path / "translator.toml")]) == 0
    assert [json.loads(line)["worker"] for line in capsys.readouterr().out.splitlines()] == ["rig.1"]


def test_books_that_are_not_there_are_a_failure_and_a_wrong_time_is_wrong_usage(books, capsys):
    assert cli.main(["shares", "-c", books, "--since", "yesterday"]) == 2
    assert capsys.readouterr().err.startswith("warppool: error: --since is 'yesterday'")
    (Path(books).parent / "data/shares.db").unlink()
    assert cli.main(["shares", "-c", books]) == 1
    assert "shares.db: no such file" in capsys.readouterr().err


# --- keys -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [["-m", "warppool", "gen-sv2-key"], ["warppool.py", "gen-sv2-key"],
                                  ["-c", "import sys; from warppool.commands.cli import keygen; sys.exit(keygen())"]])
def test_the_secret_half_goes_to_stdout_and_the_public_half_to_stderr(args):
    done = subprocess.run([sys.executable, *args], cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0
    secret = re.fullmatch(r'sv2_static_priv_key_hex = "([0-9a-f]{64})"\n', done.stdout)
    public = re.fullmatch(r"public key: ([0-9a-f]{64})\n", done.stderr)
    assert public_key(bytes.fromhex(secret[1])).hex() == public[1]


def test_no_two_keys_are_alike_and_none_prints_its_secret():
    one, other = keys.generate(), keys.generate()
    assert one.secret != other.secret
    assert one.secret.hex() not in repr(one)
    assert one.public.hex() in repr(one)


def test_a_key_file_is_private_and_never_overwritten(tmp_path, capsys):
    path = tmp_path / "secrets.toml"
    before = os.umask(0)
    try:
        assert cli.keygen(["-o", str(path)]) == 0
    finally:
        os.umask(before)
    written = path.read_text()
    out, err = capsys.readouterr()
    assert out == ""
    secret = re.fullmatch(r'sv2_static_priv_key_hex = "([0-9a-f]{64})"\n', written)
    assert err == f"public key: {public_key(bytes.fromhex(secret[1])).hex()}\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert cli.keygen(["-o", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"warppool-keygen: error: -o: {path} exists and is never overwritten: name a new file\n")
    assert path.read_text() == written


def test_a_key_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    assert cli.keygen(["-o", str(tmp_path / "none/secrets.toml")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert cli.keygen(["-o", str(tmp_path / "secrets.toml")]) == 2
    assert capsys.readouterr().err.endswith("secrets.toml cannot be written: No space left on device\n")
    assert list(tmp_path.iterdir()) == []

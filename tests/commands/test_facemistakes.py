"""What people get wrong of files, socket, web, notices and books: one line each, which names the key and the cure.

The keys are tried by `run` and by `check`, which say the same words. The table of all other keys is in
`test_mistakes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.commands.test_mistakes import TRANSLATOR
from tests.config.test_pool import ADDRESS, SECRETS
from tests.ledger.books import book, share
from warppool.commands import cli

GOOD = f"""[pool]
network = "regtest"
payout_address = "{ADDRESS}"
data_dir = "data"
[stratum]
listen = []
sv2_listen = ["127.0.0.1:0"]
[[node]]
url = "http://127.0.0.1:1"
cookie_file = "cookie"
"""
NOTICE = '[[notice]]\nname = "chat"\nevents = ["block.found"]\n'
URL = "https://chat.example/hunter2"
"""Of which everything behind the host is a secret."""


class Setting(NamedTuple):
    """A configuration, by what stands under GOOD, that is wrong; one line has all of `words`."""

    text: str
    words: tuple[str, ...]
    secrets: str = ""
    file: str = "warppool.toml"
    env: tuple[tuple[str, str], ...] = ()


def wrong(section: str, line: str, *words: str) -> Setting:
    """A key of a section that stands there once."""
    return Setting(f"[{section}]\n{line}\n", words)


def notice(line: str, *words: str) -> Setting:
    """A key of a notice that is right otherwise."""
    return Setting(f"{NOTICE}command = ['/bin/cat']\n{line}\n", words)


def url(value: str, *words: str) -> Setting:
    """A place that a notice cannot go to. Nothing of it is repeated."""
    return Setting(NOTICE, ("notice_urls", *words), f"notice_urls = {value}\n", "secrets.toml")


SETTINGS = [
    # --- [ledger] keep_days
    wrong("ledger", "keep_days = -1", "ledger.keep_days", "-1", "whole number, 0 to 36500"),
    wrong("ledger", "keep_days = 36501", "ledger.keep_days", "36501", "whole number, 0 to 36500"),
    wrong("ledger", "keep_days = 1.5", "ledger.keep_days", "1.5", "whole number, 0 to 36500"),
    wrong("ledger", "keep_days = '90'", "ledger.keep_days", '"90"', "whole number, 0 to 36500"),
    wrong("ledger", "keep_day = 90", "ledger.keep_day is not known", "did you mean keep_days"),
    wrong("status", "keep_days = 90", "status.keep_days is not known", "did you mean ledger.keep_days"),
    # --- [status]
    wrong("status", "dir = ''", "status.dir", '""', "a path"),
    wrong("status", "dir = 1", "status.dir", "a path"),
    wrong("status", "dir = ['www']", "status.dir", "a path"),
    wrong("status", "folder = 'www'", "status.folder is not known", "did you mean dir"),
    wrong("status", "listen = ['127.0.0.1:8080']", "status.listen is not known", "did you mean web.listen"),
    wrong("stats", "dir = 'www'", "stats is not known", "did you mean [status]"),
    Setting("[[status]]\ndir = 'www'\n", ("status holds", "headed [status]")),
    # --- [web]
    wrong("web", "listen = '127.0.0.1:8080'", "web.listen", "a list of addresses"),
    wrong("web", "listen = [8080]", "web.listen", "[8080]", "a list of addresses"),
    wrong("web", "listen = ['8080']", "web.listen", "an address with a port"),
    wrong("web", "listen = ['127.0.0.1']", "web.listen", "an address with a port"),
    wrong("web", "listen = ['127.0.0.1:70000']", "web.listen", "a port of 0 to 65535"),
    wrong("web", "listen = ['localhost:8080']", "web.listen", "an IP address and no name"),
    wrong("web", "listen = ['http://127.0.0.1:8080']", "web.listen", "an IP address and no name"),
    wrong("web", "listen = ['127.0.0.1:8080', '[::]:8080']", "web.listen", "each needs a port of its own"),
    Setting(GOOD.replace("127.0.0.1:0", "[::]:8080") + "[web]\nlisten = ['127.0.0.1:8080']\n",
            ("web.listen", "stratum.sv2_listen takes", "a port of its own")),
    wrong("web", "port = 8080", "web.port is not known", 'did you mean listen = ["127.0.0.1:8080"]'),
    wrong("web", "host = 'pool.example'", "web.host is not known", "did you mean hosts"),
    wrong("web", "hosts = 'pool.example'", "web.hosts", "a list of host names", '["pool.example"]'),
    wrong("web", "hosts = ['http://pool.example/']", "web.hosts", "a list of host names without a port"),
    wrong("web", "hosts = ['pool.example:8080']", "web.hosts", "a list of host names without a port"),
    wrong("web", "hosts = ['*']", "web.hosts", "a list of host names without a port"),
    wrong("web", "hosts = ['']", "web.hosts", "a list of host names"),
    wrong("web", "hosts = ['b\u00e4cker.example']", "web.hosts", "a list of host names"),
    wrong("web", "names = 'none'", "web.names", '"none"', "short or full"),
    wrong("web", "names = true", "web.names", "short or full"),
    wrong("web", "user_metrics = 1", "web.user_metrics", "true or false"),
    wrong("web", "user_metrics = 'yes'", "web.user_metrics", "true or false"),
    wrong("web", "tls_cert = 'chain.pem'", "web.tls_cert is not known", "did you mean stratum.tls_cert"),
    wrong("metrics", "listen = []", "metrics is not known", "did you mean [web]"),
    Setting("[[web]]\n", ("web holds", "headed [web]")),
    Setting("", ("WARPPOOL__WEB__LISTEN", "8080", "list of IP addresses with ports"), file="WARPPOOL__WEB__LISTEN",
            env=(("WARPPOOL__WEB__LISTEN", "127.0.0.1:8080"),)),
    # --- [[notice]]
    Setting("[notice]\nname = 'chat'\n", ("notice holds a table", "headed [[notice]]")),
    Setting("[[notices]]\nname = 'chat'\n", ("notices is not known", "did you mean [[notice]]")),
    Setting("[telegram]\ntoken = 'hunter2'\n", ("telegram is not known", "did you mean [[notice]]")),
    Setting("[[notice]]\nevents = ['block.found']\n", ("notice.name is missing", "a name of 1 to 64 bytes")),
    Setting("[[notice]]\nname = 'chat'\n", ("notice.events is missing", "list of events")),
    Setting("[[notice]]\nname = ''\nevents = ['block.found']\n", ("notice.name", "a name of 1 to 64 bytes")),
    Setting(f"[[notice]]\nname = '{'x' * 65}'\nevents = ['block.found']\n", ("notice.name", "a name of 1 to 64 bytes")),
    Setting('[[notice]]\nname = "a\\u001b[2J"\nevents = ["block.found"]\n', ("notice.name", "bytes that can be seen")),
    Setting(f"{NOTICE}command = ['/bin/cat']\n" * 2, ("notice[1].name", "twice", "a name of its own")),
    Setting("[[notice]]\nname = 'chat'\nevents = []\n", ("notice.events", "a list of events: block.found, ")),
    Setting("[[notice]]\nname = 'chat'\nevents = 'all'\n", ("notice.events", "a list of events: block.found, ")),
    Setting("[[notice]]\nname = 'chat'\nevents = ['node.lost', 'node.gone']\n",
            ("notice.events", "update.there", '"node.gone" is none of them: did you mean ')),
    Setting("[[notice]]\nname = 'chat'\nevents = ['*']\n", ("notice.events", "update.there", '"*" is none of them')),
    notice("command_line = 'x'", "notice.command_line is not known", "did you mean command"),
    Setting(f"{NOTICE}command = '/bin/cat -v'\n", ("notice.command", "a list of texts")),
    Setting(f"{NOTICE}command = ['']\n", ("notice.command", "none of them empty")),
    Setting(f"{NOTICE}command = ['cat']\n", ("notice.command", "the whole path of the program")),
    Setting(f"{NOTICE}command = ['~/tell', '-v']\n", ("notice.command", "the whole path of the program")),
    notice("format = 'slack'", "notice.format", '"slack"', "json, text, discord or telegram"),
    notice("format = 'telegram'", "notice.format", "a command gets JSON: remove the key"),
    notice("gone_min = 0", "notice.gone_min", "whole number, 1 to 10080"),
    notice("gone_min = 10081", "notice.gone_min", "whole number, 1 to 10080"),
    notice("gone_min = '10 min'", "notice.gone_min", "whole number, 1 to 10080"),
    notice("gone_minutes = 10", "notice.gone_minutes is not known", "did you mean gone_min"),
    notice("digest_hour = 24", "notice.digest_hour", "whole number, 0 to 23"),
    notice("digest_hour = '08:00'", "notice.digest_hour", "whole number, 0 to 23"),
    notice(f"url = '{URL}'", "notice.url is not known", "did you mean notice_urls in secrets.toml"),
    notice(f"notice_urls = ['{URL}']", "notice_urls is not known", "it belongs into secrets.toml"),
    # --- notice_urls
    Setting(NOTICE, ("notice_urls holds 0", "one for each [[notice]] without a command", "there are 1"),
            file="secrets.toml"),
    Setting(f"{NOTICE}command = ['/bin/cat']\n", ("notice_urls holds 1", "there are 0"), f"notice_urls = ['{URL}']\n",
            "secrets.toml"),
    Setting(NOTICE, ("notice_url is not known", "did you mean notice_urls"), f"notice_url = '{URL}'\n", "secrets.toml"),
    Setting("", ("notice is not known", "into warppool.toml, as [[notice]]"), f"[[notice]]\nurl = '{URL}'\n",
            "secrets.toml"),
    url(f"'{URL}'", "a list of URLs"),
    url("[7]", "https://HOST[:PORT]/PATH"),
    url("['chat.example/hunter2']", "has no host", "https://HOST[:PORT]/PATH"),
    url("['ftp://chat.example/hunter2']", "https://HOST[:PORT]/PATH"),
    url("['http://chat.example/hunter2']", "in plain text", "write https://"),
    url("['https://alice:hunter2@chat.example/']", "a user before its host", "in path or query"),
    url("['https://chat.example:hunter2/']", "cannot be read", "https://HOST[:PORT]/PATH"),
    url("['https://chat.example/hunter2 x']", "ASCII without spaces"),
    Setting(NOTICE, ("do not go into the environment", "WARPPOOL__SECRETS__NOTICE_URLS_FILE"),
            file="WARPPOOL__SECRETS__NOTICE_URLS", env=(("WARPPOOL__SECRETS__NOTICE_URLS", URL),)),
]


class Call(NamedTuple):
    """A command line that is wrong, or for what is not there; `make` lays out the folder."""

    arguments: str
    words: tuple[str, ...]
    status: int = 2
    text: str = GOOD
    make: Callable[[Path], object] = lambda folder: None


def with_books(folder: Path) -> None:
    (folder / "data").mkdir()
    book(folder / "data/shares.db", share(1))


def without_data(folder: Path) -> None:
    (folder / "data").write_text("no folder")


CALLS = [
    # --- status: no daemon, no folder, wrong options
    Call("status", ("no daemon answers at", "data/status.sock", "start it, or name its configuration by -c"), 1),
    Call("status --json", ("no daemon answers at", "start it"), 1),
    Call("status --watch", ("no daemon answers at", "start it"), 1, make=without_data),
    Call("status --watch 5", ("unrecognized arguments: 5",)),
    Call("status --format csv", ("unrecognized arguments: --format csv",)),
    # --- lists
    *(Call(name, ("data/shares.db", "the daemon makes it when it starts", "ledger.url"), 1)
      for name in ("workers", "blocks", "refusals")),
    *(Call(f"{name} --format xml", ("--format", "'xml'", "'table', 'jsonl', 'csv'"), make=with_books)
      for name in ("workers", "blocks", "refusals")),
    Call("blocks --user alice", ("unrecognized arguments: --user alice",), make=with_books),
    Call("refusals --since yesterday", ("--since", "2026-11-22T10:00:00Z"), make=with_books),
    Call("refusals --since 2026-13-01", ("--since", "2026-11-22T10:00:00Z"), make=with_books),
    # --- backup
    Call("backup", ("FILE",), make=with_books),
    Call("backup copy.db", ("data/shares.db", "no such file"), 1),
    Call("backup warppool.toml", ("warppool.toml is there already", "name a new file"), 1, make=with_books),
    Call("backup data/shares.db", ("data/shares.db is there already", "name a new file"), 1, make=with_books),
    Call("backup data", ("data is there already", "name a new file"), 1, make=with_books),
    Call("backup none/copy.db", ("none/copy.db", "No such file", "in a folder that is there"), 1, make=with_books),
    Call("backup warppool.toml/copy.db", ("copy.db", "Not a directory", "in a folder that is there"), 1,
         make=with_books),
    # --- restored copies, notices
    Call("payouts --confirm-restore", ("pool.payout", "books no balances"), make=with_books),
    Call("check --notice", ("--notice", "expected one argument")),
    Call("check --notice chat", ("--notice chat", "no [[notice]] has that name", "there is none")),
    Call("check --notice siren", ("--notice siren", "no [[notice]] has that name", "there are chat"),
         text=f"{GOOD}{NOTICE}command = ['/bin/cat']\n"),
    Call("check --notice chat --diff", ("--notice", "leave the other options out"),
         text=f"{GOOD}{NOTICE}command = ['/bin/cat']\n"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay_out(folder: Path, text: str, secrets: str = "") -> None:
    (folder / "warppool.toml").write_text(text, encoding="utf-8")
    (folder / "secrets.toml").write_text(SECRETS + secrets, encoding="utf-8")
    (folder / "secrets.toml").chmod(0o600)


def test_there_are_more_than_forty_wrong_settings_and_none_is_tried_twice() -> None:
    assert len(SETTINGS) >= 40
    assert len({(each.text, each.secrets, each.env) for each in SETTINGS}) == len(SETTINGS)
    assert len({(call.arguments, call.text, call.make) for call in CALLS}) == len(CALLS)


@pytest.mark.parametrize("setting", SETTINGS, ids=[f"{each.words[0]}-{number}" for number, each in enumerate(SETTINGS)])
def test_run_and_check_say_of_a_wrong_setting_one_line_with_its_key_and_its_cure(folder, capsys, monkeypatch, setting):
    lay_out(folder, setting.text if setting.text.startswith("[pool]") else GOOD + setting.text, setting.secrets)
    for name, value in setting.env:
        monkeypatch.setenv(name, value)
    assert cli.main(["run", "-c", "warppool.toml"]) == 2
    by_run = capsys.readouterr().err
    assert cli.main(["check", "-c", "warppool.toml", "--no-network"]) == 1
    by_check = capsys.readouterr().out
    assert by_run.removeprefix("warppool: error: ") == by_check.removeprefix("error config: ")
    (line,) = by_run.splitlines()
    assert line.startswith("warppool: error: ") and line.isprintable() and len(line) < 600
    assert [word for word in (setting.file, *setting.words) if word not in line] == [], line
    assert "hunter2" not in by_run + by_check, "what stands behind the host of a URL is a secret"
    assert not (folder / "data").exists()


OF_TRANSLATOR = [each for each in SETTINGS if each.text.startswith(("[web]", "[status]\ndir", "[[notice]]"))
                 and "command" not in each.text][::2]
"""A part of them: the sections are the same, from the same code."""


@pytest.mark.parametrize("setting", OF_TRANSLATOR,
                         ids=[f"{each.words[0]}-{number}" for number, each in enumerate(OF_TRANSLATOR)])
def test_the_translator_says_the_same_of_its_own_file(folder, capsys, setting):
    lay_out(folder, "", setting.secrets)
    (folder / "secrets.toml").write_text(setting.secrets, encoding="utf-8")
    (folder / "translator.toml").write_text(TRANSLATOR + setting.text, encoding="utf-8")
    assert cli.main(["translate", "-c", "translator.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    file = setting.file.replace("warppool", "translator")
    assert [word for word in (file, *setting.words) if word not in line] == [], line
    assert line.startswith("warppool: error: ") and "hunter2" not in line


@pytest.mark.parametrize("call", CALLS, ids=[call.arguments for call in CALLS])
def test_a_wrong_command_is_one_line_with_its_cure(folder, capsys, call):
    lay_out(folder, call.text)
    call.make(folder)
    command, *rest = call.arguments.split()
    assert cli.main([command, "-c", "warppool.toml", *rest]) == call.status
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("warppool: error: ") and line.isprintable()
    assert [word for word in call.words if word not in line] == [], line


# --- what only `check` sees -------------------------------------------------------------------------------------------

def errors_of_check(folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> list[str]:
    lay_out(folder, GOOD + text)
    cli.main(["check", "-c", "warppool.toml"])
    return [line for line in capsys.readouterr().out.splitlines()
            if line.startswith("error ") and not line.startswith("error node")]


def test_check_sees_a_status_folder_that_is_a_file(folder, capsys):
    (folder / "www").write_text("")
    (said,) = errors_of_check(folder, capsys, "[status]\ndir = 'www/status'\n")
    assert "status.dir" in said and "no directory" in said and "name another folder" in said


def test_check_sees_a_file_where_the_socket_belongs(folder, capsys):
    (folder / "data").mkdir()
    (folder / "data/status.sock").write_text("")
    (said,) = errors_of_check(folder, capsys, "")
    assert "status.sock" in said and "move it away" in said


def test_check_sees_a_program_that_is_not_there(folder, capsys):
    (said,) = errors_of_check(folder, capsys, f"{NOTICE}command = ['/none/tell']\n")
    assert "notice[0]" in said and "/none/tell" in said and "write the whole path" in said

"""What `warppool check` says of notices, and the test that it sends on request."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from tests.config.test_pool import POOL, SECRETS
from tests.notices.test_post import answering
from warppool.commands.cli import main

TOKEN = "t0ken"


@pytest.fixture
def check(tmp_path, capsys):
    """Write a configuration with `notices`, run the command; (status, what it says)."""

    def run(notices: str, urls: tuple[str, ...] = (), options: tuple[str, ...] = ("--no-network",)
            ) -> tuple[int, str]:
        (tmp_path / "warppool.toml").write_text(POOL + notices, encoding="utf-8")
        secrets = tmp_path / "secrets.toml"
        secrets.write_text(f"{SECRETS}\nnotice_urls = {json.dumps(urls)}\n")
        secrets.chmod(0o600)
        status = main(["check", "-c", str(tmp_path / "warppool.toml"), *options])
        said = capsys.readouterr()
        assert TOKEN not in said.out + said.err
        return status, said.out + said.err

    return run


def table(name: str, *, command: tuple[str, ...] = (), more: str = "") -> str:
    return (f'[[notice]]\nname = "{name}"\nevents = ["block.found", "digest.daily"]\n'
            f"command = {json.dumps(command)}\n{more}\n")


def test_each_notice_has_a_line_and_nothing_is_sent(check):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        status, said = check(table("chat") + table("siren", command=("/bin/sh", "-c", "exit 1")),
                             (f"http://127.0.0.1:{port}/{TOKEN}",))
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert status == 0
    assert ("ok notice[0]: chat tells 127.0.0.1 of block.found, digest.daily; warppool check --notice chat sends a test"
            ) in said
    assert "ok notice[1]: siren tells /bin/sh of" in said


def test_a_command_that_cannot_be_run_is_an_error(check, tmp_path):
    (tmp_path / "plain").write_text("")
    status, said = check(table("a", command=("/nowhere/at/all",)) + table("b", command=(f"{tmp_path}/plain",)))
    assert status == 1
    assert "error notice[0]: a runs /nowhere/at/all, and there is no such file: write the whole path" in said
    assert f"error notice[1]: b runs {tmp_path}/plain, which is not a program that this user may run" in said


def test_a_test_is_sent_and_nothing_else_is_checked(check):
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as server:
        status, said = check(table("chat", more='format = "discord"'), (f"http://127.0.0.1:{server.port}/{TOKEN}",),
                             ("--notice", "chat"))
    assert (status, said) == (0, "ok notice chat: 127.0.0.1 has taken a test\n")
    body = json.loads(server.asked[0].partition(b"\r\n\r\n")[2])
    assert body["content"].startswith("**warppool: Test**\n") and "notice: `chat`" in body["content"]


def test_a_test_that_does_not_arrive_is_an_error(check):
    with answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n") as server:
        status, said = check(table("chat"), (f"http://127.0.0.1:{server.port}/{TOKEN}",), ("--notice", "chat"))
    assert (status, said) == (1, "error notice chat: 127.0.0.1: it answers 401\n")


def test_a_command_is_tested_too(check, tmp_path):
    code = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())"
    status, said = check(table("siren", command=(sys.executable, "-c", code)), options=("--notice", "siren"))
    assert (status, said) == (0, f"ok notice siren: {sys.executable} has taken a test\n")
    assert json.loads((tmp_path / "got").read_text())["event"] == "notice.test"


@pytest.mark.parametrize(("notices", "options", "words"), [
    (table("a", command=("/bin/true",)), ("--notice", "b"), "--notice b: no [[notice]] has that name: there are a"),
    ("", ("--notice", "b"), "--notice b: no [[notice]] has that name: there is none in the file"),
    ("", ("--notice", "b", "--diff"), "--notice sends a test and checks nothing else: leave the other options out"),
])
def test_a_name_that_is_none_is_wrong_usage(check, notices, options, words):
    status, said = check(notices, options=options)
    assert status == 2 and said == f"warppool: error: {words}\n"

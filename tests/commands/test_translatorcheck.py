"""`warppool check` of a translator.toml: what it says of the machine and of each upstream."""

from __future__ import annotations

import json
import os
import resource
import socket

import pytest

from tests.miner.test_greeting import SECRET, Pool, after_hearing, listening, talking, url
from tests.net.far import closed_port
from warppool.commands.cli import main
from warppool.config.running import write_running
from warppool.config.translator import read_translator_config
from warppool.noise.primitives import public_key
from warppool.service import web
from warppool.service.lock import DataDirLock

LISTEN = '[stratum]\nlisten = ["127.0.0.1:0"]\n'
OTHER_SECRET = bytes(31) + b"\x09"


@pytest.fixture
def check(tmp_path, capsys):
    """Write a configuration with upstreams on these ports, run the command; (status, lines)."""

    def run(*ports: int, more: str = LISTEN, translator: str = "", upstream: str = "") -> tuple[int, list[str]]:
        text = f"{more}[translator]\ndata_dir = 'data'\n{translator}\n" + "".join(
            f'[[upstream]]\nurl = "{url(port, SECRET)}"\nuser_identity = "farm.unnamed"\n{upstream}\n'
            for port in ports)
        (tmp_path / "translator.toml").write_text(text, encoding="utf-8")
        status = main(["check", "-c", str(tmp_path / "translator.toml")])
        out, err = capsys.readouterr()
        assert err == ""
        return status, [line.replace(f"{tmp_path}/", "") for line in out.splitlines()]

    return run


def test_all_is_well(check, tmp_path):
    with listening(talking(Pool())) as port:
        status, lines = check(port)
    assert status == 0
    assert [line.split(":")[0] for line in lines] == [
        "ok config", "ok translator.data_dir", "ok stratum.listen", "ok status.dir", "ok status socket", "ok limits",
        "ok clock", "ok upstream[0]"]
    assert lines[0] == 'ok config: translator.toml is read, a translator\'s, with mode = "connection"'
    assert lines[1] == "ok translator.data_dir: data will be made"
    assert lines[-1] == (f"ok upstream[0]: 127.0.0.1:{port} has the right key, takes us at 127.0.0.1, and is used, as "
                         "farm.unnamed for machines without a name")
    assert [path.name for path in tmp_path.iterdir()] == ["translator.toml"]


def test_books_that_run_would_refuse_are_an_error(check, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "shares.db").write_bytes(b"no books" * 100)
    status, lines = check(closed_port())
    (line,) = (line for line in lines if line.startswith("error ledger: "))
    assert status == 2 and "data/shares.db: this is no SQLite database" in line


@pytest.mark.parametrize("host", ["..", "a" * 64])
def test_a_host_that_cannot_be_a_name_is_told_with_its_cure(tmp_path, capsys, host):
    key = public_key(SECRET).hex()
    (tmp_path / "translator.toml").write_text(
        f'{LISTEN}[[upstream]]\nurl = "stratum2+tcp://{host}:1/{key}"\nuser_identity = "farm"\n', encoding="utf-8")
    assert main(["check", "-c", str(tmp_path / "translator.toml")]) == 1
    assert f"error upstream[0]: {host}:1: not a name: mend the host in the URL" in capsys.readouterr().out


def test_each_upstream_has_a_line_with_what_is_wrong(check):
    closed = closed_port()
    with (listening(talking(Pool(secret=OTHER_SECRET))) as wrong, listening(talking(Pool())) as well,
          listening(after_hearing(b"HTTP/1.1 400\r\n" * 9)) as web):
        status, lines = check(wrong, closed, web, well, upstream="fallback_only = true")
    assert status == 1
    about = [line for line in lines if " upstream[" in line]
    assert about[0].startswith(f"error upstream[0]: 127.0.0.1:{wrong} proves another key than the one in its url: ask ")
    assert about[1] == (f"error upstream[1]: 127.0.0.1:{closed}: Connection refused: is the pool running, and is this "
                        "its port?")
    assert about[2].startswith(f"error upstream[2]: 127.0.0.1:{web} answers, and not as a Stratum V2 pool of this kind")
    assert about[3].startswith(f"ok upstream[3]: 127.0.0.1:{well} has the right key")
    assert "is used while no other is there" in about[3]


def test_a_wrong_configuration_is_an_error_and_status_1(check):
    status, lines = check(1, translator="mode = 'both'")
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith('error config: translator.toml: translator.mode holds "both": it takes connection or ')


def test_the_machine_is_looked_at_as_for_the_pool(check, tmp_path, monkeypatch):
    closed = closed_port()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 1024))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = f'[stratum]\nlisten = ["127.0.0.1:{port}"]\nmax_connections = 500\n'
        _, lines = check(closed, more=listen)
        assert any(line.startswith(f"error stratum.listen: port {port} of ") for line in lines)
        assert any(line.startswith("warn limits: 1024 files may be open, room for 480 miners, and ") for line in lines)
        _, lines = check(closed, more=listen, translator="mode = 'channels'")
        assert "ok limits: 1024 files may be open, room for 960 miners" in lines
        lock = DataDirLock(tmp_path / "data")
        _, lines = check(closed, more=listen)
        lock.release()
    assert f"warn translator.data_dir: data is held by a running warppool (pid {os.getpid()}); a second is refused" in (
        lines)
    assert f"warn stratum.listen: 127.0.0.1:{port} was not tried, since a warppool runs (pid {os.getpid()})" in lines


def test_a_certificate_is_looked_at(check):
    _, lines = check(closed_port(), more=LISTEN + 'tls_listen = ["127.0.0.1:0"]\n')
    assert any(line.startswith("error stratum.tls_cert: fullchain.pem does not exist") for line in lines)


def test_a_silence_shorter_than_a_pools_breath_is_a_warning(check):
    _, lines = check(closed_port(), translator="silence_s = 20")
    assert any(line.startswith("warn translator.silence_s: 20 s is short") for line in lines)


def test_without_network_only_files_are_read_and_what_differs_is_told(tmp_path, capsys):
    path = tmp_path / "translator.toml"
    text = (f'{LISTEN}[translator]\ndata_dir = "data"\n[[upstream]]\nurl = "{url(closed_port(), SECRET)}"\n'
            'user_identity = "farm"\n')
    path.write_text(text)
    (tmp_path / "data").mkdir()
    write_running(tmp_path / "data", read_translator_config(path, {}))
    path.write_text(text.replace('data"\n', 'data"\nmode = "channels"\ngrace_s = 5\n'))
    assert main(["check", "-c", str(path), "--diff", "--no-network"]) == 0
    lines = capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()
    assert lines == [
        'ok config: translator.toml is read, a translator\'s, with mode = "channels"',
        'warn translator.mode: "connection" becomes "channels": it needs a restart',
        "ok translator.grace_s: 60 becomes 5: a reload makes it count at once"]


# --- what people see --------------------------------------------------------------------------------------------------

FACES = '[web]\nlisten = ["127.0.0.1:0"]\n[[notice]]\nname = "file"\nevents = ["node.lost"]\ncommand = ["{program}"]\n'


def test_its_faces_have_the_lines_that_the_pools_have(check, monkeypatch):
    monkeypatch.setattr(web, "find_spec", lambda name: name)
    with listening(talking(Pool())) as port:
        status, lines = check(port, more=LISTEN + FACES.format(program="/bin/cat"))
    assert status == 0
    assert [line.partition(": ")[0] for line in lines][3:8] == [
        "ok status.dir", "ok status socket", "ok web.listen", "ok web.hosts", "ok notice[0]"]
    assert "file tells /bin/cat of node.lost" in lines[7]


def test_what_is_wrong_with_its_faces_is_an_error(check, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    (tmp_path / "file").touch()
    with listening(talking(Pool())) as port:
        status, lines = check(port, more=f"{LISTEN}[status]\ndir = 'file'\n{FACES.format(program='/no/such')}")
    assert status == 1
    assert [line.partition(": ")[0] for line in lines if line.startswith("error")] == [
        "error status.dir", "error web.listen", "error notice[0]"]


def test_a_test_notice_comes_from_the_translator(check, tmp_path, capsys):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nexec cat > {tmp_path}/told\n")
    program.chmod(0o755)
    with listening(talking(Pool())) as port:
        check(port, more=LISTEN + FACES.format(program=program))
    assert main(["check", "-c", str(tmp_path / "translator.toml"), "--notice", "file"]) == 0
    assert "ok notice file: " in capsys.readouterr().out
    assert json.loads((tmp_path / "told").read_text())["program"] == "warppool-translator"

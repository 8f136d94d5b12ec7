"""A command gets JSON on its stdin, and nothing else of ours: no environment, no descriptor, no time beyond its own."""

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from warppool.notices.delivery import NotDelivered
from warppool.notices.kinds import BLOCK_FOUND, Notice
from warppool.notices.program import ENVIRONMENT, CommandRunner

NOTICE = Notice(BLOCK_FOUND, 1_800_000_000.0, (("machine", "$(reboot); `id`"),))


def run(code: str, *args: str, timeout_s: float = PATIENCE_S) -> None:
    CommandRunner([sys.executable, "-c", code, *args], "warppool", timeout_s).deliver(NOTICE)


def test_it_reads_the_notice_on_its_stdin(tmp_path):
    out = tmp_path / "out"
    run("import sys; open(sys.argv[1], 'w').write(sys.stdin.read())", str(out))
    document = json.loads(out.read_text())
    assert document["event"] == BLOCK_FOUND
    assert document["facts"] == {"machine": "$(reboot); `id`"}


def test_it_gets_a_clean_environment_and_no_descriptor_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("WARPPOOL__NODE__USER", "secret")
    out, (reading, writing) = tmp_path / "out", os.pipe()
    os.set_inheritable(writing, True)
    try:
        run("import json, os, sys\n"
            "held = [f for f in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{f}')]\n"
            "json.dump([dict(os.environ), sorted(map(int, held)), os.getcwd(), os.getsid(0) == os.getpid()],"
            " open(sys.argv[1], 'w'))", str(out))
    finally:
        os.close(reading)
        os.close(writing)
    environ, descriptors, folder, is_leader = json.loads(out.read_text())
    assert environ.items() >= ENVIRONMENT.items() and "WARPPOOL__NODE__USER" not in environ
    assert set(environ) <= {*ENVIRONMENT, "LC_CTYPE"}
    assert descriptors == [0, 1, 2]
    assert folder == "/" and is_leader


def test_one_that_reads_nothing_has_done_its_work_all_the_same():
    run("import os; os.close(0)")


@pytest.mark.parametrize(("code", "words"), [
    ("raise SystemExit(3)", "it returned 3"),
    ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "it was ended by signal 15"),
])
def test_one_that_fails_is_told_of(code, words):
    with pytest.raises(NotDelivered, match=words) as failure:
        run(code)
    assert not failure.value.is_final


def test_a_file_that_is_not_there_is_not_tried_again():
    with pytest.raises(NotDelivered, match="cannot be started: No such file") as failure:
        CommandRunner(["/nowhere/at/all"], "warppool").deliver(NOTICE)
    assert failure.value.is_final


def test_one_that_takes_too_long_is_killed():
    with pytest.raises(NotDelivered, match=r"still runs after 0.2 s, and is killed"):
        run("import time; time.sleep(1000)", timeout_s=0.2)


@pytest.mark.parametrize("end", ["raise SystemExit(0)", "time.sleep(1000)"])
def test_its_children_are_killed_with_it(tmp_path, end):
    """A child holds the writing end of a pipe: the reader sees its end once every process of the group is gone."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = ("import os, sys, time\nfd = os.open(sys.argv[1], os.O_WRONLY)\n"
            f"if os.fork() == 0:\n    os.write(fd, b'u')\n    time.sleep(1000)\n"
            f"else:\n    time.sleep(0)\n    {end}")
    runner = CommandRunner([sys.executable, "-c", code, str(fifo)], "warppool", PATIENCE_S)

    def deliver() -> None:
        with suppress(NotDelivered):
            runner.deliver(NOTICE)

    thread = threading.Thread(target=deliver)
    thread.start()
    with open(fifo, "rb") as held:
        if not end.startswith("raise"):
            assert held.read(1) == b"u"
            runner.close()
        assert held.read() in (b"", b"u")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_stop_ends_it_at_once(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = "import sys, time; open(sys.argv[1], 'w').write('up'); time.sleep(1000)"
    runner = CommandRunner([sys.executable, "-c", code, str(fifo)], "warppool", PATIENCE_S)
    failures: list[str] = []

    def deliver() -> None:
        try:
            runner.deliver(NOTICE)
        except NotDelivered as exc:
            failures.append(str(exc))

    thread = threading.Thread(target=deliver)
    thread.start()
    assert Path(fifo).read_text() == "up"
    runner.close()
    thread.join(PATIENCE_S)
    assert failures == ["the daemon stops"]
    with pytest.raises(NotDelivered, match="the daemon stops"):
        runner.deliver(NOTICE)

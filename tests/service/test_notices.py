"""What the thread `notices` is made of, and what it looks at beside the snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.stats.made import snapshot
from warppool.commands.democert import self_signed
from warppool.config.faceoptions import NoticeConfig
from warppool.notices.post import Poster
from warppool.notices.program import CommandRunner
from warppool.service.certificate import Certificate
from warppool.service.notices import VERSION_EVERY_S, NoticeSources, delivery_of, installed_version, notices_of

START = 1_800_000_000.0


def table(name: str = "chat", **changes: object) -> NoticeConfig:
    return NoticeConfig(**{"name": name, "events": ("block.found",), "url": "https://chat.example/t0ken"} | changes)


def test_who_tells_nobody_has_no_thread():
    assert notices_of((), snapshot, "warppool", None, None) == ()


def test_each_table_is_somebody_to_tell():
    (thread,) = notices_of([table(), table("siren", command=("/bin/true",), url="")], snapshot, "warppool", None, None)
    assert thread.name == "notices"
    assert [told.place.name for told in thread._told] == ["chat", "siren"]


def test_a_url_and_a_command_are_told_in_their_own_ways():
    post, command = delivery_of(table(), "warppool"), delivery_of(table(command=("/bin/true",)), "warppool")
    assert isinstance(post, Poster) and post.place == "chat.example"
    assert isinstance(command, CommandRunner) and command.place == "/bin/true"


class Clock:
    def __init__(self) -> None:
        self.now, self.version, self.asked = START, "1.0", 0

    def installed(self) -> str:
        self.asked += 1
        return self.version

    def unix(self) -> float:
        return self.now


def test_another_version_is_seen_within_the_hour_and_its_files_are_not_read_each_second():
    clock = Clock()
    sources = NoticeSources(None, None, clock.installed, clock.unix)
    for _ in range(100):
        assert sources().other_version == ""
        clock.now += 1
    assert clock.asked == 1
    clock.version = "1.1"
    clock.now += VERSION_EVERY_S
    assert sources().other_version == "1.1"
    clock.version = "1.0"
    clock.now += VERSION_EVERY_S
    assert sources().other_version == ""


def test_a_clock_that_is_set_back_does_not_stop_that():
    clock = Clock()
    sources = NoticeSources(None, None, clock.installed, clock.unix)
    clock.now -= 10 * VERSION_EVERY_S
    clock.version = "1.1"
    assert sources().other_version == "1.1"


def test_the_end_of_the_certificate_is_the_one_that_is_served(tmp_path):
    ends = datetime.fromtimestamp(START, UTC) + timedelta(days=5)
    pair = self_signed(("pool.example",), not_after=ends).write(tmp_path)
    sources = NoticeSources(Certificate(*pair), None, lambda: "", lambda: START)
    ((name, ends_at),) = sources().certificates
    assert name == "stratum.tls_cert" and ends_at == pytest.approx(ends.timestamp(), abs=1)


def test_what_is_installed_is_read_from_files():
    assert installed_version() == "" or installed_version()[0].isdigit()

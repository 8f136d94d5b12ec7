"""What `warppool check` finds of notices, and the test that `check --notice NAME` sends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from warppool.commands.findings import Finding
from warppool.config.faceoptions import NoticeConfig
from warppool.errors import ConfigError
from warppool.notices.delivery import NotDelivered
from warppool.notices.kinds import TEST, Notice
from warppool.notices.url import NoticeUrl
from warppool.service.notices import delivery_of


def notice_findings(tables: Sequence[NoticeConfig]) -> Iterator[Finding]:
    """A line for each notice; nothing is sent and nothing is run."""
    for index, table in enumerate(tables):
        key, events = f"notice[{index}]", ", ".join(table.events)
        trouble = _trouble(table.command[0]) if table.command else ""
        if trouble:
            yield Finding("error", key, f"{table.name} runs {table.command[0]}, {trouble}")
            continue
        place = table.command[0] if table.command else NoticeUrl.parse(table.url).host if table.url else "its URL"
        yield Finding("ok", key, f"{table.name} tells {place} of {events}; warppool check --notice {table.name} sends "
                      "a test")


def send_test(tables: Sequence[NoticeConfig], name: str, program: str) -> Finding:
    """Send a test notice to the one that is called `name`; ConfigError where there is none."""
    table = next((table for table in tables if table.name == name), None)
    if table is None:
        known = ", ".join(table.name for table in tables)
        raise ConfigError(f"--notice {name}: no [[notice]] has that name: " + (
            f"there are {known}" if known else "there is none in the file"))
    delivery, key = delivery_of(table, program), f"notice {name}"
    try:
        delivery.deliver(Notice(TEST, time.time(), (("notice", name), ("events", ", ".join(table.events)))))
    except NotDelivered as exc:
        return Finding("error", key, f"{delivery.place}: {exc}")
    return Finding("ok", key, f"{delivery.place} has taken a test")


def _trouble(program: str) -> str:
    """Why that file cannot be run, by this user; "" where it can."""
    if not os.path.isfile(program):
        return "and there is no such file: write the whole path of a program"
    if not os.access(program, os.X_OK):
        return "which is not a program that this user may run: chmod 755"
    return ""

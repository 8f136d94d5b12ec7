"""What the status socket answers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from tests.stats.made import AT, HOSTILE, snapshot
from warppool.stats.snapshot import StatsSnapshot, WorkStats
from warppool.status.answers import MOST_KEPT, MOST_ON_PAGE, StatusAnswers


class Asked:
    """Answers from a snapshot that a test may change, at a time that it may change."""

    def __init__(self, **changes: Any) -> None:
        self.snapshot: StatsSnapshot = snapshot(**changes)
        self.now = AT
        self.answers = StatusAnswers(lambda: self.snapshot, lambda: self.now)

    def __call__(self, what: str, **arguments: object) -> dict[str, Any]:
        answer = json.loads(self.answers(json.dumps({"ask": what, **arguments}).encode()))
        assert isinstance(answer, dict)
        return answer


def test_health_is_a_word_and_a_reason() -> None:
    asked = Asked()
    assert asked("health") == {"ok": True, "reason": "", "number": 7, "at": AT}
    asked.now += 3600                       # the same snapshot, an hour later: thread `stats` hangs
    assert asked("health")["reason"] == "the numbers are 3600 s old"
    assert asked("summary")["ok"] is False
    asked = Asked(work=WorkStats())
    assert asked("health")["reason"] == "no work yet"


def test_the_summary_has_the_numbers_of_the_snapshot() -> None:
    answer = Asked()("summary")
    assert answer["pool"]["hashrate"]["1m"] == 3.7e12 and answer["refused"] == {"duplicate-share": 3, "stale-share": 12}
    assert (answer["machines"], answer["users"], answer["idle"], answer["gone"]) == (3, 2, 1, 1)
    assert answer["newest_block"]["height"] == 840_001 and answer["blocks_found"] == 2
    assert [node["state"] for node in answer["nodes"]] == ["up", "lost"]
    assert answer["seconds"]["commit"] == {"count": 100, "p50": 0.001, "p99": 0.002}


def test_lists_come_in_pages() -> None:
    asked = Asked()
    assert [each["user"] for each in asked("users")["items"]][1:] == ["bob", HOSTILE]
    page = asked("workers", offset=1, limit=2)
    assert (page["offset"], page["limit"], page["total"], len(page["items"])) == (1, 2, 4, 2)
    assert page["items"][1]["worker"] == "bob" and page["items"][1]["gone_at"] == AT - 700
    assert asked("workers", offset=99)["items"] == []
    assert [each["state"] for each in asked("blocks", limit=1)["items"]] == ["accepted"]


@pytest.mark.parametrize("line", [
    b"", b"health", b"[]", b"{}", b'{"ask": 1}', b'{"ask": "secrets"}', b"\xff", b"[" * 4000,
    b'{"ask": "users", "limit": %d}' % (MOST_ON_PAGE + 1), b'{"ask": "users", "limit": true}',
    b'{"ask": "users", "offset": -1}', b'{"ask": "users", "offset": 1.5}', b'{"ask": "users", "limit": null}',
])
def test_what_is_no_question_gets_one_line(line: bytes) -> None:
    answer = Asked().answers(line)
    assert list(json.loads(answer)) == ["error"] and b"\n" not in answer


def test_an_answer_is_made_once_for_each_snapshot() -> None:
    asked = Asked()
    first = asked.answers(b'{"ask": "users"}')
    assert asked.answers(b'{"ask": "users"}') is first
    asked.snapshot = replace(asked.snapshot, number=8)
    assert asked.answers(b'{"ask": "users"}') is not first


def test_questions_without_end_are_not_kept() -> None:
    asked = Asked()
    for offset in range(2 * MOST_KEPT):
        asked("users", offset=offset)
    assert len(asked.answers._kept) == MOST_KEPT


def test_no_session_and_no_address_of_a_peer_leaves() -> None:
    asked = Asked()
    for what in ("health", "summary", "users", "workers", "blocks"):
        assert not re.search(r"session|extranonce|peer|\bip\b", json.dumps(list(asked(what))))

"""The files by which an operator claims a balance: what is asked arrives, and junk is said and not obeyed."""

from __future__ import annotations

import json
import os

import pytest

from warppool import claimfiles
from warppool.claimfiles import CLAIM, PAID, Answer, ClaimRequest, answer, ask, take_answer, waiting

TXID = "ab" * 32


def test_what_is_asked_arrives_in_its_order_and_the_answer_comes_back(tmp_path, monkeypatch):
    clock = iter((2_000_000_000, 10_000_000_000))
    monkeypatch.setattr(claimfiles.time, "time_ns", lambda: next(clock))
    first = ask(tmp_path, ClaimRequest(CLAIM, "bc1qexample"))
    second = ask(tmp_path, ClaimRequest(PAID, "bc1qexample", 12_345, TXID))
    asked = waiting(tmp_path)
    assert asked == [ClaimRequest(CLAIM, "bc1qexample", name=first),
                     ClaimRequest(PAID, "bc1qexample", 12_345, TXID, second)]
    assert take_answer(tmp_path, first) is None
    answer(tmp_path, asked[0], True, "12345 sat are claimed")
    assert waiting(tmp_path) == asked[1:]
    assert take_answer(tmp_path, first) == Answer(True, "12345 sat are claimed")
    answer(tmp_path, asked[1], False, "it is too early")
    assert take_answer(tmp_path, second) == Answer(False, "it is too early")
    assert list(tmp_path.iterdir()) == []


def test_a_request_is_found_again_after_a_kill_between_booking_and_answer(tmp_path):
    name = ask(tmp_path, ClaimRequest(CLAIM, "bc1qexample"))
    request, = waiting(tmp_path)
    assert waiting(tmp_path) == [request] and request.name == name
    answer(tmp_path, request, True, "claimed")
    answer(tmp_path, request, True, "claimed already")             # the file is gone; the later word stands
    assert take_answer(tmp_path, name) == Answer(True, "claimed already")


@pytest.mark.parametrize(("content", "words"), [
    (b"", "no request"), (b"{", "no request"), (b"\xff", "no request"), (b"[" * 100_000, "too long"),
    (b"[]", "no JSON object"), (b"{}", "nothing that is known"),
    (b'{"request": "pay", "address": "a"}', "nothing that is known"),
    (b'{"request": "claim", "address": 7}', "nothing that is known"),
    (b'{"request": "claim", "address": "a", "sat": 1}', "other fields"),
    (b'{"request": "paid", "address": "a", "sat": 1}', "other fields"),
    *((json.dumps({"request": "paid", "address": "a", "sat": sat, "txid": TXID}).encode(), "satoshi")
      for sat in (0, -1, 1.5, "7", True, None, 21_000_000 * 100_000_000 + 1)),
    *((json.dumps({"request": "paid", "address": "a", "sat": 1, "txid": txid}).encode(), "64 hex digits")
      for txid in ("", "ab" * 31, "AB" * 32, "zz" * 32, 7, TXID + "\n")),
])
def test_junk_is_no_request_and_can_be_answered(tmp_path, content, words):
    (tmp_path / "7-7.request").write_bytes(content)
    request, = waiting(tmp_path)
    assert request.kind == "" and request.name == "7-7" and words in request.trouble
    answer(tmp_path, request, False, request.trouble)
    assert waiting(tmp_path) == []


def test_other_files_are_left_alone_and_old_answers_go(tmp_path):
    for name in ("note.txt", "x.request", "1-2.new", "../1-2.request".replace("/", "_"), "1-2.answer", "3-4.answer"):
        (tmp_path / name).write_bytes(b'{"is_done": true, "sentence": "x"}')
    os.utime(tmp_path / "1-2.answer", (1, 1))
    assert waiting(tmp_path) == []
    assert not (tmp_path / "1-2.answer").exists() and (tmp_path / "3-4.answer").exists()


def test_a_flood_of_requests_is_taken_a_part_at_a_time(tmp_path):
    for number in range(claimfiles.MAX_AT_ONCE + 3):
        (tmp_path / f"{number}-1.request").write_bytes(b'{"request": "claim", "address": "a"}')
    taken = waiting(tmp_path)
    assert [request.name for request in taken] == [f"{number}-1" for number in range(claimfiles.MAX_AT_ONCE)]


def test_a_folder_that_is_not_there_is_an_os_error_on_both_sides(tmp_path):
    for call in (lambda: ask(tmp_path / "no", ClaimRequest(CLAIM, "a")), lambda: waiting(tmp_path / "no")):
        with pytest.raises(OSError):
            call()

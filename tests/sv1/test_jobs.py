"""A job in V1's words."""

from __future__ import annotations

import json

import pytest

from tests.mining.makers import make_channel, make_factory, make_template, make_tip
from tests.sv1.pairs import Jobs
from warppool.sv1.client import Work
from warppool.sv1.jobs import ENCODING, EncodedNotify, encoded, encoder, key_of, key_text, swap_words


def test_the_nine_parameters():
    job = Jobs(path=(bytes(range(32)), bytes([9]) * 32)).make()
    line = json.loads(job.encodings[ENCODING].clean)
    assert line["id"] is None and line["method"] == "mining.notify"
    head, tail = job.coinbase_halves(12)
    assert line["params"] == [
        key_text(job.job_id), "01" * 32, head.hex(), tail.hex(), [bytes(range(32)).hex(), "09" * 32],
        "20000000", f"{job.tip.nbits:08x}", f"{job.ntime:08x}", True]


def test_clean_and_further_differ_in_their_last_word_alone():
    lines = Jobs().make().encodings[ENCODING]
    assert lines.clean.replace(b"true", b"false") == lines.further


def test_words_of_the_previous_hash_are_swapped():
    assert swap_words(bytes(range(8))) == bytes([3, 2, 1, 0, 7, 6, 5, 4])
    assert swap_words(swap_words(bytes(range(32)))) == bytes(range(32))


def test_a_job_without_branches():
    params = json.loads(Jobs(path=()).make().encodings[ENCODING].clean)["params"]
    assert params[4] == []


@pytest.mark.parametrize("size", [4, 6, 8])
def test_the_miner_builds_the_header_that_the_pool_judges(size):
    job = Jobs(size).make()
    params = json.loads(job.encodings[ENCODING].clean)["params"]
    work = Work.of(params, b"\0\0\0\7", size, 1, 0)
    mine, _ = make_channel(size).offer(job)
    assert work.header(bytes(size), 5, 6, 7) == mine.header(bytes(size), 5, 6, 7)


def test_it_is_encoded_once_for_the_common_size_and_anew_for_others():
    job = Jobs(8).make()
    assert encoded(job, 12) is job.encodings[ENCODING]
    assert encoded(job, 8).extranonce_size == 8
    bare = make_factory().make(make_template(make_tip()), now=1.0)
    assert isinstance(encoded(bare, 12), EncodedNotify)
    assert encoder(4)(bare).extranonce_size == 8


def test_another_key_and_another_time():
    lines = Jobs().make().encodings[ENCODING]
    params = json.loads(lines.under(0x100000001, 0x6543210F, is_clean=False))["params"]
    assert (params[0], params[7], params[8]) == ("100000001", "6543210f", False)
    assert params[1:7] == json.loads(lines.clean)["params"][1:7]


@pytest.mark.parametrize(("text", "key"), [
    ("1", 1), ("ff", 255), ("FF", 255), ("100000001", 1 << 32 | 1), ("", -1), ("j1", -1), ("zz", -1), ("x" * 9999, -1)])
def test_keys(text, key):
    assert key_of(text) == key


def test_keys_of_jobs_are_read_as_they_are_written():
    assert all(key_of(key_text(key)) == key for key in (1, 10, 255, 0xFFFFFFFF, 30 << 32 | 7))

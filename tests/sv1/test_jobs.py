"""A job in V1's words."""

from __future__ import annotations

import json

import pytest

from tests.mining.makers import make_channel, make_counters, make_factory, make_template, make_tip
from tests.sv1.pairs import Jobs
from warppool.mining.assignment import Assignment
from warppool.sv1.client import Work
from warppool.sv1.jobs import ENCODING, EncodedNotify, encoded, encoder, key_of, swap_words


def line_of(job, key=0x1F, counter=None, is_clean=True, ntime=None):
    given = Assignment(key, job.counter if counter is None else counter, 1, ntime or job.ntime, 1)
    return job.encodings[ENCODING].line(given, is_clean=is_clean)


def test_the_nine_parameters():
    job = Jobs(path=(bytes(range(32)), bytes([9]) * 32)).make()
    line = json.loads(line_of(job))
    assert line["id"] is None and line["method"] == "mining.notify"
    head, tail = job.coinbase_halves(12)
    assert line["params"] == [
        "1f", "01" * 32, head.hex(), tail.hex(), [bytes(range(32)).hex(), "09" * 32],
        "20000000", f"{job.tip.nbits:08x}", f"{job.ntime:08x}", True]


def test_clean_and_further_differ_in_their_last_word_alone():
    job = Jobs().make()
    assert line_of(job).replace(b"true", b"false") == line_of(job, is_clean=False)


def test_words_of_the_previous_hash_are_swapped():
    assert swap_words(bytes(range(8))) == bytes([3, 2, 1, 0, 7, 6, 5, 4])
    assert swap_words(swap_words(bytes(range(32)))) == bytes(range(32))


def test_a_job_without_branches():
    params = json.loads(line_of(Jobs(path=()).make()))["params"]
    assert params[4] == []


@pytest.mark.parametrize("size", [4, 6, 8])
def test_the_miner_builds_the_header_that_the_pool_judges(size):
    job = Jobs(size).make()
    channel, counters = make_channel(size), make_counters()
    for mine, _ in (channel.offer(job, counters), channel.offer_alone(job, counters)):
        params = json.loads(job.encodings[ENCODING].line(mine.assignment, is_clean=False))["params"]
        work = Work.of(params, b"\0\0\0\7", size, 1, 0)
        assert work.header(bytes(size), 5, 6, 7) == mine.header(bytes(size), 5, 6, 7)


def test_it_is_encoded_once_for_the_common_size_and_anew_for_others():
    job = Jobs(8).make()
    assert encoded(job, 12) is job.encodings[ENCODING]
    assert encoded(job, 8).extranonce_size == 8
    bare = make_factory().make(make_template(make_tip()), now=1.0)
    assert isinstance(encoded(bare, 12), EncodedNotify)
    assert encoder(4)(bare).extranonce_size == 8


def test_a_job_given_again_has_a_counter_of_its_own_in_its_coinbase():
    job = Jobs().make()
    all_have = json.loads(line_of(job))["params"]
    mine = json.loads(line_of(job, 2, 0x80000001, is_clean=False))["params"]
    assert (mine[0], mine[8]) == ("2", False)
    assert mine[2] == all_have[2][:-8] + "80000001" and all_have[2][-8:] == f"{job.counter:08x}"
    assert mine[1:2] + mine[3:8] == all_have[1:2] + all_have[3:8]


@pytest.mark.parametrize(("text", "key"), [
    ("1", 1), ("ff", 255), ("FF", 255), ("100000001", 1 << 32 | 1), ("", -1), ("j1", -1), ("zz", -1), ("x" * 9999, -1)])
def test_keys(text, key):
    assert key_of(text) == key


def test_keys_of_jobs_are_read_as_they_are_written():
    assert all(key_of(f"{key:x}") == key for key in (1, 10, 255, 0xFFFFFFFF, 30 << 32 | 7))

"""ckpool's form, byte by byte, and as the programs read it that are there for it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stats.ckreaders import is_asked_for, rate, read_pool, read_user
from tests.stats.made import ADDRESS, AT, HOSTILE, snapshot, tally, user, worker
from warppool.stats.ckpool import MOST_USERS, MOST_WORKERS, pool_status, shown_users, suffixed, user_status
from warppool.stats.filenames import file_name
from warppool.stats.snapshot import Rates, RoundStats, ShareTally

POOL = b"""\
{"runtime": 100000, "lastupdate": 1764267000, "Users": 2, "Workers": 3, "Idle": 1, "Disconnected": 1}
{"hashrate1m": "3.7T", "hashrate5m": "3.66T", "hashrate15m": "3.63T", "hashrate1hr": "3.59T", "hashrate6hr": "3.55T", \
"hashrate1d": "3.52T", "hashrate7d": "3.48T"}
{"diff": 42.0, "accepted": 7654321, "rejected": 31014, "bestshare": 4567890, "SPS1m": 2.31, "SPS5m": 2.29, \
"SPS15m": 2.3, "SPS1h": 2.28}
"""

USER = b"""\
{
 "hashrate1m": "1.25T",
 "hashrate5m": "1.24T",
 "hashrate1hr": "1.21T",
 "hashrate1d": "1.19T",
 "hashrate7d": "1.18T",
 "lastshare": 1764266996,
 "workers": 1,
 "shares": 2000000000,
 "bestshare": 4567890.5,
 "bestever": 123456789,
 "authorised": 1764177000,
 "worker": [
  {
   "workername": "bob.rig",
   "hashrate1m": "1.25T",
   "hashrate5m": "1.24T",
   "hashrate1hr": "1.21T",
   "hashrate1d": "1.19T",
   "hashrate7d": "1.18T",
   "lastshare": 1764266996,
   "shares": 2000000000,
   "bestshare": 4567890.5,
   "bestever": 123456789
  }
 ]
}
"""


def test_the_pool_to_the_byte() -> None:
    assert pool_status(snapshot()) == POOL


def test_a_user_to_the_byte() -> None:
    assert user_status(user("bob")) == USER


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (0.4, "0"), (12.5, "12"), (999.9, "999"), (1000.0, "1K"), (1234.0, "1.23K"), (97_000.0, "97K"),
    (999_499.0, "999K"), (999_500.0, "1M"), (999.7e9, "1T"), (1.2e12, "1.2T"), (1e15, "1P"), (1.5e18, "1.5E"),
    (999.9e18, "1Z"), (4e21, "4Z"), (123e21, "123Z"),
])
def test_rates_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert suffixed(value) == text


@given(st.floats(min_value=0, max_value=9.99e23))
def test_every_rate_is_read_back_to_three_digits(value: float) -> None:
    text = suffixed(value)
    assert re.fullmatch(r"[0-9]{1,3}|[0-9]{1,3}(\.[0-9]{1,2})?[KMGTPEZ]", text)
    assert abs(rate(text) - value) <= max(1.0, value * 0.00501)


def test_a_dashboard_reads_the_pool() -> None:
    read = read_pool(pool_status(snapshot()).decode())
    assert read["hashrate1m"] == 3_700_000_000_000 and read["accepted"] == 7_654_321 and read["Workers"] == 3


def test_a_dashboard_reads_the_pool_before_the_first_share() -> None:
    new = snapshot(pool=ShareTally(), shares_per_second=(0.0,) * 4, round=RoundStats())
    read = read_pool(pool_status(new).decode())
    assert read["rejected"] == read["bestshare"] == read["diff"] == read["hashrate7d"] == 0


@pytest.mark.parametrize("name", [ADDRESS, "bob", HOSTILE, "a}\n{b", "\udcff\ud800x"])
def test_a_dashboard_reads_any_user(name: str) -> None:
    read = read_user(user_status(user(name, worker(f"{name}.rig"), worker(name, tally=ShareTally()))).decode())
    assert read["shares"] == 2_000_000_000 and read["workers"] == len(read["worker"]) == 2


def test_whom_a_dashboard_asks_for_has_a_file_of_that_very_name() -> None:
    assert is_asked_for(ADDRESS) and file_name(ADDRESS) == ADDRESS
    assert not is_asked_for(HOSTILE) and not is_asked_for("")


amounts = st.floats(min_value=0, max_value=1e30)


@given(rates=st.tuples(*[amounts] * 7), work=st.tuples(amounts, amounts, amounts), last=st.floats(0, 4e9))
def test_a_dashboard_reads_any_numbers(rates: tuple[float, ...], work: tuple[float, float, float], last: float) -> None:
    made = ShareTally(Rates(*rates), total_difficulty=work[0], best=work[1], best_ever=work[2], last_share=last)
    read_user(user_status(user("bob", worker("bob.rig", tally=made), tally=made)).decode())
    read_pool(pool_status(snapshot(pool=made, round=RoundStats(difficulty=work[0], effort=work[1]))).decode())


def test_rejects_keep_their_part_of_the_work() -> None:
    made = tally(accepted=900, refused=100)
    read = read_pool(pool_status(snapshot(pool=made, round=RoundStats(difficulty=9000.0))).decode())
    assert (read["accepted"], read["rejected"]) == (9000, 1000)


def test_who_has_no_share_of_seven_days_has_no_file() -> None:
    never, long_ago = user("never", tally=ShareTally()), user("gone", tally=ShareTally(last_share=AT - 604_801))
    assert [each.name for each in shown_users(snapshot(user("bob"), never, long_ago))] == ["bob"]


def test_a_stranger_cannot_make_files_without_end() -> None:
    one = worker("x.1")
    users = tuple(user(f"u{number}", one) for number in range(MOST_USERS + 5))
    assert len(list(shown_users(snapshot(*users)))) == MOST_USERS
    many = user("x", *[worker(f"x.{number}", tally=ShareTally()) for number in range(MOST_WORKERS + 5)])
    assert len(json.loads(user_status(many))["worker"]) == MOST_WORKERS


def test_no_face_shows_where_a_machine_is() -> None:
    shown = pool_status(snapshot()) + user_status(user("bob"))
    assert not re.search(rb"agent|session|address|\bip\b", shown)


def test_the_form_is_that_of_an_encoder_that_indents() -> None:
    for workers in ((), (worker(HOSTILE),), tuple(worker(f"bob.{number}") for number in range(3))):
        written = user_status(user("bob")._replace(workers=workers))
        assert written == f"{json.dumps(json.loads(written), indent=1)}\n".encode("ascii")

"""The pool's side of V1, call by call."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.mining.makers import EASY_NBITS, HARD_NBITS, NTIME, PAYOUT, make_counters
from tests.sv1.pairs import START, Jobs, Pair, make_context, with_policy
from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty, target_from_nbits
from warppool.events import BlockFound, Happened, Nudge, ShareAccepted, ShareRefused
from warppool.mining.extranonce import PrefixPool
from warppool.mining.names import FreeNames
from warppool.mining.share import weigh
from warppool.sv1.messages import dump
from warppool.sv1.resume import MAX_RESUMABLE, RESUMABLE_S, ResumableSessions
from warppool.sv1.server import Context
from warppool.sv1.session import MAX_WORKERS

MASK = 0x1FFFE000


def answer(heard, request_id):
    (line,) = [line for line in heard if "method" not in line and line["id"] == request_id]
    return line["result"] if line["error"] is None else line["error"]


def methods(heard):
    return [line.get("method", "answer") for line in heard]


def ready(**options):
    pair = Pair(**options)
    pair.set_up()
    return pair


# --- configure --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("params", "granted"), [
    ([["version-rolling"], {"version-rolling.mask": "ffffffff"}],
     {"version-rolling": True, "version-rolling.mask": "1fffe000"}),
    ([["version-rolling"], {"version-rolling.mask": "00c00000", "version-rolling.min-bit-count": 2}],
     {"version-rolling": True, "version-rolling.mask": "00c00000"}),
    ([["version-rolling"], {"version-rolling.mask": "1FFFE000", "version-rolling.min-bit-count": "00000010"}],
     {"version-rolling": True, "version-rolling.mask": "1fffe000"}),
    ([["version-rolling"], {"version-rolling.min-bit-count": 30}],
     {"version-rolling": True, "version-rolling.mask": "1fffe000"}),
    ([["version-rolling"]], {"version-rolling": True, "version-rolling.mask": "1fffe000"}),
    ([["version-rolling"], {"version-rolling.mask": "00000fff"}], {"version-rolling": False}),
    ([["version-rolling"], {"version-rolling.mask": "zz"}], {"version-rolling": False}),
    ([["version-rolling"], {"version-rolling.mask": 5}], {"version-rolling": False}),
    ([["minimum-difficulty"], {"minimum-difficulty.value": 2048}], {"minimum-difficulty": True}),
    ([["minimum-difficulty"], {"minimum-difficulty.value": "x"}], {"minimum-difficulty": False}),
    ([["minimum-difficulty"], {}], {"minimum-difficulty": False}),
    ([["subscribe-extranonce"], {}], {"subscribe-extranonce": True}),
    ([["info"], {"info.hw-version": "BM1366"}], {"info": True}),
    ([["telepathy", 7, None], {}], {"telepathy": False}),
    ([[], {}], {}),
    ([["subscribe-extranonce", "info", "version-rolling", "x"], {"version-rolling.mask": "1fffe000"}],
     {"subscribe-extranonce": True, "info": True, "version-rolling": True, "version-rolling.mask": "1fffe000",
      "x": False}),
])
def test_every_extension_asked_for_gets_its_key_and_no_other_does(params, granted):
    assert answer(Pair().call("mining.configure", *params, request_id=1), 1) == granted


@pytest.mark.parametrize("params", [[], [{}], ["version-rolling"], [["version-rolling"], []], [None]])
def test_a_configure_that_makes_no_sense(params):
    assert answer(Pair().call("mining.configure", *params, request_id=1), 1) == [20, "Malformed configure", None]


def test_what_the_machine_says_of_itself_is_logged():
    pair = Pair()
    pair.call("mining.configure", ["info"], {"info.hw-version": "BM1366", "info.sw-version": 7, "other": "x"})
    assert pair.happened("miner.described") == [{"hw_version": "BM1366"}]


# --- subscribe and authorize ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("params", [
    [], ["agent/1"], ["agent/1", None], ["agent/1", None, "pool.example", 3333], [None], [7],
    ["agent/1", "no session of ours"], ["agent/1", "00" * 8]])
def test_subscribe(params):
    pair = Pair()
    details, extranonce1, size = answer(pair.call("mining.subscribe", *params, request_id="s"), "s")
    session = details[0][1]
    assert details == [["mining.set_difficulty", session], ["mining.notify", session]]
    assert (len(session), extranonce1, size) == (16, "00000000", 8)


@pytest.mark.parametrize("size", [3, 5, 6, 7, 9])
def test_no_other_size_of_extranonce2(size):
    with pytest.raises(ValueError, match=f"an extranonce2 of {size} bytes"):
        make_context(extranonce2_size=size)


@pytest.mark.parametrize("size", [4, 8])
def test_the_size_of_extranonce2_is_the_operators(size):
    pair = Pair(make_context(extranonce2_size=size))
    pair.set_up()
    assert pair.subscription[2] == size
    pair.submit(*pair.mine())
    assert answer(pair.settle(), 100) is True


def test_each_connection_has_its_own_extranonce1():
    context = make_context()
    pairs = [Pair(context) for _ in range(5)]
    for pair in pairs:
        pair.call("mining.subscribe")
    assert len({pair.subscription[1] for pair in pairs}) == 5
    assert len({pair.subscription[0][0][1] for pair in pairs}) == 5


def test_no_prefix_left():
    prefixes = PrefixPool(0, 0, 1 << 24)
    prefixes.take()
    pair = Pair(Context(with_policy().policy, prefixes, make_counters(), ResumableSessions(prefixes), bytes))
    assert answer(pair.call("mining.subscribe", request_id=1), 1) == [20, "No extranonce left", None]
    assert pair.happened("miner.refused")[0]["reason"] == "no-extranonce-prefix-left"


@pytest.mark.parametrize(("name", "is_let_in"), [
    ("a", True), ("bc1q.rig.with.dots", True), ("x" * 255, True), ("", False), ("x" * 256, False), ("ü" * 128, False),
    ("a\nb", False), ("a\u0000", False), ("\ud800", False), (".rig9", False), ("\u200b.rig9", False),
    ("a\udcc2\udc9b", False), (" a\u00a0", True)])
def test_names(name, is_let_in):
    pair = Pair()
    assert answer(pair.call("mining.authorize", name, "x", request_id=1), 1) is is_let_in
    assert bool(pair.happened("miner.refused")) is not is_let_in


@pytest.mark.parametrize("params", [[], [None], [5, "x"], [["a"]]])
def test_an_authorize_without_a_name(params):
    assert answer(Pair().call("mining.authorize", *params, request_id=1), 1) == [20, "Malformed authorize", None]


@pytest.mark.parametrize("password", [[], [None], [7], [{}]])
def test_a_password_that_is_none(password):
    assert answer(Pair().call("mining.authorize", "alice", *password, request_id=1), 1) is True


def test_there_is_an_end_to_the_workers_of_one_connection():
    pair = Pair()
    for number in range(MAX_WORKERS):
        assert answer(pair.call("mining.authorize", f"w{number}", request_id=number), number) is True
    for number in range(100):
        assert answer(pair.call("mining.authorize", f"one.more{number}", request_id=-1), -1) is False
    assert answer(pair.call("mining.authorize", "w7", request_id=-2), -2) is True
    assert {refused["reason"] for refused in pair.happened("miner.refused")} == {"too-many-workers"}
    assert pair.close is None                           # the thousand that are there mine on


def test_twenty_names_that_are_none_end_the_connection():
    pair = Pair()
    for number in range(19):
        assert answer(pair.call("mining.authorize", "\x1b[2J", request_id=number), number) is False
        assert answer(pair.call("mining.authorize", f"w{number}", request_id=number), number) is True
    assert pair.close is None
    assert answer(pair.call("mining.authorize", ".", request_id="last"), "last") is False
    assert pair.close is not None and pair.close.is_peers_fault
    assert pair.close.reason == "20 names that are none"


SAME_NAMES = ["alice.rig1", " alice.rig1", "alice.rig1\u00a0", "alice\u200b.rig1", "\ufeffalice.rig1",
              "alice.rig1\u2060"]


def test_names_that_differ_only_by_what_cannot_be_seen_are_one_account():
    pair = Pair()
    pair.offer()
    pair.call("mining.subscribe")
    for name in SAME_NAMES:
        assert answer(pair.call("mining.authorize", name, "x", request_id=name), name) is True
    for start, name in enumerate(SAME_NAMES):
        pair.submit(*pair.mine(start=start << 8), user=name)
    pair.judge()
    assert {share.user for share in pair.unrecorded} == {"alice.rig1"}
    (opened,) = pair.happened("miner.opened")
    assert opened["user"] == "alice.rig1"


def test_a_user_whose_name_is_an_unpaid_address_is_warned_of():
    asked = []

    def is_unpaid(user, now):
        asked.append((user, now))
        return len(asked) == 1

    pair = Pair(replace(make_context(), names=FreeNames(is_unpaid)))
    pair.set_up(user="bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig1")
    pair.call("mining.authorize", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.rig2", "x")
    (warning,) = [event for event in pair.events if isinstance(event, Happened) and event.name == "user.unpaid"]
    assert warning.level == "warning" and warning.fields[0] == ("user", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert asked == 2 * [("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", START.monotonic)]


def test_a_share_under_a_name_with_blanks_is_that_of_the_name():
    pair = ready()
    pair.submit(*pair.mine(), user="alice.rig1\u200b ")
    pair.judge()
    assert [share.user for share in pair.unrecorded] == ["alice.rig1"]
    other = ready()
    assert reject(other, other.mine(), "bob\u00a0")[0] == [24, "Unauthorized worker", None]

CALLS = {"configure": ("mining.configure", [["version-rolling"], {"version-rolling.mask": "ffffffff"}]),
         "subscribe": ("mining.subscribe", ["agent"]), "authorize": ("mining.authorize", ["alice", "x"]),
         "extranonce": ("mining.extranonce.subscribe", []), "suggest": ("mining.suggest_difficulty", [1000])}


@pytest.mark.parametrize("is_pipelined", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(CALLS)))
def test_any_order_of_calls(order, is_pipelined):
    pair = Pair()
    pair.offer()
    lines = [json.dumps({"id": name, "method": CALLS[name][0], "params": CALLS[name][1]}) for name in order]
    heard = pair.send(*lines) if is_pipelined else [line for each in lines for line in pair.send(each)]
    answers = [line["id"] for line in heard if "method" not in line]
    assert answers == list(order)
    both = max(order.index("subscribe"), order.index("authorize"))
    before = [line["id"] for line in heard[:methods(heard).index("mining.set_difficulty")]]
    assert before == list(order[:both + 1])             # work right after the second of the two
    assert methods(heard).count("mining.notify") >= 1
    pair.submit(*pair.mine(), user="alice")
    assert pair.settle()[-1]["result"] is True


def test_no_work_before_both():
    for only in ("mining.subscribe", "mining.authorize"):
        pair = Pair()
        pair.offer()
        heard = pair.call(only, "alice", "x")
        assert methods(heard) == ["answer"]
        assert pair.offer() == []


def test_work_waits_for_the_first_job():
    pair = Pair()
    pair.call("mining.subscribe")
    assert methods(pair.call("mining.authorize", "alice", "x")) == ["answer"]
    assert methods(pair.offer()) == ["mining.set_difficulty", "mining.notify"]
    (opened,) = pair.happened("miner.opened")
    assert (opened["user"], opened["kind"], opened["channel"]) == ("alice", "v1", 1)


def test_a_second_subscribe_brings_the_same_space_and_the_work_anew():
    pair = ready()
    first, work = pair.subscription, pair.work
    heard = pair.call("mining.subscribe", "agent", request_id=9)
    assert answer(heard, 9) == first
    assert methods(heard) == ["answer", "mining.set_difficulty", "mining.notify"]
    assert heard[-1]["params"][8] is True
    assert pair.work.extranonce1 == work.extranonce1
    assert pair.work.job_id != work.job_id and pair.work.coinbase_head[:-4] == work.coinbase_head[:-4]
    assert pair.work.coinbase_head[-4:] != work.coinbase_head[-4:]


# --- small calls ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("method", "params", "result"), [
    ("mining.extranonce.subscribe", [], True), ("mining.suggest_difficulty", [1], True),
    ("mining.suggest_difficulty", ["x"], True), ("mining.suggest_difficulty", [], True),
    ("mining.suggest_target", ["00" * 31 + "ff"], True), ("mining.suggest_target", ["zz"], True),
    ("mining.suggest_target", [None], True), ("mining.ping", [], "pong"),
    ("mining.get_transactions", ["1"], [20, "Not supported", None]),
    ("mining.multi_version", [1], [20, "Unknown method", None]), ("eth_submitLogin", [], [20, "Unknown method", None]),
    ("", [], [20, "Unknown method", None]), ("mining.notify", [], [20, "Unknown method", None]),
])
def test_small_calls(method, params, result):
    for pair in (Pair(), ready()):
        assert answer(pair.call(method, *params, request_id="x"), "x") == result
        assert pair.close is None


@pytest.mark.parametrize("notification", ['"id":null,', ""])
@pytest.mark.parametrize(("method", "params"), [
    ("mining.configure", [["version-rolling"], {}]), ("mining.configure", []), ("mining.authorize", ["alice", "x"]),
    ("mining.authorize", [""]), ("mining.authorize", []), ("mining.extranonce.subscribe", []), ("mining.ping", []),
    ("mining.suggest_difficulty", [1000]), ("mining.suggest_target", []), ("mining.get_transactions", []),
    ("mining.subscribe", ["bfgminer"]), ("eth_submitLogin", []), ("mining.submit", ["alice.rig1"]),
    ("mining.submit", ["alice.rig1", "77", "00" * 8, "00" * 4, "00" * 4])])
def test_a_call_without_an_id_gets_no_answer(method, params, notification):
    line = f'{{{notification}"method":"{method}","params":{json.dumps(params)}}}'
    for pair in (Pair(), ready()):
        heard = pair.send(line)
        assert [told for told in heard if "method" not in told] == []
        assert pair.close is None
        assert answer(pair.call("mining.ping", request_id="x"), "x") == "pong"


def test_a_share_without_an_id_counts_and_holds_nothing_up():
    pair = ready()
    fields = pair.mine()
    pair.send(json.dumps({"id": None, "method": "mining.submit", "params": ["alice.rig1", *fields]}))
    pair.send(json.dumps({"id": None, "method": "mining.submit", "params": ["alice.rig1", *fields]}))
    assert pair.call("mining.ping", request_id=1) == []         # its answer waits for what came before
    pair.judge()
    (share,) = pair.unrecorded
    heard = pair.deliver(pair.server.recorded([share.share_id], pair.now))
    assert (share.user, heard) == ("alice.rig1", [{"id": 1, "result": "pong", "error": None}])
    assert pair.refused() == ["duplicate-share"] and pair.server.in_flight == 0


@pytest.mark.parametrize("method", ["mining.configure", "mining.subscribe", "mining.authorize", "mining.submit",
                                    "mining.extranonce.subscribe", "mining.suggest_difficulty", "mining.suggest_target",
                                    "mining.ping", "mining.get_transactions"])
@pytest.mark.parametrize("params", ["{}", '{"a":1}', '"x"', "7", "true", "null"])
def test_parameters_that_are_no_list(method, params):
    pair = Pair()
    (line,) = pair.send(f'{{"id":1,"method":"{method}","params":{params}}}')
    assert line["id"] == 1 and pair.close is None


def test_answers_to_us_are_ignored():
    pair = ready()
    assert pair.send('{"id":77,"result":"cpuminer/2.5.1","error":null}', '{"id":1,"result":null,"error":"x"}') == []
    assert pair.close is None


@pytest.mark.parametrize("request_id", [1, 0, -5, 2**70, "7", "", True, [1, "a"], {"a": None}])
def test_ids_come_back_as_they_came(request_id):
    (line,) = Pair().send(f'{{"id":{dump(request_id)},"method":"mining.ping","params":[]}}')
    assert line["id"] == request_id and type(line["id"]) is type(request_id)


# --- jobs -------------------------------------------------------------------------------------------------------------

def test_the_first_notify_is_clean_and_so_is_one_on_a_new_tip():
    pair = ready()
    assert pair.said[-1]["params"][8] is True
    (notify,) = pair.offer(tip=1)
    assert notify["params"][8] is False
    (notify,) = pair.offer(tip=2)
    assert notify["params"][8] is True
    (notify,) = pair.offer(tip=2)
    assert notify["params"][8] is False


def test_a_fresh_job_has_a_new_id_and_the_time_of_now():
    pair = ready()
    first = pair.work
    pair.wait(30)
    pair.offer()
    assert pair.work.job_id != first.job_id and pair.work.ntime == first.ntime + 30


def test_what_goes_to_all_differs_by_its_key_alone():
    context, jobs = make_context(), Jobs()
    pairs = [Pair(context, jobs) for _ in range(2)]
    for pair in pairs:
        pair.set_up()
    pairs[1].call("mining.subscribe", "agent")              # which brings it the job once more
    job = jobs.make()
    (first,), (second,) = [pair.server.offer(job, pair.now) for pair in pairs]
    assert b'["2","' in first.data and first.data.replace(b'["2","', b'["3","') == second.data


def test_jobs_have_zeros_under_the_mask():
    assert ready(jobs=Jobs(version=0x3FFFFFFF)).work.version & MASK == 0


# --- difficulty -------------------------------------------------------------------------------------------------------

def difficulties(heard):
    return [str(line["params"][0]) for line in heard if line.get("method") == "mining.set_difficulty"]


def test_the_difficulty_comes_right_before_the_first_notify_and_not_again():
    pair = Pair(nbits=HARD_NBITS)
    assert difficulties(pair.set_up()) == ["1e-09"]
    assert methods(pair.said)[-2:] == ["mining.set_difficulty", "mining.notify"]
    assert methods(pair.offer()) == ["mining.notify"]


@pytest.mark.parametrize(("password", "said"), [
    ("x", "1e-09"), ("d=1e-8", "1e-08"), ("fd=1e-8", "1e-08"), ("d=5", "4.6565423739069247e-10"),
    ("d=1e-12", "5e-10")])
def test_the_word_in_the_password_within_the_bounds(password, said):
    """Nothing is easier than the operator's minimum, and nothing harder than the network."""
    nbits = EASY_NBITS if password == "d=5" else HARD_NBITS
    pair = Pair(with_policy(minimum=Fraction(5, 10**10)), nbits=nbits)
    assert difficulties(pair.set_up(password=password)) == [said]


def test_the_operators_maximum_stands_over_the_password():
    pair = Pair(with_policy(maximum=Fraction(1, 10**8)), nbits=HARD_NBITS)
    assert difficulties(pair.set_up(password="d=1")) == ["1e-08"]


def test_a_password_after_the_first_notify_brings_its_own():
    pair = ready(nbits=HARD_NBITS)
    before = pair.work
    heard = pair.call("mining.authorize", "alice.rig2", "d=1e-8")
    assert methods(heard) == ["answer", "mining.set_difficulty", "mining.notify"]
    assert heard[-1]["params"][8] is False
    assert pair.work.job_id != before.job_id and pair.work.coinbase_head != before.coinbase_head
    assert pair.happened("difficulty.changed")[0]["reason"] == "asked"
    assert methods(pair.call("mining.authorize", "alice.rig3", "d=1e-8")) == ["answer"]


def test_a_minimum_of_the_machine():
    pair = Pair(nbits=HARD_NBITS)
    pair.call("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": 2})
    assert difficulties(pair.set_up()) == ["2"]
    heard = pair.call("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": 4})
    assert methods(heard) == ["answer", "mining.set_difficulty", "mining.notify"]
    assert difficulties(heard) == ["4"]


@pytest.mark.parametrize(("method", "value"), [("mining.suggest_difficulty", 0.5),
                                               ("mining.suggest_target", f"{target_from_difficulty('0.5'):064x}")])
def test_a_suggestion_is_where_it_starts(method, value):
    pair = Pair(nbits=HARD_NBITS)
    pair.call(method, value)
    assert difficulties(pair.set_up()) == ["0.5"]


def test_a_suggestion_is_nothing_against_a_password_or_a_share():
    pair = Pair(nbits=HARD_NBITS)
    pair.set_up(password="d=1e-8")
    assert methods(pair.call("mining.suggest_difficulty", 5)) == ["answer"]
    pair = ready(nbits=HARD_NBITS)
    pair.submit(*pair.mine())
    pair.settle()
    assert methods(pair.call("mining.suggest_difficulty", 5)) == ["answer"]


def test_shares_of_the_old_difficulty_count_after_a_change_and_with_the_old_credit():
    pair = ready(nbits=HARD_NBITS)
    old = pair.work
    pair.call("mining.authorize", "alice.rig1", "d=1e-8")
    new = pair.work
    assert new.target < old.target
    pair.submit(*pair.mine(old, above=new.target))
    pair.submit(*pair.mine(new))
    pair.judge()
    assert [share.difficulty for share in pair.events if isinstance(share, ShareAccepted)] == [1e-9, 1e-8]
    assert pair.refused() == []


def test_the_job_sent_anew_holds_no_share_of_the_old_one():
    """A machine starts to search from zero again at every notify: the same headers would be duplicates."""
    pair = ready(nbits=HARD_NBITS)
    works = [pair.work]
    for difficulty in ("d=2e-9", "d=3e-9", "d=4e-9"):
        pair.call("mining.authorize", "alice.rig1", difficulty)
        works.append(pair.work)
    assert len({work.coinbase_head for work in works}) == 4
    assert [work.job_id for work in works] == ["1", "2", "3", "4"]
    for work in works:
        pair.submit(*pair.mine(work, at_most=works[-1].target))
    pair.settle()
    assert pair.refused() == []


def test_fd_stays_where_it_is():
    pair = Pair(nbits=HARD_NBITS)
    pair.set_up(password="fd=1e-9")
    start = 0
    for _ in range(40):
        fields = pair.mine(start=start)
        start = int(fields[3], 16) + 1
        pair.submit(*fields)
    pair.settle()
    pair.wait(300)
    pair.tick()
    assert pair.happened("difficulty.changed") == []


def test_a_flood_raises_the_difficulty_with_a_notify_of_its_own_and_nothing_is_refused():
    pair = ready(nbits=HARD_NBITS)
    start, before = 0, pair.work
    for _ in range(40):
        fields = pair.mine(before, start=start)
        start = int(fields[3], 16) + 1
        pair.submit(*fields)
    heard = pair.settle()
    assert methods(heard).count("mining.set_difficulty") == methods(heard).count("mining.notify") >= 1
    at = methods(heard).index("mining.set_difficulty")
    assert methods(heard)[at + 1] == "mining.notify" and heard[at + 1]["params"][8] is False
    assert pair.work.target < before.target
    assert pair.refused() == []


def test_silence_lowers_the_difficulty_by_the_timer():
    pair = Pair(with_policy(start=Fraction(1)), nbits=HARD_NBITS)
    pair.set_up()
    assert pair.work.target == target_from_difficulty(1)
    assert pair.server.wakes_at < pair.now.monotonic + 60
    pair.wait(10)
    heard = pair.tick()
    assert methods(heard) == ["mining.set_difficulty", "mining.notify"]
    assert difficulties(heard) == ["0.0625"]


def test_a_network_that_got_easier_lowers_the_difficulty():
    pair = Pair(with_policy(start=Fraction(1)), jobs=Jobs(nbits=HARD_NBITS))
    pair.set_up()
    pair.jobs = Jobs()
    pair.jobs.factory._next_id = 50
    heard = pair.offer(tip=2)
    assert methods(heard) == ["mining.set_difficulty", "mining.notify"]
    assert pair.work.target >= target_from_nbits(EASY_NBITS)


# --- shares -----------------------------------------------------------------------------------------------------------

def test_a_share_is_acknowledged_when_it_is_recorded():
    pair = ready(nbits=HARD_NBITS)
    assert pair.submit(*pair.mine(), request_id=4) == []
    assert pair.judge() == []
    (share,) = [event for event in pair.events if isinstance(event, ShareAccepted)]
    assert (share.protocol, share.channel_id, share.user, share.difficulty) == ("sv1", 1, "alice.rig1", 1e-9)
    assert pair.server.in_flight == 1
    assert pair.record() == [{"id": 4, "result": True, "error": None}]
    assert pair.server.in_flight == 0


def reject(pair, fields, user="alice.rig1"):
    pair.submit(*fields, user=user, request_id=4)
    pair.settle()
    (line,) = [line for line in pair.said if line.get("id") == 4]
    (refused,) = [event for event in pair.events if isinstance(event, ShareRefused)]
    return line["error"], refused.reason, refused.user


def changed(fields, at, value):
    return [*fields[:at], value, *fields[at + 1:]]


def test_not_subscribed():
    pair = Pair()
    pair.call("mining.authorize", "alice.rig1")
    assert reject(pair, ["1", "00" * 8, "00" * 4, "00" * 4]) == ([25, "Not subscribed", None], "invalid-channel-id", "")


@pytest.mark.parametrize("user", ["bob", "alice", "alice.rig12", "", "a\nb"])
def test_a_worker_that_is_not_authorized_here(user):
    pair = ready(nbits=HARD_NBITS)
    assert reject(pair, pair.mine(), user) == ([24, "Unauthorized worker", None], "unknown-user", "")


def test_several_workers_share_a_connection():
    pair = ready(nbits=HARD_NBITS)
    pair.call("mining.authorize", "bob.1", "x")
    pair.submit(*pair.mine(), user="bob.1")
    pair.submit(*pair.mine(start=10_000), user="alice.rig1")
    pair.judge()
    assert [share.user for share in pair.unrecorded] == ["bob.1", "alice.rig1"]


@pytest.mark.parametrize("job_id", ["0", "2", "ffffffff", "x", "", "1 1", "100000001"])
def test_a_job_that_nobody_gave_out(job_id):
    pair = ready(nbits=HARD_NBITS)
    assert reject(pair, changed(pair.mine(), 0, job_id)) == (
        [21, "Job not found", None], "invalid-job-id", "alice.rig1")


def test_a_stranger_does_not_fill_the_books_with_names():
    pair = ready(nbits=HARD_NBITS)
    assert reject(pair, changed(pair.mine(), 0, "77"), "whoever")[2] == ""


def test_a_stale_job_and_one_that_is_forgotten():
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    pair.offer(tip=2)
    assert reject(pair, fields)[:2] == ([21, "Stale", None], "stale-share")
    pair.offer(tip=3)
    assert pair.submit(*fields, request_id=5)[0]["error"] == [21, "Job not found", None]


@pytest.mark.parametrize("size", [0, 4, 7, 9, 100])
def test_an_extranonce2_of_another_size(size):
    pair = ready(nbits=HARD_NBITS)
    assert reject(pair, changed(pair.mine(), 1, "00" * size)) == (
        [20, "Invalid nonce2 length", None], "bad-extranonce-size", "alice.rig1")


@pytest.mark.parametrize("ahead", [-101, 7201])
def test_a_time_that_is_out_of_range(ahead):
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine(ntime=NTIME + 100 + ahead)
    assert reject(pair, fields)[:2] == ([20, "Ntime out of range", None], "invalid-share")


@pytest.mark.parametrize("ahead", [-100, -1, 1, 7200])
def test_the_time_counts_from_the_tips_first(ahead):
    pair = ready(nbits=HARD_NBITS)
    pair.submit(*pair.mine(ntime=NTIME + 100 + ahead))
    assert pair.settle()[-1]["result"] is True


def test_a_hash_above_the_target():
    pair = ready(nbits=HARD_NBITS)
    assert reject(pair, pair.mine(above=pair.work.target, at_most=MAX_TARGET))[:2] == (
        [23, "Difficulty too low", None], "difficulty-too-low")


def test_the_same_share_twice():
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    pair.submit(*fields)
    pair.settle()
    assert reject(pair, fields)[:2] == ([22, "Duplicate share", None], "duplicate-share")


GOOD = ["1", "00" * 8, "6553f164", "00000000", "00000000"]


@pytest.mark.parametrize("params", [
    [], ["alice.rig1"], ["alice.rig1", *GOOD[:3]], ["alice.rig1", *GOOD, "x"], ["alice.rig1", *GOOD, None],
    [None, *GOOD], [7, *GOOD], ["alice.rig1", 1, *GOOD[1:]], ["alice.rig1", *changed(GOOD, 1, "0" * 15)],
    ["alice.rig1", *changed(GOOD, 1, "zz" * 8)], ["alice.rig1", *changed(GOOD, 1, None)],
    ["alice.rig1", *changed(GOOD, 1, "00 00 00 00 0000")], ["alice.rig1", *changed(GOOD, 2, "6553f16")],
    ["alice.rig1", *changed(GOOD, 2, "6553f1640")], ["alice.rig1", *changed(GOOD, 2, "0x53f164")],
    ["alice.rig1", *changed(GOOD, 2, 1700000100)], ["alice.rig1", *changed(GOOD, 3, "")],
    ["alice.rig1", *changed(GOOD, 3, "000000000")], ["alice.rig1", *changed(GOOD, 3, "+1")],
    ["alice.rig1", *changed(GOOD, 3, "-000001")], ["alice.rig1", *changed(GOOD, 3, " 000001 ")],
    ["alice.rig1", *changed(GOOD, 3, "٠٠٠٠٠٠٠٠")], ["alice.rig1", *changed(GOOD, 3, ["00000000"])],
    ["alice.rig1", *changed(GOOD, 4, "2000")], ["alice.rig1", *changed(GOOD, 4, "")],
    ["alice.rig1", *changed(GOOD, 4, None)], ["alice.rig1", *changed(GOOD, 4, {})],
])
def test_submits_that_cannot_be_read(params):
    pair = ready(nbits=HARD_NBITS)
    (line,) = pair.call("mining.submit", *params, request_id=4)
    assert line["error"] == [20, "Malformed submit", None]
    assert pair.refused() == ["malformed-submit"] and pair.close is None


def test_a_number_that_looks_like_hex_is_still_no_text():
    pair = ready()
    (line,) = pair.send('{"id":4,"method":"mining.submit","params":["a","1","0000000000000000",1e500000,"00000000"]}')
    assert line["error"] == [20, "Malformed submit", None]


def test_upper_case_is_fine_and_so_is_a_nonce_without_its_leading_zeros():
    pair = ready(nbits=HARD_NBITS)
    job, extranonce2, ntime, nonce = pair.mine(extranonce2=b"\xab" * 8)
    assert len(nonce.lstrip("0")) < 8
    pair.submit(job.upper(), extranonce2.upper(), ntime.upper(), nonce.lstrip("0") or "0")
    assert pair.settle()[-1]["result"] is True


def test_version_bits():
    pair = ready(nbits=HARD_NBITS)
    pair.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "00c00000"})
    work = pair.work
    for bits in (0, 0x00400000, 0x00C00000):
        pair.submit(*pair.mine(version=work.version | bits), f"{bits:08x}")
        assert pair.settle()[-1]["result"] is True
    pair.submit(*pair.mine(start=50_000))               # without the sixth parameter: the job's version
    assert pair.settle()[-1]["result"] is True


@pytest.mark.parametrize(("mask", "bits"), [(None, 0), (None, 0x2000), (0x00C00000, 0x2000), (0x00C00000, 0x20C00000),
                                            (MASK, 1), (MASK, 0x20000000), (MASK, 0xFFFFFFFF)])
def test_bits_outside_of_the_mask(mask, bits):
    pair = ready(nbits=HARD_NBITS)
    if mask is not None:
        pair.call("mining.configure", ["version-rolling"], {"version-rolling.mask": f"{mask:08x}"})
    work = pair.work
    version = work.version & ~(mask or 0) | bits & (mask or 0)
    assert reject(pair, [*pair.mine(version=version), f"{bits:08x}"])[0] == [20, "Invalid version mask", None]


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda pair, f: (changed(f, 0, "77"), "bob"), "Job not found"),
    (lambda pair, f: (changed(f, 1, "00"), "bob"), "Invalid nonce2 length"),
    (lambda pair, f: (pair.offer(tip=2), f, "bob")[1:], "Unauthorized worker"),
    (lambda pair, f: (pair.offer(tip=2), [*f, "00000001"], "alice.rig1")[1:], "Stale"),
    (lambda pair, f: ([*changed(f, 2, "00000000"), "00000001"], "alice.rig1"), "Ntime out of range"),
    (lambda pair, f: ([*changed(f, 3, "00000000"), "00000001"], "alice.rig1"), "Invalid version mask"),
])
def test_the_first_reason_in_the_order_of_the_house(spoil, words):
    pair = ready(nbits=HARD_NBITS)
    fields, user = spoil(pair, pair.mine(at_most=pair.work.target // 2))
    assert reject(pair, fields, user)[0][1] == words


def test_a_block_comes_first_whatever_is_wrong_with_its_share():
    pair = ready()
    network = target_from_nbits(EASY_NBITS)
    fields = pair.mine(at_most=network)
    pair.offer(tip=2)
    pair.submit(*fields, user="mallory")
    pair.submit(*fields, "00000001")
    heard = pair.judge()
    (block,) = [event for event in pair.events if isinstance(event, BlockFound)]        # once for each hash
    assert (block.share, block.user, weigh(block.header, network).is_block) == (None, "mallory", True)
    assert PAYOUT in block.coinbase_tx
    assert [line["error"][1] for line in heard] == ["Unauthorized worker", "Stale"]


def test_a_block_that_counts_brings_its_share_along():
    pair = ready()
    pair.submit(*pair.mine(at_most=target_from_nbits(EASY_NBITS)), request_id=4)
    assert pair.judge() == []
    (block,) = [event for event in pair.events if isinstance(event, BlockFound)]
    assert block.share.user == "alice.rig1"
    assert pair.record() == [{"id": 4, "result": True, "error": None}]


def test_what_could_not_be_recorded_may_come_again():
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    pair.submit(*fields, request_id=4)
    pair.judge()
    ids = [share.share_id for share in pair.unrecorded]
    heard = pair.deliver(pair.server.not_recorded([*ids, 999], pair.now))
    assert heard == [{"id": 4, "result": None, "error": [20, "Not recorded", None]}]
    assert pair.refused() == ["not-recorded"]
    pair.submit(*fields, request_id=5)
    assert pair.settle()[-1] == {"id": 5, "result": True, "error": None}


def test_a_share_that_was_given_up_stays_seen_until_it_can_be_committed_no_more():
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    pair.submit(*fields, request_id=4)
    pair.judge()
    ids = [share.share_id for share in pair.unrecorded]
    heard = pair.deliver(pair.server.given_up([*ids, 999], pair.now))
    assert heard == [{"id": 4, "result": None, "error": [20, "Not recorded", None]}]
    assert pair.server.in_flight == 0
    pair.submit(*fields, request_id=5)
    assert pair.settle()[-1]["error"] == [22, "Duplicate share", None]
    assert pair.deliver(pair.server.not_recorded(ids, pair.now)) == [], "it was answered before"
    pair.submit(*fields, request_id=6)
    assert pair.settle()[-1] == {"id": 6, "result": True, "error": None}


# --- the order of answers ---------------------------------------------------------------------------------------------

def test_answers_leave_in_the_order_of_the_requests():
    pair = ready(nbits=HARD_NBITS)
    good = [pair.mine(start=start) for start in (0, 20_000, 40_000)]
    bad = pair.mine(above=pair.work.target, at_most=MAX_TARGET)
    pair.submit(*good[0], request_id=4)
    pair.submit(*bad, request_id=4)
    assert pair.call("mining.ping", request_id=9) == []
    pair.submit(*good[1], request_id=4)
    assert pair.submit("x", request_id=5) == []
    pair.submit(*good[2], request_id=6)
    assert pair.judge() == []
    first, second, third = (share.share_id for share in pair.unrecorded)
    assert pair.deliver(pair.server.recorded([third], pair.now)) == []
    heard = pair.deliver(pair.server.recorded([first], pair.now))
    assert [(line["id"], line["result"]) for line in heard] == [(4, True), (4, None), (9, "pong")]
    heard = pair.deliver(pair.server.recorded([second], pair.now))
    assert [(line["id"], line["result"]) for line in heard] == [(4, True), (5, None), (6, True)]
    assert pair.call("mining.ping", request_id=10) == [{"id": 10, "result": "pong", "error": None}]


def test_jobs_do_not_wait_for_answers():
    pair = ready(nbits=HARD_NBITS)
    pair.submit(*pair.mine())
    assert methods(pair.offer(tip=2)) == ["mining.notify"]


# --- resume -----------------------------------------------------------------------------------------------------------

def dropped(password="x", **options):
    """A session with a share, dropped: (pair, session id, the share's fields)."""
    pair = Pair(**options)
    pair.set_up(password=password)
    fields = pair.mine()
    pair.submit(*fields)
    pair.settle()
    pair.drop()
    return pair, pair.subscription[0][1][1], fields


def again(pair, session, password="x", wait=1.0):
    other = Pair(pair.context, pair.jobs)
    other.now = pair.now
    other.wait(wait)
    other.job = pair.job
    other.deliver(other.server.offer(pair.job, other.now))
    other.call("mining.subscribe", "agent", session)
    other.call("mining.authorize", "alice.rig1", password)
    return other


def test_a_dropped_session_goes_on_where_it_was():
    pair, session, fields = dropped(nbits=HARD_NBITS)
    other = again(pair, session)
    assert other.subscription == pair.subscription
    assert other.happened("miner.resumed") and not other.happened("miner.opened")
    assert other.said[-1]["params"][8] is True
    assert other.work.job_id != pair.work.job_id        # the same job, and no header of it that was tried before
    assert other.work.coinbase_head != pair.work.coinbase_head
    other.submit(*fields)
    assert other.settle()[-1]["error"] == [22, "Duplicate share", None]
    other.submit(*pair.mine(start=int(fields[3], 16) + 1))      # of a job of before the drop
    assert other.settle()[-1]["result"] is True


def test_the_difficulty_goes_along():
    pair, session, _ = dropped("d=5e-9", nbits=HARD_NBITS)
    assert again(pair, session, "d=5e-9").work.target == pair.work.target
    pair, session, _ = dropped("d=5e-9", nbits=HARD_NBITS)
    assert again(pair, session).work.target == pair.work.target
    pair, session, _ = dropped("d=5e-9", nbits=HARD_NBITS)
    assert again(pair, session, "d=7e-9").work.target == target_from_difficulty("7e-9")


def test_on_another_tip_it_gets_the_new_job_and_its_old_shares_are_stale():
    pair, session, _ = dropped(nbits=HARD_NBITS)
    fields = pair.mine(start=100_000)
    pair.job = pair.jobs.make(tip=2)
    other = again(pair, session)
    assert other.subscription == pair.subscription
    other.submit(*fields)
    assert other.settle()[-1]["error"] == [21, "Stale", None]


def test_a_session_is_taken_up_once():
    pair, session, _ = dropped(nbits=HARD_NBITS)
    first, second = again(pair, session), again(pair, session)
    assert first.subscription[1] == pair.subscription[1] != second.subscription[1]


def test_a_session_without_an_accepted_share_is_not_kept():
    pair = Pair()
    pair.call("mining.subscribe")
    pair.drop()
    other = ready(nbits=HARD_NBITS)
    other.submit("1", "00" * 8, "00" * 4, "00" * 4)         # refused
    other.settle()
    other.drop()
    assert len(pair.context.resumable) == len(other.context.resumable) == 0


def test_a_storm_of_subscribes_pushes_out_nobody_who_mines():
    pair, session, _ = dropped(nbits=HARD_NBITS)
    for _ in range(MAX_RESUMABLE + 1):
        stranger = Pair(pair.context, pair.jobs)
        stranger.server.offer(pair.job, pair.now)
        stranger.server.receive(b'{"id":1,"method":"mining.subscribe"}\n'
                                b'{"id":1,"method":"mining.authorize","params":["a"]}\n', pair.now)
        stranger.server.closed(pair.now)
    assert again(pair, session).subscription == pair.subscription
    assert len(pair.context.resumable) == 0


def test_shares_in_flight_over_the_drop_count_once():
    pair = ready(nbits=HARD_NBITS)
    fields = pair.mine()
    pair.submit(*fields)
    pair.drop()
    other = again(pair, pair.subscription[0][1][1])
    assert other.said == []                             # its subscribe waits until the share is through
    assert pair.judge() == [] and pair.record() == []
    assert [event for event in pair.events if isinstance(event, Nudge)] == [Nudge(7)]
    other.tick()
    assert other.subscription == pair.subscription
    other.submit(*fields)
    assert other.settle()[-1]["error"] == [22, "Duplicate share", None]


def test_the_last_share_of_a_dropped_session_may_be_its_first():
    pair = ready(nbits=HARD_NBITS)
    pair.submit(*pair.mine())
    pair.drop()
    pair.settle()
    assert again(pair, pair.subscription[0][1][1]).subscription == pair.subscription


def test_a_flood_in_flight_over_the_drop_does_not_touch_the_new_connection():
    pair = ready(nbits=HARD_NBITS)
    start = 0
    for _ in range(40):
        fields = pair.mine(start=start)
        start = int(fields[3], 16) + 1
        pair.submit(*fields)
    target = pair.server._session.machine.channel.target
    pair.drop()
    other = again(pair, pair.subscription[0][1][1])
    pair.settle()
    other.tick()
    assert other.server._session.machine.channel.target == target
    assert pair.happened("difficulty.changed") == []


def test_after_ten_minutes_the_space_is_free_for_others():
    pair, session, _ = dropped(nbits=HARD_NBITS)
    other = again(pair, session, wait=RESUMABLE_S)
    assert other.subscription[1] != pair.subscription[1]
    prefixes = pair.context.prefixes
    pair.offer(tip=3)
    assert prefixes.take() == bytes.fromhex(pair.subscription[1])


def test_a_session_that_is_nowhere_is_not_waited_for():
    for named in ("00" * 8, "01" * 8, "ff" * 8, "00", "00" * 9, "zz"):
        pair = Pair()
        assert len(answer(pair.call("mining.subscribe", "agent", named, request_id=1), 1)) == 3


def test_there_is_an_end_to_what_is_kept():
    context, jobs = make_context(), Jobs()
    job = jobs.make()
    pairs = [Pair(context, jobs) for _ in range(MAX_RESUMABLE + 1)]
    for pair in pairs:
        pair.server.offer(job, pair.now)
        pair.server.receive(b'{"id":1,"method":"mining.subscribe"}\n{"id":1,"method":"mining.authorize","params":["a"]}\n',
                            pair.now)
        pair.server._session.machine.channel.accepted = 1
        pair.server.closed(pair.now)
    assert len(context.resumable) == MAX_RESUMABLE

"""Every machine of `tests/firmware` mines here, and the README says which they are."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest

from tests.mining.makers import HARD_NBITS
from tests.sv1.machines import README, Line, Player, machines, matches, table, with_machines
from tests.sv1.pairs import Pair, with_policy
from warppool.events import Close
from warppool.node.jobmaker import FRESH_JOB_S

WANTED = {"antminer-s9", "antminer-s19", "avalon", "bitaxe", "bosminer", "cgminer", "cpuminer", "nerdminer", "nicehash",
          "whatsminer"}
POLICY = {"maximum": Fraction(4, 10**9)}        # what machines suggest is for ASICs, and here Python searches


class InMemory:
    """A connection without a socket; every share is judged and recorded when its machine looks for an answer."""

    is_moving = False

    def __init__(self) -> None:
        self.pair = Pair(with_policy(**POLICY), nbits=HARD_NBITS)
        self.lines: list[Line] = []
        self.pair.offer()

    def send(self, data: bytes) -> None:
        self.lines += self.pair.deliver(self.pair.server.receive(data, self.pair.now))

    def receive(self) -> Line:
        if not self.lines:
            self.lines += self.pair.settle()
        assert not any(isinstance(event, Close) for event in self.pair.events), "the server hung up"
        assert self.lines, "the server says nothing"
        return self.lines.pop(0)

    def new_job(self, *, is_tip: bool) -> None:
        self.pair.wait(30)
        tip = self.pair.job.tip.prev_hash[0] + is_tip
        self.lines += self.pair.offer(tip)

    def reconnect(self) -> None:
        self.pair.drop()
        other = Pair(self.pair.context, self.pair.jobs)
        other.now, other.job = self.pair.now, self.pair.job
        other.deliver(other.server.offer(other.job, other.now))
        self.pair, self.lines = other, []


def test_all_of_them_are_here():
    assert machines().keys() == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_machine_mines(name):
    transport = InMemory()
    Player(machines()[name], transport).play()
    assert transport.pair.server.in_flight == 0 and transport.pair.settle() == []
    assert not any("id" in line and "method" not in line for line in transport.lines)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_it_does_not_matter_how_tcp_cuts_it(name):
    class Cut(InMemory):
        def send(self, data: bytes) -> None:
            for byte in data:
                super().send(bytes([byte]))

    Player(machines()[name], Cut()).play()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_what_is_played_could_fail(name):
    """Another answer than the file expects is noticed, whichever it is."""
    machine = machines()[name]
    for number, step in enumerate(machine["steps"]):
        for at, item in enumerate(step.get("expect", [])):
            other = copy.deepcopy(machine)
            wrong = {"notify": not item["notify"]} if "notify" in item else (
                {"answer": item["answer"], "result": "another"})
            other["steps"][number]["expect"][at] = wrong
            with pytest.raises(AssertionError):
                Player(other, InMemory()).play()


def test_no_machine_leaves_before_it_gets_a_fresh_job():
    assert min(machine["silence_s"] for machine in machines().values() if machine["silence_s"]) > FRESH_JOB_S


@pytest.mark.parametrize(("wanted", "got", "is_match"), [
    ("<size>", 4, True), ("<size>", 9, False), ("<size>", "4", False), ("<hex:2>", "0f", True),
    ("<hex:2>", "0F", False), ("<hex:2>", "0ff", False), (["<s>", "<s>"], ["a", "a"], True),
    (["<s>", "<s>"], ["a", "b"], False), (True, 1, False),
    ({"a": 1}, {"a": 1, "b": 2}, False), ([1], [1, 2], False), (None, None, True)])
def test_matches(wanted, got, is_match):
    assert matches(wanted, got, {}) is is_match


def test_the_table_of_the_readme_is_in_step():
    readme = README.read_text(encoding="utf-8")
    assert readme == with_machines(readme), "write it anew by `python3 -m tests.sv1.machines`"


def test_the_table_names_every_machine():
    for machine in machines().values():
        assert machine["machine"] in table()

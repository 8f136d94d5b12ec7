"""Every V2 machine of `tests/firmware/sv2` mines here, in the profile that its firmware speaks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import count

import pytest

from tests.mining.makers import (
    HARD_NBITS,
    SHUFFLE,
    make_channel,
    make_counters,
    make_factory,
    make_template,
    make_tip,
)
from tests.over import Over
from tests.sv2.machines import Firmware, machines, works_s
from tests.sv2.pairs import START
from warppool.bitcoin.transaction import serialize_output
from warppool.errors import BadFrame
from warppool.events import BlockFound, Close, Event, Held, Send, ShareAccepted, ShareSubmitted
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.extranonce import PrefixPool
from warppool.mining.job import MAX_TAG_SIZE, JobFactory
from warppool.mining.payrule import ToPool
from warppool.mining.share import weigh
from warppool.sv2.connection import ServerConnection
from warppool.sv2.frame import FrameReader
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages import common, mining
from warppool.sv2.profile import SPEC
from warppool.sv2.server import Context
from warppool.sv2.templatechecks import MAX_OUTPUTS_SIZE
from warppool.sv2.types import Message
from warppool.transport import PLAIN

POLICY = DifficultyPolicy(Fraction(1, 10**9), Fraction(1, 10**10), Fraction(4, 10**9), Fraction(12))
"""What a Bitaxe declares is for an ASIC, and here Python searches."""

TEMPLATE_EVERY_S = 10
"""A node with a busy mempool."""


class InMemory:
    """A connection without a socket; every share is judged and recorded when its machine looks for an answer.

    `meddle` may change what the server says, to see that the machine minds.
    """

    def __init__(self) -> None:
        self.clock = START
        self.said: list[bytes] = []
        self._submitted: list[ShareSubmitted] = []
        self._accepted: list[ShareAccepted] = []
        self._closes: list[Close] = []
        self._tip = make_tip(1, HARD_NBITS)
        self._ids = count(1)
        self._factory = make_factory({SPEC.name: lambda job: EncodedJob(SPEC, job)})
        context = Context(SPEC, POLICY, PrefixPool(0, 0, 1), make_counters())
        self.server = Over(PLAIN, ServerConnection(7, context, idle_timeout_s=600.0, now=START))
        self._offer()

    @property
    def now(self) -> float:
        return self.clock.monotonic

    def _offer(self) -> None:
        job = self._factory.make(make_template(self._tip, template_id=next(self._ids)), now=self.clock.unix)
        self._deliver(self.server.offer(job, self.clock))

    def _deliver(self, events: list[Event]) -> None:
        while True:
            for event in events:
                if isinstance(event, Send):
                    self.said.append(self.meddle(event.data))
                elif isinstance(event, ShareSubmitted):
                    self._submitted.append(event)
                elif isinstance(event, ShareAccepted):
                    self._accepted.append(event)
                elif isinstance(event, Close):
                    self._closes.append(event)
                assert not isinstance(event, BlockFound)
            if self.server.held != Held.TURN:
                return
            events = self.server.receive(b"", self.clock)

    def meddle(self, data: bytes) -> bytes:
        return data

    def send(self, data: bytes) -> None:
        self._deliver(self.server.receive(data, self.clock))

    def receive(self) -> bytes:
        if not self.said:
            submitted, self._submitted = self._submitted, []
            self._deliver(self.server.judged([weigh(e.header, e.network_target) for e in submitted], self.clock))
            accepted, self._accepted = self._accepted, []
            self._deliver(self.server.recorded([share.share_id for share in accepted], self.clock))
        assert self._closes == [], "the server hung up"
        assert self.said, "the server says nothing"
        return self.said.pop(0)

    def new_job(self, *, is_tip: bool) -> None:
        self.said += [data for _, data in self.wait(1)]
        if is_tip:
            self._tip = make_tip(self._tip.prev_hash[0] + 1, HARD_NBITS)
        self._offer()

    def wait(self, seconds: float) -> list[tuple[float, bytes]]:
        heard: list[tuple[float, bytes]] = []
        end, fresh = self.now + seconds, self.now + TEMPLATE_EVERY_S
        while True:
            due = min(fresh, max(self.server.wakes_at, self.now), end)
            self.clock = self.clock._replace(monotonic=due, unix=self.clock.unix + due - self.now)
            if due >= self.server.wakes_at:
                self._deliver(self.server.tick(self.clock))
            if due >= fresh:
                self._offer()
                fresh = due + TEMPLATE_EVERY_S
            heard += [(self.now, data) for data in self.said]
            self.said.clear()
            if due >= end:
                return heard


def test_both_kinds_of_a_bitaxe_are_here():
    assert machines().keys() == {"bitaxe-extended", "bitaxe-standard"}


@pytest.mark.parametrize("name", sorted(machines()))
def test_a_machine_mines(name):
    way = InMemory()
    firmware = Firmware(machines()[name], SPEC, way)
    firmware.play()
    assert way.server.in_flight == 0
    works = works_s(firmware, START.monotonic + 120)
    assert len(works) >= 5 and min(works) >= 30 and max(works) <= 60, "each job throws away what its chips had"


@pytest.mark.parametrize("name", sorted(machines()))
def test_a_quiet_node_brings_a_job_each_minute_all_the_same(name, monkeypatch):
    monkeypatch.setattr("tests.sv2.test_machines.TEMPLATE_EVERY_S", 10_000)
    way = InMemory()
    firmware = Firmware(machines()[name], SPEC, way)
    firmware.begin()
    firmware._do_wait_s(590)
    works = works_s(firmware, START.monotonic)
    assert len(works) >= 9 and max(works) <= 60


@pytest.mark.parametrize("name", sorted(machines()))
def test_it_does_not_matter_how_tcp_cuts_it(name):
    class Cut(InMemory):
        def send(self, data: bytes) -> None:
            for byte in data:
                super().send(bytes([byte]))

    Firmware(machines()[name], SPEC, Cut()).play()


def test_the_largest_job_that_can_come_is_one_that_it_reads():
    template = replace(make_template(path=(bytes(32),) * 20),
                       coinbase_tx_outputs=serialize_output(0, b"\x6a" * (MAX_OUTPUTS_SIZE - 11)))
    assert len(template.coinbase_tx_outputs) == MAX_OUTPUTS_SIZE
    factory = JobFactory(payer=ToPool(bytes(42)), tag=b"t" * MAX_TAG_SIZE, start_id=bytes(4), shuffle=SHUFFLE,
                         encoders={})
    channel = make_channel(size=28)
    mine, _ = channel.offer(job := factory.make(template, now=START.unix), make_counters())
    frames = EncodedJob(SPEC, job).frames(1, mine, 28, is_future=True)
    reader = FrameReader(machines()["bitaxe-extended"]["max_payload"])
    assert [frame.msg_type for frame in reader.feed(frames)] == [0x1F, 0x20]


def refusal(way: InMemory, name: str = "bitaxe-extended") -> str:
    with pytest.raises((AssertionError, BadFrame)) as caught:
        Firmware(machines()[name], SPEC, way).play()
    return str(caught.value)


class Meddler(InMemory):
    """Puts `message` behind the first thing that the server says that has `after` in it."""

    def __init__(self, after: type[Message], message: Message) -> None:
        super().__init__()
        self._after = SPEC.id_of(after)
        self._message: Message | None = message

    def meddle(self, data: bytes) -> bytes:
        if self._message is not None and data[2] == self._after:
            data, self._message = data + SPEC.encode(self._message), None
        return data


TARGET = mining.SetTarget(1, bytes([255]) * 32)


@pytest.mark.parametrize(("after", "message", "words"), [
    (common.SetupConnectionSuccess, TARGET, "SetTarget came: it hangs up"),
    (common.SetupConnectionSuccess, mining.SetGroupChannel(9, ()), "SetGroupChannel came: it hangs up"),
    (mining.SubmitSharesSuccess, mining.SetNewPrevHash(1, 77, bytes(32), 0, HARD_NBITS), "it has no work"),
    (mining.SubmitSharesSuccess, mining.NewExtendedMiningJob(1, 77, None, 0, True, (), b"", b""), "ids that jump"),
    (mining.SubmitSharesSuccess, mining.NewMiningJob(1, 77, None, 0, bytes(32)), "of the other kind"),
    (mining.SubmitSharesSuccess, mining.SetExtranoncePrefix(1, b"abcd"), "it passes over these"),
    (mining.SubmitSharesSuccess, mining.CloseChannel(1, "enough"), "it passes over these"),
    (mining.SubmitSharesSuccess, common.Reconnect("", 0), "it passes over these"),
    (mining.SubmitSharesSuccess, mining.NewExtendedMiningJob(1, 77, None, 0, True, (), bytes(8_192), b""), "8192"),
])
def test_what_a_bitaxe_dies_of_is_noticed(after, message, words):
    assert words in refusal(Meddler(after, message))


def test_a_server_that_is_silent_for_three_minutes_is_noticed():
    class Silent(InMemory):
        def wait(self, seconds: float) -> list[tuple[float, bytes]]:
            self.clock = self.clock._replace(monotonic=self.now + seconds)
            return []

    assert "silent for too long" in refusal(Silent())

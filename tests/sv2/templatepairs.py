"""A template server's connection and a pool's link to it in memory, with the worker's part played by the test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.mining.makers import EASY_NBITS, NTIME, make_factory, make_template, make_tip
from warppool.bitcoin.coinbase import coinbase_halves, restore_witness, strip_witness
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import Header
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import MARKER_AND_FLAG, serialize_output
from warppool.events import BlockFound, Close, Event, Happened, Held, Now, Send
from warppool.mining.job import Job
from warppool.mining.template import Template, Tip
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.messages.template import CoinbaseOutputConstraints, NewTemplate, SetNewPrevHash, SubmitSolution
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.templateconnection import TemplateConnection
from warppool.sv2.templatecontext import TemplateContext, TemplateRules
from warppool.sv2.templatestore import TemplateStore
from warppool.sv2.types import Message

START = Now(1000.0, float(NTIME + 100))
FIRST_ID = 1 << 40
RULES = TemplateRules(fee_delta_sat=1000, interval_s=30.0)
SETUP = SetupConnection(2, 2, 2, 0, "127.0.0.1", 8442, "", "", "", "")
SMALL = CoinbaseOutputConstraints(31, 0)


class Node:
    """The clock of the last answer."""

    def __init__(self) -> None:
        self.answered_at: float | None = START.monotonic


def make_serving(node: Node | None = None, rules: TemplateRules = RULES, max_clients: int = 64) -> TemplateContext:
    node = node or Node()
    return TemplateContext(TemplateStore(FIRST_ID), rules, lambda: node.answered_at, max_clients)


class Jobs:
    """Makes jobs of templates as the job maker does."""

    def __init__(self) -> None:
        self._factory = make_factory()

    def __call__(self, template: Template | None = None, at: Now = START) -> Job:
        return self._factory.make(template or easy_template(), at.unix)


def easy_template(number: int = 1, value: int = 312_500_000, **more: Any) -> Template:
    """Half of all hashes are blocks of it."""
    template = make_template(make_tip(number, EASY_NBITS))
    return replace(template, **{"coinbase_tx_value_remaining": value, "merkle_path": (), **more})


def tip_of(template: Template, **more: Any) -> Tip:
    return replace(template.tip, **more)


class Client:
    """Speaks to one connection without a transport, in whole messages; `sends` has what each event Send held."""

    def __init__(self, profile: Profile, context: TemplateContext, conn_id: int = 7) -> None:
        self.profile = profile
        self.now = START
        self.events: list[Event] = []
        self.heard: list[Message] = []
        self.sends: list[list[Message]] = []
        self.connection = TemplateConnection(conn_id, profile, context, now=START)
        self._frames = FrameReader(profile.max_payload, profile.longer_numbers(Subprotocol.TEMPLATE_DISTRIBUTION))

    def say(self, *messages: Message) -> list[Message]:
        """Send messages; what the server says to that."""
        return self.say_bytes(b"".join(map(self.profile.encode, messages)))

    def say_bytes(self, data: bytes) -> list[Message]:
        before = len(self.heard)
        self._take(self.connection.receive(data, self.now))
        while self.connection.held is Held.TURN:
            self._take(self.connection.receive(b"", self.now))
        return self.heard[before:]

    def offer(self, job: Job) -> list[Message]:
        before = len(self.heard)
        self._take(self.connection.offer(job, self.now))
        return self.heard[before:]

    def wait(self, seconds: float) -> list[Message]:
        """Let time pass, with every tick that is wanted meanwhile."""
        before, until = len(self.heard), self.now.monotonic + seconds
        while self.connection.wakes_at <= until and self.close is None:
            due = max(self.connection.wakes_at, self.now.monotonic + 0.01)
            self._at(due)
            self._take(self.connection.tick(self.now))
        self._at(until)
        return self.heard[before:]

    def _at(self, monotonic: float) -> None:
        self.now = Now(monotonic, self.now.unix + monotonic - self.now.monotonic)

    def _take(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, Send):
                said = [message for frame in self._frames.feed(event.data)
                        if (message := self.profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, frame)) is not None]
                self.sends.append(said)
                self.heard += said

    def served(self, job: Job | None, constraints: CoinbaseOutputConstraints = SMALL) -> list[Message]:
        """The whole set-up, with a job that is there already."""
        if job is not None:
            self.offer(job)
        return self.say(SETUP, constraints)

    @property
    def close(self) -> Close | None:
        return next((event for event in self.events if isinstance(event, Close)), None)

    @property
    def blocks(self) -> list[BlockFound]:
        return [event for event in self.events if isinstance(event, BlockFound)]

    def happened(self, name: str) -> list[dict[str, object]]:
        return [dict(event.fields) for event in self.events if isinstance(event, Happened) and event.name == name]


def pair_of(client: Client) -> tuple[NewTemplate, SetNewPrevHash]:
    """The last future template and its tip."""
    prev = next(message for message in reversed(client.heard) if isinstance(message, SetNewPrevHash))
    new = next(message for message in client.heard
               if isinstance(message, NewTemplate) and message.template_id == prev.template_id)
    return new, prev


def served(profile: Profile, job: Job) -> tuple[Client, NewTemplate, SetNewPrevHash]:
    """A client that is set up, and what it got: the template of `job`, and the tip."""
    client = Client(profile, make_serving())
    client.served(job)
    return client, *pair_of(client)


def coinbase_of(new: NewTemplate, *, value: int | None = None, script: bytes = b"\x51", more: bytes = b"",
                outputs: bytes | None = None, count: int | None = None, prefix: bytes | None = None) -> bytes:
    """A coinbase as SRI's pool makes one, with its witness."""
    value = new.coinbase_tx_value_remaining if value is None else value
    ours = serialize_output(value, script)
    theirs = new.coinbase_tx_outputs if outputs is None else outputs
    front, back = coinbase_halves(
        version=new.coinbase_tx_version, input_sequence=new.coinbase_tx_input_sequence,
        locktime=new.coinbase_tx_locktime,
        script_prefix=(new.coinbase_prefix if prefix is None else prefix) + b"\x04" + more, extranonce_size=4,
        outputs=ours + theirs, outputs_count=1 + (new.coinbase_tx_outputs_count if count is None else count))
    return restore_witness(front + bytes(4) + back)


def solve(new: NewTemplate, prev: SetNewPrevHash, coinbase: bytes | None = None, *, is_good: bool = True,
          start: int = 0) -> SubmitSolution:
    """A solution whose hash is at or under the target; or is not."""
    coinbase = coinbase_of(new) if coinbase is None else coinbase
    stripped = strip_witness(coinbase) if coinbase[4:6] == MARKER_AND_FLAG else coinbase
    root = fold_merkle_path(double_sha256(stripped), new.merkle_path)
    target = int.from_bytes(prev.target, "little")
    for nonce in range(start, start + 10_000):
        header = Header(new.version, prev.prev_hash, root, prev.header_timestamp, prev.n_bits, nonce).pack()
        if (int.from_bytes(double_sha256(header), "little") <= target) is is_good:
            return SubmitSolution(new.template_id, new.version, prev.header_timestamp, nonce, coinbase)
    raise AssertionError("no such nonce")

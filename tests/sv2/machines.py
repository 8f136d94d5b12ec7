"""Stratum V2 machines of the field as data: what their firmware takes and what it dies of, played against any server.

`tests/firmware/sv2/*.json` holds one session each. `Firmware` is the program of such a machine as its source code has
it, and no more patient: where it would hang up, an AssertionError says so. The clock is that of the way to the server.
"""

from __future__ import annotations

import json
from collections import deque
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from warppool.sv2.frame import Frame, FrameReader
from warppool.sv2.messages import common, mining
from warppool.sv2.profile import Profile, Subprotocol
from warppool.sv2.types import Message

FOLDER = Path(__file__).parents[1] / "firmware" / "sv2"
MAX_TARGET = 2**256 - 1
MAX_TRIES = 1 << 20

Session = dict[str, Any]
Job = mining.NewMiningJob | mining.NewExtendedMiningJob


def machines() -> dict[str, Session]:
    """The sessions, by the names of their files."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


class Way(Protocol):
    """The way to a server, with the transport between. `now` is in seconds."""

    @property
    def now(self) -> float:
        """What the machine's clock says."""

    def send(self, data: bytes) -> None:
        """These bytes, in one piece."""

    def receive(self) -> bytes:
        """What comes next; AssertionError where nothing does."""

    def new_job(self, *, is_tip: bool) -> None:
        """Let the server have a fresh job, or a new tip, for all its miners."""

    def wait(self, seconds: float) -> list[tuple[float, bytes]]:
        """Let so much time pass; what came meanwhile, and when."""


class Task(NamedTuple):
    """What the chips hash: a job under the target of the moment in which it became active."""

    job: Job
    prev_hash: bytes
    ntime: int
    nbits: int
    target: int


class Firmware:
    """The state of one machine. `ignored` has the messages that it logs and passes over."""

    def __init__(self, session: Session, profile: Profile, way: Way) -> None:
        self.ignored: list[type[Message] | int] = []
        self.jobs_at: list[tuple[float, int, bytes]] = []       # when each job became active, its id, its tip
        self._session = session
        self._profile = profile
        self._way = way
        self._frames: deque[Frame] = deque()
        self._reader = FrameReader(session["max_payload"])      # a longer payload: it connects anew
        self._heard_at = way.now
        self._prefix = b""
        self._size = 0
        self._channel_id = 0
        self._target = 0
        self._pending: dict[int, Job] = {}                      # by slot: job_id % slots
        self._tip: mining.SetNewPrevHash | None = None
        self._tasks: list[Task] = []                            # the newest last
        self._last_job_id: int | None = None
        self._sequence = 0
        self._nonce = 0
        self._last_share: tuple[Task, bytes, int, int] | None = None

    # -- the wire ------------------------------------------------------------------------------------------------

    def _say(self, message: Message) -> None:
        self._way.send(self._profile.encode(message))

    def _next(self) -> Frame:
        """Exactly one frame, whatever stands behind it."""
        while not self._frames:
            self._take_in(self._way.now, self._way.receive())
        return self._frames.popleft()

    def _take_in(self, now: float, data: bytes) -> None:
        assert now - self._heard_at < self._session["silence_s"], "silent for too long: it connects anew"
        self._heard_at = now
        self._frames.extend(self._reader.feed(data))            # BadFrame: above what it reads

    def _only(self, wanted: type[Message]) -> Any:
        """The next frame, which has to be this one: it takes any other for a refusal."""
        frame = self._next()
        got = self._profile.read(Subprotocol.MINING, frame)[0]
        assert type(got) is wanted, f"{wanted.__name__} wanted, and {type(got).__name__} came: it hangs up"
        return got

    # -- the beginning -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Set up the connection and open the channel."""
        session = self._session
        self._say(common.SetupConnection(protocol=0, min_version=2, max_version=2, endpoint_host="pool.test",
                                         endpoint_port=1, **session["setup"]))
        assert self._only(common.SetupConnectionSuccess).used_version == 2
        fields = {"request_id": 1, "user_identity": session["worker"], "max_target": bytes([255]) * 32,
                  "nominal_hash_rate": session["nominal_hash_rate"]}
        opened: Any
        if session["kind"] == "extended":
            self._say(mining.OpenExtendedMiningChannel(**fields, min_extranonce_size=session["min_extranonce_size"]))
            opened = self._only(mining.OpenExtendedMiningChannelSuccess)
            self._size = opened.extranonce_size & 0xFF          # it keeps eight bits
            assert self._size == opened.extranonce_size >= session["min_extranonce_size"]
        else:
            self._say(mining.OpenStandardMiningChannel(**fields))
            opened = self._only(mining.OpenStandardMiningChannelSuccess)
        assert opened.request_id == 1
        self._channel_id, self._prefix = opened.channel_id, opened.extranonce_prefix
        self._target = int.from_bytes(opened.target, "little")
        while not self._tasks:
            self._hear(self._next())

    # -- what comes later ----------------------------------------------------------------------------------------

    def _hear(self, frame: Frame) -> Message | None:
        """A frame once it mines; the channel id of jobs, tips and targets is not looked at."""
        message = self._profile.read(Subprotocol.MINING, frame)[0]
        if isinstance(message, mining.NewMiningJob | mining.NewExtendedMiningJob):
            self._take_job(message)
        elif isinstance(message, mining.SetNewPrevHash):
            self._take_tip(message)
        elif isinstance(message, mining.SetTarget):
            self._target = int.from_bytes(message.maximum_target, "little")
        elif not isinstance(message, mining.SubmitSharesSuccess | mining.SubmitSharesError):
            self.ignored.append(frame.msg_type if message is None else type(message))
        return message

    def _take_job(self, job: Job) -> None:
        is_standard = isinstance(job, mining.NewMiningJob)
        assert is_standard == (self._session["kind"] == "standard"), "a job of the other kind: no work for the chips"
        assert isinstance(job, mining.NewMiningJob) or len(job.merkle_path) <= self._session["max_path"]
        assert self._last_job_id is None or job.job_id == self._last_job_id + 1, "ids that jump overwrite a slot"
        self._last_job_id = job.job_id
        if job.min_ntime is None:
            self._pending[job.job_id % self._session["slots"]] = job
        else:
            assert self._tip is not None, "a job for a tip that it was never told"
            self._activate(job, self._tip, job.min_ntime)

    def _take_tip(self, tip: mining.SetNewPrevHash) -> None:
        job = self._pending.get(tip.job_id % self._session["slots"])
        assert job is not None and job.job_id == tip.job_id, "a tip whose job it does not have: it has no work"
        self._tip = tip
        self._activate(job, tip, tip.min_ntime)

    def _activate(self, job: Job, tip: mining.SetNewPrevHash, ntime: int) -> None:
        """What the chips had is thrown away, whatever they have found in it by then."""
        known = [task.job.job_id for task in self._tasks[-self._session["known_jobs"]:]]
        assert job.job_id not in known, "two active jobs of one id"
        self._tasks.append(Task(job, tip.prev_hash, ntime, tip.nbits, self._target))
        self.jobs_at.append((self._heard_at, job.job_id, tip.prev_hash))

    # -- the session ---------------------------------------------------------------------------------------------

    def play(self) -> None:
        """From the set-up to the last answer."""
        self.begin()
        for step in self._session["steps"]:
            ((kind, value),) = step.items()
            getattr(self, f"_do_{kind}")(value)
        assert self.ignored == [], "it passes over these, and the server relied on them"

    def _do_job(self, kind: str) -> None:
        before, tip = len(self._tasks), self._tasks[-1].prev_hash
        self._way.new_job(is_tip=kind == "tip")
        while len(self._tasks) == before or (kind == "tip" and self._tasks[-1].prev_hash == tip):
            self._hear(self._next())

    def _do_wait_s(self, seconds: float) -> None:
        for now, data in self._way.wait(seconds):
            self._take_in(now, data)
            while self._frames:
                self._hear(self._frames.popleft())
        assert self._way.now - self._heard_at < self._session["silence_s"], "silent for too long: it connects anew"

    def _do_share(self, share: Session) -> None:
        fault, roll = share.get("fault"), int(share.get("roll", "0"), 16)
        assert roll & ~int(self._session["rolls"], 16) == 0
        if fault == "duplicate":
            assert self._last_share is not None
            task, extranonce, nonce, version = self._last_share
        else:
            task = self._tasks[-1]
            if fault == "stale":
                task = next(each for each in reversed(self._tasks) if each.prev_hash != task.prev_hash)
            extranonce, version = bytes(self._size), task.job.version | roll
            nonce = self._search(task, extranonce, version, is_low=fault == "low")
            if fault is None:
                self._last_share = task, extranonce, nonce, version
        fields = {"channel_id": self._channel_id, "sequence_number": self._sequence, "job_id": task.job.job_id,
                  "nonce": nonce, "ntime": task.ntime, "version": version}
        self._say(mining.SubmitSharesExtended(**fields, extranonce=extranonce) if self._size else
                  mining.SubmitSharesStandard(**fields))

    def _do_expect(self, wanted: str) -> None:
        """The verdict on the last share, wherever it comes among jobs and targets."""
        answer: Message | None = None
        while not isinstance(answer, mining.SubmitSharesSuccess | mining.SubmitSharesError):
            answer = self._hear(self._next())
        if isinstance(answer, mining.SubmitSharesError):
            assert (answer.error_code, answer.sequence_number) == (wanted, self._sequence)
            assert len(answer.error_code) <= self._session["max_code"]
        else:
            assert wanted == "accepted" and answer.last_sequence_number == self._sequence
            assert answer.new_submits_accepted_count == 1       # it adds this to what it shows
        self._sequence += 1

    def _search(self, task: Task, extranonce: bytes, version: int, *, is_low: bool) -> int:
        low, high = (task.target, MAX_TARGET) if is_low else (-1, task.target)
        front = version.to_bytes(4, "little") + task.prev_hash + self._root(task.job, extranonce)
        front += task.ntime.to_bytes(4, "little") + task.nbits.to_bytes(4, "little")
        for _ in range(MAX_TRIES):
            self._nonce += 1
            header = front + self._nonce.to_bytes(4, "little")
            if low < int.from_bytes(twice(header), "little") <= high:
                return self._nonce
        raise AssertionError("no share in a million tries")

    def _root(self, job: Job, extranonce: bytes) -> bytes:
        if isinstance(job, mining.NewMiningJob):
            return job.merkle_root
        root = twice(job.coinbase_tx_prefix + self._prefix + extranonce + job.coinbase_tx_suffix)
        for sibling in job.merkle_path:
            root = twice(root + sibling)
        return root


def twice(data: bytes) -> bytes:
    """SHA-256 of SHA-256."""
    return sha256(sha256(data).digest()).digest()


def works_s(firmware: Firmware, since: float) -> list[float]:
    """How long the chips were left to each job, from a time on, where the tip did not move."""
    return [later[0] - sooner[0] for sooner, later in pairwise(firmware.jobs_at)
            if sooner[0] >= since and sooner[2] == later[2]]

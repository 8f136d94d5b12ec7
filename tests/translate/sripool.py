"""A pool as the reference implementation's behaves, in memory; it shares no code with our own pool's sessions.

It opens channels with a prefix of 4 bytes and 16 to roll, whatever was asked for, all of them in group 1; makes a
target of the declared hash rate; gives the first job on the channel and all later ones on the group, with ids that each
counts from 1; acknowledges every tenth share of a channel, and a block at once; and never says anything else.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

from tests.mining.makers import HARD_NBITS
from tests.translate.world import SPEC, Pool, World
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_checked
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.target import target_from_nbits
from warppool.events import Event, Held, Now, Send
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection, SetupConnectionSuccess
from warppool.sv2.messages.extensions import RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess
from warppool.sv2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannel,
)
from warppool.sv2.profile import Subprotocol
from warppool.sv2.tlv import WORKER_NAMES, worker_in
from warppool.sv2.types import Message

GROUP = 1
BATCH = 10


class Given:
    """A job as a channel or the group has it, with the tip that it is mined on."""

    def __init__(self, job: NewExtendedMiningJob, tip: SetNewPrevHash) -> None:
        self.job = job
        self.tip = tip


class Channel:
    """One channel of a peer; `given` are the jobs that its shares may name."""

    def __init__(self, channel_id: int, prefix: bytes, size: int, user: str, target: int) -> None:
        self.channel_id = channel_id
        self.prefix = prefix
        self.size = size
        self.user = user
        self.target = target
        self.given: dict[int, tuple[Given, int]] = {}       # by job id: with the target of that moment
        self.seen: set[bytes] = set()
        self.batch = 0


class SriSession:
    """One peer's conversation: the part of a `Connection` that the world asks for."""

    held = Held.NOTHING
    wakes_at = float("inf")
    backlog = 0

    def __init__(self, pool: SriPool, conn_id: int) -> None:
        self.conn_id = conn_id
        self.channels: dict[int, Channel] = {}
        self._pool = pool
        self._frames = FrameReader(SPEC.max_payload_from_client)
        self._subprotocol = Subprotocol.COMMON
        self._ids = count(GROUP + 1)

    def receive(self, data: bytes, now: Now) -> list[Event]:
        said: list[Message] = []
        for frame in self._frames.feed(data):
            message, area = SPEC.read(self._subprotocol, frame)
            if message is None:
                continue
            self._pool.seen.append(message)
            instead = self._pool.instead.get(type(message))
            answer = self._take(message, area)
            said += answer if instead is None else instead(message)
        return self.say(*said)

    def say(self, *messages: Message) -> list[Event]:
        return [Send(self.conn_id, b"".join(map(SPEC.encode, messages)))] if messages else []

    def closed(self, now: Now) -> list[Event]:
        return []

    def _take(self, m: Any, area: bytes) -> list[Message]:
        pool = self._pool
        match m:
            case SetupConnection():
                self._subprotocol = Subprotocol.MINING
                return [SetupConnectionSuccess(used_version=2, flags=0)]
            case RequestExtensions(request_id, requested):
                if pool.extensions & set(requested):
                    return [RequestExtensionsSuccess(request_id, tuple(pool.extensions & set(requested)))]
                return [RequestExtensionsError(request_id, requested, ())]
            case OpenExtendedMiningChannel():
                return self._open(m)
            case SubmitSharesExtended():
                return self._submit(m, area)
            case UpdateChannel(channel_id, rate, max_target):
                channel = self.channels[channel_id]
                channel.target = min(target_of(rate), int.from_bytes(max_target, "little"))
                return [SetTarget(channel_id, channel.target.to_bytes(32, "little"))]
            case CloseChannel(channel_id):
                self.channels.pop(channel_id, None)
        return []

    def _open(self, m: OpenExtendedMiningChannel) -> list[Message]:
        pool, channel_id = self._pool, next(self._ids)
        target = min(target_of(m.nominal_hash_rate), int.from_bytes(m.max_target, "little"))
        channel = self.channels[channel_id] = Channel(channel_id, pool.next_prefix(), pool.extranonce_size,
                                                      m.user_identity, target)
        job, tip = pool.job_for(channel_id, 1), pool.tip_for(channel_id, 1)
        channel.given[1] = Given(job, tip), target
        return [OpenExtendedMiningChannelSuccess(m.request_id, channel_id, target.to_bytes(32, "little"), channel.size,
                                                 channel.prefix, GROUP),
                *([] if pool.mutes_work else [job, tip])]

    def _submit(self, m: SubmitSharesExtended, area: bytes) -> list[Message]:
        pool, channel = self._pool, self.channels.get(m.channel_id)
        code = "invalid-channel-id" if channel is None else pool.judge(channel, m)
        if channel is None or code not in ("", "block"):
            pool.refused[code] += 1
            return [SubmitSharesError(m.channel_id, m.sequence_number, code)]
        pool.accepted[channel.user] += 1
        pool.workers[(worker_in(area) or b"").decode()] += 1
        channel.batch += 1
        if channel.batch < BATCH and code != "block":
            return []
        taken, channel.batch = channel.batch, 0
        return [SubmitSharesSuccess(m.channel_id, m.sequence_number, taken, 0)]


class SriPool(Pool):
    """`extensions` is what it grants; `extranonce_size` what it lets everybody roll."""

    profile = SPEC

    def __init__(self, world: World, name: str, number: int, nbits: int = HARD_NBITS) -> None:
        super().__init__(world, name, number, nbits)
        self.extensions = {WORKER_NAMES}
        self.extranonce_size = 16
        self.mutes_work = False                     # channels are opened, and get no job
        self.workers: Counter[str] = Counter()
        self.found: list[bytes] = []                # hashes of blocks
        self._prefixes = count(1)
        self._jobs = count(1)                       # of the group
        self._newest = next(self._jobs)

    def connection_for(self, conn_id: int) -> Any:
        return SriSession(self, conn_id)

    def greet(self, conn_id: int) -> None:
        """Nothing: who connects speaks first."""

    def next_prefix(self) -> bytes:
        return b"\x01" + next(self._prefixes).to_bytes(3, "big")

    def job_for(self, channel_id: int, job_id: int, min_ntime: int | None = None) -> NewExtendedMiningJob:
        return NewExtendedMiningJob(
            channel_id=channel_id, job_id=job_id, min_ntime=min_ntime, version=0x20000000, version_rolling_allowed=True,
            merkle_path=self.path, coinbase_tx_prefix=self._newest.to_bytes(60, "big"), coinbase_tx_suffix=bytes(60))

    def tip_for(self, channel_id: int, job_id: int) -> SetNewPrevHash:
        return SetNewPrevHash(channel_id=channel_id, job_id=job_id, prev_hash=bytes([self.tip]) * 32,
                              min_ntime=int(self.world.now.unix), nbits=self.nbits)

    def new_job(self, *, new_tip: bool = False) -> None:
        """A template with better fees, or one of another tip: to the group."""
        self.tip += new_tip
        job_id = self._newest = next(self._jobs)
        tip = self.tip_for(GROUP, job_id)
        job = self.job_for(GROUP, job_id, None if new_tip else int(self.world.now.unix))
        for conn_id, server in list(self.servers.items()):
            session: SriSession = server.connection
            if not session.channels:
                continue
            for channel in session.channels.values():
                if new_tip:
                    channel.given.clear()
                    channel.seen.clear()
                channel.given[job_id] = Given(job, tip), channel.target
            self.deliver(conn_id, server.sealed(session.say(job, *([tip] if new_tip else [])), self.world.now))

    def judge(self, channel: Channel, m: SubmitSharesExtended) -> str:
        """The code of a refusal, `block`, or "" for a share that is good."""
        given, target = channel.given.get(m.job_id, (None, 0))
        if given is None:
            return "stale-share"
        if len(m.extranonce) != channel.size:
            return "bad-extranonce-size"
        job = given.job
        root = fold_merkle_path(double_sha256(b"".join((
            job.coinbase_tx_prefix, channel.prefix, m.extranonce, job.coinbase_tx_suffix))), job.merkle_path)
        tip = given.tip
        share_hash = double_sha256(pack_checked(m.version, tip.prev_hash, root, m.ntime, tip.nbits, m.nonce))
        value = int.from_bytes(share_hash, "little")
        if share_hash in channel.seen:
            return "duplicate-share"
        if m.ntime < tip.min_ntime:
            return "invalid-share"
        if value <= target_from_nbits(tip.nbits):
            channel.seen.add(share_hash)
            self.found.append(share_hash)
            return "block"
        if value > target:
            return "difficulty-too-low"
        channel.seen.add(share_hash)
        return ""


def target_of(hash_rate_hps: float, share_every_s: float = 10.0) -> int:
    """The target that so many hashes a second meet once in `share_every_s`; all hashes where the rate is 0."""
    hashes = int(hash_rate_hps * share_every_s)
    return ((1 << 256) - 1 - hashes) // (hashes + 1)

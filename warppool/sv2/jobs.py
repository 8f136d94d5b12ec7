"""Jobs and targets in Sv2's words: each frame of a job is encoded once for all channels and groups; channel_id, job_id
and counter are patched in, and the coinbase's second half with its length where payees differ.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from warppool.events import Event
from warppool.mining.channeljob import ChannelJob
from warppool.mining.counter import COUNTER_SIZE
from warppool.mining.course import NewJob, NewTarget, PeerChange
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.group import GroupJob
from warppool.mining.job import COMMON_EXTRANONCE_SIZES, Job
from warppool.mining.payee import Payee
from warppool.sv2.frame import HEADER_SIZE
from warppool.sv2.messages.mining import NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SetTarget
from warppool.sv2.profile import Profile
from warppool.sv2.types import Message

_IDS = struct.Struct("<II")             # channel_id and job_id, the first two fields of all three messages
_AFTER_IDS = HEADER_SIZE + _IDS.size
_COUNTER = struct.Struct(">I")          # the last bytes of coinbase_tx_prefix
_LENGTH_SIZE = 2                        # bytes before a coinbase half, that say how long it is
_NO_ROOT = bytes(32)
_PAYLOAD_LENGTH = slice(3, HEADER_SIZE)     # of a frame, in its header: U24
_PAYLOAD_LENGTH_SIZE = HEADER_SIZE - 3


Step = Message | bytes | Event
"""What a step of the session leads to: a message or whole frames to send, or an event for the worker."""


class EncodedJob:
    """The frames of one job, in both states it may be sent in: future (an empty min_ntime) and active.

    A future job's frames end with the `SetNewPrevHash` that activates it. `min_ntime` is the job's `ntime` in both.
    """

    __slots__ = ("_extended", "_is_for_all", "_job", "_prev_hash", "_profile", "_standard", "_tails")

    def __init__(self, profile: Profile, job: Job) -> None:
        self._profile = profile
        self._job = job
        self._is_for_all = job.is_for_all
        # What stands behind the counter, by the keys of payees, where that is not the same for all.
        self._tails = {} if job.is_for_all else {key: _with_length(job.tail(key)) for key in job.rule.keys}
        self._prev_hash = _cut(profile.encode(SetNewPrevHash(
            channel_id=0, job_id=0, prev_hash=job.tip.prev_hash, min_ntime=job.ntime, nbits=job.tip.nbits)))
        self._standard = {is_future: _cut(self._encode_standard(is_future)) for is_future in (False, True)}
        sizes = COMMON_EXTRANONCE_SIZES if profile.has_groups else COMMON_EXTRANONCE_SIZES[1:]
        self._extended = {
            (size, is_future): self._encode_extended(size, is_future) for size in sizes for is_future in (False, True)
        }

    def frames(self, channel_id: int, mine: ChannelJob, extranonce_size: int, is_future: bool) -> bytes:
        """What one channel is sent: its kind of job, and with a future one the `SetNewPrevHash` naming it.

        `extranonce_size` is the rollable part of the channel's extranonce, 0 for a standard channel.
        """
        assignment = mine.assignment
        ids = _IDS.pack(channel_id, assignment.key)
        if mine.merkle_root is not None:
            head, rest = self._standard[is_future]
            parts = [head, ids, rest[:-len(_NO_ROOT)], mine.merkle_root]
        else:
            total = len(mine.extranonce_prefix) + extranonce_size
            frame = self._extended.get((total, is_future)) or self._encode_extended(total, is_future)
            head, rest, after = frame if self._is_for_all else self._for_payee(frame, mine.payee)
            parts = [head, ids, rest, _COUNTER.pack(assignment.counter), after]
        if is_future:
            head, rest = self._prev_hash
            parts += [head, ids, rest]
        return b"".join(parts)

    def frames_for_group(self, ours: GroupJob) -> bytes:
        """What all members of a group are sent, standard channels too: each puts its own prefix into the coinbase."""
        is_future = ours.is_new_tip
        ids = _IDS.pack(ours.group.group_id, ours.key)
        total = PREFIX_SIZE + ours.group.extranonce_size
        frame = self._extended.get((total, is_future)) or self._encode_extended(total, is_future)
        head, rest, after = frame if self._is_for_all else self._for_payee(frame, ours.group.payee)
        parts = [head, ids, rest, _COUNTER.pack(ours.counter), after]
        if is_future:
            head, rest = self._prev_hash
            parts += [head, ids, rest]
        return b"".join(parts)

    def _for_payee(self, frame: tuple[bytes, bytes, bytes], payee: Payee) -> tuple[bytes, bytes, bytes]:
        """`frame`, which was encoded with an empty second half, with that of `payee`."""
        head, rest, _ = frame
        key = self._job.rule.key(payee)
        after = self._tails.get(key) or _with_length(self._job.tail(key))
        size = int.from_bytes(head[_PAYLOAD_LENGTH], "little") - _LENGTH_SIZE + len(after)
        return head[:_PAYLOAD_LENGTH.start] + size.to_bytes(_PAYLOAD_LENGTH_SIZE, "little"), rest, after

    def _encode_standard(self, is_future: bool) -> bytes:
        return self._profile.encode(NewMiningJob(
            channel_id=0, job_id=0, min_ntime=None if is_future else self._job.ntime, version=self._job.version,
            merkle_root=_NO_ROOT))

    def _encode_extended(self, total_extranonce_size: int, is_future: bool) -> tuple[bytes, bytes, bytes]:
        """The frame's header, what stands between the ids and the coinbase counter, and what stands after that."""
        prefix, suffix = self._job.shared_halves(total_extranonce_size)
        head, rest = _cut(self._profile.encode(NewExtendedMiningJob(
            channel_id=0, job_id=0, min_ntime=None if is_future else self._job.ntime, version=self._job.version,
            version_rolling_allowed=self._job.version_mask != 0, merkle_path=self._job.merkle_path,
            coinbase_tx_prefix=prefix, coinbase_tx_suffix=suffix)))
        counter_at = len(rest) - _LENGTH_SIZE - len(suffix) - COUNTER_SIZE      # the suffix is the last field
        return head, rest[:counter_at], rest[counter_at + COUNTER_SIZE:]


def _with_length(tail: bytes) -> bytes:
    """A coinbase's second half as the field of the message has it: behind its length."""
    return len(tail).to_bytes(_LENGTH_SIZE, "little") + tail


def _cut(frame: bytes) -> tuple[bytes, bytes]:
    return frame[:HEADER_SIZE], frame[_AFTER_IDS:]


def encoded(profile: Profile, job: Job) -> EncodedJob:
    """The job's frames as the factory made them once, or made here for a job that came without."""
    found = job.encodings.get(profile.name)
    return found if isinstance(found, EncodedJob) else EncodedJob(profile, job)


def encode_changes(profile: Profile, changes: Iterable[PeerChange], steps: list[Step]) -> None:
    """Add what tells a peer of `changes`, and the events among those. A job is future where its tip is new, and then
    activated by the `SetNewPrevHash` behind it, else active at once.
    """
    for change in changes:
        if isinstance(change, NewJob):
            channel, mine, is_new_tip, _ = change
            steps.append(encoded(profile, mine.job).frames(
                channel.channel_id, mine, channel.extranonce_size, is_future=is_new_tip))
        elif isinstance(change, NewTarget):
            steps.append(SetTarget(channel_id=change.channel.channel_id,
                                   maximum_target=change.target.to_bytes(32, "little")))
        elif isinstance(change, GroupJob):
            steps.append(encoded(profile, change.job).frames_for_group(change))
        else:
            steps.append(change)

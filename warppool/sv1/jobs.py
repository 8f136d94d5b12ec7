"""Jobs and targets in V1's words: each notify is encoded once, and all connections share its bytes."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Hashable, Iterable, Sequence

from warppool.mining.assignment import Assignment
from warppool.mining.counter import COUNTER_SIZE
from warppool.mining.course import CourseChange, NewJob, NewTarget
from warppool.mining.extranonce import PREFIX_SIZE
from warppool.mining.job import Job
from warppool.mining.payee import POOL, Payee
from warppool.sv1.answers import Step
from warppool.sv1.words import difficulty_text

ENCODING = "sv1"
"""The name of these encodings among a job's."""

_BEFORE_KEY = b'{"id":null,"method":"mining.notify","params":["'
_BETWEEN_HALVES = b'","'
_HEAD_AT = 3 + 64 + 3
"""Where a `notify_body` has the coinbase's first half: behind a separator, the previous hash in hex, a separator."""


class EncodedNotify:
    """`mining.notify` of one job, for extranonces of `extranonce_size` bytes in all: extranonce1 and extranonce2.

    Where payees differ, the line is prepared without the coinbase's second half, and that of the payee is put in.
    """

    __slots__ = ("_after_counter", "_after_tail", "_before_counter", "_clean", "_counter", "_further", "_job", "_tails",
                 "extranonce_size")

    def __init__(self, job: Job, extranonce_size: int) -> None:
        self.extranonce_size = extranonce_size
        head, tail = job.shared_halves(extranonce_size)
        body = notify_body(job.tip.prev_hash, head, tail, job.merkle_path, job.version, job.tip.nbits)
        end = _HEAD_AT + 2 * len(head)                  # of the coinbase's first half, which ends with the counter
        self._job = job
        self._counter = job.counter
        self._before_counter = body[:end - 2 * COUNTER_SIZE]
        self._tails: dict[Hashable, bytes] | None = None        # in hex, by their keys; None: one for all
        if tail:
            self._after_counter, self._after_tail = body[end:], b""
            self._clean = _after_key(body, job.ntime, is_clean=True)
            self._further = _after_key(body, job.ntime, is_clean=False)
            return
        tail_at = end + len(_BETWEEN_HALVES)
        self._after_counter, self._after_tail = body[end:tail_at], body[tail_at:]
        self._clean = _after_key(self._after_tail, job.ntime, is_clean=True)
        self._further = _after_key(self._after_tail, job.ntime, is_clean=False)
        self._tails = {key: hexlify(job.tail(key)) for key in job.rule.keys}

    def line(self, assignment: Assignment, payee: Payee = POOL, *, is_clean: bool) -> bytes:
        """The line of one assignment of the job; `is_clean` tells a machine to drop what it has, else to go on."""
        tails = self._tails
        if tails is not None:
            return self._line_for(assignment, payee, tails, is_clean)
        if assignment.counter == self._counter:
            return _BEFORE_KEY + b"%x" % assignment.key + (self._clean if is_clean else self._further)
        body = b"%b%08x%b" % (self._before_counter, assignment.counter, self._after_counter)
        return notify_line(assignment.key, body, assignment.ntime, is_clean=is_clean)

    def _line_for(self, assignment: Assignment, payee: Payee, tails: dict[Hashable, bytes], is_clean: bool) -> bytes:
        job = self._job
        key = job.rule.key(payee)
        tail = tails.get(key) or hexlify(job.tail(key))
        return b"%b%x%b%08x%b%b%b" % (_BEFORE_KEY, assignment.key, self._before_counter, assignment.counter,
                                      self._after_counter, tail, self._clean if is_clean else self._further)


class ChangeEncoder:
    """Brings one machine the changes of its course.

    A difficulty stands right before the job that it counts from, since machines count it from the next notify.
    """

    __slots__ = ("_announced", "_is_clean_due")

    def __init__(self) -> None:
        self._announced = 0                     # the target of the last set_difficulty, 0 for none yet
        self._is_clean_due = True               # the next notify tells the machine to drop what it has

    def begin(self) -> None:
        """The machine begins, or begins anew: it knows no difficulty, and what it has is not ours."""
        self._announced = 0
        self._is_clean_due = True

    def encode(self, changes: Iterable[CourseChange]) -> list[Step]:
        """The lines that bring `changes`, and the events among those."""
        steps: list[Step] = []
        for change in changes:
            if isinstance(change, NewJob):
                channel, mine, is_new_tip, is_clean = change
                if self._announced != mine.target:              # by now the channel's may be another one
                    self._announced = mine.target
                    steps.append(b'{"id":null,"method":"mining.set_difficulty","params":[%b]}\n' % difficulty_text(
                        mine.target).encode())
                is_clean |= is_new_tip or self._is_clean_due
                self._is_clean_due = False
                steps.append(encoded(mine.job, PREFIX_SIZE + channel.extranonce_size).line(
                    mine.assignment, mine.payee, is_clean=is_clean))
            elif not isinstance(change, NewTarget):
                steps.append(change)
        return steps


def notify_body(prev_hash: bytes, coinbase_head: bytes, coinbase_tail: bytes, merkle_path: Sequence[bytes],
                version: int, nbits: int) -> bytes:
    """What of a notify does not change from one assignment to the next: all between its key and its time."""
    branches = ",".join([f'"{sibling.hex()}"' for sibling in merkle_path])
    return (f'","{swap_words(prev_hash).hex()}","{coinbase_head.hex()}","{coinbase_tail.hex()}",[{branches}],'
            f'"{version:08x}","{nbits:08x}","').encode()


def notify_line(key: int, body: bytes, ntime: int, *, is_clean: bool) -> bytes:
    """A `mining.notify`."""
    return b"%b%x%b" % (_BEFORE_KEY, key, _after_key(body, ntime, is_clean=is_clean))


def _after_key(body: bytes, ntime: int, *, is_clean: bool) -> bytes:
    return b'%b%08x",%b]}\n' % (body, ntime, b"true" if is_clean else b"false")


def encoder(extranonce2_size: int) -> Callable[[Job], EncodedNotify]:
    """What a `JobFactory` needs among its encoders, under ENCODING."""
    return lambda job: EncodedNotify(job, PREFIX_SIZE + extranonce2_size)


def encoded(job: Job, extranonce_size: int) -> EncodedNotify:
    """The job's lines as the factory made them once, or made here for a job that came without."""
    found = job.encodings.get(ENCODING)
    if isinstance(found, EncodedNotify) and found.extranonce_size == extranonce_size:
        return found
    return EncodedNotify(job, extranonce_size)


def key_of(text: str) -> int:
    """The key that a machine names; -1, which no job has, for what is no key."""
    try:
        return int(text, 16)
    except ValueError:
        return -1


def swap_words(prev_hash: bytes) -> bytes:
    """Reverse the bytes inside each of the eight 4-byte words: header order to V1's, and back."""
    return b"".join(prev_hash[at:at + 4][::-1] for at in range(0, len(prev_hash), 4))

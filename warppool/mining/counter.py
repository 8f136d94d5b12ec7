"""The coinbase counter: 4 bytes in every coinbase that make each assignment of a job a search space of its own.

Without a counter, a job that is assigned a second time (after a change of difficulty, or to a session that is resumed)
would have the same coinbase as before. One header would then be valid under several keys, and a machine could name,
after hashing, the key with the hardest target that its hash happens to meet.

A counter must also be unknown before it is used. A machine that knew its next counter could hash first, and afterwards
ask for the difficulty that suits the hashes. So the numbers, which do count up, go through a permutation whose key is
drawn at the start of the daemon and told to nobody. Each of the two kinds of counters has a permutation of its own.
With one permutation for both, a machine that takes many counters of its own would know those of the jobs to come.
"""

from __future__ import annotations

from hashlib import blake2s

COUNTER_SIZE = 4
"""Bytes of the counter in the scriptSig, big-endian."""

ASSIGNED_AGAIN = 1 << 31
"""This bit is set in the counter of what goes to one channel, and clear in the counter of what goes to all."""

COUNTERS = 1 << 31
"""How many counters each of the two kinds has."""

SECRET_SIZE = 16
"""Bytes of the permutation's key."""

_FOR_ALL = b"for all"
_FOR_ONE = b"for one"

_ROUNDS = 8                     # of a Feistel network, whose halves have 16 and 15 bits
_LOW_BITS = 15
_LOW = (1 << _LOW_BITS) - 1
_HIGH = (1 << 16) - 1


class Shuffle:
    """A permutation of the numbers 0..2^31-1: no two counters are equal, and nobody can foresee the next one.

    `secret` has SECRET_SIZE random bytes, the same for the job factory and for all workers of one start. `kind` tells
    the permutations of one secret apart: who knows what one makes of a number knows nothing of the others.
    """

    __slots__ = ("_kind", "_secret")

    def __init__(self, secret: bytes, kind: bytes = _FOR_ALL) -> None:
        if len(secret) != SECRET_SIZE:
            raise ValueError(f"the secret of a shuffle has {SECRET_SIZE} bytes, not {len(secret)}")
        self._secret = secret
        self._kind = kind

    def for_one(self) -> Shuffle:
        """The permutation for what goes to one channel."""
        return Shuffle(self._secret, _FOR_ONE)

    def __call__(self, number: int) -> int:
        """What stands for `number` (0..2^31-1) in a coinbase; also 31 bits."""
        high, low = number >> _LOW_BITS, number & _LOW
        for turn in range(0, _ROUNDS, 2):
            high ^= self._mix(turn, low) & _HIGH
            low ^= self._mix(turn + 1, high) & _LOW
        return high << _LOW_BITS | low

    def _mix(self, turn: int, half: int) -> int:
        return int.from_bytes(blake2s(bytes((turn, half >> 8, half & 0xFF)), digest_size=2, key=self._secret,
                                      person=self._kind).digest(), "big")


class CoinbaseCounters:
    """The counters of one worker for what is assigned to one channel: of all numbers, those equal to `worker` modulo
    `workers`.

    The counters go on from one tip to the next and from one connection to the next. After 2^31 they begin anew. By then
    the keys that had them are long forgotten, since a channel keeps two tips.
    """

    __slots__ = ("_next", "_shuffle", "_step", "_worker")

    def __init__(self, shuffle: Shuffle, worker: int, workers: int) -> None:
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} of {workers}")
        self._shuffle = shuffle.for_one()
        self._worker = self._next = worker
        self._step = workers

    def take(self) -> int:
        """A counter (U32) that no other assignment of this start has."""
        number = self._next
        self._next = number + self._step if number + self._step < COUNTERS else self._worker
        return ASSIGNED_AGAIN | self._shuffle(number)

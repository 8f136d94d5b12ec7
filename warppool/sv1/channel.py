"""The channel of one V1 machine: what the machine prefers, and which lines bring it the changes of its course."""

from __future__ import annotations

import math

from warppool.bitcoin.target import MAX_TARGET
from warppool.events import Now
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel
from warppool.mining.counter import CoinbaseCounters
from warppool.mining.course import Course
from warppool.mining.difficulty import DifficultyPolicy
from warppool.mining.job import Job
from warppool.sv1.answers import Step
from warppool.sv1.jobs import ChangeEncoder
from warppool.sv1.words import NO_PREFERENCE, Preference

CHANNEL_ID = 1
"""A V1 connection is one channel."""


class MachineChannel:
    """What the machine mines on, and under which target. `channel` is None before the machine subscribes, and
    again when the channel has gone to another session.

    The channel is open once the machine may have jobs: subscribed and authorized.
    """

    __slots__ = ("_course", "_encoder", "_said", "channel", "preference")

    def __init__(self, conn_id: int, policy: DifficultyPolicy, counters: CoinbaseCounters) -> None:
        self.channel: Channel | None = None
        self.preference = NO_PREFERENCE
        self._said = NO_PREFERENCE              # what this machine itself had said when it took up a session
        self._course = Course(conn_id, policy, counters)
        self._encoder = ChangeEncoder()

    @property
    def is_on(self) -> bool:
        """The machine may have jobs."""
        return self.channel is not None and self.channel.is_open

    @property
    def has_work(self) -> bool:
        """The machine has a job to mine on."""
        return self.is_on and self._course.job is not None

    @property
    def job(self) -> Job | None:
        """The newest job for all; None before the first."""
        return self._course.job

    @property
    def wakes_at(self) -> float:
        """Monotonic seconds: when `review` is to be called without a share."""
        channel = self.channel
        return channel.wakes_at if channel is not None and self.has_work else math.inf

    @property
    def network_target(self) -> int:
        """The network's, as far as it is known."""
        return self._course.network_target

    # -- its life ------------------------------------------------------------------------------------------------

    def open(self, prefix: bytes, extranonce2_size: int) -> None:
        """A new channel; its target is found when it begins."""
        self.channel = Channel(CHANNEL_ID, "", prefix, extranonce2_size, self._start(), MAX_TARGET, Keys(), None)
        self.channel.is_open = False

    def resume(self, channel: Channel, preference: Preference, now: Now) -> list[Step]:
        """The channel of a session that was dropped, and what its machine preferred, where it has not said more now."""
        self.channel = channel
        said, self.preference = self.preference, preference
        self._said = said
        channel.review_flood(now.monotonic)         # of shares that were judged when the connection was gone
        self._course.follow_policy(channel)         # it may be another worker's until now
        if channel.vardiff is not None:             # what it found before the drop is as good as a declaration
            channel.vardiff.restart(channel.target, now.monotonic, is_declared=True)
        return self.follow(said.over(preference), now)

    def succeed(self, channel: Channel) -> None:
        """A new channel in the place of `channel`, which was another account's, and of which nothing is to be known."""
        if self.channel is channel:                     # its machine's preference was taken up, too
            self.preference = self._said
        self.channel = channel.successor(self._start())
        self.channel.is_open = False

    def begin(self, user: str, now: Now) -> list[Step]:
        """The machine may have jobs: it starts, or goes on, or subscribed once more and gets its work anew."""
        channel = self.channel
        assert channel is not None
        self._encoder.begin()
        if not channel.is_open:
            channel.is_open = True
            if not channel.user:
                channel.user = user
                self._course.begin(channel, now)
                self._measure(channel, self._start(), now)
            channel.set_target(self._course.granted(channel))
        return self._encoder.encode(self._course.assign_again(channel))

    def end(self) -> None:
        """No more jobs; the channel may be another session's soon."""
        if self.channel is not None:
            self.channel.is_open = False

    # -- its course ----------------------------------------------------------------------------------------------

    def offer(self, job: Job) -> list[Step]:
        """A new job for all; it goes out if the machine is ready for it."""
        self._course.job = job
        return self._encoder.encode(self._course.assign(self.channel)) if self.channel is not None else []

    def review(self, now: Now) -> list[Step]:
        """Ask throttle and vardiff whether the target is still the right one."""
        return self._encoder.encode(self._course.review(self.channel, now)) if self.channel is not None else []

    def follow(self, preference: Preference, now: Now) -> list[Step]:
        """The machine has said what it prefers; nothing changes where it says the same again."""
        if preference == self.preference:
            return []
        is_start = ((preference.start is not None and preference.start != self.preference.start)
                    or (preference.hash_rate > 0 and preference.hash_rate != self.preference.hash_rate))
        self.preference = preference
        channel = self.channel
        if channel is None or not channel.user:     # it will begin as the machine prefers
            return []
        is_start |= preference.is_fixed             # it stays there, whatever vardiff had found
        self._measure(channel, self._start() if is_start else channel.target, now)
        return self._encoder.encode(self._course.regrant(channel, "asked"))

    def _start(self) -> int:
        """The target that a new channel gets, before any bounds."""
        start = self.preference.start
        return self._course.policy.wanted_at_open(self.preference.hash_rate) if start is None else start

    def _measure(self, channel: Channel, goal: int, now: Now) -> None:
        self._course.measure(channel, goal, now, easiest=self.preference.easiest, is_fixed=self.preference.is_fixed)

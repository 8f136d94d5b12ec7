"""The channels of one connection to an upstream, by all that they are looked up by."""

from __future__ import annotations

from warppool.events import Event, Now
from warppool.translate.channel import Stage, UpstreamChannel
from warppool.translate.pace import Pace
from warppool.translate.upstream import Unfit

GROUP_AT_ONCE, GROUP_EVERY_S = 128, 0.05
"""Messages to several channels at once, and how fast more may come: each costs us as much as one to each of them. At a
tip a pool sends one or two; the embedded chain makes five tips a second."""


class Members:
    """Owned by one connection; `all` has every channel that depends on it, the retired among them."""

    __slots__ = ("_group_pace", "all", "asked", "by_id", "retired")

    def __init__(self) -> None:
        self.all: dict[UpstreamChannel, None] = {}    # sets that keep their order
        self.asked: dict[int, UpstreamChannel] = {}   # by request_id, until the pool has answered
        self.by_id: dict[int, UpstreamChannel] = {}   # by channel_id: open or retired
        self.retired: dict[UpstreamChannel, None] = {}    # their last shares are awaited
        self._group_pace = Pace(GROUP_AT_ONCE, GROUP_EVERY_S)

    def pay_for(self, channels: int, now: float) -> None:
        """The pool has said something to so many channels at once; Unfit where it does so to several all the time."""
        if channels > 1 and not self._group_pace.take(now):
            raise Unfit("it says more to its groups than any pool has to say")

    def take_asked(self, request_id: int) -> UpstreamChannel | None:
        """The channel that was asked for so, None where its machine has gone meanwhile."""
        channel = self.asked.pop(request_id, None)
        return channel if channel is not None and channel.stage is Stage.ASKED else None

    def drop(self, channel: UpstreamChannel) -> None:
        """It is over."""
        self.all.pop(channel, None)
        self.retired.pop(channel, None)
        if self.by_id.get(channel.channel_id) is channel:
            del self.by_id[channel.channel_id]

    def move(self, reason: str, now: Now, *, may_close: bool = True) -> list[Event]:
        """Their machines are to leave for another upstream, or another connection (`ChannelOwner.move`)."""
        return [event for channel in list(self.all) if channel.stage is not Stage.RETIRED
                for event in channel.owner.move(channel, reason, now, may_close=may_close)]

    def take_all(self) -> list[UpstreamChannel]:
        """All of them, none of which is left."""
        channels = list(self.all)
        self.all.clear()
        self.asked.clear()
        self.by_id.clear()
        self.retired.clear()
        return channels

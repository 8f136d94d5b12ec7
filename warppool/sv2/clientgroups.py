"""Group channels as a mining client sees them: what a pool says to a group counts for all channels in it.

A channel joins the group that the answer to its open names, and SetGroupChannel may put it into another. All members
have full extranonces of one length, since the coinbase that they share has the length of its scriptSig in it.

Future jobs of a group are held once, by the group. A channel that leaves the group, or gets another extranonce prefix,
takes those that it has received with it, with the prefix of their arrival.

Source: Sv2 Mining Protocol §5.1.3 and §5.3; docs/sv2-wire.rst#messages-mining.
"""

from __future__ import annotations

from collections.abc import Sequence

from warppool.errors import RemoteProtocolError
from warppool.sv2.messages.mining import NewExtendedMiningJob, SetNewPrevHash
from warppool.sv2.work import MAX_FUTURE_JOBS, ClientChannel, Work, check_size

NO_GROUP = 0
"""The group id in the answer to an open that stands for no group."""


class JoinedGroup:
    """One group: its members in the order in which they joined, and the future jobs that came for it.

    `extranonce_size` is the length of every member's full extranonce, in bytes.
    """

    __slots__ = ("extranonce_size", "future", "members")

    def __init__(self, extranonce_size: int) -> None:
        self.extranonce_size = extranonce_size
        self.members: dict[int, ClientChannel] = {}             # by channel id
        self.future: dict[int, NewExtendedMiningJob] = {}       # by job id

    def take_job(self, m: NewExtendedMiningJob) -> list[Work]:
        """A job for all members: the work of each; none for a future job. A member without a tip cannot mine it."""
        check_size(m, self.extranonce_size)
        if m.min_ntime is not None:
            return [member.begin(m, m.min_ntime) for member in self.members.values() if member.has_tip]
        self.future[m.job_id] = m
        if len(self.future) > MAX_FUTURE_JOBS:
            del self.future[next(iter(self.future))]
        return []

    def take_tip(self, m: SetNewPrevHash) -> list[Work]:
        """The tip moved for all members: the work of the future job that it names."""
        job = self.future.get(m.job_id)
        works = [member.take_tip(m, job) for member in self.members.values()]
        self.future.clear()
        return works

    def part_with(self, channel: ClientChannel) -> None:
        """`channel` keeps the future jobs that it has received here, with the prefix that it has now."""
        for job in self.future.values():
            channel.hold(job)


class JoinedGroups:
    """All groups of one connection; one without members does not exist."""

    __slots__ = ("_by_id", "_ids")

    def __init__(self) -> None:
        self._by_id: dict[int, JoinedGroup] = {}
        self._ids: dict[int, int] = {}              # by channel id: the id of its group

    def __contains__(self, group_id: int) -> bool:
        return group_id in self._by_id

    def get(self, group_id: int) -> JoinedGroup | None:
        """The group of that id, None if no channel is in it."""
        return self._by_id.get(group_id)

    def join(self, channels: Sequence[ClientChannel], group_id: int) -> int:
        """`channels` are in this group from now on and in no other; how many of them were not. RemoteProtocolError
        where they do not fit it.
        """
        group = self._by_id.get(group_id)
        sizes = {channel.full_size for channel in channels} | ({group.extranonce_size} if group is not None else set())
        if len(sizes) > 1 and group_id != NO_GROUP:
            raise RemoteProtocolError(f"group {group_id} with extranonces of {sorted(sizes)} bytes")
        moved = 0
        for channel in channels:
            if self._ids.get(channel.channel_id, NO_GROUP) == group_id:
                continue
            moved += 1
            self.leave(channel)
            if group_id != NO_GROUP:
                group = self._by_id.get(group_id) or JoinedGroup(channel.full_size)
                group.members[channel.channel_id] = channel
                self._by_id[group_id] = group
                self._ids[channel.channel_id] = group_id
        return moved

    def leave(self, channel: ClientChannel) -> None:
        """`channel` is in no group from now on."""
        group_id = self._ids.pop(channel.channel_id, None)
        if group_id is not None:
            group = self._by_id[group_id]
            group.part_with(channel)
            del group.members[channel.channel_id]
            if not group.members:
                del self._by_id[group_id]

    def take_prefix(self, channel: ClientChannel, prefix: bytes) -> None:
        """Another extranonce prefix for jobs to come; RemoteProtocolError where it is of no use to the channel."""
        group_id = self._ids.get(channel.channel_id)
        if group_id is None:
            channel.take_prefix(prefix)
            return
        group = self._by_id[group_id]
        size = len(prefix) + channel.extranonce_size
        if size != group.extranonce_size and len(group.members) > 1:
            raise RemoteProtocolError(f"an extranonce of {size} bytes for one channel of a group, whose others have "
                                      f"{group.extranonce_size}")
        group.part_with(channel)
        channel.take_prefix(prefix)
        group.extranonce_size = size

    def future_job(self, channel: ClientChannel, job_id: int) -> NewExtendedMiningJob | None:
        """The future job of that id which came for the channel's group."""
        group_id = self._ids.get(channel.channel_id)
        return None if group_id is None else self._by_id[group_id].future.get(job_id)

    def dissolve(self, group_id: int) -> list[int]:
        """The group is gone: the ids of the channels that were in it."""
        group = self._by_id.pop(group_id, None)
        members = [] if group is None else list(group.members)
        for channel_id in members:
            del self._ids[channel_id]
        return members

"""How channels are opened on one Sv2 connection, and what is said where one is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from warppool.events import Close, Happened, Now
from warppool.mining.account import NoAccount
from warppool.mining.assignment import Keys
from warppool.mining.channel import Channel
from warppool.mining.course import Course
from warppool.mining.extranonce import MAX_EXTRANONCE_SIZE, PREFIX_SIZE, PrefixPool
from warppool.mining.identity import MAX_BAD_NAMES, NO_NAME, read_identity
from warppool.mining.names import BAD_NAME, NameRule
from warppool.mining.payee import Payee
from warppool.mining.rooms import LARGEST_ROOM, USUAL_ROOM
from warppool.sv2.jobs import Step
from warppool.sv2.messages.mining import (
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
)
from warppool.sv2.types import Message

DEFAULT_EXTRANONCE_SIZE = 8
"""Rollable bytes of an extended channel unless it asks for more: then V1 and V2 share one coinbase."""

MAX_CHANNELS = 1000
"""Channels on one connection: more than any farm behind a proxy, and a bound on what one peer can make us hold."""

MAX_OPENS = 10 * MAX_CHANNELS
"""Opens in the life of one connection, granted or not: past it, somebody fills the journal and mines nothing."""


class Refusal(NamedTuple):
    """An open is refused with `code`. Not `is_counted`: the peer may ask for ever, and keeps the channels it has.

    `more` is for the log; `is_form`: the name that was said is none, whatever the pool pays.
    """

    code: str
    is_counted: bool = True
    more: tuple[tuple[str, object], ...] = ()
    is_form: bool = False


class Opener:
    """Opens the channels of one connection. `agent`, `room` and `requires_standard_jobs` are what its peer said at the
    set-up: what it calls itself, how large a coinbase it can hold, and whether it takes no extended channel.
    """

    __slots__ = ("_bad_names", "_conn_id", "_course", "_error_codes", "_has_refused", "_keys", "_names",
                 "_next_channel_id", "_prefixes", "_refused_opens", "agent", "requires_standard_jobs", "room")

    def __init__(self, conn_id: int, course: Course, prefixes: PrefixPool, names: NameRule,
                 error_codes: Mapping[str, str]) -> None:
        self.agent = ""
        self.room = USUAL_ROOM
        self.requires_standard_jobs = False
        self._conn_id = conn_id
        self._course = course
        self._prefixes = prefixes
        self._names = names
        self._error_codes = error_codes         # by our words for a refusal: the profile's, where it has others
        self._keys = Keys()                     # of all channels: a group and its members share one number space
        self._next_channel_id = 1
        self._refused_opens = 0                 # those that count
        self._has_refused = False
        self._bad_names = 0                     # refused for their form

    def open(self, m: OpenStandardMiningChannel | OpenExtendedMiningChannel, open_channels: int,
             now: Now) -> tuple[Channel | None, list[Step]]:
        """The channel that was opened, without work as yet, or None where it was refused; and what is said of it.

        `open_channels` is how many there are.
        """
        channel = self._open(m, open_channels, now)
        if isinstance(channel, Refusal):
            return None, self._refuse(m.request_id, channel)
        address = "" if channel.payee is None else channel.payee.account
        return channel, [_answer(m.request_id, channel), self._opened(channel),
                         *self._names.said(self._conn_id, channel.user, address, now.monotonic)]

    def _open(self, m: OpenStandardMiningChannel | OpenExtendedMiningChannel, open_channels: int,
              now: Now) -> Channel | Refusal:
        extranonce_size = self._extranonce_size(m) if isinstance(m, OpenExtendedMiningChannel) else 0
        if isinstance(extranonce_size, Refusal):
            return extranonce_size
        max_target = int.from_bytes(m.max_target, "little")
        user = read_identity(m.user_identity)
        if user is None:
            return Refusal(BAD_NAME, is_form=True, more=(
                ("user", m.user_identity), ("meaning", NO_NAME)))
        payee = self._payee(user, extranonce_size)
        if isinstance(payee, Refusal):
            return payee
        if not is_hash_rate(m.nominal_hash_rate):
            return Refusal("invalid-nominal-hashrate")
        if max_target == 0:
            return Refusal("max-target-out-of-range")
        if open_channels >= MAX_CHANNELS:
            return Refusal("too-many-channels", is_counted=False)        # the others mine on
        if self._next_channel_id >= MAX_OPENS:
            return Refusal("too-many-channels")
        prefix = self._prefixes.take()
        if prefix is None:
            return Refusal("no-extranonce-prefix-left")
        goal = self._course.policy.wanted_at_open(m.nominal_hash_rate)
        channel = Channel(self._next_channel_id, user, prefix, extranonce_size, goal, max_target, self._keys, payee)
        self._next_channel_id += 1
        self._course.begin(channel, now)
        self._course.measure(channel, goal, now, is_declared=m.nominal_hash_rate > 0)
        channel.set_target(self._course.granted(channel))
        return channel

    def _payee(self, user: str, extranonce_size: int) -> Payee | Refusal:
        """Who is paid for a channel of that name. What its machine sees of a coinbase, if anything, must fit it."""
        names = self._names
        try:
            account = names.account(user)
        except NoAccount as exc:
            # Anyone may stand behind a translator, and the other machines there mine on.
            return Refusal(BAD_NAME, is_counted=False, more=(("user", user), ("meaning", str(exc))))
        if not names.has_rooms:
            return names.payee(account, 0)
        if extranonce_size == 0 and not self._course.takes_groups:
            return names.payee(account, LARGEST_ROOM)
        return names.payee(account, self.room).with_extranonce(PREFIX_SIZE + extranonce_size)

    def _extranonce_size(self, m: OpenExtendedMiningChannel) -> int | Refusal:
        if self.requires_standard_jobs:
            return Refusal("extended-channels-not-supported-for-standard-jobs")
        if m.min_extranonce_size > MAX_EXTRANONCE_SIZE - PREFIX_SIZE:
            return Refusal("min-extranonce-size-too-large")
        return max(DEFAULT_EXTRANONCE_SIZE, m.min_extranonce_size)

    def _opened(self, channel: Channel) -> Happened:
        return Happened(self._conn_id, "info", "miner.opened", (
            ("channel", channel.channel_id), ("user", channel.user),
            ("kind", "extended" if channel.extranonce_size else "standard"),
            ("prefix", channel.extranonce_prefix), ("difficulty", channel.difficulty), ("agent", self.agent)))

    def _refuse(self, request_id: int, refusal: Refusal) -> list[Step]:
        """The first refusal of a connection is news for the operator; the rest are for who looks closely.

        A peer that asks on and on, or says names that are none on and on, is no machine.
        """
        level = "debug" if self._has_refused else "info"
        self._has_refused = True
        self._refused_opens += refusal.is_counted
        code = refusal.code
        steps: list[Step] = [
            OpenMiningChannelError(request_id=request_id, error_code=self._error_codes.get(code, code)),
            Happened(self._conn_id, level, "miner.refused", (("reason", code), *refusal.more, ("agent", self.agent)))]
        if refusal.is_counted and self._refused_opens + self._next_channel_id > MAX_OPENS:
            steps.append(Close(self._conn_id, f"more than {MAX_OPENS} channels asked for", is_peers_fault=True))
        if refusal.is_form:
            self._bad_names += 1
            if self._bad_names >= MAX_BAD_NAMES:
                steps.append(Close(self._conn_id, f"{MAX_BAD_NAMES} names that are none", is_peers_fault=True))
        return steps


def _answer(request_id: int, channel: Channel) -> Message:
    target = channel.target.to_bytes(32, "little")
    if channel.extranonce_size == 0:
        return OpenStandardMiningChannelSuccess(
            request_id=request_id, channel_id=channel.channel_id, target=target,
            extranonce_prefix=channel.extranonce_prefix, group_channel_id=channel.group_id)
    return OpenExtendedMiningChannelSuccess(
        request_id=request_id, channel_id=channel.channel_id, target=target,
        extranonce_size=channel.extranonce_size, extranonce_prefix=channel.extranonce_prefix,
        group_channel_id=channel.group_id)


def is_hash_rate(rate: float) -> bool:
    """A finite number of hashes a second, not below zero."""
    return math.isfinite(rate) and rate >= 0

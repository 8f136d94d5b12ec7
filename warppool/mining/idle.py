"""When a channel is idle, and is closed: one that finds no share is, and one that is merely slow is not.

Only accepted shares count. A declared hash rate and shares that are refused cost a machine nothing, so they keep no
channel open.
"""

from __future__ import annotations

from warppool.bitcoin.target import MAX_TARGET
from warppool.mining.channel import Channel

MEAN_INTERVALS = 20
"""A channel may be silent for so many times its mean interval. Chance alone keeps an honest one silent for so long
once in 10^8 times."""

FIRST_SHARE_S = 86_400.0
"""How long the first share may take where the difficulty cannot fall further: where a slow machine has chosen the
difficulty itself, or where it is the least there is."""


def patience_s(idle_timeout_s: float, accepted: int, span_s: float) -> float:
    """Seconds without an accepted share that are no fault, after `accepted` (> 0) of them within `span_s` seconds."""
    return max(idle_timeout_s, MEAN_INTERVALS * span_s / accepted)


def idle_by(channel: Channel, since: float, idle_timeout_s: float, network_target: int) -> float:
    """When the channel is idle unless a share is accepted before, in monotonic seconds.

    `since` is when its machine connected, or came back. Before the first share vardiff makes the difficulty easier as
    long as it can. So a caller asks again at the time of the answer, which may be a later one by then.
    """
    if channel.accepted:
        patience = patience_s(idle_timeout_s, channel.accepted, channel.accepted_at - channel.began_at)
        return max(since, channel.accepted_at) + patience
    return since + (max(idle_timeout_s, FIRST_SHARE_S) if _is_easiest(channel, network_target) else idle_timeout_s)


def _is_easiest(channel: Channel, network_target: int) -> bool:
    vardiff = channel.vardiff
    return vardiff is None or vardiff.is_easiest(min(channel.max_target, MAX_TARGET), network_target)

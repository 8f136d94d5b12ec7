"""What passes the doors, counted by words of ours alone, since no stranger shall make labels up: shares by protocol,
channels, handshakes, connections that were dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from warppool.stats.items import HandshakeOver, PeerDropped
from warppool.stats.snapshot import TrafficStats

KINDS: Final = {"sv1": "v1", "sv1-tls": "v1-tls", "sv2": "v2", "sv2-spec": "v2-spec", "sv2-spec, seen": "v2-spec"}
"""What a machine speaks, by the kind of its connection."""

SPOKEN: Final = {"v1-tls": "v1"}
"""Of a share nobody knows whether it came through TLS."""

CHANNEL_TYPES: Final = ("extended", "standard")

FAULT: Final = "fault"
DROPS: Final = ("max_connections", "max_per_ip", "no_work", "proxy_header", "slow", FAULT)
"""Why connections are closed: as many are here as may be, or of one address; there is no work; too many wait for a
PROXY header; the peer does not read; or it has broken a rule, or said nothing for too long."""

DONE: Final = "done"
FAILED: Final = "failed"


class Traffic:
    """Owned by one thread. All of it is since the start, but for `channels`, which are open now."""

    def __init__(self) -> None:
        self.channels: Counter[str] = Counter(dict.fromkeys(CHANNEL_TYPES, 0))
        self._accepted = dict.fromkeys(("v1", "v2"), (0, 0.0))      # shares, and their difficulty
        self._refused: Counter[tuple[str, str]] = Counter()
        self._handshakes: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[str] = Counter()

    def accept(self, protocol: str, shares: int, difficulty: float) -> None:
        """Shares in the books; `protocol` is theirs."""
        protocol = KINDS.get(protocol, protocol)
        before = self._accepted.get(protocol, (0, 0.0))
        self._accepted[protocol] = before[0] + shares, before[1] + difficulty

    def refuse(self, protocol: str, reason: str, count: int) -> None:
        """Shares that were refused; `protocol` is as in `WorkerStats`, "" where it is not known."""
        self._refused[SPOKEN.get(protocol, protocol), reason] += count

    def hear(self, item: HandshakeOver | PeerDropped) -> None:
        """Something happened at a door."""
        if isinstance(item, PeerDropped):
            self._dropped[item.reason] += 1
        else:
            self._handshakes[KINDS.get(item.kind, "other"), DONE if item.is_done else FAILED] += 1

    def stats(self, dropped: Mapping[str, int]) -> TrafficStats:
        """As it is now; `dropped` is what the reactor has closed."""
        return TrafficStats(
            shares=tuple((protocol, *sums) for protocol, sums in sorted(self._accepted.items())),
            refused=tuple((*key, count) for key, count in sorted(self._refused.items())),
            channels=tuple(self.channels.items()),
            handshakes=tuple((*key, count) for key, count in sorted(self._handshakes.items())),
            dropped=tuple((reason, self._dropped[reason] + dropped.get(reason, 0)) for reason in DROPS))

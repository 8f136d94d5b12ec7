"""From one view to the next: what happened between them that is worth a notice.

Each place that is told has a watch of its own, which looks for what that place wants to hear. Blocks and machines are
compared with those of the first view, so that a restart repeats none of them. Trouble that is there at a start is told.
No thread and no clock stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from warppool.notices import kinds
from warppool.notices.kinds import Notice
from warppool.notices.view import ACCEPTED, BEHIND, FOUND, LOST, ORPHANED, SETTLED, UP, SeenMachine, View

NODE_LASTS_S: Final = 30.0
"""A node is told of as lost or behind once that has lasted so long: each restart of a node would be two notices."""

FIRST_WORK_S: Final = 60.0
"""A start may take so long to its first template before that is called no work."""

MACHINES_EVERY_S: Final = 10.0
"""Between two looks at all machines, of which there may be ten thousand."""

ENDS_WITHIN_S: Final = 14 * 86_400
"""Before the end of a certificate: ACME clients renew 30 days ahead, so one that is there still was forgotten."""

DAY_S: Final = 86_400.0

_OF_BLOCKS: Final = {FOUND: kinds.BLOCK_FOUND, ACCEPTED: kinds.BLOCK_ACCEPTED, ORPHANED: kinds.BLOCK_ORPHANED,
                     SETTLED: kinds.BLOCK_SETTLED}
_OF_NODES: Final = {LOST: kinds.NODE_LOST, BEHIND: kinds.NODE_BEHIND, UP: kinds.NODE_BACK}


class Watch:
    """What one place wants to hear: `events` of kinds.EVENTS, machines that are gone for `gone_s` seconds."""

    def __init__(self, events: Collection[str], gone_s: float) -> None:
        self._events = frozenset(events)
        watchers: tuple[tuple[set[str], Callable[[View], Iterator[Notice]]], ...] = (
            (set(_OF_BLOCKS.values()), OwnBlockWatch().look),
            (set(_OF_NODES.values()), NodeWatch().look),
            ({kinds.WORK_NONE}, WorkWatch().look),
            ({kinds.MACHINE_GONE, kinds.MACHINE_BACK}, MachineWatch(gone_s).look),
            ({kinds.CERTIFICATE_EXPIRING}, CertificateWatch().look),
            ({kinds.LEDGER_TROUBLE}, LedgerWatch().look),
            ({kinds.UPDATE_THERE}, UpdateWatch().look),
        )
        self._watchers = [look for kinds_of_it, look in watchers if kinds_of_it & self._events]

    def look(self, view: View) -> list[Notice]:
        """What happened since the view before."""
        return [notice for look in self._watchers for notice in look(view) if notice.event in self._events]


class OwnBlockWatch:
    """Each block of ours, and what becomes of it. A view holds the newest blocks only; older ones are forgotten."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None          # by hash

    def look(self, view: View) -> Iterator[Notice]:
        """Blocks that came, and blocks whose state is another."""
        known, self._states = self._states, {block.block_hash: block.state for block in view.blocks}
        if known is None:
            return
        oldest = min((block.height for block in view.blocks if block.block_hash in known), default=0)
        for block in view.blocks:
            before = known.get(block.block_hash)
            if before is None and block.height < oldest:
                continue                # it came back into the list, as where a newer one left it
            facts: tuple[tuple[str, kinds.Fact], ...] = (
                ("height", block.height), ("hash", block.block_hash), ("found_by", block.worker))
            if before is None:
                yield Notice(kinds.BLOCK_FOUND, view.at, facts)
            if block.state not in (before, FOUND):
                yield Notice(_OF_BLOCKS[block.state], view.at, facts)


class _Told(NamedTuple):
    """A node's state and since when; and the state that was told last, and since when that lasted."""

    state: str
    since: float
    told: str
    told_since: float


class NodeWatch:
    """Nodes that are lost, behind, or back."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Told] = {}

    def look(self, view: View) -> Iterator[Notice]:
        """States that have lasted. A node that nobody has heard of before counts as one that was up until now."""
        before, self._nodes = self._nodes, {}
        for node in view.nodes:
            known = before.get(node.name, _Told(UP, view.at, UP, view.at))
            since = known.since if known.state == node.state else view.at
            lasts_s = 0.0 if node.state == UP else NODE_LASTS_S
            if node.state != known.told and view.at - since >= lasts_s:
                yield Notice(_OF_NODES[node.state], view.at, (("node", node.name), *_why(node.state, node.reason), *(
                    (("after_s", round(view.at - known.told_since)),) if node.state == UP else ())))
                known = known._replace(told=node.state, told_since=since)
            self._nodes[node.name] = known._replace(state=node.state, since=since)


class WorkWatch:
    """Whether there is work for machines."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._none_since: float | None = None       # and that was told

    def look(self, view: View) -> Iterator[Notice]:
        """None any more, or some again."""
        if self._began_at is None:
            self._began_at = view.at
        is_missing = view.has_work is False or (
            view.has_work is None and view.at - self._began_at >= FIRST_WORK_S)
        if is_missing and self._none_since is None:
            self._none_since = view.at
            yield Notice(kinds.WORK_NONE, view.at, tuple(
                (node.name, node.reason) for node in view.nodes if node.state != UP))
        elif view.has_work and self._none_since is not None:
            yield Notice(kinds.WORK_BACK, view.at, (("after_s", round(view.at - self._none_since)),))
            self._none_since = None


class MachineWatch:
    """Machines that are gone for `gone_s` seconds, and those of them that are back."""

    def __init__(self, gone_s: float) -> None:
        self._gone_s = gone_s
        self._gone: dict[str, float] | None = None          # by name: since when
        self._looks_at = 0.0

    def look(self, view: View) -> Iterator[Notice]:
        """Compare all machines, now and then. A name that nobody has any more in a list is forgotten."""
        if self._gone is not None and 0 <= self._looks_at - view.at <= MACHINES_EVERY_S:
            return
        self._looks_at = view.at + MACHINES_EVERY_S
        gone: dict[str, float] = {}
        for machine in view.machines:
            before = None if self._gone is None else self._gone.get(machine.name)
            if machine.is_connected:
                if before is not None:
                    yield Notice(kinds.MACHINE_BACK, view.at, (
                        *_machine(machine), ("after_minutes", round((view.at - before) / 60))))
            elif before is not None or view.at - machine.seen_at >= self._gone_s:
                gone[machine.name] = machine.seen_at
                if before is None and self._gone is not None:
                    yield Notice(kinds.MACHINE_GONE, view.at, (
                        *_machine(machine), ("for_minutes", round((view.at - machine.seen_at) / 60))))
        self._gone = gone


class CertificateWatch:
    """Certificates that end soon: once a day each, until they are renewed."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, float], float] = {}

    def look(self, view: View) -> Iterator[Notice]:
        """This is said at a start, too: who restarts a pool has not looked at its certificate."""
        for certificate in view.certificates:
            left_s = certificate.ends_at - view.at
            if left_s < ENDS_WITHIN_S and view.at >= self._next.get(certificate, view.at):
                self._next = {key: when for key, when in self._next.items() if key[0] != certificate.name}
                self._next[certificate] = view.at + DAY_S
                yield Notice(kinds.CERTIFICATE_EXPIRING, view.at, (
                    ("certificate", certificate.name), ("ends_in_days", int(left_s // DAY_S))))


class LedgerWatch:
    """Whether the books can be written."""

    def __init__(self) -> None:
        self._since: float | None = None

    def look(self, view: View) -> Iterator[Notice]:
        """Trouble, and its end. Trouble that is there at the start is told."""
        if view.trouble and self._since is None:
            self._since = view.at
            yield Notice(kinds.LEDGER_TROUBLE, view.at, (("reason", view.trouble),))
        elif not view.trouble and self._since is not None:
            yield Notice(kinds.LEDGER_BACK, view.at, (("after_s", round(view.at - self._since)),))
            self._since = None


class UpdateWatch:
    """Whether another version of the package is installed than the one that runs."""

    def __init__(self) -> None:
        self._told = ""

    def look(self, view: View) -> Iterator[Notice]:
        """Once for each version."""
        if view.other_version and view.other_version != self._told:
            yield Notice(kinds.UPDATE_THERE, view.at, (("installed", view.other_version),))
        self._told = view.other_version


class DigestClock:
    """Once a day, at the hour `hour` of the machine's clock. A start after that hour waits for the next day."""

    def __init__(self, hour: int) -> None:
        self._hour = hour
        self._done: tuple[int, int] | None = None           # year and day of the year

    def is_due(self, year: int, day: int, hour: int) -> bool:
        """Whether the digest of that day is due now; true once."""
        today = (year, day)
        if self._done is None:
            self._done = today if hour >= self._hour else (0, 0)
        if self._done == today or hour < self._hour:
            return False
        self._done = today
        return True


def _why(state: str, reason: str) -> tuple[tuple[str, kinds.Fact], ...]:
    return (("reason", reason),) if state != UP and reason else ()


def _machine(machine: SeenMachine) -> tuple[tuple[str, kinds.Fact], ...]:
    return (("machine", machine.name), *((("agent", machine.agent),) if machine.agent else ()))

"""Whether it works, in one word and one sentence: of the pool, of a user, of a machine."""

from __future__ import annotations

from warppool.page import words
from warppool.page.view import State
from warppool.page.wording import POOL, Wording
from warppool.stats.snapshot import NodeStats, StatsSnapshot, UserStats, WorkerStats


def pool_state(stats: StatsSnapshot, wording: Wording = POOL) -> State:
    """The worst that is true, and what else a reader should know."""
    state = _state(stats, wording)
    if stats.is_whole:
        return state
    return state._replace(sentence=f"{state.sentence} The books are still being read: averages, bests and totals are "
                                   "of this run alone.")


def _state(stats: StatsSnapshot, wording: Wording) -> State:
    work = stats.work
    lost = [node for node in stats.nodes if node.state == "lost"]
    age_s = work.template_age_s
    if not stats.number:
        return State("warn", "Starting.",
                     f"The {wording.program} has just been started. Its numbers come within seconds.")
    if not work.has_work:
        return State("bad", "No work.", f"No {wording.giver} gives any{_why(lost)}, so nobody can mine here now.")
    if stats.ledger.is_troubled:
        return State("bad", "Trouble.", wording.trouble)
    if age_s is not None and age_s > wording.old_work_s:
        return State("warn", "Old work.",
                     f"The {wording.giver} has given nothing new for {words.span(age_s)}{_why(lost)}.")
    if not stats.machines:
        return State("warn", "Waiting.", f"The {wording.program} works, and no machine is connected.")
    if age_s is None:
        return State("warn", "Waiting.", f"{_machines(stats.machines)}, and no work has come yet.")
    sentence = f"{_machines(stats.machines)} on work that is {words.span(age_s)} old."
    if lost:
        sentence += (f" {len(lost)} of {len(stats.nodes)} {wording.givers} {'does' if len(lost) == 1 else 'do'} not "
                     "answer.")
    return State("good", "Working.", sentence)


def _why(lost: list[NodeStats]) -> str:
    """Which nodes are lost. Their reasons name addresses and files of the operator's: status and journal have them."""
    return f" (lost: {', '.join(node.name for node in lost)})" if lost else ""


def _machines(count: int) -> str:
    return "1 machine mines" if count == 1 else f"{words.count(count)} machines mine"


def user_state(user: UserStats, at: float) -> State:
    """Whether his machines are there and send shares."""
    if not user.machines:
        return _gone(user.tally.last_share, at, "No machine of this name is connected.")
    busy = sum(each.machines > 0 and not each.is_idle for each in user.workers)
    if not busy:
        return _idle(user.tally.last_share, at)
    return State("good", "Mining.", f"{_machines(user.machines)}.{_last(user.tally.last_share, at)}")


def machine_state(worker: WorkerStats, at: float) -> State:
    """Whether this machine is there and sends shares."""
    last = worker.tally.last_share
    if not worker.machines:
        return _gone(worker.gone_at or last, at, "This machine is not connected.")
    if worker.is_idle:
        return _idle(last, at)
    return State("good", "Mining.", f"Connected for {words.span(at - worker.since)}.{_last(last, at)}")


def _gone(seen: float, at: float, sentence: str) -> State:
    return State("bad", "Away.", f"{sentence} It was seen {words.ago(seen, at)}." if seen else sentence)


def _idle(last: float, at: float) -> State:
    return State("warn", "Idle.", f"Connected, and no share was accepted for {words.span(at - last)}." if last
                 else "Connected, and no share was accepted yet.")


def _last(last: float, at: float) -> str:
    return f" The last share was accepted {words.ago(last, at)}." if last else ""

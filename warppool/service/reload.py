"""SIGHUP: the whole configuration is read again, and a running program takes of it what it may; nobody is dropped.

First everything that can fail is done: the files are read, the certificate is loaded, new nodes get their numbers. So a
mistake changes nothing. Then each key that differs is logged with both values, and the threads are told. What needs a
restart is named and left as it is (`config/changes.py`). `data_dir/running.toml` says at any time what runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from warppool.config.changes import Change, changes_between, taken_over
from warppool.config.declare import Effect
from warppool.config.options import Config
from warppool.config.provideroptions import TemplateProviderConfig
from warppool.config.running import FILE_NAME, data_dir_of, write_running
from warppool.config.translatoroptions import TranslatorConfig
from warppool.errors import ConfigError
from warppool.loop import ServingThread, ask_all
from warppool.say import clip, say
from warppool.service.log import set_level

log = logging.getLogger("warppool")

MAX_SHOWN = 300
"""Characters of a value in a line about a change; a list of nodes or addresses may be long."""

NOTHING_CHANGED = "nothing is changed: mend this and reload again"

FROM_START = "those of the start: systemd hands over others (LoadCredential=) at a restart"

HEARD_S = 2.0
"""How long a reload waits for its threads to hear of it; each of them turns many times in that."""

C = TypeVar("C", Config, TranslatorConfig, TemplateProviderConfig)


@dataclass(frozen=True, slots=True)
class Program(Generic[C]):
    """What a reload needs of the program.

    `read` reads the configuration anew. `prepare(runs, new)` does all that may fail of running with `runs`, where the
    files say `new`, and returns what tells the threads; that returns those of which an answer can be expected at once.
    `say_odd` warns of what is no mistake. ConfigError, from the first two.
    """

    read: Callable[[], C]
    prepare: Callable[[C, C], Callable[[], Sequence[ServingThread]]]
    say_odd: Callable[[C], None]


class Reload(Generic[C]):
    """Called at each SIGHUP; used by the main thread. `config` is what runs."""

    def __init__(self, config: C, program: Program[C], environ: Mapping[str, str] = os.environ) -> None:
        self.config: C = config
        self._program: Program[C] = program
        self._environ = environ

    def __call__(self) -> None:
        """Take over what the files say now, or say in one line what is wrong with them."""
        try:
            new = self._program.read()
            runs = taken_over(self.config, new)
            take = self._program.prepare(runs, new)
        except ConfigError as exc:
            say(log, logging.ERROR, "reload.refused", reason=str(exc), meaning=self._cure(str(exc)))
            return
        except Exception:       # unforeseen: whatever stands in a file, the pool goes on
            log.exception("event=reload.failed meaning=%s", f'"{NOTHING_CHANGED}"')
            return
        changes = changes_between(self.config, new)
        set_level(min(self.config.log.level, runs.log.level, key=_LEVELS.index))    # so that these lines are seen
        for change in changes:
            _say(change)
        self._program.say_odd(runs)
        try:
            late = _late(take())
        except Exception:       # unforeseen: what was told is told, and the next reload tells the rest
            log.exception("event=reload.failed meaning=%s", '"not all is taken over: reload again, or restart"')
            return
        self.config = runs
        self.write_running()
        left = sum(change.on_reload is Effect.RESTART for change in changes)
        say(log, logging.INFO, "reload.done", changed=len(changes) - left, restart=left, **late, **self._secrets())
        set_level(runs.log.level)

    def write_running(self) -> None:
        """Leave what runs in the data directory, for `warppool check --diff`."""
        try:
            write_running(data_dir_of(self.config), self.config)
        except OSError as exc:
            say(log, logging.WARNING, "running.unwritten", file=str(data_dir_of(self.config) / FILE_NAME),
                reason=exc.strerror, consequence="warppool check --diff compares with what ran before",
                cure="free space on the disk of data_dir, then reload")

    def _secrets(self) -> dict[str, str]:
        """What systemd handed over is not handed over anew."""
        return {"secrets": FROM_START} if self._environ.get("CREDENTIALS_DIRECTORY") else {}

    def _cure(self, reason: str) -> str:
        if "secrets.toml" in reason and self._secrets():
            return f"{NOTHING_CHANGED}; secrets are {FROM_START}"
        return NOTHING_CHANGED


def _late(threads: Sequence[ServingThread]) -> dict[str, str]:
    """Wait until these threads have heard, so that a reload is done when it says so; who has not within the time."""
    heard = {report.name for report in ask_all(threads, HEARD_S)}
    late = [thread.name for thread in threads if thread.name not in heard]
    return {"late": ",".join(late)} if late else {}


_LEVELS = ("debug", "info", "warning", "error")


def _say(change: Change) -> None:
    fields = {"key": change.key, "old": clip(change.old, MAX_SHOWN), "new": clip(change.new, MAX_SHOWN)}
    if change.on_reload is Effect.RESTART:
        say(log, logging.WARNING, "config.left", **fields, meaning="it needs a restart")
    else:
        say(log, logging.INFO, "config.changed", **fields, effect=change.on_reload.word)

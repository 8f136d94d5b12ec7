"""A daemon of warppool as a process of its own, as an operator or systemd starts it, heard by its log alone.

Nothing here imports warppool: what is tested is what stands outside of the process.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.lines import Lines
from tests.patience import PATIENCE_S, is_busy

STOP_S = 5.0                # what SIGTERM is promised
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"       # BIP173's example key
WARPPOOL = (sys.executable, "-m", "warppool")

_FIELD = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')
_OURS = ("WARPPOOL__", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "STATE_DIRECTORY")


def environ(**more: str) -> dict[str, str]:
    """Ours without what a daemon would take for its own, and `more`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)} | more


def write_config(folder: Path, *, secret: bytes | None, node: Mapping[str, object],
                 more_nodes: Sequence[Mapping[str, object]] = (), **sections: Mapping[str, object]) -> Path:
    """A warppool.toml for regtest on a free loopback port, and secrets.toml beside it unless `secret` is None."""
    document: dict[str, dict[str, object]] = {
        "pool": {"network": "regtest", "payout_address": ADDRESS, "data_dir": "data"},
        "stratum": {"listen": [], "sv2_listen": ["127.0.0.1:0"]},
    }
    for name, section in sections.items():
        document.setdefault(name, {}).update(section)
    path = folder / "warppool.toml"
    write_tables(path, document, [node, *more_nodes])
    if secret is not None:
        write_secrets(folder, sv2_static_priv_key_hex=secret)
    return path


def write_tables(path: Path, sections: Mapping[str, Mapping[str, object]], nodes: Sequence[Mapping[str, object]]
                 ) -> None:
    """A TOML file of these tables, and a `[[node]]` for each of `nodes`."""
    tables = [*((f"[{name}]", section) for name, section in sections.items()), *(("[[node]]", node) for node in nodes)]
    lines = [line for head, table in tables
             for line in (head, *(f"{key} = {json.dumps(value)}" for key, value in table.items()))]
    path.write_text("\n".join(lines) + "\n")


def write_secrets(folder: Path, **keys: bytes) -> None:
    """A secrets.toml with these keys, which only its owner may read."""
    with open(os.open(folder / "secrets.toml", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f'{name} = "{key.hex()}"\n' for name, key in keys.items())


def logged(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, str]]:
    """The fields of each line of that event so far, where the daemon runs in this process."""
    found = [fields_of(record.getMessage()) for record in list(caplog.records)]
    return [fields for fields in found if fields.get("event") == name]


def fields_of(line: str) -> dict[str, str]:
    """The `key=value` pairs of a log line; {} for another line."""
    return {key: json.loads(value) if value.startswith('"') else value for key, value in _FIELD.findall(line)}


class PoolProcess:
    """A daemon, used by `with`: leaving it kills one that still runs."""

    COMMAND = "run"

    def __init__(self, config: Path, **more: str) -> None:
        self._said = Lines()
        self.lines = self._said.all                     # of stderr; whole after `wait` and `kill`
        self._process = subprocess.Popen(
            [*WARPPOOL, self.COMMAND, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environ(**more))
        assert self._process.stderr is not None
        self._said.read(self._process.stderr, "reads-stderr")

    def __enter__(self) -> PoolProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def events(self, name: str) -> list[dict[str, str]]:
        """The fields of each line of that event so far."""
        return [fields for line in list(self.lines) if (fields := fields_of(line)).get("event") == name]

    def wait_for(self, name: str, is_wanted: Callable[[dict[str, str]], bool] = lambda fields: True) -> dict[str, str]:
        """The first line of an event, whether it came already or not."""
        def found() -> dict[str, str] | None:
            return next(filter(is_wanted, self.events(name)), None)

        fields = self._said.wait_for(found, PATIENCE_S)
        assert fields is not None, f"no event={name}:\n" + "\n".join(self.lines)
        return fields

    def ready(self) -> int:
        """Wait for `service.ready`; the port of the first listener."""
        return int(self.wait_for("service.ready")["listen"].split(",")[0].rpartition(":")[2])

    def outlive(self, seconds: float) -> None:
        """Let it run for so long; it must not end by itself."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError("it ended by itself:\n" + "\n".join(self.lines))

    def terminate(self) -> None:
        """SIGTERM, and on with it; ProcessLookupError if it has ended."""
        if self._process.poll() is not None:
            raise ProcessLookupError
        self._process.send_signal(signal.SIGTERM)

    def wait(self, within_s: float = STOP_S) -> int:
        """The exit status of a daemon that ends by itself or was told to; in time, unless the machine is busy."""
        began = time.monotonic()
        status = self._process.wait(PATIENCE_S)
        took_s = time.monotonic() - began
        self._reap()
        assert took_s <= within_s or is_busy(), f"it took {took_s:.1f} s to end"
        return status

    def kill(self) -> None:
        """SIGKILL, if it still runs; then `lines` has all that it ever wrote."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        self._reap()

    def _reap(self) -> None:
        self._said.close()
        assert self._process.stdout is not None
        self._process.stdout.close()


class TranslatorProcess(PoolProcess):
    """The same for the translator."""

    COMMAND = "translate"


class ProviderProcess(PoolProcess):
    """The same for the template provider."""

    COMMAND = "template-provider"

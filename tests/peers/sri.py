"""Programs of the Stratum V2 Reference Implementation (SRI), started by a test: `tests/peers/get_sri` builds them.

Each is known by what it logs: it opens its port long before it serves there. SIGINT ends one as an operator would; all
other signals just kill it. Nothing of warppool is imported here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.lines import Lines
from tests.peers.cache import HERE, LOOPBACK, cache_folder, free_port

POOL, TRANSLATOR, JD_CLIENT = "pool_sv2", "translator_sv2", "jd_client_sv2"
# The pair of keys that SRI's own examples have, and that everybody knows: base58check, and the public one as 32 bytes.
AUTHORITY = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
AUTHORITY_SECRET = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n"
PAYOUT = "addr(bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080)"       # BIP173's example key
PATIENCE_S = 120.0          # for what must come; never reached when all is well
STOP_S = 60.0


def program(name: str) -> Path:
    return cache_folder() / "sri" / "bin" / name


def skip_unless_installed(*names: str) -> None:
    """Skip the test, with what is missing as its reason."""
    import pytest

    for name in names:
        if not os.access(program(name), os.X_OK):
            pytest.skip(f"{name} is not installed: {(HERE / 'get_sri').relative_to(HERE.parents[1])} builds it")


class Pool(NamedTuple):
    """A pool that a program of SRI's is told to use."""

    port: int
    authority: str = AUTHORITY


class SriProgram:
    """One program with its file, used by `with`: leaving it ends it by SIGINT. It may be started again."""

    NAME = ""
    READY = ""              # what it logs when it serves

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._said = Lines()
        self.lines = self._said.all         # of all its starts
        self._starts = 0                    # how many lines there were at the last start
        self._process: subprocess.Popen[str] | None = None

    def document(self) -> str:
        """Its file, in TOML."""
        raise NotImplementedError

    # ---- start and end

    def start(self, *, is_awaited: bool = True) -> SriProgram:
        """Start it; wait until it serves, unless it is not to be awaited."""
        assert not self.is_running, "it runs already"
        self._reap()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.NAME}.toml"
        path.write_text(self.document())
        environ = {key: value for key, value in os.environ.items() if "__" not in key}
        self._starts = len(self.lines)
        self._process = subprocess.Popen(
            [str(program(self.NAME)), "-c", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", cwd=self.folder,
            env=environ | {"RUST_LOG": "info"})
        assert self._process.stdout is not None
        self._said.read(self._process.stdout, f"reads-{self.NAME}")
        if is_awaited:
            self.wait_for(self.READY, since_start=True)
        return self

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ensure_running(self) -> bool:
        """Start it again if it ended by itself, as a supervisor does; true if it had to."""
        if self.is_running:
            return False
        self.start(is_awaited=False)
        return True

    def stop(self) -> None:
        """SIGINT, and wait; one that does not run is left alone."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        try:
            if process.poll() is None:
                process.send_signal(how)
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
            self._reap()

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            self._said.close()

    def __enter__(self) -> SriProgram:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- what it says

    def count(self, words: str) -> int:
        """In how many lines it said that, in all its starts."""
        return sum(words in line for line in list(self.lines))

    def wait_for(self, words: str, *, since_start: bool = False) -> str:
        """The first line that has `words`; it may have come already."""
        def found() -> str | None:
            return next((line for line in self.lines[self._starts if since_start else 0:] if words in line), None)

        line = self._said.wait_for(found, PATIENCE_S)
        assert line is not None, f"{self.NAME} did not say {words!r}:\n" + self.last_words()
        return line

    def last_words(self) -> str:
        """The end of what it said, for a test that failed."""
        return "\n".join(self.lines[-40:])


class SriPool(SriProgram):
    """SRI's pool. It ends when its template provider goes.

    `authority` is the provider's; empty: nobody is checked.
    """

    NAME = POOL
    READY = "Required template data received, ready to accept connections"
    BLOCK = "Block Found!!!"            # with the block's hash

    def __init__(self, folder: Path, provider_port: int, authority: str = "", *, shares_per_minute: float = 60.0,
                 share_batch_size: int = 10) -> None:
        super().__init__(folder)
        self.provider_port, self.authority = provider_port, authority
        self.pace = {"shares_per_minute": shares_per_minute, "share_batch_size": share_batch_size}

    def document(self) -> str:
        provider = {"address": f"{LOOPBACK}:{self.provider_port}"}
        if self.authority:
            provider["public_key"] = self.authority
        own = {"listen_address": f"{LOOPBACK}:{self.port}", "server_id": 1, "pool_signature": "SRI"}
        keys = {"authority_public_key": AUTHORITY, "authority_secret_key": AUTHORITY_SECRET, "cert_validity_sec": 3600,
                "coinbase_reward_script": PAYOUT, "supported_extensions": [2]}
        return _toml(keys | self.pace | own) + "[template_provider_type.Sv2Tp]\n" + _toml(provider)


class SriJdClient(SriPool):
    """SRI's job declarator client where it mines alone: a pool with one template provider, as the pool is."""

    NAME = JD_CLIENT

    def document(self) -> str:
        text = super().document().replace("listen_address", "listening_address").replace("pool_sig", "jdc_sig")
        keys = {"mode": "SOLOMINING", "upstreams": [], "max_supported_version": 2, "min_supported_version": 2}
        return _toml(keys) + "".join(line for line in text.splitlines(True) if not line.startswith("server_id"))


class SriTranslator(SriProgram):
    """SRI's translator for V1 machines. It uses each pool once, and ends when all have closed.

    Where it is aggregate, all machines are one channel; where it names workers, it asks for extension 0x0002; where it
    verifies, it leaves a pool whose coinbase does not pay `user`.
    """

    NAME = TRANSLATOR
    READY = "Translator Proxy: listening on"

    def __init__(self, folder: Path, pools: Iterable[Pool], *, is_aggregate: bool = False, names_workers: bool = False,
                 user: str = "farm", verifies: bool = False) -> None:
        super().__init__(folder)
        self.pools = list(pools)
        self.is_aggregate = is_aggregate
        self.required = [2] if names_workers else []
        self.user = user
        self.verifies = verifies

    def document(self) -> str:
        # The lowest hash rate there is: it refuses a share above its own target, though it be a block.
        text = _toml({
            "downstream_address": LOOPBACK, "downstream_port": self.port, "max_supported_version": 2,
            "min_supported_version": 2, "downstream_extranonce2_size": 4, "verify_payout": self.verifies,
            "aggregate_channels": self.is_aggregate, "supported_extensions": [2], "required_extensions": self.required,
        }) + "[downstream_difficulty_config]\n" + _toml({
            "min_individual_miner_hashrate": 1.0, "shares_per_minute": 60.0, "enable_vardiff": False,
            "job_keepalive_interval_secs": 60,
        })
        for pool in self.pools:
            text += "[[upstreams]]\n" + _toml({"address": LOOPBACK, "port": pool.port, "user_identity": self.user,
                                              "authority_pubkey": pool.authority})
        return text


def _toml(keys: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())

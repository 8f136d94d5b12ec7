"""All at once: our provider, pool and translator, SRI's pool, translator and job declarator client, one bitcoind.

    bitcoind <- provider <- pool <- sri-translator <- V1        (the pool has the bitcoind for a second node)
                            pool <- V2
                provider <- sri-pool <- translator <- V1
                provider <- sri-jd-client <- V2
"""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.peers import spec, sri
from tests.peers.bitcoind import Bitcoind, RpcError, until
from tests.peers.cache import LOOPBACK, free_port
from tests.peers.pools import SECRET
from tests.peers.sri import SriJdClient, SriPool, SriProgram, SriTranslator
from tests.peers.sri_machine import SriMachine
from tests.service.byhand import HandMiner
from tests.service.process import PoolProcess, ProviderProcess, TranslatorProcess
from warppool.authority import parse_authority_key
from warppool.bitcoin.hashes import to_display
from warppool.noise.primitives import public_key
from warppool.sv2.profile import SPEC

ANSWER_S = 5.0              # what a machine waits for its answer at a kill; one that came later is not counted
KNOWN_S = 20.0              # a block that the node does not know by then is lost

# From each machine to the node: who its block passes.
PATHS = {
    "pool": ("pool",),
    "sri-translator": ("sri-translator", "pool"),
    "translator": ("translator", "sri-pool", "provider"),
    "sri-jd-client": ("sri-jd-client", "provider"),
}


class Ours:
    """One of our daemons under a supervisor."""

    def __init__(self, kind: type[PoolProcess], config: Path) -> None:
        self.kind, self.config = kind, config
        self.starts: list[PoolProcess] = []

    @property
    def now(self) -> PoolProcess:
        return self.starts[-1]

    def start(self) -> None:
        self.starts.append(self.kind(self.config))

    def kill(self) -> None:
        self.now.kill()

    def ensure_running(self) -> None:
        assert self.now.is_running, "it ended by itself:\n" + "\n".join(self.now.lines[-30:])

    def events(self, name: str) -> list[dict[str, str]]:
        """Of all its starts."""
        return [fields for process in self.starts for fields in process.events(name)]


class Finder(Protocol):
    """A machine with work."""

    def await_tip(self, display: str) -> None:
        """Until it mines on that block."""

    def send_block(self) -> str:
        """Find a block and submit it, and wait for nothing; its hash as nodes write it."""

    def hear(self) -> bool:
        """Whether it is told that its share is good."""

    def close(self) -> None: ...


class V1Finder:
    def __init__(self, machine: SriMachine) -> None:
        self._machine = machine
        try:
            machine.begin()
        except BaseException:
            machine.close()
            raise

    def await_tip(self, display: str) -> None:
        self._machine.await_tip(bytes.fromhex(display)[::-1])

    def send_block(self) -> str:
        share = self._machine.find(is_block=True)
        self._machine.send(self._machine.submission(share))
        return share.display

    def hear(self) -> bool:
        self._machine.patience(ANSWER_S)
        with suppress(AssertionError, OSError):
            return self._machine.answer().result is True
        return False

    def close(self) -> None:
        self._machine.close()


class V2Finder:
    def __init__(self, miner: HandMiner) -> None:
        self._miner = miner.__enter__()

    def await_tip(self, display: str) -> None:
        self._miner.until(lambda: to_display(self._miner.work.prev_hash) == display)

    def send_block(self) -> str:
        return to_display(self._miner.send_share(is_block=True))

    def hear(self) -> bool:
        with suppress(AssertionError, OSError):
            self._miner.until(lambda: bool(self._miner.accepted or self._miner.refused), ANSWER_S)
        return bool(self._miner.accepted)

    def close(self) -> None:
        self._miner.__exit__(None, None, None)


class Sent(NamedTuple):
    """A block that a machine submitted, what was killed meanwhile ("" if nothing), and whether it was acknowledged."""

    path: str
    victim: str
    display: str
    is_acknowledged: bool


class Farm:
    """All of them under a supervisor, used by `with`."""

    def __init__(self, folder: Path, node: Bitcoind) -> None:
        self.node = node
        self.sent: list[Sent] = []
        self.provided = spec.provider_config(folder / "provider", node)
        self.served = spec.pool_config(folder / "pool", {"source": "tdp", "url": self.provided.url("spec")}, node)
        sri_pool = SriPool(folder / "sri-pool", self.provided.spec_port, sri.AUTHORITY)
        self.translator_port = free_port()
        self.ours = {
            "provider": Ours(ProviderProcess, self.provided.config),
            "pool": Ours(PoolProcess, self.served.config),
            "translator": Ours(TranslatorProcess, self._translator_config(folder / "translator", sri_pool.port)),
        }
        self.sris: dict[str, SriProgram] = {
            "sri-pool": sri_pool,
            "sri-jd-client": SriJdClient(folder / "sri-jd-client", self.provided.spec_port, sri.AUTHORITY),
            "sri-translator": SriTranslator(folder / "sri-translator", [self.served.as_pool()] * 3),
        }
        self._stack = ExitStack()

    def _translator_config(self, folder: Path, upstream: int) -> Path:
        folder.mkdir()
        path = folder / "translator.toml"
        url = f"stratum2+tcp://{LOOPBACK}:{upstream}/{sri.AUTHORITY}"
        path.write_text(f'[stratum]\nlisten = ["{LOOPBACK}:{self.translator_port}"]\n[translator]\ndata_dir = "data"\n'
                        f'[[upstream]]\nurl = {json.dumps(url)}\nuser_identity = "farm"\n')
        return path

    def __enter__(self) -> Farm:
        for ours in self.ours.values():
            ours.start()
            self._stack.callback(ours.kill)
        for program in self.sris.values():
            self._stack.callback(program.kill)
        self.ours["provider"].now.ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def supervise(self) -> None:
        """Start again what SRI's programs ended by themselves; ours must not."""
        for ours in self.ours.values():
            ours.ensure_running()
        for program in self.sris.values():
            program.ensure_running()

    def kill(self, name: str) -> None:
        (self.ours | self.sris)[name].kill()

    def revive(self, name: str) -> None:
        if name in self.ours:
            self.ours[name].start()
            self.ours["provider"].now.ready()       # SRI's programs give up a provider that is not there

    # ---- machines

    def machine(self, path: str) -> Finder:
        """A machine with work on the node's tip, as soon as there is some."""
        finders: list[Finder] = []

        def has_work() -> bool:
            self.supervise()
            finder: Finder | None = None
            try:
                finder = self._connect(path)
                finder.await_tip(self.node.best)
            except (AssertionError, OSError):
                if finder:
                    finder.close()
                return False
            finders.append(finder)
            return True

        until(has_work, sri.PATIENCE_S, lambda: f"no work by way of {path}:\n{self.last_words()}")
        return finders[0]

    def _connect(self, path: str) -> Finder:
        if path == "pool":
            return V2Finder(HandMiner(self.served.warp_port, public_key(SECRET), kind="extended"))
        if path == "sri-jd-client":
            authority = parse_authority_key(sri.AUTHORITY)
            return V2Finder(HandMiner(self.sris[path].port, authority, kind="extended", profile=SPEC))
        return V1Finder(SriMachine(self.sris[path].port if path in self.sris else self.translator_port))

    def knows(self, display: str) -> bool:
        with suppress(RpcError):
            return bool(self.node.call("getblockheader", display))
        return False

    def mine(self, path: str) -> None:
        """Until a block of that way is on the chain."""
        def is_mined() -> bool:
            finder = self.machine(path)
            try:
                display = finder.send_block()
                self.sent.append(Sent(path, "", display, finder.hear()))
            finally:
                finder.close()
            with suppress(AssertionError):
                until(lambda: self.knows(display), patience_s=KNOWN_S)
            return self.knows(display)

        until(is_mined, sri.PATIENCE_S, lambda: f"no block by way of {path}:\n{self.last_words()}")

    def last_words(self) -> str:
        """Of everybody."""
        ours = {name: "\n".join(each.now.lines[-15:]) for name, each in self.ours.items()}
        theirs = {name: program.last_words() for name, program in self.sris.items()}
        return "\n".join(f"--- {name}\n{words}" for name, words in (ours | theirs).items())

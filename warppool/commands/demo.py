"""`warppool demo`: the whole pool on one screen, no node needed.

An embedded regtest chain, the daemon with all its threads, and four CPU miners over real sockets: on a standard and an
extended channel of Stratum V2 over Noise, on Stratum V1, and on V1 over TLS with a certificate made for it. With
`--translator` all miners speak V1, plain and over TLS, to a translator that mines for them on the pool's V2 port. All
files are in a temporary directory that is removed afterwards. The demo ends by itself with a summary, and with 0 only
if every block that was found is on the chain or a valid side branch of it, and the books agree with the miners. With
`--payout` miners mine for addresses, and the chain's own blocks must have paid them (`demopayout.py`).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType

from warppool.addresses import PoolUrl
from warppool.commands import demopayout
from warppool.commands.democert import self_signed
from warppool.commands.screen import Display
from warppool.config.anyfile import books_of
from warppool.config.options import Config, Secrets
from warppool.config.pool import config_of
from warppool.config.translator import translator_config_of
from warppool.config.translatoroptions import TranslatorConfig
from warppool.errors import WarppoolError
from warppool.ledger.database import Totals
from warppool.ledger.opening import open_reader
from warppool.miner.cpu import CpuMiner
from warppool.miner.link import EXTENDED, STANDARD, tls_context
from warppool.noise.primitives import public_key
from warppool.service.connector import SV1, SV1_TLS, SV2
from warppool.service.log import set_up
from warppool.service.pool import Pool
from warppool.service.ports import Ports
from warppool.service.service import Service
from warppool.service.signals import Requests, catch_signals
from warppool.service.translator import Translator
from warppool.stats.ratewords import human_rate
from warppool.threads import spawn

DEADLINE_S = 25.0
"""The demo promises to end within 30 s: 25 to find the blocks, the rest to stop."""

OUTCOMES_S = 2.0
"""How long the end waits for the node's word on the last blocks."""

SHOW_EVERY_S = 0.2
DEFAULT_BLOCKS = 10
DEMO_ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
"""The regtest address of BIP173's example key: nobody's money."""

log = logging.getLogger("warppool")


class BlockWatch(logging.Handler):
    """Hears what the daemon says of its blocks, as an operator would who greps the journal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.counts = dict.fromkeys(("found", "accepted", "side", "refused"), 0)
        self.last = ""
        self.finders: dict[str, str] = {}           # the worker's name, by the hash (display hex) of its block
        self.accepted: set[str] = set()             # hashes (display hex) of blocks that a node has accepted

    def emit(self, record: logging.LogRecord) -> None:
        """Count one `event=block.NAME` line."""
        words = record.getMessage().split()
        event = words[0].removeprefix("event=block.") if words else ""
        if event in self.counts:
            self.counts[event] += 1
            fields = dict(word.partition("=")[::2] for word in words)
            if event == "found":
                self.finders[fields["hash"]] = fields["user"]
            if event == "accepted":
                self.last = " ".join(words[1:])
                self.accepted.add(fields["hash"])


def demo(args: argparse.Namespace) -> int:
    """Mine `args.blocks` blocks with a few miners; 0 only if the kernel accepted every block."""
    args.blocks = args.blocks or (DEFAULT_BLOCKS if args.payout == "pool" else demopayout.DEFAULT_BLOCKS)
    requests = Requests()
    catch_signals(requests)
    set_up("error")
    logging.getLogger("warppool").setLevel(logging.INFO)
    _only_errors_to_stderr()
    watch = BlockWatch()
    log.addHandler(watch)
    try:
        with tempfile.TemporaryDirectory(prefix="warppool-demo-") as folder:
            return _show(Path(folder), watch, args, requests)
    finally:
        log.removeHandler(watch)


def _only_errors_to_stderr() -> None:
    """The screen is the demo's; of the journal it wants only what went wrong."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.ERROR)


def demo_config(folder: Path, key: bytes, keys: Mapping[str, object] = MappingProxyType({})) -> Config:
    """The configuration of a pool that anyone can start: regtest, loopback, free ports, all files in `folder`.

    The certificate of its TLS port is made here, for 127.0.0.1. `keys` are more of the section [pool].
    """
    certificate, private_key = self_signed().write(folder)
    document = {
        "pool": {"network": "regtest", "payout_address": DEMO_ADDRESS, "data_dir": str(folder), **keys},
        "stratum": {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"],
                    "tls_cert": str(certificate), "tls_key": str(private_key), "workers": 2},
        "node": [{"source": "regtest"}],
    }
    return config_of(document, folder=folder, secrets=Secrets(sv2_static_priv_key=key), environ={}, source="demo")


def demo_translator_config(folder: Path, config: Config, upstream: PoolUrl, name: str) -> TranslatorConfig:
    """The configuration of a translator for the pool of `config`, with its certificate, all files in `folder`.

    `name` is for machines that have not said theirs yet.
    """
    document = {
        "stratum": {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"],
                    "tls_cert": str(config.stratum.tls_cert), "tls_key": str(config.stratum.tls_key)},
        "translator": {"data_dir": str(folder)},
        "upstream": [{"url": str(upstream), "user_identity": name}],
    }
    return translator_config_of(document, folder=folder, environ={}, source="demo")


def _show(folder: Path, watch: BlockWatch, args: argparse.Namespace, requests: Requests) -> int:
    key = os.urandom(32)
    is_paying = args.payout != "pool"
    config = demo_config(folder, key, demopayout.pool_keys(args.payout) if is_paying else {})
    translator = None
    display = Display(sys.stdout, sys.stdout.isatty() and not args.plain)
    with ExitStack() as running:
        pool = Pool(config)
        running.callback(pool.service.stop)
        _start(pool.service)
        display.line("warppool demo: a pool on an embedded regtest chain"
                     f"{', and a translator before it' if args.translator else ''}")
        if args.translator:
            translator = Translator(demo_translator_config(folder / "translator", config, _v2_url(pool, key),
                                                           demopayout.UNNAMED if is_paying else "demo.unnamed"))
            running.callback(translator.service.stop)
            _start(translator.service)
        name_of = demopayout.name_of if is_paying else demo_name
        miners = (demo_miners(config, pool, key, name_of) if translator is None
                  else v1_miners(config, translator.ports, name_of))
        if is_paying:
            miners |= demopayout.more_miners(miners)
        for url in dict.fromkeys(str(miner.url) for miner in miners.values()):
            display.line(f"listening: {url}")
        services = [each.service for each in (pool, translator) if each is not None]
        are_paid = partial(demopayout.are_paid, config, tuple(miners), watch.accepted) if is_paying else _nobody_waits
        with _mining(miners) as failures:
            _wait_for_blocks(services, miners, failures, watch, args.blocks, are_paid, requests, display)
        _await_outcomes(watch)
    if translator is not None:
        failures += _problems_of(translator, display)
    is_stopped = requests.is_set() and watch.counts["accepted"] < args.blocks
    problems = failures + _summary(config, miners, watch, args.blocks, display, is_stopped)
    if is_paying:
        problems += demopayout.summary(config, watch.finders, miners, display)
    if display.error is not None:
        raise display.error
    if is_stopped and not failures:
        display.line("stopped")
        return 128 + requests.signal
    for problem in problems:
        display.line(f"failed: {problem}")
    display.line("demo failed" if problems else "demo succeeded: every part worked")
    return 1 if problems else 0


def _start(service: Service) -> None:
    service.start()
    service.is_ready.wait(DEADLINE_S)


def _nobody_waits() -> bool:
    """Whether all are paid who are to be."""
    return True


def demo_name(miner: str) -> str:
    """The name under which a miner mines where names are no addresses."""
    return f"demo.{miner}"


def demo_miners(config: Config, pool: Pool, key: bytes, name_of: Callable[[str], str] = demo_name
                ) -> dict[str, CpuMiner]:
    """One miner for each way to mine, by its name on the screen; `name_of` gives the name that it tells the pool."""
    v2 = _v2_url(pool, key)
    return {
        "v2-standard": CpuMiner(v2, name_of("v2-standard"), STANDARD),
        "v2-extended": CpuMiner(v2, name_of("v2-extended"), EXTENDED),
        **v1_miners(config, pool.ports, name_of),
    }


def v1_miners(config: Config, ports: Ports, name_of: Callable[[str], str] = demo_name) -> dict[str, CpuMiner]:
    """One V1 miner for each of a pool's or a translator's V1 ports, which have the pool's certificate."""
    by_kind = _ports(ports)
    v1, tls = PoolUrl("127.0.0.1", by_kind[SV1], b""), PoolUrl("127.0.0.1", by_kind[SV1_TLS], b"", is_tls=True)
    return {
        "v1": CpuMiner(v1, name_of("v1")),
        "v1-tls": CpuMiner(tls, name_of("v1-tls"), context=tls_context(config.stratum.tls_cert)),
    }


def _v2_url(pool: Pool, key: bytes) -> PoolUrl:
    return PoolUrl("127.0.0.1", _ports(pool.ports)[SV2], public_key(key))


def _ports(ports: Ports) -> dict[str, int]:
    return {listener.kind: listener.port for listener in ports.listeners}


@contextmanager
def _mining(miners: dict[str, CpuMiner]) -> Iterator[list[str]]:
    """Run the miners, each on a thread of its own; what made one end is in the list."""
    failures: list[str] = []

    def body(kind: str, miner: CpuMiner) -> None:
        try:
            miner.run()
        except WarppoolError as exc:
            failures.append(f"{kind} miner: {exc}")

    threads = [spawn(f"miner-{kind}", partial(body, kind, miner), failures.append) for kind, miner in miners.items()]
    try:
        yield failures
    finally:
        for miner in miners.values():
            miner.stop()
        for thread in threads:
            thread.join()


def _wait_for_blocks(services: Sequence[Service], miners: dict[str, CpuMiner], failures: list[str], watch: BlockWatch,
                     blocks: int, are_paid: Callable[[], bool], requests: Requests, display: Display) -> None:
    """Until enough blocks stand on the chain, each miner has a share and those who are to be paid are, or time is up.
    """
    began = time.monotonic()
    shown = 0
    while not (failures or display.is_gone or any(service.has_failed.is_set() for service in services)
               or time.monotonic() - began > DEADLINE_S):
        is_done = (watch.counts["accepted"] >= blocks and all(miner.tally.accepted for miner in miners.values())
                   and are_paid())
        if display.is_terminal:
            display.draw(_progress(miners, watch, blocks, time.monotonic() - began))
        elif watch.counts["accepted"] > shown:
            shown = watch.counts["accepted"]
            display.line(f"block {shown}/{blocks} accepted: {watch.last}")
        if is_done or requests.wait(SHOW_EVERY_S):
            break
    if display.is_terminal:
        display.line(_progress(miners, watch, blocks, time.monotonic() - began)[2])


def _progress(miners: dict[str, CpuMiner], watch: BlockWatch, blocks: int, elapsed_s: float) -> list[str]:
    """Progress, hash rate and shares as one line, from the longest form to the shortest."""
    done = min(blocks, watch.counts["accepted"])
    width = 20
    bar = "#" * (width * done // blocks)
    rate = human_rate(sum(miner.tally.hashes for miner in miners.values()) / max(elapsed_s, 1e-9))
    shares = "  ".join(f"{kind} {miner.tally.accepted}" for kind, miner in miners.items())
    total = sum(miner.tally.accepted for miner in miners.values())
    head, tail = f"{done}/{blocks} blocks", f"{elapsed_s:.0f} s"
    return [f"[{bar:<{width}}] {head}  {rate}  shares: {shares}  {tail}", f"{head}  {rate}  shares: {shares}  {tail}",
            f"{head}  {rate}  {total} shares  {tail}", f"{head}  {tail}", head]


def _await_outcomes(watch: BlockWatch) -> None:
    """Let the node say what became of the last blocks."""
    until = time.monotonic() + OUTCOMES_S
    while time.monotonic() < until and sum(watch.counts[name] for name in ("accepted", "side", "refused")) < (
            watch.counts["found"]):
        time.sleep(0.02)


def _problems_of(translator: Translator, display: Display) -> list[str]:
    """Say where the translator's shares are, and what is wrong with that."""
    counts = translator.counts()
    with open_reader(*books_of(translator.config)) as reader:
        booked = reader.totals().shares
    display.line(f"translator: {counts.received} received, {counts.accepted} accepted, "
                 f"{sum(count for _, count in counts.rejected)} rejected, {counts.filtered} filtered, "
                 f"{counts.pending} pending, {counts.unconfirmed} unconfirmed; books: {booked} shares")
    problems = []
    if not counts.is_balanced or counts.pending:
        problems.append(f"the translator's counters do not balance: {counts}")
    if booked != counts.accepted:
        problems.append(f"the translator counted {counts.accepted} accepted shares and booked {booked}")
    return problems


def _summary(config: Config, miners: dict[str, CpuMiner], watch: BlockWatch, blocks: int, display: Display,
             is_stopped: bool) -> list[str]:
    """Say how it went, part by part; what went wrong. Every share that a miner has sent is in one of its counts."""
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        totals: Totals = reader.totals()
    counts = watch.counts
    answered = sum(miner.tally.accepted for miner in miners.values())
    problems = []
    if counts["accepted"] < blocks and not is_stopped:
        problems.append(f"only {counts['accepted']} of {blocks} blocks were accepted in time")
    if counts["refused"]:
        problems.append(f"{counts['refused']} blocks were refused")
    if counts["found"] != counts["accepted"] + counts["side"] + counts["refused"]:
        problems.append(f"{counts['found']} blocks were found, and not all were answered")
    if totals.shares < answered:
        problems.append(f"{answered} shares were acknowledged and {totals.shares} are in the books")
    for kind, miner in miners.items():
        tally = miner.tally
        display.line(f"{kind}: {tally.submitted} shares sent, {tally.accepted} accepted, {tally.rejected} refused"
                     + (f" (the last: {tally.last_reject})" if tally.rejected else "")
                     + (f", {tally.unanswered} unanswered" if tally.unanswered else ""))
        if not tally.accepted and not is_stopped:
            problems.append(f"the {kind} miner had no share accepted")
    display.line(f"blocks: {counts['found']} found, {counts['accepted']} accepted, {counts['side']} side, "
                 f"{counts['refused']} refused; books: {totals.shares} shares")
    if counts["side"]:
        display.line("a side block is valid, too: two were found at one height, and the other one was there first")
    return problems

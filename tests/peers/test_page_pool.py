"""The page of a pool that runs, in a browser: four machines by V1, TLS and V2 mine, and what it says is what they did.

The pool is a process of its own, and it is started twice: the second time its clock shows 25 minutes more, so that the
shares of the first run stand in the chart.
"""

from __future__ import annotations

import json
import re
import ssl
import subprocess
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.node.stub import StubNode
from tests.patience import PATIENCE_S, until
from tests.peers import foreign_miner, foreign_v1
from tests.peers.cache import free_port
from tests.peers.chromium import Browser, browser, has_chromium
from tests.service.process import WARPPOOL, PoolProcess, environ, write_config
from warppool.commands.democert import self_signed
from warppool.noise.primitives import public_key

pytestmark = [pytest.mark.peer, pytest.mark.skipif(not has_chromium(), reason="no chromium: tests/peers/get_chromium")]
pytest.importorskip("waitress")
pytest.importorskip("prometheus_client")

SECRET = bytes(range(1, 33))
SHARE = 1e-6                        # 4,295 hashes
BLOCK_NBITS = 0x1F00FFFF            # 65,536 hashes
HASHES = 2**48 / 0xFFFF             # that are expected for difficulty 1
BEFORE_S = 1500                     # the first run's clock is so much behind
EACH = 5                            # shares of a machine
PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
ASK_NOW = "document.dispatchEvent(new Event('visibilitychange'))"
TILES = """
    const tiles = {};
    for (const tile of document.querySelectorAll('.tiles > div'))
        tiles[tile.querySelector('dt').textContent] = tile.querySelector('.number').textContent;
    const [started, at] = [...document.querySelectorAll('footer time')].map(time => Date.parse(time.dateTime) / 1000);
    return {tiles, started, at};"""
CHART = """
    return [...document.querySelectorAll('figure .scroll tbody tr')].map(row =>
        [row.querySelector('time').dateTime, Number(row.querySelector('data').value)])"""


def test_what_the_page_says_is_what_the_machines_have_done(tmp_path):
    with StubNode(nbits=BLOCK_NBITS, cookie=tmp_path / "cookie") as stub, ExitStack() as stack:
        config, port = _config(tmp_path, stub), free_port()
        with config.open("a") as file:
            file.write(f'[web]\nlisten = ["127.0.0.1:{port}"]\n')
        window, url = stack.enter_context(browser(tmp_path)), f"http://127.0.0.1:{port}"

        stub.clock_offset_s = -BEFORE_S
        with _pool(tmp_path, config, -BEFORE_S) as pool:
            pool.ready()
            window.open(url)
            _wait_for_text(window, "Waiting.")
            credited, block, best = _mine(pool, tmp_path, window)
            until(lambda: _has_hash_rate(window, sum(credited.values())))
            assert _tile(window, "Blocks found") == "1"
            assert window.run("return document.querySelector('#blocks code').textContent") == block
            assert _is_shown(_tile(window, "Best share ever"), best)
            for user in credited:
                _user_is(window, f"{url}/user/{user}", credited[user])
            window.open(url)
            before = window.run(TILES)["tiles"]
            assert window.complaints() == []
            pool.terminate()
            assert pool.wait(PATIENCE_S) == 0
        window.run(ASK_NOW)
        window.wait_for("!document.getElementById('offline').hidden")
        assert _of_the_page(window) == []

        stub.clock_offset_s = 0
        with _pool(tmp_path, config, 0) as pool:
            pool.ready()
            window.run(ASK_NOW)
            window.wait_for("document.getElementById('offline').hidden")
            _wait_for_text(window, "Waiting.")
            _wait_for_text(window, "Now 0 H/s")             # what was done 25 minutes ago is not of now
            after = window.run(TILES)["tiles"]
            for name in ("Blocks found", "Best share ever"):
                assert after[name] == before[name]
            assert window.run("return document.querySelector('#blocks code').textContent") == block
            _chart_has(window, sum(credited.values()))
            window.open(f"{url}/user/v2")
            _chart_has(window, credited["v2"])
            assert _of_the_page(window) == []
            home = (url, "data:", "chrome:", "about:")
            assert [each for each in window.requests() if not each.startswith(home)] == []


def _config(folder: Path, stub: StubNode) -> Path:
    self_signed().write(folder)
    stratum = {"listen": ["127.0.0.1:0"], "tls_listen": ["127.0.0.1:0"], "sv2_listen": ["127.0.0.1:0"],
               "tls_cert": str(folder / "fullchain.pem"), "tls_key": str(folder / "privkey.pem")}
    return write_config(folder, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)}, stratum=stratum,
                        difficulty={"start": SHARE, "min": SHARE, "max": SHARE})


def _pool(folder: Path, config: Path, shift_s: float) -> PoolProcess:
    """A pool whose wall clock is `shift_s` ahead."""
    (folder / "sitecustomize.py").write_text("import os, time\n"
                                             "real, shift = time.time, float(os.environ['CLOCK_SHIFT_S'])\n"
                                             "time.time = lambda: real() + shift\n")
    return PoolProcess(config, PYTHONPATH=str(folder), CLOCK_SHIFT_S=str(shift_s))


def _mine(pool: PoolProcess, folder: Path, window: Browser) -> tuple[dict[str, float], str, float]:
    """What each user was credited, by the books; the block's hash; and the best share's difficulty."""
    ports = {line["kind"]: int(line["address"].rpartition(":")[2]) for line in pool.events("listener.opened")}
    hashes: list[bytes] = []
    with ExitStack() as stack:
        trusted = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        plain = stack.enter_context(foreign_v1.Machine(ports["sv1"], "v1.plain")).begin()
        tls = stack.enter_context(foreign_v1.Machine(ports["sv1-tls"], "tls.secret", tls=trusted)).begin()
        warp = foreign_miner.Connection(ports["sv2"], public_key(SECRET))
        stack.callback(warp.close)
        channels = [warp.open("v2.standard", is_extended=False), warp.open("v2.extended", is_extended=True)]
        _wait_for_text(window, "4 machines mine")
        for machine in (plain, tls):
            shares = [machine.find() for _ in range(EACH)]
            assert machine.submit(*shares) == EACH * [None]
            hashes += [share.hash for share in shares]
        for channel in channels:
            network = foreign_miner.target_of(channel.tip["nbits"])
            good = (share for share in channel.shares()
                    if network < int.from_bytes(share.hash, "little") <= channel.target)
            for share in islice(good, EACH):
                assert channel.submit(share) == "accepted"
                hashes.append(share.hash)
        block = tls.mine_block()
        hashes.append(block.hash)
        until(lambda: len(_booked(folder)) == 4 * EACH + 1)
        _wait_for_text(window, "in the chain")
        _wait_for_text(window, f"Accepted{4 * EACH + 1} (100 %)")
        _wait_for_text(window, "2 V2")
    credited: dict[str, float] = {}
    for share in _booked(folder):
        user = share["user"].partition(".")[0]
        credited[user] = credited.get(user, 0.0) + share["difficulty"]
    assert set(credited) == {"v1", "tls", "v2"}
    lowest = min(int.from_bytes(each, "little") for each in hashes)
    return credited, block.hash[::-1].hex(), (0xFFFF << 208) / lowest


def _booked(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([*WARPPOOL, "shares", "-c", str(folder / "warppool.toml")], capture_output=True, text=True,
                          env=environ(), timeout=PATIENCE_S, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _of_the_page(window: Browser) -> list[str]:
    """What the console said, but for the browser's own lines about a pool that is away, or has begun just now."""
    return [line for line in window.complaints() if "net::ERR_" not in line and "503" not in line]


def _wait_for_text(window: Browser, text: str) -> None:
    """Until the page says so by itself; it asks the pool each five seconds."""
    window.wait_for(f"document.body.textContent.replace(/\\s+/g, ' ').includes({json.dumps(text)})")


def _tile(window: Browser, name: str) -> str:
    return str(window.run(TILES)["tiles"][name])


def _has_hash_rate(window: Browser, credited: float) -> bool:
    """Credited work over the time since the pool began, which is less than the hour of this number."""
    shown = window.run(TILES)
    return _is_shown(shown["tiles"]["Hash rate"].removesuffix("H/s"),
                     credited * HASHES / (shown["at"] - shown["started"]))


def _user_is(window: Browser, url: str, credited: float) -> None:
    window.open(url)
    work = window.run("return [...document.querySelectorAll('#shares dd')].at(-1).textContent")
    assert _is_shown(work, credited)


def _chart_has(window: Browser, credited: float) -> None:
    """All slots of ten minutes together have what was credited; and it is drawn."""
    window.wait_for("document.querySelectorAll('.plot canvas').length === 1")
    assert sum(rate for _, rate in window.run(CHART)) * 600 / HASHES == pytest.approx(credited, rel=1e-4)


def _is_shown(text: str, value: float) -> bool:
    """Whether `text` is `value`, within the three digits that are shown."""
    found = re.fullmatch(r"([0-9.e-]+)\s?([kMG]?)", text.strip())
    assert found, text
    return abs(float(found[1]) * PREFIXES[found[2]] / value - 1) < 0.006

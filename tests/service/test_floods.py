"""Every flood of `bench.floods`, small and untimed: the neighbour mines on, the log stays short, nothing is left."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
from pathlib import Path

import pytest

from bench import floods
from bench.counting import KINDS, counts
from bench.strangers import FLOODS, Crowd, Target
from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import PATIENCE_S
from tests.service.process import write_config
from warppool.config.pool import read_config
from warppool.net.loglimit import CROWD, LINES
from warppool.noise.primitives import public_key
from warppool.service.pool import Pool

SECRET = bytes(range(1, 33))
SHARES = 5
STRANGERS = 10


def held() -> dict[str, int]:
    gc.collect()
    return {name: count for name, count in counts().items() if name not in floods.KEPT_BY_DESIGN}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_neighbour_mines_on_and_nothing_is_left(flood: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="warppool")
    began = time.monotonic()
    with StubNode(cookie=tmp_path / "cookie", nbits=HARD_NBITS) as stub:
        config = read_config(write_config(
            tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)},
            stratum={"listen": ["127.0.0.1:0"]}, difficulty={"start": 1e-10, "min": 1e-10, "max": 1e-10}), {})
        daemon = Pool(config)
        try:
            daemon.service.start()
            assert daemon.service.is_ready.wait(PATIENCE_S)
            ports = {listener.kind: listener.port for listener in daemon.ports.listeners}
            neighbour = floods.Neighbour(ports["sv1"])
            before = held()
            crowd = Crowd(flood, Target(ports["sv1"], ports["sv2"], public_key(SECRET)), STRANGERS)
            is_over = threading.Event()
            stranger = threading.Thread(target=crowd.run, args=(PATIENCE_S, is_over.is_set))
            stranger.start()
            try:
                deadline = time.monotonic() + PATIENCE_S
                while not all(each.sent for each in crowd.strangers):
                    assert time.monotonic() < deadline, "the strangers say nothing"
                    time.sleep(0.01)
                for _ in range(SHARES):
                    neighbour.answer_ms()               # fails unless it is accepted
            finally:
                is_over.set()
                stranger.join()
            deadline = time.monotonic() + PATIENCE_S
            while (left := {name: count for name, count in held().items() if count > before[name]}):
                assert time.monotonic() < deadline, left
                time.sleep(0.05)
            neighbour.close()
            assert not daemon.service.has_failed.is_set() and daemon.service.hanging(time.monotonic()) == []
        finally:
            daemon.service.stop()
    events = [record.getMessage().split()[0] for record in caplog.records]
    counts = {event.removeprefix("event="): events.count(event) for event in set(events)}
    assert [event for event, count in counts.items() if count > 2 * LINES and event not in CROWD] == []
    assert max(counts[event] for event in CROWD & counts.keys()) <= LINES * (time.monotonic() - began + 1)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert set(KINDS) <= before.keys()


def test_the_bench_runs_and_its_line_says_what_the_readme_promises(capsys: pytest.CaptureFixture[str]) -> None:
    floods.main(["--flood", "junk", "--seconds", "1", "--pairs", "2", "--gone", "1", "--connections", "5"])
    line = json.loads(capsys.readouterr().out)
    assert line["flood"] == "junk" and line["sent_mib"] >= 0 and line["lines"] <= floods.MOST_LINES
    readme = (Path(floods.__file__).parent / "README.rst").read_text()
    for name in ("quiet_p99_ms", "flood_p99_ms", "worst_ms", "lines", "gone_s", "left", "kept", "rss_ratio", "holds"):
        assert name in line and f"``{name}``" in readme
    for flood in FLOODS:
        assert f"``{flood}``" in readme

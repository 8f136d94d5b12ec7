"""Every metric that the Grafana board and the alerts name is one that the pool exports, with the labels asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stats.made import snapshot

pytest.importorskip("prometheus_client", reason="the metrics need the extra: pip install 'warppool[web]'")

from warppool.web.metrics import exposition

CONTRIB = Path(__file__).parents[1] / "contrib"
BOARD = CONTRIB / "grafana/warppool.json"
ALERTS = CONTRIB / "prometheus/warppool.rules.yml"
SERIES = re.compile(r"(?m)^(warppool_\w+)(?:\{(.*?)\})? ")
FROM_PROMETHEUS = {"job", "instance", "le"}


def exported() -> dict[str, set[str]]:
    """The labels of every series of a pool, by its name."""
    found: dict[str, set[str]] = {}
    for name, labels in SERIES.findall(exposition(snapshot()).decode()):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def expressions() -> Iterator[str]:
    """What the board and the alerts ask Prometheus for."""
    board = json.loads(BOARD.read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (note["expr"] for note in board["annotations"]["list"])
    yield from re.findall(r"expr: (?:>-\n)?((?:.+\n)(?: {10}.+\n)*)", ALERTS.read_text())


@pytest.mark.parametrize("text", [BOARD.read_text(), ALERTS.read_text()], ids=["board", "alerts"])
def test_every_metric_exists(text):
    names = set(re.findall(r"warppool_\w+", text))
    assert len(names) > 5
    assert sorted(names - exported().keys()) == []


def test_every_label_exists():
    known, seen = exported(), 0
    for expression in expressions():
        for name, selector in re.findall(r"(warppool_\w+)(?:\{(.*?)\})?", expression):
            asked = set(re.findall(r"(\w+)=", selector))
            by = {label.strip() for group in re.findall(r"by \((.*?)\)", expression) for label in group.split(",")}
            assert asked <= known[name] | FROM_PROMETHEUS, expression
            assert by <= set().union(*known.values()) | FROM_PROMETHEUS, expression
            seen += 1
    assert seen > 25


def test_counters_are_read_as_rates():
    for expression in expressions():
        for name in re.findall(r"(?<!rate\()(warppool_\w+_(?:total|bucket))\b", expression):
            pytest.fail(f"{name} is no gauge: {expression}")


def test_the_panels_of_the_board_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(BOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken
        taken |= cells

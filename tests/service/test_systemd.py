"""The unit files: what each daemon promises systemd, and what systemd says of them where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from warppool.commands.cli import USAGE
from warppool.service.startcheck import PATIENCE_S as START_PATIENCE_S

UNITS = Path(__file__).parents[2] / "systemd"
POOL, TRANSLATOR = "warppool.service", "warppool-translator.service"
PROVIDER = "warppool-template-provider.service"
MAX_EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
each_unit = pytest.mark.parametrize("name", [POOL, TRANSLATOR, PROVIDER])

LIKE_NO_OTHER = {"Description", "After", "ExecStart", "ExecReload", "TimeoutStartSec", "StateDirectory",
                 "RuntimeDirectory", "LoadCredential"}
"""What the two units do not have in common."""


def settings(name: str) -> dict[str, list[str]]:
    """Every `Key=value` of the unit, comments left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (UNITS / name).read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


@pytest.fixture
def rendered(tmp_path, name):
    """The unit with a program that exists on this machine."""
    path = tmp_path / name
    text = (UNITS / name).read_text(encoding="utf-8")
    for key in ("ExecStart", "ExecReload"):
        program = settings(name)[key][0].split()[0]
        assert text.count(f"{key}={program} ") == 1
        text = text.replace(f"{key}={program} ", f"{key}={sys.executable} ")
    path.write_text(text)
    return path


def test_the_unit_says_what_the_pool_does():
    found = settings(POOL)
    assert found["TimeoutStartSec"] == ["infinity"], "a node may sync for hours before READY=1"
    assert found["ExecStart"] == ["/opt/warppool/bin/warppool run -c /etc/warppool/warppool.toml"]
    assert found["LoadCredential"] == ["secrets.toml:/etc/warppool/secrets.toml"]
    assert found["StateDirectory"] == found["RuntimeDirectory"] == ["warppool"]
    assert found["RuntimeDirectoryMode"] == ["0750"], "the status socket is for root and the group"
    assert "\n#SupplementaryGroups=bitcoin\n" in (UNITS / POOL).read_text(encoding="utf-8")


def test_the_unit_says_what_the_translator_does():
    found = settings(TRANSLATOR)
    assert int(found["TimeoutStartSec"][0]) > 2 * START_PATIENCE_S, "READY=1 comes without an upstream, too"
    assert found["ExecStart"] == ["/opt/warppool/bin/warppool-translator -c /etc/warppool/translator.toml"]
    assert found["LoadCredential"] == [], "it needs no secrets, and without the file the unit would not start"
    assert "\n#LoadCredential=secrets.toml:/etc/warppool/translator-secrets.toml\n" in (
        UNITS / TRANSLATOR).read_text(encoding="utf-8")
    assert found["StateDirectory"] == found["RuntimeDirectory"] == ["warppool-translator"]


def test_the_unit_says_what_the_template_provider_does():
    found, pool = settings(PROVIDER), settings(POOL)
    assert found["ExecStart"] == [
        "/opt/warppool/bin/warppool template-provider -c /etc/warppool/template-provider.toml"]
    assert found["StateDirectory"] == ["warppool-template-provider"]
    assert {key for key in pool.keys() | found.keys() if pool[key] != found[key]} == {
        "Description", "ExecStart", "ExecReload", "StateDirectory", "RuntimeDirectory",
        "RuntimeDirectoryMode"}, "it waits for a node as the pool does"
    assert "\n#SupplementaryGroups=bitcoin\n" in (UNITS / PROVIDER).read_text(encoding="utf-8")


def test_the_translator_is_locked_in_like_the_pool():
    pool, translator = settings(POOL), settings(TRANSLATOR)
    assert {key for key in pool.keys() | translator.keys() if pool[key] != translator[key]} == LIKE_NO_OTHER


@each_unit
def test_the_unit_says_what_every_daemon_does(name):
    found = settings(name)
    assert found["Type"] == ["notify"]
    check, signal = found["ExecReload"]
    config = found["ExecStart"][0].partition(" -c ")[2]
    assert check == f"/opt/warppool/bin/warppool check --diff --no-network -c {config}"
    assert signal == "/bin/kill -HUP $MAINPID"
    assert found["RestartPreventExitStatus"] == [str(USAGE)]
    assert int(found["WatchdogSec"][0]) >= 30
    assert int(found["TimeoutStopSec"][0]) > 5, "more than a graceful stop takes"


@needs_systemd
@each_unit
def test_systemd_understands_every_line(rendered):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(rendered)], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, ""), "it says unknown keys on stderr and still ends with 0"


@needs_systemd
@pytest.mark.parametrize("name", [POOL])
def test_the_check_above_would_see_a_wrong_line(rendered):
    rendered.write_text(rendered.read_text().replace("Restart=on-failure", "Restrat=on-failure"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(rendered)], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert "Restrat" in done.stderr


@needs_systemd
@each_unit
def test_the_service_is_locked_in(rendered):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short",
                           f"--threshold={round(MAX_EXPOSURE * 10)}", str(rendered)],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    open_doors = [f"{row['name']} {row['exposure']}" for row in json.loads(done.stdout) if row["exposure"]]
    assert done.returncode == 0, f"exposure above {MAX_EXPOSURE}: {open_doors}"

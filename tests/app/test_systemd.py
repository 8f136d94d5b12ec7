"""The unit file: what the daemon promises systemd, and what systemd says of it where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from warppool.app.cli import USAGE

UNIT = Path(__file__).parents[2] / "systemd/warppool.service"
MAX_EXPOSURE = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings() -> dict[str, list[str]]:
    """Every `Key=value` of the unit, comments left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


@pytest.fixture
def rendered(tmp_path):
    """The unit with a program that exists on this machine."""
    path = tmp_path / "warppool.service"
    text = UNIT.read_text(encoding="utf-8")
    assert text.count("ExecStart=/opt/warppool/bin/warppool ") == 1
    path.write_text(text.replace("ExecStart=/opt/warppool/bin/warppool ", f"ExecStart={sys.executable} "))
    return path


def test_the_unit_says_what_the_daemon_does():
    found = settings()
    assert found["Type"] == ["notify"]
    assert found["TimeoutStartSec"] == ["infinity"], "a node may sync for hours before READY=1"
    assert found["ExecStart"] == ["/opt/warppool/bin/warppool run -c /etc/warppool/warppool.toml"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert found["LoadCredential"] == ["secrets.toml:/etc/warppool/secrets.toml"]
    assert found["RestartPreventExitStatus"] == [str(USAGE)]
    assert found["StateDirectory"] == ["warppool"]
    assert int(found["WatchdogSec"][0]) >= 30
    assert int(found["TimeoutStopSec"][0]) > 5, "more than a graceful stop takes"
    assert "\n#SupplementaryGroups=bitcoin\n" in UNIT.read_text(encoding="utf-8")


@needs_systemd
def test_systemd_understands_every_line(rendered):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(rendered)], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), "it says unknown keys on stderr and still ends with 0"


@needs_systemd
def test_the_check_above_would_see_a_wrong_line(rendered):
    rendered.write_text(rendered.read_text().replace("Restart=on-failure", "Restrat=on-failure"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(rendered)], capture_output=True, text=True,
                          timeout=60)
    assert "Restrat" in done.stderr


@needs_systemd
def test_the_service_is_locked_in(rendered):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short",
                           f"--threshold={round(MAX_EXPOSURE * 10)}", str(rendered)],
                          capture_output=True, text=True, timeout=60)
    open_doors = [f"{row['name']} {row['exposure']}" for row in json.loads(done.stdout) if row["exposure"]]
    assert done.returncode == 0, f"exposure above {MAX_EXPOSURE}: {open_doors}"

"""A peer that is missing is a skip for a developer and a failure where peers are required."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

@pytest.fixture
def node():
    pytest.skip("npm is not installed")

@pytest.mark.peer
def test_in_the_fixture(node): pass

@pytest.mark.peer
def test_in_the_test(): pytest.skip("node is not installed")

@pytest.mark.peer
@pytest.mark.skipif(True, reason="bcoin is not installed")
def test_by_its_mark(): pass

@pytest.mark.peer
@pytest.mark.xfail(strict=True)
def test_that_is_known_to_fail(): assert False

@pytest.mark.peer
def test_that_passes(): pass

def test_of_no_peer(): pytest.skip("another reason")
"""


@pytest.mark.parametrize(("required", "status", "summary"), [
    ("0", 0, "1 passed, 4 skipped, 1 xfailed"),
    ("1", 1, "1 passed, 1 skipped, 1 xfailed"),
])
def test_a_missing_peer_fails_only_where_it_is_required(tmp_path, required, status, summary):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = peer: x\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=tmp_path, text=True,
                          capture_output=True, timeout=120,
                          env={**os.environ, "WARPPOOL_REQUIRE_PEERS": required, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                               "PYTHONPATH": str(Path(__file__).parents[1])})
    assert done.returncode == status, done.stdout
    assert summary in done.stdout
    for reason in ("npm is not installed", "node is not installed", "bcoin is not installed"):
        assert (f"this peer is missing: Skipped: {reason}" in done.stdout) == (required == "1"), done.stdout

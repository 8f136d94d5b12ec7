import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path():
    """A directory in memory where the system has one: these tests sync a file some thousand times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


@pytest.fixture
def path(tmp_path):
    """Where the books of a test are."""
    return tmp_path / "shares.db"

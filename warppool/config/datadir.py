"""Where a program keeps its files when its own file does not say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from warppool.errors import ConfigError


def default_data_dir(environ: Mapping[str, str], name: str = "warppool") -> Path:
    """Where the program `name` keeps its files when its own file does not say."""
    try:
        return _default_data_dir(environ, name)
    except RuntimeError as exc:             # of Path.home
        raise ConfigError("data_dir is not given, and without $HOME there is no place for it: write data_dir = "
                          f'"/path/of/{name}", or set XDG_STATE_HOME') from exc


def _default_data_dir(environ: Mapping[str, str], name: str) -> Path:
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    system = Path("/var/lib") / name
    nearest = next(folder for folder in (system, *system.parents) if os.path.exists(folder))
    if os.access(nearest, os.W_OK | os.X_OK):
        return system
    home = environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local/state") / name

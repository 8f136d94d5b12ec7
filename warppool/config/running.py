"""`data_dir/running.toml`: what the daemon runs with, without secrets, for `warppool check --diff` to compare.

Every key stands there with the value that counts: defaults and environment worked in, paths absolute. The daemon writes
the file at its start and after each SIGHUP, and reads it never.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from warppool.config.anyfile import any_of
from warppool.config.changes import form_of, sections_of, toml_of
from warppool.config.declare import options_of
from warppool.config.options import Config, NodeConfig
from warppool.config.provideroptions import AnyConfig, TemplateProviderConfig
from warppool.config.reading import read_toml
from warppool.errors import ConfigError
from warppool.files import replace_file

FILE_NAME: Final = "running.toml"

_HEAD = """\
# What runs here, as warppool wrote it at its start or at the last SIGHUP. Nothing reads it but `warppool check --diff`:
# to change something, edit the file that the daemon was started with.
"""


def running_toml(config: AnyConfig) -> str:
    """The document; no secret is in it."""
    form = form_of(config)
    parts = [_HEAD]
    for name, tables in sections_of(config):
        for table in tables:
            lines = [form.heading(name)]
            for key, field, option in options_of(type(table)):
                value = getattr(table, field)
                if value is not None and not option.is_secret and not _is_unused(table, key):
                    lines.append(f"{key} = {toml_of(value)}")
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _is_unused(table: object, key: str) -> bool:
    """A node takes either a user or a cookie, and a file that names both is refused."""
    return isinstance(table, NodeConfig) and key == "cookie_file" and bool(table.user)


def data_dir_of(config: AnyConfig) -> Path:
    """Where the program keeps its files."""
    if isinstance(config, Config):
        return config.pool.data_dir
    return config.provider.data_dir if isinstance(config, TemplateProviderConfig) else config.translator.data_dir


def write_running(data_dir: Path, config: AnyConfig) -> None:
    """Put the document into `data_dir`, whole or not at all; OSError.

    No disk is waited for: the main thread must not hang in one that is dying, and each start writes the file anew.
    """
    replace_file(data_dir / FILE_NAME, running_toml(config).encode(), is_synced=False)


def read_running(data_dir: Path) -> AnyConfig | None:
    """What `write_running` left in `data_dir`, its secrets empty; None where nothing lies there, ConfigError."""
    path = data_dir / FILE_NAME
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}: read it as a user or group of the daemon") from exc
    return any_of(read_toml(path), folder=data_dir, secrets=None, environ={}, source=str(path))

"""secrets.toml: where it lies, who may read it, and what of it the environment says; the same for every program."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from warppool.config.declare import Form, options_of
from warppool.config.reading import ENVIRONMENT_PREFIX, Given, read_section, read_toml, text_of_file
from warppool.errors import ConfigError

_LISTS: Final = ("node_passwords", "notice_urls")

S = TypeVar("S")


def read_secrets_of(form: Form, section: type[S], folder: Path, environ: Mapping[str, str],
                    of_others: Collection[str] = ()) -> S:
    """The first secrets.toml there is: systemd's credential, else that in `folder`, which must be 0600 or tighter.

    `section` is the class of the secrets of `form`. `of_others` are keys that only another program's file may hold.
    ConfigError.
    """
    path = _secrets_file(folder, environ)
    document = {} if path is None else read_toml(path)
    for key in document:
        if key in of_others:
            raise ConfigError(f"{path}: {key} is a secret of a pool, and not known here: give this program a "
                              "secrets.toml of its own, in another folder with its configuration, or by "
                              "LoadCredential= of its unit")
    given = {key: Given(value, f"{path}: {key}") for key, value in document.items()}
    given |= _secrets_of_environment(section, environ)
    return read_section(form, "", section, given, folder, str(path or folder / "secrets.toml"), environ)


def _secrets_file(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """The secrets.toml that counts, None if there is none. $CREDENTIALS_DIRECTORY is guarded by whoever made it."""
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    if credentials and os.path.exists(Path(credentials) / "secrets.toml"):
        return Path(credentials) / "secrets.toml"
    path = folder / "secrets.toml"
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}: chown it to the user that runs this") from exc
    if mode & 0o077 and not path.is_dir():
        raise ConfigError(f"{path}: others may read it (mode {mode:04o}): chmod 600 {path}, or, where a container "
                          "engine made it so, name the folder that it is in by CREDENTIALS_DIRECTORY")
    return path


def _secrets_of_environment(section: type[Any], environ: Mapping[str, str]) -> dict[str, Given]:
    """What `WARPPOOL__SECRETS__KEY_FILE` names: the value alone, of lists one a line."""
    given = {}
    for key, _, _ in options_of(section):
        variable = f"{ENVIRONMENT_PREFIX}SECRETS__{key.upper()}_FILE"
        if variable in environ:
            text = text_of_file(variable, environ[variable])
            given[key] = Given(text.splitlines() if key in _LISTS else text.strip(), variable)
    return given

"""What the keys of `faceoptions.py` ask of each other, and of the secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from warppool.addresses import Address
from warppool.config.faceoptions import NoticeConfig, StatusConfig, WebConfig
from warppool.config.reading import Sections, shown
from warppool.errors import ConfigError
from warppool.notices.words import JSON

FOLDER: Final = "status"
"""Of the status files, in data_dir, where the operator names none."""


def web_in(sections: Sections) -> WebConfig:
    """The web as the file wants it: there is no port unless it has a [web]."""
    web = sections.one(WebConfig)
    return web if "web" in sections.written else replace(web, listen=())


def web_addresses(web: WebConfig) -> Iterator[tuple[str, Address]]:
    """(key with its section, address) of each port of the web, for `check_ports`."""
    for address in web.listen:
        yield "web.listen", address


def with_folder(status: StatusConfig, data_dir: Path) -> StatusConfig:
    """Whoever names the folder that is there by default has named none."""
    return replace(status, dir=None) if status.dir == data_dir / FOLDER else status


def check_notices(notices: list[NoticeConfig], sections: Sections) -> None:
    """Log and check know a notice by its name: no name twice. A program takes JSON and nothing else."""
    for index, notice in enumerate(notices):
        if notice.name in (other.name for other in notices[:index]):
            raise ConfigError(f"{sections.where('notice', 'name', index)} holds {shown(notice.name)}: that name stands "
                              "there twice: give each [[notice]] a name of its own")
    for index, notice in enumerate(notices):
        if notice.command and not notice.command[0].startswith("/"):
            raise ConfigError(f"{sections.where('notice', 'command', index)} holds {shown(notice.command[0])} first: "
                              "no PATH is searched for it: write the whole path of the program")
        if notice.command and notice.format != JSON:
            raise ConfigError(f"{sections.where('notice', 'format', index)} holds {shown(notice.format)}: a command "
                              "gets JSON: remove the key")


def with_urls(notices: Iterable[NoticeConfig], urls: tuple[str, ...]) -> list[NoticeConfig]:
    """Hand each notice that has no command the next URL."""
    notices = list(notices)
    wanted = sum(1 for notice in notices if not notice.command)
    if wanted != len(urls):
        raise ConfigError(f"secrets.toml: notice_urls holds {len(urls)}: "
                          f"it takes one for each [[notice]] without a command, and there are {wanted}")
    left = iter(urls)
    return [notice if notice.command else replace(notice, url=next(left)) for notice in notices]

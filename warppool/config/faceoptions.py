"""The keys of what people look at: status files, the web, and notices; the pool's and the translator's alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from warppool.addresses import Address
from warppool.config.declare import derived, option, optional, required
from warppool.config.kinds import ADDRESSES, FLAG, PATH, TEXTS, Kind, Refused, choice, text, whole
from warppool.config.reading import shown
from warppool.notices.kinds import EVENTS
from warppool.notices.url import NoticeUrl, WrongUrl
from warppool.notices.words import DISCORD, JSON, TELEGRAM, TEXT

MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def _read_events(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise Refused(f"it takes a list of events: {', '.join(EVENTS)}")
    for item in value:
        if item not in EVENTS:
            closest = "".join(f": did you mean {event}?" for event in get_close_matches(item, EVENTS, n=1, cutoff=0.5))
            raise Refused(f"it takes a list of events: {', '.join(EVENTS)}; {shown(item)} is none of them{closest}")
    return tuple(dict.fromkeys(value))


def _read_hosts(value: object) -> tuple[str, ...]:
    try:
        return tuple(_read_host(item) for item in (value if isinstance(value, list) else [None]))
    except ValueError:
        raise Refused('it takes a list of host names without a port, such as ["pool.example"], or []') from None


def _read_host(value: object) -> str:
    """A name or an IP address as browsers send it, without port and brackets; ValueError."""
    text = value.lower() if isinstance(value, str) else ""
    return text if _NAME.fullmatch(text) and len(text) <= MAX_NAME else str(ip_address(text))


def _read_urls(value: object) -> tuple[str, ...]:
    try:
        urls = value if isinstance(value, list) else [None]
        return tuple(_read_url(url) for url in urls)
    except WrongUrl as exc:
        raise Refused(f"it takes a list of URLs, and one of them {exc}") from None


def _read_url(value: object) -> str:
    """The text as it stands. NoticeUrl reads it anew where it is used."""
    NoticeUrl.parse(value if isinstance(value, str) else "")
    return str(value)


EVENT_LIST: Final = Kind("list of events", _read_events)
HOSTS: Final = Kind("list of host names", _read_hosts)
NOTICE_URLS: Final = Kind("list of URLs", _read_urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusConfig:
    """Status files, in the form of ckpool's, for programs that read them."""

    dir: Path | None = optional(
        PATH, "The folder of the status files, which all may read then; without the key it is status in data_dir, and "
        "its group may read it.", key="dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """The page, the API and the metrics; needs the extra [web]."""

    listen: tuple[Address, ...] = option(
        ADDRESSES, ["127.0.0.1:8080"], "HTTP, for browsers and programs; without a [web] in the file there is none, "
        "and [] switches it off.")
    hosts: tuple[str, ...] = option(
        HOSTS, [], "Names by which browsers may ask, without a port; [] means the addresses of listen, and localhost.")
    names: str = option(
        choice("short", "full"), "short", "How lists show the names of miners; a page that is asked for by its whole "
        "name is always full.")
    user_metrics: bool = option(
        FLAG, False, "Whether /metrics has series for each user, which are many where users are.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeConfig:
    """Who is told of what: any number of tables, none at first."""

    name: str = required(text("a name of 1 to 64 bytes that can be seen", 64, is_empty_allowed=False),
                         "By which log and check know it; each its own.")
    events: tuple[str, ...] = required(EVENT_LIST, f"What it is told of: {', '.join(EVENTS)}.")
    command: tuple[str, ...] = option(
        TEXTS, [], "A program with its arguments, which gets JSON on stdin; with [] the notice goes to the next of "
        "notice_urls in secrets.toml.")
    format: str = option(
        choice(JSON, TEXT, DISCORD, TELEGRAM), JSON,
        "How a URL is told: our JSON, plain text (ntfy), or as these services want it.")
    gone_min: int = option(
        whole(1, 10_080), 10, "Minutes without a connection after which a machine is said to be gone.")
    digest_hour: int = option(
        whole(0, 23), 8, "The hour, by the machine's clock, at which the daily digest is sent.")
    url: str = derived("", of="command", is_secret=True)
    """Where it goes; "" where there is a command."""

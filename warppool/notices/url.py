"""Where notices are posted to: an address that holds a token, so nothing but its host is ever shown."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

MAX_URL: Final = 2_000
"""Characters of an address; services and proxies refuse longer ones."""

WORDS: Final = "https://HOST[:PORT]/PATH; http:// only to this machine itself"
_VISIBLE = re.compile(r"[!-~]+\Z")
_HOST = re.compile(r"[A-Za-z0-9._:-]+\Z")


class WrongUrl(ValueError):
    """The text says what an address must be. It never repeats the address."""


@dataclass(frozen=True, slots=True)
class NoticeUrl:
    """`https://host:port/target`. `target` is path and query, in ASCII; it holds the token and is not shown."""

    host: str
    port: int
    target: str = field(repr=False)
    is_tls: bool = True

    @classmethod
    def parse(cls, text: str) -> NoticeUrl:
        """Read an address; WrongUrl."""
        if len(text) > MAX_URL or not _VISIBLE.match(text):
            raise WrongUrl(f"is no address of ASCII without spaces, at most {MAX_URL} characters: it takes {WORDS}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise WrongUrl(f"cannot be read: it takes {WORDS}") from None
        if parts.scheme not in ("https", "http") or not _HOST.match(host) or port == 0:
            raise WrongUrl(f"has no host to post to: it takes {WORDS}")
        if parts.username is not None or parts.password is not None:
            raise WrongUrl("holds a user before its host, which is not sent: give the token as the service takes it in "
                           "path or query")
        is_tls = parts.scheme == "https"
        if not is_tls and not _is_this_machine(host):
            raise WrongUrl("would send its token in plain text: write https://, or run a command instead")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or (443 if is_tls else 80), target, is_tls)

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"

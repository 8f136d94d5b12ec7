"""What `warppool check` says of the web: the extra, the ports, and who may read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from warppool.commands.findings import Finding, ports
from warppool.config.faceoptions import WebConfig
from warppool.errors import ConfigError
from warppool.service.connector import ListenAddress
from warppool.service.lock import holder
from warppool.service.web import KEY, WIDE_OPEN, hosts_of, listens_everywhere, require_extra

HOSTS_KEY = "web.hosts"


def web_findings(web: WebConfig, data_dir: Path, *, has_network: bool = True) -> Iterator[Finding]:
    """Whether it can be served, and by which names; nothing where there is no web. Without network no port is tried."""
    if not web.listen:
        return
    try:
        require_extra()
    except ConfigError as exc:
        yield Finding("error", KEY, str(exc).removeprefix(f"{KEY} "))
    if has_network:
        yield from ports((ListenAddress("web", address, KEY) for address in web.listen), holder(data_dir))
    if listens_everywhere(web):
        yield Finding("warn", KEY, WIDE_OPEN)
    else:
        yield Finding("ok", HOSTS_KEY, f"browsers may call it {', '.join(sorted(hosts_of(web)))}")

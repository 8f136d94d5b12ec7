"""What `warppool check` finds out about the machine, for the pool and for the translator alike.

Nothing is made and nothing is changed: what a check run by root left in the data directory, the service could not open.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from warppool.addresses import Net
from warppool.authority import authority_key_text
from warppool.config.changes import changes_between
from warppool.config.declare import Effect
from warppool.config.options import Secrets
from warppool.config.provideroptions import AnyConfig
from warppool.config.running import FILE_NAME, data_dir_of, read_running
from warppool.errors import ConfigError, NotNow
from warppool.net.limits import room_of
from warppool.net.listener import listen
from warppool.service.certificate import CERT_KEY, KEY_KEY, load, trouble_of
from warppool.service.connector import ListenAddress
from warppool.service.lock import holder
from warppool.service.mounts import require_mount
from warppool.service.specidentity import load as load_identity

EARLIEST_NOW = 1_790_000_000
"""September 2026, before this was written: a clock that shows less was never set."""

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED_PORTS = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")

LEAST_ROOM = 1 << 20
"""Bytes: a ledger, its WAL and a block or two do not go into less."""

ROOMY = 4000
"""Miners, for whom there should be room where nobody says how many will come."""


PROXY_KEY = "stratum.proxy_from"


class Finding(NamedTuple):
    """One line of the report; `grade` is ok, warn or error."""

    grade: str
    key: str
    sentence: str


def place(folder: Path, key: str, addresses: Iterable[ListenAddress]) -> Iterator[Finding]:
    """What the machine lends a program: its data directory, which `key` names, and its ports."""
    owner = holder(folder)
    yield data_dir(folder, key, owner)
    yield from ports(addresses, owner)


def data_dir(data_dir: Path, key: str, owner: str | None) -> Finding:
    """Whether the folder that the configuration names under `key` can be used; `owner` is who uses it now."""
    if owner is not None:
        return Finding("warn", key, f"{data_dir} is held by a running warppool ({owner}); a second is refused")
    try:
        require_mount(data_dir, key)
    except NotNow as exc:
        return Finding("error", key, str(exc).removeprefix(f"{key}: "))
    nearest = next(folder for folder in (data_dir, *data_dir.parents) if os.path.exists(folder))
    if not nearest.is_dir():
        return Finding("error", key, f"{nearest} is no directory: name another one")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("error", key, f"{nearest} may not be written by this user: chown it, or name another data_dir")
    free = os.statvfs(nearest)
    if free.f_bavail * free.f_frsize < LEAST_ROOM or (free.f_files and not free.f_favail):
        return Finding("error", key, f"{nearest} lies on a disk that is full: make room, or name another data_dir")
    return Finding("ok", key, f"{data_dir} can be written" if nearest == data_dir else f"{data_dir} will be made")


def ports(addresses: Iterable[ListenAddress], owner: str | None) -> Iterator[Finding]:
    """Whether each address can be listened on."""
    for kind, address, key in addresses:
        if owner is not None:
            yield Finding("warn", key, f"{address} was not tried, since a warppool runs ({owner})")
            continue
        try:
            listener = listen(kind, str(address), key)
        except (ConfigError, NotNow) as exc:
            yield Finding("error", key, str(exc).removeprefix(f"{key}: "))
            continue
        listener.sock.close()
        lost = "; an outgoing connection may take it: see net.ipv4.ip_local_reserved_ports" if may_be_lent(
            address.port) else ""
        yield Finding("ok", key, f"{address} is free{lost}")


def may_be_lent(port: int) -> bool:
    """Whether Linux may give `port` to an outgoing connection, so that a later start finds it taken."""
    try:
        low, high = map(int, PORT_RANGE.read_text(encoding="ascii").split())
        reserved = RESERVED_PORTS.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False
    ranges = [part.partition("-") for part in reserved.split(",") if part]
    is_reserved = any(int(first) <= port <= int(last or first) for first, _, last in ranges)
    return low <= port <= high and not is_reserved


def tls(certificate: Path, key: Path, now: float) -> Iterator[Finding]:
    """Whether the pair can be served, whom it is for, and until when."""
    try:
        _, leaf = load(certificate, key)
    except ConfigError as exc:
        where, _, words = str(exc).partition(": ")
        yield Finding("error", where, words)
        return
    whose = "signed by itself" if leaf.is_self_signed else f"issued by {leaf.issuer}"
    yield Finding("ok", CERT_KEY, f"{certificate} is for {', '.join(leaf.names) or 'no host'}, {whose}, until "
                  f"{leaf.expires}; its SHA-256 fingerprint is {leaf.fingerprint.hex()}")
    trouble = trouble_of(leaf, now)
    if trouble is not None:
        yield Finding("warn", CERT_KEY, trouble.sentence)
    if key.stat().st_mode & 0o004:
        yield Finding("warn", KEY_KEY, f"everybody on this machine may read {key}: chmod 640 {key}")


def spec_identity(secrets: Secrets, validity_s: int, who: str) -> Finding:
    """Whether the published profile of V2 can be served, and by which authority key `who`, those who come, know us."""
    try:
        _, voucher = load_identity(secrets, validity_s)
    except ConfigError as exc:
        return Finding("error", "secrets", str(exc).removeprefix("secrets.toml: "))
    trouble = voucher.trouble(time.time())
    return Finding("ok" if trouble is None else "warn", "secrets", f"{who} know the authority key "
                   f"{authority_key_text(voucher.authority)}" + ("" if trouble is None else f"; {trouble.sentence}"))


def differences(config: AnyConfig) -> Iterator[Finding]:
    """Each key in which the file differs from what the daemon of its data_dir runs with. Secrets are not compared."""
    data_dir = data_dir_of(config)
    try:
        running = read_running(data_dir)
    except ConfigError as exc:
        yield Finding("warn", "diff", f"{exc}: the next start writes that file anew")
        return
    if running is None:
        yield Finding("ok", "diff", f"{data_dir} has no {FILE_NAME}: nothing has run there")
        return
    if type(running) is not type(config):
        yield Finding("warn", "diff", f"{data_dir} is that of another program: name another data_dir")
        return
    changes = changes_between(running, config, with_secrets=False)
    for change in changes:
        grade = "warn" if change.on_reload is Effect.RESTART else "ok"
        yield Finding(grade, change.key, f"{change.old} becomes {change.new}: {change.on_reload.words}")
    if not changes:
        yield Finding("ok", "diff", f"nothing differs from what runs, as {data_dir / FILE_NAME} has it")


def proxies(nets: Iterable[Net]) -> Iterator[Finding]:
    """Who is believed when it says whose connection it hands on."""
    for net in nets:
        if net.prefixlen == 0:
            yield Finding("warn", PROXY_KEY, f"{net} is everybody, who may then come as whomever he likes: name the "
                          "nets of the proxies alone")
        else:
            yield Finding("ok", PROXY_KEY, f"what comes from {net} must begin with a PROXY header, whose address "
                          "counts")


def files(wanted: int, fds_each: int = 1, besides: int = 0) -> Finding:
    """Whether there is room for the `wanted` miners, each with so many files, and `besides` for the web; a daemon takes
    the hard limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding("ok", "limits", "any number of files may be open")
    room = room_of(hard, fds_each, besides)
    if wanted > room:
        return Finding("warn", "limits", f"{hard} files may be open, room for {room} miners, and "
                       f"stratum.max_connections is {wanted}: raise LimitNOFILE= of the unit, or ulimit -n")
    if not wanted and room < ROOMY:
        return Finding("warn", "limits", f"{hard} files may be open, room for {room} miners: raise LimitNOFILE= of the "
                       "unit, or ulimit -n, for more")
    return Finding("ok", "limits", f"{hard} files may be open, room for {room} miners")


def clock(now: float) -> Finding:
    """Whether the clock was ever set."""
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now < EARLIEST_NOW:
        return Finding("error", "clock", f"it shows {shown}, which is past: set it, and have NTP keep it")
    return Finding("ok", "clock", f"it shows {shown}")

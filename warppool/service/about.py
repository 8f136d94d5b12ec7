"""What the page says of this pool and its numbers do not: its name, who is paid, and where to mine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from warppool.addresses import PoolUrl
from warppool.config.faceoptions import WebConfig
from warppool.config.options import Config, PoolConfig
from warppool.config.translatoroptions import PROGRAM, TranslatorConfig
from warppool.net.listener import Listener
from warppool.noise.primitives import public_key
from warppool.page.about import About
from warppool.page.view import ConnectUrl
from warppool.page.wording import TRANSLATOR
from warppool.service.connector import ANY, SV1, SV1_TLS, SV2, SV2_SPEC

_PAID: Final[Mapping[str, Callable[[PoolConfig], str]]] = MappingProxyType({
    "pool": lambda pool: "The operator of this pool receives the whole reward of each block, at the address "
                         f"{pool.payout_address}. Machines here mine for the operator.",
    "solo": lambda pool: "Whoever finds a block receives its reward in the block itself, at the address in the name of "
                         f"the machine{_less_fee(pool)}. Nobody else is paid by it.",
    "pplns": lambda pool: "Everybody who has worked is paid: each block divides its reward by the work of the last "
                          f"{pool.window.normalize():f} network difficulties, in the block itself{_less_fee(pool)}.",
})
"""By the mode of the configuration, as `payers.py` has it."""

_TAG_ENDS: Final = "/ "


def about_of(config: Config, listeners: Iterable[Listener], authority_key: bytes) -> About:
    """Made once the ports are bound. `authority_key` (32 bytes) is that of the published profile, b"" without one."""
    pool = config.pool
    secret = config.secrets.sv2_static_priv_key
    keys = {SV2: public_key(secret) if secret is not None else b"", SV2_SPEC: authority_key}
    return About(pool.coinbase_tag.strip(_TAG_ENDS) or "warppool", _PAID[pool.payout](pool),
                 _connect(config.web, listeners, keys))


def translator_about(config: TranslatorConfig, listeners: Iterable[Listener]) -> About:
    """The same of a translator, which has no keys of its own."""
    return About(PROGRAM, "Machines here mine for the upstream pools below, which pay by their own rules.",
                 _connect(config.web, listeners, {SV2: b"", SV2_SPEC: b""}), TRANSLATOR)


def _connect(web: WebConfig, listeners: Iterable[Listener], keys: Mapping[str, bytes]) -> tuple[ConnectUrl, ...]:
    """What machines are told, port by port."""
    here = web.hosts[0] if web.hosts else socket.gethostname()
    return tuple(each for listener in listeners
                 for each in _ways(listener.kind, _host(listener, here), listener.port, keys))


def _less_fee(pool: PoolConfig) -> str:
    return f", less {pool.fee_percent.normalize():f}\u00a0% for the operator" if pool.fee_basis_points else ""


def _host(listener: Listener, here: str) -> str:
    """The address that is listened on; `here` where that is every address."""
    address = str(listener.sock.getsockname()[0])
    return here if ip_address(address.partition("%")[0]).is_unspecified else address


def _ways(kind: str, host: str, port: int, keys: Mapping[str, bytes]) -> list[ConnectUrl]:
    """What a machine is told for this port, one for each protocol that is spoken there."""
    v1 = ConnectUrl("Stratum V1", str(PoolUrl(host, port, b"")))
    tls = ConnectUrl("Stratum V1 over TLS", str(PoolUrl(host, port, b"", is_tls=True)))
    own, authority = keys[SV2], keys[SV2_SPEC]
    warp = [ConnectUrl("Stratum V2, profile warp", str(PoolUrl(host, port, own)))] if own else []
    spec = [ConnectUrl("Stratum V2", str(PoolUrl(host, port, b"", authority_key=authority)))] if authority else []
    return {SV1: [v1], SV1_TLS: [tls], SV2: warp, SV2_SPEC: spec, ANY: [v1, tls, *warp, *spec]}.get(kind, [])

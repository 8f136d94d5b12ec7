"""`warppool check` for the translator: the machine around it, and each upstream, which is greeted and left again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from warppool.commands.findings import Finding, clock, files, place, proxies, tls
from warppool.commands.ledgercheck import BOOKS_KEY, ledger_findings
from warppool.commands.noticecheck import notice_findings
from warppool.commands.statuscheck import status_findings
from warppool.commands.webcheck import web_findings
from warppool.config.translator import LEDGER_URL
from warppool.config.translatoroptions import TranslatorConfig, UpstreamSection
from warppool.errors import ConfigError, RemoteProtocolError, WrongServerKey
from warppool.miner.greeting import greet
from warppool.miner.link import PoolGone
from warppool.service.connector import fds_each, listen_addresses
from warppool.service.web import fds_of

SHORT_SILENCE_S = 60
"""Pools have something to say every 30 s or so, since machines drop them after 60 s."""


def translator_findings(path: Path, config: TranslatorConfig, *, has_network: bool = True) -> Iterator[Finding]:
    """What there is to say about the configuration at `path` and the machine around it; without network, of files."""
    stratum, translator = config.stratum, config.translator
    yield Finding("ok", "config", f"{path} is read, a translator's, with mode = \"{translator.mode}\"")
    if translator.silence_s < SHORT_SILENCE_S:
        yield Finding("warn", "translator.silence_s", f"{translator.silence_s} s is short: a pool that has no new work "
                      f"for so long would be left; {SHORT_SILENCE_S} or more is safe")
    yield from proxies(stratum.proxy_from)
    if has_network:
        yield from place(translator.data_dir, "translator.data_dir", listen_addresses(stratum))
        yield from status_findings(config.status, translator.data_dir)
        yield from ledger_findings(LEDGER_URL, translator.data_dir, BOOKS_KEY)
    yield from web_findings(config.web, translator.data_dir, has_network=has_network)
    if stratum.has_tls:
        yield from tls(stratum.tls_cert, stratum.tls_key, time.time())
    yield from notice_findings(config.notices)
    if not has_network:
        return
    yield files(stratum.max_connections, fds_each(config), besides=fds_of(config.web))
    yield clock(time.time())
    for index, upstream in enumerate(config.upstreams):
        yield _upstream(f"upstream[{index}]", upstream)


def _upstream(key: str, upstream: UpstreamSection) -> Finding:
    place = upstream.url.place
    try:
        address = greet(upstream.url)
    except WrongServerKey:
        return Finding("error", key, f"{place} proves another key than the one in its url: ask its operator for the "
                       "public key, which warppool check prints there")
    except RemoteProtocolError as exc:
        return Finding("error", key, f"{place} answers, and not as a Stratum V2 pool of this kind ({exc}): is it the "
                       "right port?")
    except (PoolGone, ConfigError) as exc:
        return Finding("error", key, f"{place}: {exc}")
    used = "is used while no other is there" if upstream.fallback_only else "is used"
    return Finding("ok", key, f"{place} has the right key, takes us at {address}, and {used}, as "
                   f"{upstream.user_identity} for machines without a name")

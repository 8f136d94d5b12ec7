"""The thread `notices`, made of what the configuration says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from warppool.config.faceoptions import NoticeConfig
from warppool.notices.delivery import Delivery
from warppool.notices.post import Poster
from warppool.notices.program import CommandRunner
from warppool.notices.seen import Around
from warppool.notices.thread import Notices, Recipient
from warppool.notices.url import NoticeUrl
from warppool.notices.view import SeenCertificate
from warppool.service.certificate import Certificate
from warppool.service.specidentity import SpecIdentity
from warppool.stats.snapshot import StatsSnapshot

PACKAGE: Final = "warppool"

VERSION_EVERY_S: Final = 3600.0
"""Between two looks at what is installed: an upgrade is an hour's news at most."""


def notices_of(tables: Iterable[NoticeConfig], latest: Callable[[], StatsSnapshot], program: str,
               certificate: Certificate | None, spec: SpecIdentity | None) -> tuple[Notices, ...]:
    """The one thread that tells whom `tables` name; none where there is nobody to tell. `program` is who speaks."""
    places = [Recipient(table.name, frozenset(table.events), delivery_of(table, program), 60.0 * table.gone_min,
                    table.digest_hour) for table in tables]
    return (Notices(places, latest, NoticeSources(certificate, spec)),) if places else ()


def delivery_of(table: NoticeConfig, program: str) -> Delivery:
    """How that table's notices leave."""
    if table.command:
        return CommandRunner(table.command, program)
    return Poster(NoticeUrl.parse(table.url), table.format, program)


class NoticeSources:
    """What notices look at beside the snapshot. Called by the thread `notices`; certificates are replaced as a whole,
    so any thread may read them.
    """

    def __init__(self, certificate: Certificate | None, spec: SpecIdentity | None,
                 installed: Callable[[], str] | None = None, unix: Callable[[], float] = time.time) -> None:
        self._certificate = certificate
        self._spec = spec
        self._installed = installed or installed_version
        self._unix = unix
        self._at_start = self._installed()          # that is what runs
        self._other = ""
        self._looks_at = unix() + VERSION_EVERY_S

    def __call__(self) -> Around:
        """As it is now."""
        now = self._unix()
        if not -VERSION_EVERY_S <= now - self._looks_at < 0:            # due, or the clock was set back
            self._looks_at = now + VERSION_EVERY_S
            found = self._installed()
            self._other = found if found != self._at_start else ""
        return Around(tuple(self._certificates(now)), self._other)

    def _certificates(self, now: float) -> Iterator[SeenCertificate]:
        """Those that are served and end; one that the pool renews by itself does not."""
        if self._certificate is not None:
            yield SeenCertificate("stratum.tls_cert", self._certificate.leaf.not_after)
        voucher = None if self._spec is None else self._spec.voucher
        if voucher is not None and voucher.trouble(now) is not None:
            yield SeenCertificate("sv2_spec_certificate", voucher.certificate(now).not_valid_after)


def installed_version() -> str:
    """The version of the package that a restart would run, from its files; "" where it runs from a checkout.

    Nobody on the network is asked: that would tell them who runs a pool.
    """
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""

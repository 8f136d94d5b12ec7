"""Upstreams of the published profile, in the translator as a service."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.net.far import closed_port
from tests.node.stub import HARD_NBITS, StubNode
from tests.patience import until
from tests.service.farm import EVERY_HASH, SECRET, Fleet, booked_by, translating
from tests.service.livepool import LivePool, running
from tests.service.process import write_config
from tests.service.test_spec_live import AUTHORITY_SECRET, PINS, vouched_by
from warppool.addresses import PoolUrl
from warppool.commands.democert import self_signed
from warppool.config.pool import read_config
from warppool.config.translator import read_translator_config
from warppool.errors import ConfigError, RemoteProtocolError
from warppool.miner.greeting import greet
from warppool.miner.link import PoolGone
from warppool.noise import secp256k1
from warppool.service.connector import ANY, SV2, SV2_SPEC, context_of
from warppool.service.translator import Translator
from warppool.sv2.profile import SPEC, WARP
from warppool.translate.counters import Counters
from warppool.translate.waitingnames import WaitingNames

AUTHORITY = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
WARP_KEY = "07" * 32


def config(folder, *keys):
    path = folder / "translator.toml"
    path.write_text('[stratum]\nlisten = ["127.0.0.1:0"]\n[translator]\ndata_dir = "data"\n' + "".join(
        f'[[upstream]]\nurl = "stratum2+tcp://127.0.0.1:{closed_port()}/{key}"\nuser_identity = "farm"\n'
        for key in keys))
    return read_translator_config(path, {})


@pytest.fixture
def no_library(monkeypatch):
    def missing():
        raise ConfigError("Stratum V2 of the published profile needs btclib-secp256k1: pip install 'warppool[spec]'")

    monkeypatch.setattr(secp256k1, "library", missing)


def test_each_upstream_has_the_profile_of_its_url(tmp_path):
    upstreams = context_of(config(tmp_path, AUTHORITY, WARP_KEY), Counters(), WaitingNames()).upstreams
    assert [each.profile for each in upstreams] == [SPEC, WARP]
    assert [len(each.pin) for each in upstreams] == [32, 32]


@pytest.mark.usefixtures("no_library")
def test_without_the_library_the_start_says_what_to_install(tmp_path):
    with pytest.raises(ConfigError, match=r"upstream\[1\]\.url: .* pip install 'warppool\[spec\]'"):
        Translator(config(tmp_path, WARP_KEY, AUTHORITY))


@pytest.mark.usefixtures("no_library")
def test_a_reload_to_such_an_upstream_changes_nothing_without_the_library(tmp_path):
    translator = Translator(before := config(tmp_path, WARP_KEY))
    try:
        with pytest.raises(ConfigError, match="btclib-secp256k1"):
            translator.prepare(after := config(tmp_path, AUTHORITY), after)
        assert translator.config == before
    finally:
        translator.service.parts.resources.close()


# -- live, on a pool of ours that serves both profiles -----------------------------------------------------------------

@pytest.fixture
def pool(tmp_path):
    """Every hash is a share, and none is a block."""
    with StubNode(nbits=HARD_NBITS, cookie=tmp_path / "cookie") as stub:
        ports = {key: ["127.0.0.1:0"] for key in ("sv2_listen", "sv2_spec_listen", "any_listen")}
        certificate, key = self_signed().write(tmp_path)
        stratum = {**ports, "workers": 1, "tls_cert": str(certificate), "tls_key": str(key)}
        path = write_config(tmp_path, secret=SECRET, node={"url": stub.url, "cookie_file": str(stub.cookie)},
                            stratum=stratum, difficulty=EVERY_HASH)
        vouched_by(tmp_path, AUTHORITY_SECRET)
        with running(LivePool(read_config(path, {}), stub)) as made:
            yield made


def spec_url(pool, kind=SV2_SPEC):
    return PoolUrl("127.0.0.1", pool.ports[kind], b"", authority_key=PINS["spec"])


@pytest.mark.parametrize(("mode", "kind"), [("connection", SV2_SPEC), ("channels", ANY)])
def test_machines_mine_on_a_pool_of_the_published_profile(tmp_path, pool, mode, kind):
    """The keys of certificates, group channels and V1 in one row: each share is booked once, here and there."""
    names = [f"farm.rig{number}" for number in range(6)]
    with (translating(tmp_path, SimpleNamespace(url=spec_url(pool, kind)), mode=mode, verdict_timeout_s=60
                      ) as translator,
          Fleet(translator.ports.listeners[0].port, names, in_flight=8) as fleet):
        fleet.drive(fleet.are_working)
        fleet.give(300)
        fleet.drive(fleet.are_answered)
        counts = translator.counts()
        assert counts.accepted == fleet.answers[0] and counts.unconfirmed == 0
        until(lambda: len(pool.booked()) == counts.accepted)
        pool.stub.grow()                                    # the tip moves: for groups that is one message
        fleet.drive(fleet.are_working)
        fleet.give(100)
        fleet.drive(fleet.are_answered)
        counts = translator.counts()
    assert len(booked_by(translator)) == counts.accepted == len(pool.booked())
    assert {share.worker for share in pool.booked()} == set(names)


def test_the_first_words_are_understood_on_each_port_and_by_no_other_profile(pool):
    assert greet(spec_url(pool)) == greet(spec_url(pool, ANY)) == "127.0.0.1"
    for wrong in (spec_url(pool, SV2), PoolUrl("127.0.0.1", pool.ports[SV2_SPEC], PINS["warp"])):
        with pytest.raises((PoolGone, RemoteProtocolError)):
            greet(wrong, 20.0)

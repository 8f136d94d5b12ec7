"""What the page tells a newcomer: where to mine, and who is paid."""

from __future__ import annotations

from contextlib import ExitStack
from decimal import Decimal

import pytest

from tests.page.reading import plain
from warppool.addresses import PoolUrl
from warppool.authority import authority_key_text
from warppool.config.options import Secrets
from warppool.config.pool import config_of
from warppool.net.listener import listen
from warppool.noise.primitives import public_key
from warppool.service.about import about_of
from warppool.service.connector import ANY, SV1, SV1_TLS, SV2, SV2_SPEC

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SECRET = bytes(range(32))
AUTHORITY = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")     # the generator's x


def _about(tmp_path, kinds, *, authority=b"", secret=SECRET, address="127.0.0.1:0", pool=(), web=()):
    document = {"pool": {"network": "regtest", "payout_address": ADDRESS, "data_dir": str(tmp_path), **dict(pool)},
                "node": [{"source": "regtest"}], "web": dict(web)}
    secrets = Secrets(sv2_static_priv_key=secret)
    config = config_of(document, folder=tmp_path, secrets=secrets, environ={}, source="test")
    with ExitStack() as stack:
        listeners = [listen(kind, address, "stratum.listen") for kind in kinds]
        for listener in listeners:
            stack.callback(listener.sock.close)
        return about_of(config, listeners, authority), [listener.port for listener in listeners]


def test_each_port_is_named_as_a_machine_is_told_it(tmp_path):
    about, (v1, tls, v2, spec) = _about(tmp_path, (SV1, SV1_TLS, SV2, SV2_SPEC), authority=AUTHORITY)
    assert [each.url for each in about.connect] == [
        f"stratum+tcp://127.0.0.1:{v1}", f"stratum+tls://127.0.0.1:{tls}",
        f"stratum2+tcp://127.0.0.1:{v2}/{public_key(SECRET).hex()}",
        f"stratum2+tcp://127.0.0.1:{spec}/{authority_key_text(AUTHORITY)}"]
    for each in about.connect:
        assert str(PoolUrl.parse(each.url)) == each.url     # and the translator takes it so


def test_a_port_for_all_says_all_that_is_spoken_there(tmp_path):
    about, _ = _about(tmp_path, (ANY,))
    assert [each.label for each in about.connect] == ["Stratum V1", "Stratum V1 over TLS", "Stratum V2, profile warp"]
    about, _ = _about(tmp_path, (ANY,), authority=AUTHORITY)
    assert about.connect[-1].label == "Stratum V2"


def test_where_every_address_is_listened_on_the_name_of_the_web_is_said(tmp_path):
    about, (port,) = _about(tmp_path, (SV1,), address="[::]:0", web={"hosts": ["pool.example", "other.example"]})
    assert about.connect[0].url == f"stratum+tcp://pool.example:{port}"
    about, _ = _about(tmp_path, (SV1,), address="[::1]:0")
    assert about.connect[0].url.startswith("stratum+tcp://[::1]:")


@pytest.mark.parametrize(("pool", "words"), [
    ({}, ADDRESS),
    ({"payout": "solo"}, "in the name of the machine. Nobody else"),
    ({"payout": "solo", "fee_percent": Decimal("1.5")},
     "in the name of the machine, less 1.5 % for the operator. Nobody else"),
    ({"payout": "pplns"}, "the work of the last 8 network difficulties, in the block itself."),
    ({"payout": "pplns", "window": Decimal("2.5"), "fee_percent": 2},
     "of the last 2.5 network difficulties, in the block itself, less 2 %"),
])
def test_who_is_paid_is_one_sentence(tmp_path, pool, words):
    about, _ = _about(tmp_path, (), pool=pool)
    assert words in plain(about.paid) and about.pool == "warppool"


def test_the_pool_calls_itself_as_in_its_blocks(tmp_path):
    assert _about(tmp_path, (), pool={"coinbase_tag": "/Hashes of the Hill/"})[0].pool == "Hashes of the Hill"
    assert _about(tmp_path, (), pool={"coinbase_tag": ""})[0].pool == "warppool"

import pytest

from warppool.addresses import PoolUrl
from warppool.errors import ConfigError
from warppool.miner.link import EXTENDED, Sv1Link, Sv2Link, link_to, tls_context

KEY = "07" * 32


def test_a_url_knows_its_protocol():
    assert isinstance(link_to(PoolUrl.parse(f"stratum2+tcp://h:1/{KEY}"), "alice", EXTENDED, 0.0), Sv2Link)
    assert isinstance(link_to(PoolUrl.parse("stratum+tls://h:1"), "alice", EXTENDED, 0.0), Sv1Link)


def test_a_file_without_certificates_is_one_clear_error(tmp_path):
    (tmp_path / "none.pem").write_text("hello")
    for name in ("none.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=name):
            tls_context(tmp_path / name)

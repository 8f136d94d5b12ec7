import pytest

from warppool.errors import ConfigError
from warppool.miner.link import EXTENDED, PoolUrl, Sv1Link, Sv2Link, tls_context

KEY = "07" * 32


@pytest.mark.parametrize(("text", "url"), [
    (f"stratum2+tcp://pool.example:34254/{KEY}", PoolUrl("pool.example", 34254, bytes.fromhex(KEY))),
    (f"stratum2+tcp://[::1]:1/{KEY}", PoolUrl("::1", 1, bytes.fromhex(KEY))),
    ("stratum+tcp://127.0.0.1:3333", PoolUrl("127.0.0.1", 3333, b"")),
    ("stratum+tls://pool.example:4333", PoolUrl("pool.example", 4333, b"", is_tls=True)),
])
def test_urls_go_both_ways(text, url):
    assert PoolUrl.parse(text) == url
    assert str(url) == text


@pytest.mark.parametrize("text", [
    "", "pool.example:3333", "http://pool.example:3333", "stratum+tcp://pool.example", "stratum+tcp://:3333",
    f"stratum+tcp://pool.example:3333/{KEY}", "stratum2+tcp://pool.example:34254",
    f"stratum2+tcp://pool.example:34254/{KEY}00", "stratum2+tcp://pool.example:34254/zz",
    "stratum+tcp://pool.example:99999", "stratum2+tls://pool.example:1",
])
def test_what_is_no_pool_url_is_one_clear_error(text):
    with pytest.raises(ConfigError, match="a pool URL is"):
        PoolUrl.parse(text)


def test_a_url_knows_its_protocol():
    assert isinstance(PoolUrl.parse(f"stratum2+tcp://h:1/{KEY}").link("alice", EXTENDED, 0.0), Sv2Link)
    assert isinstance(PoolUrl.parse("stratum+tls://h:1").link("alice", EXTENDED, 0.0), Sv1Link)


def test_a_file_without_certificates_is_one_clear_error(tmp_path):
    (tmp_path / "none.pem").write_text("hello")
    for name in ("none.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=name):
            tls_context(tmp_path / name)

"""Addresses and URLs as people write them."""

from __future__ import annotations

import pytest

from warppool.addresses import NodeAddress, PoolUrl, format_address, parse_address, plain_ip
from warppool.errors import ConfigError

KEY = "07" * 32
AUTHORITY_TEXT = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"
AUTHORITY = bytes.fromhex("76637000979c1c11af0c300bcd8c7fe48610fce9b9c11e3daee35ae0b08a7455")


# --- to listen on -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "wanted"), [
    ("0.0.0.0:3333", ("0.0.0.0", 3333)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::]:65535", ("::", 65535)),
    ("[2001:DB8::1]:80", ("2001:db8::1", 80))])
def test_an_address_to_listen_on(text: str, wanted: tuple[str, int]) -> None:
    assert parse_address(text, "stratum.listen") == wanted


@pytest.mark.parametrize("text", [
    "", "3333", ":3333", "0.0.0.0", "0.0.0.0:", "0.0.0.0:65536", "0.0.0.0:-1", "0.0.0.0: 80", "0.0.0.0:٣",
    "0.0.0.0:000080", "localhost:3333", "::1:3333", "[127.0.0.1]:3333", "[::]", "[::1:3333", "::]:3333", "1.2.3:80"])
def test_what_is_no_address_is_refused_with_the_key(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^stratum\.sv2_listen holds "):
        parse_address(text, "stratum.sv2_listen")


def test_an_ipv4_address_has_one_name() -> None:
    assert plain_ip("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_ip("::ffff:1") == "::ffff:1"
    assert format_address("::ffff:192.0.2.1", 5) == "192.0.2.1:5"
    assert format_address("2001:db8::1", 5) == "[2001:db8::1]:5"


# --- of nodes ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("url", "words"), [
    ("https://127.0.0.1:8332", "must begin with http://"),
    ("127.0.0.1:8332", "must begin with http://"),
    ("http://127.0.0.1", "must name host and port"),
    ("http://:8332", "must name host and port"),
    ("http://bob:sesame@127.0.0.1:8332", "carries a user or password"),
    ("http://127.0.0.1:99999", "no URL"),
])
def test_urls_that_are_no_node(url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        NodeAddress.parse(url)
    assert "sesame" not in str(caught.value)


def test_the_address_of_a_node():
    assert NodeAddress.parse("http://[::1]:8332/wallet") == NodeAddress("::1", 8332, "/wallet")
    assert str(NodeAddress.parse("http://[::1]:8332")) == "[::1]:8332"
    assert str(NodeAddress.parse("http://node:8332")) == "node:8332"


# --- of pools ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "url"), [
    (f"stratum2+tcp://pool.example:34254/{KEY}", PoolUrl("pool.example", 34254, bytes.fromhex(KEY))),
    (f"stratum2+tcp://[::1]:1/{KEY}", PoolUrl("::1", 1, bytes.fromhex(KEY))),
    (f"stratum2+tcp://pool.example:34255/{AUTHORITY_TEXT}",
     PoolUrl("pool.example", 34255, b"", authority_key=AUTHORITY)),
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
    f"stratum+tcp://pool.example:3333/{AUTHORITY_TEXT}", f"stratum+tls://pool.example:3333/{AUTHORITY_TEXT}",
    f"stratum2+tcp://pool.example:34255/{AUTHORITY_TEXT[:-1]}", f"stratum2+tcp://pool.example:34255/{AUTHORITY_TEXT}/",
    f"stratum2+tcp://pool.example:34255/{AUTHORITY_TEXT.lower()}",
])
def test_what_is_no_pool_url_is_one_clear_error(text):
    with pytest.raises(ConfigError, match="a pool URL is"):
        PoolUrl.parse(text)


def test_the_key_in_the_url_names_the_profile():
    warp, spec, v1 = (PoolUrl.parse(text) for text in (
        f"stratum2+tcp://a:1/{KEY}", f"stratum2+tcp://a:1/{AUTHORITY_TEXT}", "stratum+tcp://a:1"))
    assert [(url.profile, url.pin) for url in (warp, spec, v1)] == [
        ("warp", bytes.fromhex(KEY)), ("spec", AUTHORITY), ("", b"")]


def test_a_key_that_is_wrong_says_why():
    with pytest.raises(ConfigError, match=r"\(the key has a wrong checksum\)"):
        PoolUrl.parse(f"stratum2+tcp://pool.example:1/{AUTHORITY_TEXT[:-1]}g")

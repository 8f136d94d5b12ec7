"""An address of a notice is read or refused, and what it holds is never repeated."""

import pytest

from warppool.notices.url import NoticeUrl, WrongUrl

TOKEN = "s3cretT0ken"


@pytest.mark.parametrize(("text", "host", "port", "target", "authority"), [
    (f"https://api.telegram.org/bot1:{TOKEN}/sendMessage?chat_id=-5", "api.telegram.org", 443,
     f"/bot1:{TOKEN}/sendMessage?chat_id=-5", "api.telegram.org"),
    ("https://ntfy.example:8443/t", "ntfy.example", 8443, "/t", "ntfy.example:8443"),
    ("https://ntfy.example", "ntfy.example", 443, "/", "ntfy.example"),
    ("https://[2001:db8::1]:444/x#part", "2001:db8::1", 444, "/x", "[2001:db8::1]:444"),
    ("http://127.0.0.1:2586/pool", "127.0.0.1", 2586, "/pool", "127.0.0.1:2586"),
    ("http://[::1]/pool", "::1", 80, "/pool", "[::1]"),
    ("http://localhost/pool", "localhost", 80, "/pool", "localhost"),
])
def test_an_address_is_read(text, host, port, target, authority):
    url = NoticeUrl.parse(text)
    assert (url.host, url.port, url.target, url.authority) == (host, port, target, authority)
    assert TOKEN not in repr(url)


@pytest.mark.parametrize("text", [
    "", "ntfy.example/x", "ftp://ntfy.example/x", f"http://ntfy.example/{TOKEN}", f"https:///{TOKEN}",
    f"https://user:{TOKEN}@ntfy.example/", f"https://ntfy.example/{TOKEN}\r\nX: y", f"https://ntfy.example/ {TOKEN}",
    f"https://ntfy.example:0/{TOKEN}", f"https://ntfy.example:99999/{TOKEN}", f"https://ntfy.example/{TOKEN}\u00e9",
    f"https://[::1/{TOKEN}", f"https://nt%66y.example/{TOKEN}", f"https://ntfy.example/{TOKEN * 400}",
    "http://10.0.0.1/x", "http://127.0.0.1.evil.example/x",
])
def test_what_is_none_is_refused_and_not_repeated(text):
    with pytest.raises(WrongUrl) as refused:
        NoticeUrl.parse(text)
    assert TOKEN not in str(refused.value)

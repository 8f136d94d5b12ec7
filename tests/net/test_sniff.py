"""What a port that takes any protocol makes of first bytes: whole, byte by byte, cut anywhere, and junk."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.net.proxyheader import FIRST_MESSAGE_DEADLINE_S
from warppool.net.sniff import TEXT_NEEDED, TLS_NEEDED, WARP_SIZE, WARP_WAIT_S, Guess, Sniff, sniff
from warppool.transport import Recognised

WARP = b"\x20\x00" + bytes(range(100, 131)) + b"\x7f"
PUBLISHED = bytes(range(0x80, 0xC0))
SCENARIOS = sorted((Path(__file__).parents[1] / "firmware").glob("*.json"))


def tls_hello(version: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    outbound = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outbound).do_handshake()
    return outbound.read()


TLS_12, TLS_13 = tls_hello(ssl.TLSVersion.TLSv1_2), tls_hello(ssl.TLSVersion.TLSv1_3)


def first_words(path: Path) -> bytes:
    """What a machine of the firmware lab says first."""
    for step in json.loads(path.read_text(encoding="utf-8"))["steps"]:
        if "send" in step:
            return "".join(f"{line}\n" for line in step["send"]).encode()
    raise AssertionError(path)


def guesses(data: bytes) -> list[Guess]:
    """What is known after each byte."""
    return [sniff(data[:end]) for end in range(1, len(data) + 1)]


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_machine_of_the_lab_is_known_by_its_first_words_wherever_they_are_cut(path: Path) -> None:
    words = first_words(path)
    assert guesses(words) == [Guess.NOT_YET] * (TEXT_NEEDED - 1) + [Guess.V1] * (len(words) - TEXT_NEEDED + 1)


@pytest.mark.parametrize("hello", [TLS_12, TLS_13])
def test_a_tls_hello_is_known_by_eleven_bytes(hello: bytes) -> None:
    assert guesses(hello) == [Guess.NOT_YET] * (TLS_NEEDED - 1) + [Guess.TLS] * (len(hello) - TLS_NEEDED + 1)


def test_a_hello_in_the_oldest_and_the_newest_clothes() -> None:
    assert sniff(bytes.fromhex("1603000050 0100004c 0300")) is Guess.TLS          # SSL 3: OpenSSL refuses it by name
    assert sniff(bytes.fromhex("1603030200 010001fc 0303")) is Guess.TLS
    assert sniff(bytes.fromhex("1603010006 01003fff 0303")) is Guess.TLS          # a long hello in small records
    assert sniff(bytes.fromhex("1603014000 01004000 0304")) is Guess.TLS          # as long as they may be


@pytest.mark.parametrize("head", [
    "1604010200 010001fc 0303",         # another version of the record
    "1603050200 010001fc 0303",
    "1603014001 01003ffd 0303",         # a record that is too long
    "1603010005 010001fc 0303",         # or too short for a message with a version
    "1603010200 020001fc 0303",         # no hello of a client
    "1603010200 01004001 0303",         # a message that is too long
    "1603010200 01010000 0303",
    "1603010200 010001fc 0203",
    "1603010200 010001fc 0305",
    "1503010002 02280000 0000",         # an alert
])
def test_what_is_no_hello_is_not_taken_for_tls(head: str) -> None:
    data = bytes.fromhex(head)
    assert sniff(data) is Guess.NOT_YET                         # it may be the front of a key
    assert sniff(data + bytes(24)) is Guess.PUBLISHED


def test_warp_is_known_by_34_bytes_that_are_all() -> None:
    assert guesses(WARP) == [Guess.NOT_YET] * (WARP_SIZE - 1) + [Guess.MAYBE_WARP]
    assert sniff(WARP + b"\x00") is Guess.PUBLISHED             # a 35th byte: those 34 were the front of a key
    assert sniff(WARP[:-1] + b"\x80") is Guess.NOT_YET          # no key of warp ends so: the rest is to come
    assert sniff(b"\x20\x01" + WARP[2:]) is Guess.NOT_YET
    assert sniff(b"\x21\x00" + WARP[2:]) is Guess.NOT_YET


def test_the_published_profile_is_known_by_a_35th_byte() -> None:
    assert guesses(PUBLISHED) == [Guess.NOT_YET] * WARP_SIZE + [Guess.PUBLISHED] * (64 - WARP_SIZE)


@given(st.binary(min_size=64, max_size=64))
def test_a_random_key_is_never_taken_for_anything_else(key: bytes) -> None:
    """The odds against it are 10^7 and more; hypothesis, which looks for trouble, may find such a key all the same."""
    known = [guess for guess in guesses(key) if guess is not Guess.NOT_YET]
    is_text = key.lstrip(b" \t\r\n\x0b\x0c").startswith(b"{")
    is_tls = key.startswith(b"\x16\x03")
    assert is_text or is_tls or set(known[1:]) == {Guess.PUBLISHED}
    assert known[0] in (Guess.PUBLISHED, Guess.MAYBE_WARP) or is_text or is_tls


@pytest.mark.parametrize(("line", "guess"), [
    (b"{}\n", Guess.V1),
    (b'{"id":1}\r\n', Guess.V1),
    (b'{"id": 1, "x": "\xc3\xa9"}\n', Guess.V1),
    (b'\r\n\t\x0b\x0c \n{"id":1}\n', Guess.V1),                   # blank lines keep a connection alive
    (b'{\t"id": 1,\t"method": "x"', Guess.V1),
    (b'{"m": "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8d\x95", "id": 1', Guess.V1),
    (b'{"m": "\xff\xfe1234567890123456789012345678"', Guess.PUBLISHED),
    (b"{no json}\n", Guess.NOT_YET),
    (b"{\x00}\x00\n", Guess.NOT_YET),                   # UTF-16 is no V1
    (b"{[[[[[[[[[[[[[[[[[[[[[[[", Guess.V1),            # text enough; its session says what is wrong
    (b"[1]\n", Guess.NOT_YET),
    (b"5\n", Guess.NOT_YET),
    (b'"x"\n', Guess.NOT_YET),
    (b"{", Guess.NOT_YET),
    (b"", Guess.NOT_YET),
    (b" ", Guess.NOT_YET),
    (b"\n" * 35, Guess.PUBLISHED),
    (b"\n" * 34 + b'{"id":1', Guess.NOT_YET),
    (b"\n" * 35 + b'{"id":1', Guess.PUBLISHED),
])
def test_lines(line: bytes, guess: Guess) -> None:
    assert sniff(line) is guess


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text()), st.booleans(), st.data())
def test_a_whole_object_on_a_line_is_v1_however_short(value: dict[str, object], is_ascii: bool,
                                                      data: st.DataObject) -> None:
    line = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "replace") + b"\n"
    assert sniff(line) is Guess.V1
    assert sniff(line[:data.draw(st.integers(0, len(line)))]) in (Guess.NOT_YET, Guess.V1)


@pytest.mark.parametrize(("data", "guess"), [
    (b"GET / HTTP/1.1\r\n", Guess.HTTP),
    (b"OPTIONS * HTTP/1.0\r\n\r\n", Guess.HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Guess.HTTP),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{}\n", Guess.PROXY),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", Guess.PROXY),
    (b"GETTING", Guess.NOT_YET),
    (b"\r\n\r\n", Guess.NOT_YET),
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", Guess.PUBLISHED),
    (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00", Guess.NOT_YET),     # RDP
    (b"\x00\x00\x00\xa4\xffSMBr\x00\x00\x00\x00\x08\x01\x40" + bytes(20), Guess.PUBLISHED),
    (b"\x80\x9e\x01\x03\x01\x00u\x00\x00\x00 " + bytes(30), Guess.PUBLISHED),                           # SSL 2
    (b"HELP\r\n", Guess.NOT_YET),
])
def test_what_a_port_scanner_sends(data: bytes, guess: Guess) -> None:
    assert sniff(data) is guess


@pytest.mark.parametrize("verb", ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH", "TRACE",
                                  "PRI"])
def test_http_is_known_by_its_verb(verb: str) -> None:
    line = f"{verb} / HTTP/1.1\r\nHost: x\r\n".encode()
    assert guesses(line) == [Guess.NOT_YET] * len(verb) + [Guess.HTTP] * (len(line) - len(verb))


@given(st.binary(max_size=80))
def test_junk_is_known_once_and_stays_what_it_is(data: bytes) -> None:
    """Whoever has been told is not told otherwise by more bytes, but for the 34 that a 35th makes another's."""
    last = Guess.NOT_YET
    for guess in guesses(data):
        assert last in (Guess.NOT_YET, guess) or (last is Guess.MAYBE_WARP and guess is Guess.PUBLISHED)
        last = guess
    assert len(data) <= WARP_SIZE or last is not Guess.NOT_YET or b"{" in data


@given(st.binary(max_size=120), st.sampled_from([b"", b"{", b"\x16\x03\x01", b"\x20\x00", b"GET ", b" {", b'{"id":']))
def test_junk_behind_any_beginning_is_bounded(data: bytes, front: bytes) -> None:
    """At most the blanks, and the front of one short line, are ever held without an answer."""
    if sniff(front + data) is Guess.NOT_YET:
        assert len(front + data) <= WARP_SIZE or len((front + data).lstrip(b" \t\r\n\x0b\x0c")) < TEXT_NEEDED


# --- the transport ----------------------------------------------------------------------------------------------------

KINDS = {Guess.V1: "sv1", Guess.TLS: "sv1-tls", Guess.MAYBE_WARP: "sv2"}
SUBSCRIBE = b'{"id": 1, "method": "mining.subscribe", "params": []}\n'


@pytest.mark.parametrize(("words", "kind", "needed"), [
    (SUBSCRIBE, "sv1", TEXT_NEEDED),
    (TLS_12, "sv1-tls", TLS_NEEDED),
    (TLS_13, "sv1-tls", TLS_NEEDED),
])
def test_the_transport_hands_on_all_that_came_wherever_it_is_cut(words: bytes, kind: str, needed: int) -> None:
    for cut in range(1, len(words)):
        transport = Sniff(KINDS, 100.0)
        assert transport.open(words[:cut], 101.0) == b""
        if cut < needed:
            assert transport.recognised is None and transport.end is None and transport.pending == cut
            assert transport.wakes_at == 100.0 + FIRST_MESSAGE_DEADLINE_S       # bytes buy no time
            assert transport.open(words[cut:], 102.0) == b""
            assert transport.recognised == Recognised(kind, words, since=100.0)
        else:
            assert transport.recognised == Recognised(kind, words[:cut], since=100.0)
        assert transport.wakes_at == float("inf")


@pytest.mark.parametrize("cut", range(1, WARP_SIZE + 1))
def test_warp_waits_a_tenth_of_a_second_for_a_35th_byte(cut: int) -> None:
    assert WARP_WAIT_S == 0.1
    transport = Sniff(KINDS, 100.0)
    for part in (WARP[:cut], WARP[cut:]):
        if part:
            transport.open(part, 101.0)
    assert transport.recognised is None and transport.wakes_at == 101.0 + WARP_WAIT_S
    transport.tick(101.0 + WARP_WAIT_S / 2)
    assert transport.recognised is None
    transport.tick(101.0 + WARP_WAIT_S)
    assert transport.recognised == Recognised("sv2", WARP, since=100.0)


def test_one_more_byte_in_time_is_another_profile() -> None:
    transport = Sniff(KINDS, 100.0)
    transport.open(WARP, 101.0)
    transport.open(b"\0", 101.05)
    assert transport.recognised is None
    assert transport.end is not None and "published profile" in transport.end.reason
    later = Sniff({**KINDS, Guess.PUBLISHED: "sv2-spec"}, 100.0)
    for at in range(64):
        later.open(PUBLISHED[at:at + 1], 101.0)
        if later.recognised is not None:
            break
    assert later.recognised == Recognised("sv2-spec", PUBLISHED[:WARP_SIZE + 1], since=100.0)


def test_the_wait_ends_with_the_deadline() -> None:
    transport = Sniff(KINDS, 0.0)
    transport.open(WARP, FIRST_MESSAGE_DEADLINE_S - 0.01)
    assert transport.wakes_at == FIRST_MESSAGE_DEADLINE_S


@pytest.mark.parametrize(("junk", "words"), [
    (b"GET /", ""),
    (b"GET / HTTP/1.0\r\n\r\n", "HTTP"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "stratum.proxy_from"),
    (bytes(40), "junk"),
])
def test_what_nobody_serves_is_refused_by_name(junk: bytes, words: str) -> None:
    transport = Sniff(KINDS, 0.0)
    transport.open(junk, 0.0)
    assert transport.recognised is None and transport.end is not None
    assert words in transport.end.reason and transport.pending == 0 and transport.end.is_peers_fault


def test_tls_without_a_certificate_is_refused_with_the_cure() -> None:
    transport = Sniff({Guess.V1: "sv1"}, 0.0)
    transport.open(TLS_13, 0.0)
    assert transport.end is not None and "stratum.tls_cert" in transport.end.reason


@pytest.mark.parametrize("words", [b"", b"\r\n", b"{", b"HELP\r\n", b"\x20\x00", PUBLISHED[:34]])
def test_who_does_not_say_enough_is_let_go(words: bytes) -> None:
    transport = Sniff(KINDS, 0.0)
    for at in range(len(words)):
        transport.open(words[at:at + 1], 9.0)
    transport.tick(9.9)
    assert transport.end is None
    transport.tick(FIRST_MESSAGE_DEADLINE_S)
    assert transport.end is not None and transport.end.reason == "no protocol known within 10 s"
    assert transport.seal(b"") == transport.shut() == b""

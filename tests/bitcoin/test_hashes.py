import pytest

from warppool.bitcoin.hashes import double_sha256, from_display, sha256, to_display

GENESIS_DISPLAY = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def test_published_digests():
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"    # FIPS 180
    assert double_sha256(b"hello").hex() == "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"


def test_display_order_is_reversed_hex():
    header_order = from_display(GENESIS_DISPLAY)
    assert header_order[:3] == b"\x6f\xe2\x8c"
    assert header_order[-5:] == bytes(5)
    assert to_display(header_order) == GENESIS_DISPLAY
    assert from_display(GENESIS_DISPLAY.upper()) == header_order


@pytest.mark.parametrize(
    "text",
    ["", GENESIS_DISPLAY[:-1], GENESIS_DISPLAY[:-2], GENESIS_DISPLAY + "0", "g" + GENESIS_DISPLAY[1:],
     "0x" + GENESIS_DISPLAY[2:], " " * 2 + GENESIS_DISPLAY[2:], "\u0663" + GENESIS_DISPLAY[1:]],
)
def test_what_is_not_64_hex_digits_is_no_hash(text):
    with pytest.raises(ValueError, match="64 hex digits"):
        from_display(text)

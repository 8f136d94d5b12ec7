"""An id that formats of others want: the same for the same name, and nothing that anybody could use."""

from __future__ import annotations

import hashlib
import re
import zlib

from hypothesis import given
from hypothesis import strategies as st

from tests.stats.made import ADDRESS, HOSTILE
from warppool.stats.masked import KEY_SIZE, masked

KEY, OTHER = bytes(range(KEY_SIZE)), bytes(range(1, KEY_SIZE + 1))
SESSION = "5f0c2a91"
"""As a V1 session id is: whoever knows it takes the channel of its machine."""


@given(st.text(st.characters()), st.binary(min_size=KEY_SIZE, max_size=KEY_SIZE))
def test_any_text_has_eight_hex_digits_which_stay_the_same(text: str, key: bytes) -> None:
    assert re.fullmatch("[0-9a-f]{8}", masked(key, text))
    assert masked(key, text) == masked(bytes(key), text)


def test_another_key_and_another_text_give_another_id() -> None:
    made = [masked(key, text) for key in (KEY, OTHER) for text in (SESSION, ADDRESS, HOSTILE, "", f"{ADDRESS}.rig")]
    assert len(set(made)) == len(made)


def test_an_id_is_not_what_it_stands_for() -> None:
    assert masked(KEY, SESSION) != SESSION
    assert SESSION not in masked(KEY, SESSION) + masked(KEY, f"{SESSION}{SESSION}")


def test_nobody_works_an_id_out_of_a_name_without_the_key() -> None:
    """A page shows the names beside the ids, so whoever could compute one of them would know them on every pool."""
    for text in (SESSION, ADDRESS, f"{ADDRESS}.rig"):
        raw = text.encode()
        guesses = {hashlib.new(name, raw).hexdigest() for name in ("md5", "sha1", "sha256", "sha512", "blake2b")}
        guesses |= {hashlib.blake2b(raw, digest_size=4).hexdigest(), f"{zlib.crc32(raw):08x}",
                    hashlib.blake2b(raw, key=bytes(KEY_SIZE), digest_size=4).hexdigest(), masked(OTHER, text)}
        assert not [guess for guess in guesses if masked(KEY, text) in (guess[:8], guess[-8:])]

"""Users' names as names of files: a machine chooses its name, and must not choose where a file is written."""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import quote

LONGEST: Final = 200
"""Bytes of a file's name; most file systems take 255, some that encrypt take less."""

_DIGEST_SIZE: Final = 32                    # hex digits: nobody makes two names that share them
_KEPT: Final = "@:+=,"                      # beside letters, digits and _.-~
_EMPTY: Final = "%"                         # no name is encoded so


def file_name(user: str) -> str:
    """The name of the file of `user`, 1 to 200 bytes of ASCII. No two users have one.

    Letters, digits and `_.-@:+=,` stand as they are, so an address is its own file name. Every other byte of the name
    is `%XX`, and so is a dot at its begin. A longer name is cut, and `~` and the begin of its SHA-256 follow.
    """
    raw = _bytes_of(user)
    encoded = quote(raw, safe=_KEPT).replace("~", "%7E") or _EMPTY
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if len(encoded) <= LONGEST:
        return encoded
    digest = hashlib.sha256(raw).hexdigest()[:_DIGEST_SIZE]
    return f"{encoded[:LONGEST - 1 - _DIGEST_SIZE]}~{digest}"


def _bytes_of(user: str) -> bytes:
    """The bytes of a name as the books have it: bytes that are no UTF-8 stand in it as lone surrogates."""
    try:
        return user.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:              # U+D800 to U+DC7F, as JSON may spell them
        return user.encode("utf-8", "surrogatepass")

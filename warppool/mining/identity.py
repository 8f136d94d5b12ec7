"""Names of workers: who may be told apart in the books, in V1 and V2 alike (architecture.md §5)."""

from __future__ import annotations

import unicodedata

MAX_IDENTITY_SIZE = 255
"""Bytes of a name: the bound of Sv2's STR0_255, for V1 too."""


def is_user_identity(text: str) -> bool:
    """1 to 255 bytes, by UTF-8 and `surrogateescape`, and no control character."""
    try:
        size = len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:                          # half of a surrogate pair, which JSON can say: no text
        return False
    return 0 < size <= MAX_IDENTITY_SIZE and not any(unicodedata.category(character) == "Cc" for character in text)

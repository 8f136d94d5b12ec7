"""Names of workers: who may be told apart in the books, in V1 and V2 alike.

A name is an account: what stands before its first dot is the user that the books know. So two names that look the same
at their ends are one name.
"""

from __future__ import annotations

import re
import unicodedata

from warppool.events import Happened

MAX_IDENTITY_SIZE = 255
"""Bytes of a name: the bound of Sv2's STR0_255, for V1 too."""

MAX_BAD_NAMES = 20
"""Names refused for their form after which a connection is closed: no machine has so many, and each costs a line."""

MAX_AGENT = 255
"""Characters of what a machine calls itself that are remembered when it is gone. A V1 machine may say 16 KiB."""

NO_NAME = "it is empty, longer than 255 bytes, has a control character, or has no user before its first dot"
"""What is wrong with a name that `read_identity` refuses."""

_PLAIN = re.compile(r"[!-~]+(?: +[!-~]+)*")
"""What nearly all names are: printable ASCII, with blanks only inside."""

_INVISIBLE_CATEGORIES = frozenset({"Cf", "Zl", "Zp", "Zs"})
"""Format characters (U+200B, U+FEFF, the marks of direction), and every kind of blank (U+00A0, U+3000)."""

_INVISIBLE_OTHERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)))))
"""Characters that show nothing although their category says otherwise: fillers, variation selectors, and what Unicode
lists as default ignorable."""

_UNPAID = "names are accounts: the coinbase pays pool.payout_address"

_RAW_NO_BREAK_SPACE = "\udca0"
"""Byte 0xA0 alone is no UTF-8, so it stands here by `surrogateescape`; in Latin-1 it is a blank."""


def read_identity(text: str) -> str | None:
    """The name of a worker that calls itself `text`, or None where that cannot be a name.

    Blanks and invisible characters are cut off at either end of the name, and of the user in it. What is left has 1 to
    255 bytes (UTF-8 and `surrogateescape`), no control character, and a user before its first dot. A byte that is no
    UTF-8 and would be a control character (0x80 to 0x9F, the C1 controls) in Latin-1 counts as one: terminals obey it.
    """
    if not _PLAIN.fullmatch(text):
        try:
            # Bytes that were escaped one by one can be valid UTF-8 together; the books would read them so.
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        except UnicodeEncodeError:                      # half of a surrogate pair, which JSON can say: no text
            return None
        if any(map(_is_control, text)):
            return None
        text = _cut(text)
    user, dot, rig = text.partition(".")
    if dot:
        user = _cut(user)
        text = f"{user}.{_cut(rig)}"
    if not user or len(text.encode("utf-8", "surrogateescape")) > MAX_IDENTITY_SIZE:
        return None
    return text


def user_of(name: str) -> str:
    """The user of a worker's name: all before its first dot, or all of it."""
    return name.partition(".")[0]


def unpaid(conn_id: int, name: str) -> Happened:
    """What is said of a worker whose user is, or looks like, an address that is not paid."""
    return Happened(conn_id, "warning", "user.unpaid", (("user", user_of(name)), ("meaning", _UNPAID)))


def _cut(text: str) -> str:
    """`text` without what cannot be seen at either end."""
    start, end = 0, len(text)
    while start < end and _is_invisible(text[start]):
        start += 1
    while end > start and _is_invisible(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_invisible(character: str) -> bool:
    return (character == " " or character == _RAW_NO_BREAK_SPACE or character in _INVISIBLE_OTHERS
            or unicodedata.category(character) in _INVISIBLE_CATEGORIES)


def _is_control(character: str) -> bool:
    return "\udc80" <= character <= "\udc9f" or unicodedata.category(character) == "Cc"

"""HTML that cannot be broken by what stands in it: text is escaped unless it is `Html` already.

Names come from strangers. A name with tags, quotes or newlines, with bytes that are no UTF-8, or with marks that turn
the direction of writing is shown as text, and changes nothing around it.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote


class Html(str):
    """Text that is HTML: made by this module alone, of constants and escaped text."""

    __slots__ = ()


NOTHING: Final = Html("")

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that show nothing, or that act on their neighbours (as marks of right-to-left do)."""


def visible(text: str) -> str:
    r"""`text` with each character that cannot be seen written out: `\n` as `\x0a`, U+202E as `\u202e`.

    A byte that was no UTF-8 (`surrogateescape`) is `\x` and its two hex digits.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(each) if unicodedata.category(each) in _INVISIBLE else each for each in text)


def _written_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:            # what `surrogateescape` makes of a byte
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fill(template: str, *values: object, **named: object) -> Html:
    """`template`, a constant, with each `{}` or `{name}` replaced by a value: `Html` as it is, all else as text."""
    return Html(template.format(*map(escaped, values), **{key: escaped(value) for key, value in named.items()}))


def escaped(value: object) -> Html:
    """`value` as HTML. Good inside of an element, and inside of an attribute in double quotes."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(visible(str(value)), quote=True))


def join(parts: Iterable[Html], between: str = "") -> Html:
    """The parts after each other; `between` is a constant."""
    return Html(between.join(parts))


def name(text: str) -> Html:
    """A stranger's name. `bdi` keeps letters that run from right to left from turning what stands beside them."""
    return fill("<bdi>{}</bdi>", text or "(no name)")


def path(*parts: str) -> str:
    """A path of this site: each part percent-encoded whole, so that a slash in a name is no slash of the path."""
    return "".join("/" + quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts)

"""What a person sees instead of a page: the server is asked too much, has no numbers yet, or has no such page.

Made without a snapshot, so that it costs nothing. The script is on it, and brings the page once there is one.
"""

from __future__ import annotations

from warppool.page import parts
from warppool.page.markup import NOTHING, fill
from warppool.page.view import State

NAME = "warppool"


def refusal_page(word: str, sentence: str, after: str) -> bytes:
    """One state, and what to do then, UTF-8."""
    content = fill('<h1 class="unseen">{}</h1>\n{}{}', NAME, parts.state_line(State("warn", word, sentence)),
                   parts.paragraph(after))
    return parts.framed(NAME, f"{word} \u00b7 {NAME}", content, NOTHING)

"""What the page says of a pool and the snapshot does not: its name, who is paid, and where to mine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from warppool.page.view import ConnectUrl
from warppool.page.wording import POOL, Wording


@dataclass(frozen=True, slots=True)
class About:
    """Made once, at the start. `paid` is the sentence that says who gets a block's reward."""

    pool: str = "warppool"
    paid: str = ""
    connect: tuple[ConnectUrl, ...] = ()
    wording: Wording = POOL


UNNAMED: Final = About()
"""For a service that says nothing of itself."""

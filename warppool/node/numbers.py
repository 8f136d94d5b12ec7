"""The numbers of the nodes: each URL has one for good, by which journal and log know the node, whatever its place.

A file of lines in `data_dir`, one for each node that was ever in the configuration: its number, and its URL. A number
is never given to another URL, and a URL that comes back has its old number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from warppool.files import replace_file

FILE_NAME: Final = "nodes"
_MAX_FILE = 1 << 20         # bytes
_LINE = re.compile(r"(\d{1,9}) (\S+)")


class NodeNumbers:
    """The file in `data_dir`; used by the main thread at a start and at a SIGHUP."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._numbers: dict[str, int] = {}              # by URL; of this process, whatever the disk says
        self._next = 0

    def of(self, urls: Iterable[str]) -> dict[str, int]:
        """The number of each URL, in the order given; new ones are on the disk before they are used. OSError.

        At the first start of all the numbers are the places in the file, as they were in releases before.
        """
        self._read()
        urls = list(urls)
        fresh = [url for url in dict.fromkeys(urls) if url not in self._numbers]
        numbers = self._numbers | {url: self._next + place for place, url in enumerate(fresh)}
        if fresh:
            replace_file(self._path, "".join(f"{number} {url}\n" for url, number in numbers.items()).encode())
        self._numbers, self._next = numbers, self._next + len(fresh)
        return {url: numbers[url] for url in urls}

    def of_this_run(self, urls: Iterable[str]) -> dict[str, int]:
        """The same where the disk refuses: the next start may give a new number to another URL."""
        for url in urls:
            if url not in self._numbers:
                self._numbers[url] = self._next
                self._next += 1
        return {url: self._numbers[url] for url in urls}

    def _read(self) -> None:
        """What stands in the file; a line that is none, or gives a number or a URL a second time, is passed over."""
        content = ""
        with suppress(OSError), self._path.open(encoding="utf-8", errors="replace") as file:
            content = file.read(_MAX_FILE)
        for line in content.splitlines():
            if (match := _LINE.fullmatch(line)) is None:
                continue
            number, url = int(match[1]), match[2]
            if url not in self._numbers and number not in self._numbers.values():
                self._numbers[url] = number
            self._next = max(self._next, number + 1)

from __future__ import annotations

import re
from hashlib import sha256

from warppool.page.assets import ASSETS, FRAME, address

SCRIPT = ASSETS["/static/page.js"].body.decode()
STYLE = ASSETS["/static/page.css"].body.decode()


def test_the_chart_library_is_as_its_authors_published_it_and_has_its_licence():
    library = ASSETS["/static/uPlot.iife.min.js"].body
    assert library.startswith(b"/*! https://github.com/leeoniya/uPlot (v1.6.32) */") and len(library) == 51_081
    assert len(ASSETS["/static/uPlot.min.css"].body) == 1_857
    assert ASSETS["/static/uPlot-LICENSE.txt"].body.startswith(b"The MIT License (MIT)\n\nCopyright (c)")


def test_a_file_is_named_with_the_fingerprint_of_what_is_in_it():
    for path, asset in ASSETS.items():
        assert address(path.removeprefix("/static/")) == f"{path}?v={sha256(asset.body).hexdigest()[:16]}"


def test_our_script_and_style_are_small_and_ask_nobody_else():
    assert len(SCRIPT.splitlines()) <= 400
    for text in (SCRIPT, STYLE, FRAME):
        assert not re.search(r"https?:|//\w+\.|@import|url\(|eval\(|innerHTML|insertAdjacentHTML|document\.write", text)


def _channels(colour: str) -> list[float]:
    colour = colour if len(colour) == 7 else "#" + "".join(2 * each for each in colour[1:])
    values = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def _luminance(colour: str) -> float:
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), _channels(colour), strict=True))


def _contrast(one: str, other: str) -> float:
    light, dark = sorted(map(_luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_can_be_read_in_both_themes():
    """WCAG 2.1, 1.4.3: a contrast of 4.5 for text; 1.4.11: 3 for lines of charts."""
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in blocks[:2])
    dark = {**light, **dark}
    for theme in (light, dark):
        for text in ("text", "quiet", "accent", "good", "warn", "bad"):
            assert _contrast(theme[text], theme["page"]) >= 4.5 and _contrast(theme[text], theme["card"]) >= 4.5
        for level in ("good", "warn", "bad"):
            assert _contrast(theme[level], theme[f"{level}-page"]) >= 4.5
            assert _contrast(theme["text"], theme[f"{level}-page"]) >= 4.5
        assert _contrast(theme["chart"], theme["card"]) >= 3

"""The configuration for people: the example file and the table of the README, both made from `options.py`.

`python3 -m warppool.app.reference` in a checkout writes both anew; a test says when that is due.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from warppool.app.options import SECTIONS, Option, Secrets, options_of

EXAMPLE = Path("systemd/warppool.toml")
README = Path("README.rst")
TABLE_BEGINS = ".. configuration table: begin (python3 -m warppool.app.reference)\n"
TABLE_ENDS = ".. configuration table: end\n"
PLACEHOLDER_ADDRESS = "bc1q..."
_WIDTH = 118


def example() -> str:
    """A documented warppool.toml: every key at its default, commented out, and the one that must be written."""
    lines = ["# warppool.toml: what stands behind a # is the default. Relative paths start at this file's folder.",
             "# WARPPOOL__SECTION__KEY in the environment wins over what is written here.",
             "# Secrets are not for this file: secrets.toml beside it, mode 0600, holds",
             *(f"#     {key}: {option.sentence}" for key, _, option in options_of(Secrets))]
    for name, section in SECTIONS.items():
        lines += ["", *_comment((section.__doc__ or "").strip()), "[[node]]" if name == "node" else f"[{name}]"]
        for key, _, option in options_of(section):
            lines += _comment(f"{option.sentence} ({option.kind.words})")
            lines.append(_assignment(key, option))
    return "\n".join(lines) + "\n"


def table() -> str:
    """The reStructuredText table of every key."""
    return "".join(f"{line}\n" for line in (
        ".. list-table::", "   :header-rows: 1", "   :widths: 24 20 22 34", "",
        *_row("Key", "Default", "Holds", "Meaning"), *_rows()))


def with_table(readme: str) -> str:
    """`readme` with its table made anew."""
    head, _, rest = readme.partition(TABLE_BEGINS)
    _, _, tail = rest.partition(TABLE_ENDS)
    return f"{head}{TABLE_BEGINS}\n{table()}\n{TABLE_ENDS}{tail}"


def _rows() -> Iterator[str]:
    for name, section in {**SECTIONS, "secrets.toml": Secrets}.items():
        for key, _, option in options_of(section):
            label = f"{name}: {key}" if section is Secrets else f"{name}.{key}"
            default = "required" if option.is_required else "see right" if option.default is None else (
                f"``{_toml(option.default)}``")
            yield from _row(f"``{label}``", default, option.kind.words, option.sentence)


def _row(first: str, *others: str) -> list[str]:
    return [f"   * - {first}", *(f"     - {_escaped(other)}" for other in others)]


def _escaped(words: str) -> str:
    return words if words.startswith("``") else words.replace("*", r"\*").replace("_", r"\_").replace("|", r"\|")


def _assignment(key: str, option: Option) -> str:
    if option.is_required:
        return f'{key} = "{PLACEHOLDER_ADDRESS}"'
    return f"#{key} = " + ('"/var/lib/warppool"' if key == "data_dir" else _toml(option.default))


def _toml(value: object) -> str:
    return json.dumps(value) if isinstance(value, str | list) else str(value)


def _comment(words: str) -> list[str]:
    return textwrap.wrap(words, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def main() -> int:
    """Write the example file and the README's table into the checkout that is the current folder."""
    EXAMPLE.write_text(example(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

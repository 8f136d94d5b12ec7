"""The configuration for people: the example files and the tables of the README, made from where the keys are declared.

`python3 -m warppool.config.reference` in a checkout writes all of them anew; a test says when that is due.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from warppool.config.declare import Effect, Form, Option, TomlValue, options_of
from warppool.config.options import POOL_FORM, TRANSLATOR_MARK
from warppool.config.provideroptions import PROVIDER_FORM
from warppool.config.translatoroptions import TRANSLATOR_FORM

README = Path("README.rst")
PLACEHOLDERS: dict[str, TomlValue] = {
    "pool.payout_address": "bc1q...",
    f"{TRANSLATOR_MARK}.url": "stratum2+tcp://pool.example:34254/PUBLIC_KEY",
    f"{TRANSLATOR_MARK}.user_identity": "farm.unnamed",
    "notice.name": "chat",
    "notice.events": ["block.found", "node.lost", "node.back"],
}
"""What stands in the example for the keys that must be written."""

_WIDTH = 118


@dataclass(frozen=True, slots=True)
class Reference:
    """One file's example and table; `label` is what the README's marks of the table begin with."""

    form: Form
    label: str
    data_dir: str

    @property
    def path(self) -> Path:
        """Where the example stands in a checkout."""
        return Path("systemd") / self.form.file

    def example(self) -> str:
        """A documented file: every key at its default, commented out, and those that must be written."""
        form = self.form
        lines = [f"# {form.file}: what stands behind a # is the default. Relative paths start at this file's folder.",
                 "# WARPPOOL__SECTION__KEY in the environment wins over what is written here, and "
                 "WARPPOOL__SECTION__KEY_FILE names a",
                 '# file that holds the value. A key with "SIGHUP:" takes effect after systemctl reload, for newcomers,'
                 " with the next",
                 "# job, or at once; the others need a restart."]
        if form.secrets is not None:
            lines += ["# Secrets are not for this file: secrets.toml beside it, mode 0600, or in "
                      "$CREDENTIALS_DIRECTORY, holds",
                      *(f"#     {key}: {option.sentence}" for key, _, option in options_of(form.secrets))]
        for name, section in form.sections.items():
            heading = f"{'#' * (name in (form.some, form.off))}{form.heading(name)}"
            lines += ["", *_comment((section.__doc__ or "").strip()), heading]
            for key, _, option in options_of(section):
                effect = "" if option.on_reload is Effect.RESTART else f" SIGHUP: {option.on_reload.word}."
                lines += _comment(f"{option.sentence} ({option.kind.words}){effect}")
                lines.append(self._assignment(name, key, option))
        return "\n".join(lines) + "\n"

    def _assignment(self, section: str, key: str, option: Option) -> str:
        if option.is_required:
            mark = "#" * (section == self.form.some)
            return f"{mark}{key} = {_toml(PLACEHOLDERS[f'{section}.{key}'])}"
        places = {"data_dir": self.data_dir, "dir": f"{self.data_dir}/status"}
        return f"#{key} = {_toml(places.get(key, option.default))}"

    def table(self) -> str:
        """The reStructuredText table of every key."""
        return "".join(f"{line}\n" for line in (
            ".. list-table::", "   :header-rows: 1", "   :widths: 24 18 20 30 8", "",
            *_row("Key", "Default", "Holds", "Meaning", "SIGHUP"), *self._rows()))

    def _rows(self) -> Iterator[str]:
        secrets = {} if self.form.secrets is None else {"secrets.toml": self.form.secrets}
        for name, section in {**self.form.sections, **secrets}.items():
            for key, _, option in options_of(section):
                label = f"{name}: {key}" if name in secrets else f"{name}.{key}"
                default = "required" if option.is_required else "see right" if option.default is None else (
                    f"``{_toml(option.default)}``")
                yield from _row(f"``{label}``", default, option.kind.words, option.sentence, option.on_reload.word)

    def with_table(self, readme: str) -> str:
        """`readme` with its table made anew."""
        begins = f".. {self.label}: begin (python3 -m warppool.config.reference)\n"
        ends = f".. {self.label}: end\n"
        head, _, rest = readme.partition(begins)
        _, _, tail = rest.partition(ends)
        return f"{head}{begins}\n{self.table()}\n{ends}{tail}"


REFERENCES = (
    Reference(POOL_FORM, "configuration table", "/var/lib/warppool"),
    Reference(TRANSLATOR_FORM, "translator table", "/var/lib/warppool-translator"),
    Reference(PROVIDER_FORM, "template provider table", "/var/lib/warppool-template-provider"),
)


def _row(first: str, *others: str) -> list[str]:
    return [f"   * - {first}", *(f"     - {_escaped(other)}" for other in others)]


def _escaped(words: str) -> str:
    return words if words.startswith("``") else words.replace("*", r"\*").replace("_", r"\_").replace("|", r"\|")


def _toml(value: object) -> str:
    return json.dumps(value) if isinstance(value, str | list | bool) else str(value)


def _comment(words: str) -> list[str]:
    return textwrap.wrap(" ".join(words.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ",
                         break_on_hyphens=False)


def main() -> int:
    """Write the example files and the README's tables into the checkout that is the current folder."""
    readme = README.read_text(encoding="utf-8")
    for reference in REFERENCES:
        reference.path.write_text(reference.example(), encoding="utf-8")
        readme = reference.with_table(readme)
    README.write_text(readme, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

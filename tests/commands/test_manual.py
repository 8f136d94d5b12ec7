"""The manual pages name every command, option and key, and show, as the README does, five lines that work."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from warppool.commands import cli
from warppool.config.declare import options_of
from warppool.config.provideroptions import PROVIDER_FORM
from warppool.config.translator import read_translator_config
from warppool.config.translatoroptions import TRANSLATOR_FORM
from warppool.errors import WrongProtocol
from warppool.net.proxyheader import FORGED
from warppool.node.calls import METHODS
from warppool.sv1 import strangers

CHECKOUT = Path(__file__).parents[2]
MANUAL = CHECKOUT / "docs/man"
PAGES = ("warppool.1", "warppool-translator.1", "warppool-template-provider.1")
KEY = "07" * 32


def words_of(page: str) -> str:
    """The page without its fonts and escapes."""
    text = re.sub(r"\\f[BIRP]", "", (MANUAL / page).read_text(encoding="ascii"))
    return text.replace(r"\(aq", "'").replace(r"\-", "-").replace(r"\e", "\\")


def help_of(capsys: pytest.CaptureFixture[str], program: str, *command: str) -> str:
    with pytest.raises(SystemExit):
        getattr(cli, program)([*command, "-h"])
    return capsys.readouterr().out


def five_lines(text: str) -> list[str]:
    """The recipe: five lines from the one that makes the folder."""
    lines = [line.strip() for line in text.splitlines()]
    first = next(number for number, line in enumerate(lines) if "systemd/warppool-translator.service" in line)
    return lines[first:first + 5]


def test_the_page_of_the_pool_names_every_command_and_option(capsys):
    words = words_of("warppool.1")
    overview = help_of(capsys, "main")
    commands = re.findall(r"(?m)^    ([a-z][a-z0-9-]+) ", overview)
    assert {"run", "translate", "shares"} <= set(commands)
    for command in commands:
        assert re.search(rf'(?m)^\.BI? "?{command}\b', words), command
        for option in set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(capsys, "main", command))):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", words), f"{command} {option}"


def test_the_page_of_the_translator_names_every_option_and_key(capsys):
    words = words_of("warppool-translator.1")
    for option in set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(capsys, "translator"))):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", words), option
    for name, section in TRANSLATOR_FORM.sections.items():
        heading = TRANSLATOR_FORM.heading(name)
        part = words.partition(f".SS {heading}\n")[2].partition("\n.S")[0]
        for key, _, _ in options_of(section):
            assert re.search(rf"(?m)^\.BR? .*\b{key}\b", part), f"{heading} {key}"


def test_the_page_of_the_template_provider_names_every_key():
    words = words_of("warppool-template-provider.1")
    for name, section in PROVIDER_FORM.sections.items():
        heading = f"[[{name}]]" if name == PROVIDER_FORM.many else f"[{name}]"
        part = words.partition(f".SS {heading}\n")[2].partition("\n.S")[0]
        for key, _, _ in options_of(section):
            assert re.search(rf"(?m)^\.BR? .*\b{key}\b", part), f"{heading} {key}"


def test_both_show_the_same_five_lines_and_they_make_a_good_file(tmp_path):
    readme = five_lines((CHECKOUT / "README.rst").read_text(encoding="utf-8"))
    assert readme == five_lines(words_of("warppool-translator.1"))
    assert readme[-1] == "journalctl -u warppool-translator -f"
    write, = (line for line in readme if line.startswith("printf "))
    write = write.replace("/etc/warppool", str(tmp_path)).replace("POOL", "pool.example").replace("PUBLIC-KEY", KEY)
    subprocess.run(["sh", "-c", write], check=True)
    (upstream,) = read_translator_config(tmp_path / "translator.toml", {}).upstreams
    assert (upstream.url.place, upstream.user_identity) == ("pool.example:34254", "NAME")
    assert (CHECKOUT / "systemd/warppool-translator.service").exists()


def test_readme_and_page_list_the_calls_that_the_node_must_allow():
    line = f"rpcwhitelist=USER:{','.join(METHODS)}"
    assert f"\n    {line}\n" in (CHECKOUT / "README.rst").read_text(encoding="utf-8")
    assert f"\n{line}\n" in words_of("warppool.1")


def test_readme_and_pages_say_what_keeps_the_ports_free_and_the_start_short():
    for text in ((CHECKOUT / "README.rst").read_text(encoding="utf-8"), words_of("warppool.1"),
                 words_of("warppool-translator.1")):
        assert "net.ipv4.ip_local_reserved_ports=" in text
    for text in ((CHECKOUT / "README.rst").read_text(encoding="utf-8"), words_of("warppool.1"),
                 (CHECKOUT / "systemd/warppool.service").read_text(encoding="utf-8")):
        assert "systemctl enable --now --no-block" in text


def test_readme_and_page_say_where_secrets_may_come_from():
    for text in ((CHECKOUT / "README.rst").read_text(encoding="utf-8"), words_of("warppool.1")):
        for word in ("CREDENTIALS_DIRECTORY", "WARPPOOL__SECRETS__SV2_STATIC_PRIV_KEY_HEX_FILE",
                     "WARPPOOL__SECRETS__NODE_PASSWORDS_FILE", "0444", "/etc/warppool/warppool.toml"):
            assert word in text, word


def test_readme_tells_strangers_in_the_words_of_the_log():
    readme = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
    assert f"``reason=\"{WrongProtocol.__name__}: ..." in readme
    for words in (strangers.TLS, strangers.BINARY, strangers.HTTP, strangers.BTC_AGENT, strangers.TEXT):
        assert f"``{words.partition(':')[0].partition(' (')[0]}``" in readme, words
    for words in (strangers.PROXY, FORGED):
        assert f"``reason=\"{words.partition(':')[0]} ...\"``" in readme, words


def test_the_pages_are_installed():
    setup = ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    assert setup["options.data_files"]["share/man/man1"].split() == [f"docs/man/{page}" for page in PAGES]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", PAGES)
def test_the_page_can_be_set(page):
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(MANUAL / page)], capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.removesuffix(".1").upper() in done.stdout

"""What is installed has all that runs need: files that are no modules, manual pages, and the packages of the extras."""

from __future__ import annotations

import configparser
import importlib.metadata
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
DATA = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "warppool").rglob("*")
              if path.is_file() and path.suffix not in (".py", ".pyc"))
BUILT_FROM = ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE")


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return parser


def lines(section: str, key: str) -> set[str]:
    return set(filter(None, setup()[section][key].splitlines()))


def built(folder: Path) -> set[str]:
    """The files of the package as a wheel gets them, made from a copy of the tree; nothing is fetched."""
    tree = folder / "tree"
    shutil.copytree(CHECKOUT / "warppool", tree / "warppool", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(CHECKOUT / name, tree)
    code = "import warnings; warnings.simplefilter('ignore'); from setuptools import setup; setup()"
    subprocess.run([sys.executable, "-c", code, "--quiet", "build_py", "--build-lib", str(folder / "lib")], cwd=tree,
                   check=True, capture_output=True)
    return {path.relative_to(folder / "lib").as_posix() for path in (folder / "lib").rglob("*") if path.is_file()}


def installed() -> set[str]:
    """The files that pip has installed, where it did: in the environments of CI it always has."""
    return {str(path) for path in importlib.metadata.files("warppool") or ()}


def test_files_that_are_no_modules_are_in_the_wheel(tmp_path):
    found = built(tmp_path) if find_spec("setuptools") else installed()
    assert {"warppool/page/page.html", "warppool/page/static/page.css", "warppool/page/static/page.js",
            "warppool/page/static/uPlot-LICENSE.txt", "warppool/web/openapi.json"} <= set(DATA)
    assert [name for name in DATA if name not in found] == []
    assert "warppool/page/assets.py" in found


def test_every_manual_page_is_installed():
    assert lines("options.data_files", "share/man/man1") == {
        path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "docs/man").glob("*.1")}


def test_who_installs_the_tests_has_what_the_web_needs():
    """Its tests are left out where its packages are missing. CI installs the extra `test`, so none is left out."""
    assert lines("options.extras_require", "web") <= lines("options.extras_require", "test")
    quick_start = (CHECKOUT / "README.rst").read_text(encoding="utf-8")
    assert ".venv/bin/pip install '.[regtest,test]' && .venv/bin/python -m pytest\n" in quick_start
    assert "extras = regtest, test\n" in (CHECKOUT / "tox.ini").read_text(encoding="utf-8")

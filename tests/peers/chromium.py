"""A real browser, driven by WebDriver (W3C): Debian's chromium, headless, with nothing but the standard library.

It says what a page asked for and what its console said, and shows the page in either theme at any width.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S

_STARTED = re.compile(r"started successfully on port (\d+)")
_WAITING = """
    const [condition, done] = [new Function('return ' + arguments[0]), arguments[1]];
    const look = () => condition() ? done(true) : setTimeout(look, 20);
    look();"""


def has_chromium() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window."""

    def __init__(self, port: int, folder: Path) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        options = {"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}"]}
        asked = {"browserName": "chrome", "goog:chromeOptions": options,
                 "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                 "timeouts": {"script": int(1000 * PATIENCE_S), "pageLoad": int(1000 * PATIENCE_S)}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self._session = f"/session/{session['sessionId']}"

    def open(self, url: str) -> None:
        """Load the page with all that belongs to it."""
        self._ask("url", url=url)

    def run(self, script: str, *args: object) -> Any:
        """What the function body `script` returns."""
        return self._ask("execute/sync", script=script, args=list(args))

    def wait_for(self, condition: str) -> None:
        """Until the expression is true in the page."""
        assert self._ask("execute/async", script=_WAITING, args=[condition])

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        steps = [{"type": step, "value": key} for key in keys for step in ("keyDown", "keyUp")]
        self._ask("actions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    def show(self, width: int, height: int, theme: str) -> None:
        """As on a screen of `width`, to a reader who prefers `theme` (light or dark)."""
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                       mobile=False)
        self._devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def without_script(self, is_without: bool) -> None:
        """As to a reader who allows no scripts."""
        self._devtools("Emulation.setScriptExecutionDisabled", value=is_without)

    def picture(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def complaints(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._ask("se/log", type="browser")]

    def requests(self) -> list[str]:
        """The URLs that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._ask("se/log", type="performance")]
        return [message["params"]["request"]["url"] for message in messages
                if message["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        """End the browser."""
        self._call("DELETE", self._session)
        self._line.close()

    def _devtools(self, command: str, **params: object) -> Any:
        return self._ask("goog/cdp/execute", cmd=command, params=params)

    def _ask(self, command: str, **body: object) -> Any:
        return self._call("POST", f"{self._session}/{command}", body)

    def _call(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        self._line.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        value = json.loads(self._line.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Chromium and its driver, whose files are in `folder`, until the test is through."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              cwd=folder)
    try:
        assert driver.stdout is not None
        found = next(match for match in map(_STARTED.search, driver.stdout) if match)
        window = Browser(int(found[1]), folder)
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait()
        if driver.stdout is not None:
            driver.stdout.close()

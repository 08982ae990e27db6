"""Headless Chromium, driven as the W3C's WebDriver says, through the chromedriver of the same Debian release.

Hides the protocol: it is JSON over HTTP, and the few commands that the tests need are cheaper than a package of ours
and its lock. Promises that browser and driver end with the `with`, and that no message of the console is lost.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import peers

WIDTH, HEIGHT = 1400, 1000
COMMAND_SECONDS = 120.0

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root, and only our own pages are opened
    "--use-angle=swiftshader",  # WebGL 2 without a graphics card
    "--enable-unsafe-swiftshader",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--window-size={WIDTH},{HEIGHT}",
)


class PageFailed(Exception):
    """The page's JavaScript threw: what was asked for is not there (yet)."""


class Browser:
    """One open window."""

    def __init__(self, address: str) -> None:
        """Open a window with the driver at `address`."""
        options = {"binary": peers.program("chromium"), "args": list(_FLAGS)}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._address = address
        opened = self._command("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._address += f"/session/{opened['sessionId']}"

    def close(self) -> None:
        """End the browser."""
        self._command("DELETE", "")

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._command("POST", "/url", {"url": url})

    def ask(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page (`return ...`, `arguments[0]`) and give what it returns."""
        return self._command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def double_click(self, left: float, top: float) -> None:
        """Press the mouse twice at a point of the window, in pixels."""
        there = {"type": "pointerMove", "duration": 0, "x": round(left), "y": round(top)}
        press = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        pointer = {"type": "pointer", "id": "mouse", "actions": [there, *press, *press]}
        self._command("POST", "/actions", {"actions": [pointer]})

    def console(self) -> list[dict[str, Any]]:
        """Give the console's messages since the last call: `level`, `source`, `message`."""
        messages: list[dict[str, Any]] = self._command("POST", "/se/log", {"type": "browser"})
        return messages

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._command("GET", "/screenshot")))

    def _command(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, content, fields, method=method)
        try:
            with urllib.request.urlopen(request, timeout=COMMAND_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            said = json.load(error)["value"]
            kind = PageFailed if said["error"] == "javascript error" else AssertionError
            raise kind(f"{path}: {said['message'][:500]}") from error


@contextmanager
def chromium(log: Path) -> Iterator[Browser]:
    """Run Chromium for the time of the `with`. Missing where it is not installed."""
    peers.program("chromium")
    port = peers.free_port()
    with peers.started("chromedriver", f"--port={port}", port=port, log=log):
        browser = Browser(f"http://{peers.LOOPBACK}:{port}")
        try:
            yield browser
        finally:
            browser.close()

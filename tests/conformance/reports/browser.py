"""A real headless browser for tests: found on the machine, driven over its debugging pipe, with no package for it."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
#: Where a browser lies that no PATH leads to.
PLACES: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
INSTALLED: Final = ("chromium-*/chrome-linux*/chrome", "chromium_headless_shell-*/chrome-linux*/headless_shell")
SECONDS: Final = 60.0
#: The browser reads commands from descriptor 3 and writes answers to 4.
_BEGIN: Final = """
import fcntl, os, sys
r, w = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3])
os.dup2(r, 3), os.dup2(w, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
ARGUMENTS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-extensions", "--disable-sync", "--disable-component-update",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def find() -> str | None:
    """Return a browser of the Chromium family: ``OPMUX_TEST_BROWSER``, one on PATH, or an installed one."""
    given = os.environ.get("OPMUX_TEST_BROWSER")
    if given:
        return shutil.which(given)
    on_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    caches = [Path.home() / ".cache" / "ms-playwright", Path.home() / "Library" / "Caches" / "ms-playwright"]
    installed = [str(p) for cache in caches for pattern in INSTALLED for p in sorted(cache.glob(pattern))]
    return on_path or next(iter([*installed, *(p for p in PLACES if Path(p).exists())]), None)


class Browser:
    """A running browser."""

    def __init__(self, process: subprocess.Popen[bytes], reading: int, writing: int) -> None:
        self._process, self._reading, self._writing = process, reading, writing
        self._rest, self._count, self.events = b"", 0, list[dict[str, Any]]()

    def call(self, method: str, session: str | None = None, /, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command; what happens meanwhile is kept in ``events``."""
        self._count += 1
        sent: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        os.write(self._writing, json.dumps(sent | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            said = self._receive()
            if said.get("id") == self._count:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                result: dict[str, Any] = said["result"]
                return result
            self.events.append(said)

    def wait_for(self, method: str) -> None:
        """Return when an event has come."""
        while not any(e.get("method") == method for e in self.events):
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(deadline - time.monotonic(), 0))
            chunk = os.read(self._reading, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError(f"the browser says nothing (exit status {self._process.poll()})")
            self._rest += chunk
        text, _, self._rest = self._rest.partition(b"\0")
        received: dict[str, Any] = json.loads(text)
        return received

    def open(self, path: Path, *, fragment: str = "", width: int = 1300, dark: bool = False) -> Tab:
        """Return a tab that has loaded a page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        self.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        tab.call("Page.navigate", url=path.resolve().as_uri() + (f"#{fragment}" if fragment else ""))
        self.wait_for("Page.loadEventFired")
        return tab


class Tab:
    """One page in a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, after what it has started is done."""
        said = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in said:
            raise RuntimeError(str(said["exceptionDetails"]["exception"].get("description")))
        return said["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        said = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(said["data"]))

    @property
    def requests(self) -> list[str]:
        """Everything that the page has asked for, itself left out."""
        asked = [e["params"]["request"]["url"] for e in self._events("Network.requestWillBeSent")]
        return [url for url in asked[1:] if not url.startswith("data:")]

    @property
    def problems(self) -> list[str]:
        """Errors of scripts, of the console, and of the content security policy."""
        thrown = [str(e["params"]["exceptionDetails"]) for e in self._events("Runtime.exceptionThrown")]
        logged = [e["params"]["entry"] for e in self._events("Log.entryAdded")]
        said = [str(e["params"]["args"]) for e in self._events("Runtime.consoleAPICalled")]
        return thrown + [str(entry) for entry in logged if entry["level"] in ("error", "warning")] + said

    def _events(self, method: str) -> Iterator[dict[str, Any]]:
        return (e for e in self._browser.events if e.get("method") == method)


@contextmanager
def running(executable: str, profile: Path) -> Iterator[Browser]:
    """Run a browser with a fresh profile."""
    (child_reads, we_write), (we_read, child_writes) = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [
            sys.executable, "-c", _BEGIN, str(child_reads), str(child_writes),
            executable, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank",
        ],
        pass_fds=(child_reads, child_writes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(child_reads)
    os.close(child_writes)
    browser = Browser(process, we_read, we_write)
    try:
        yield browser
        browser.call("Browser.close")
        process.wait(SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(we_read)
        os.close(we_write)

"""Headless Chromium over the W3C WebDriver protocol, with a fake camera."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
PATIENCE_S = 60
_POLL_S = 0.02
KEEP_PEERS = """
window.peers = [];
window.stats = null;
const Original = RTCPeerConnection;
window.RTCPeerConnection = class extends Original {
  constructor(...given) { super(...given); window.peers.push(this); }
  createDataChannel(...given) {
    const channel = super.createDataChannel(...given);
    channel.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "stats") window.stats = message;
    });
    return channel;
  }
};
"""
RECEIVED = """
const report = await window.peers.at(-1).getStats();
return [...report.values()].find((each) => each.type === 'inbound-rtp' && each.kind === 'video');
"""
NUM_DECODED = f"return (await (async () => {{ {RECEIVED} }})())?.framesDecoded ?? 0;"


def missing_program() -> str | None:
    """The name of what a browser test needs and is not there."""
    return next((name for name in ("chromium", "chromedriver") if not shutil.which(name)), None)


class Browser:
    """One window; its pages are asked by scripts.

    Args:
        address: of the WebDriver.
        pid: of its process, the parent of the browser's.
    """

    def __init__(self, address: str, pid: int) -> None:
        self._address = address
        self.pid = pid

    def _send(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self._address}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def begin(self, folder: Path, flags: list[str]) -> None:
        """Open the window with a new profile in `folder`."""
        options = {"args": [*flags, f"--user-data-dir={folder}"], "binary": "/usr/bin/chromium"}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._send("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._address = f"{self._address}/session/{answer['sessionId']}"

    def end(self) -> None:
        """Close the window."""
        self._send("", method="DELETE")

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._send("/url", {"url": url})

    def script(self, text: str, *arguments: object) -> Any:
        """Run a function body in the page; a promise is awaited."""
        return self._send("/execute/sync", {"script": text, "args": list(arguments)})

    def wait(self, condition: str, *arguments: object) -> Any:
        """Wait until a JavaScript expression is true; its value.

        Raises:
            AssertionError: it stayed false.
        """
        until = time.monotonic() + PATIENCE_S
        while not (value := self.script(f"return {condition}", *arguments)):
            if time.monotonic() > until:
                state = self.script("return document.getElementById('state')?.textContent")
                raise AssertionError(f"stayed false: {condition}; the page says {state!r}")
            time.sleep(_POLL_S)
        return value

    def click(self, selector: str) -> None:
        """Click as a person does: scrolled to and not covered."""
        found = self._send("/element", {"using": "css selector", "value": selector})
        self._send(f"/element/{found[ELEMENT]}/click")

    def press(self, key: str) -> None:
        """Press and release a key where the focus is."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._send("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def give_file(self, selector: str, path: Path) -> None:
        """Choose a file in a file input."""
        found = self._send("/element", {"using": "css selector", "value": selector})
        self._send(f"/element/{found[ELEMENT]}/value", {"text": str(path)})

    def logged(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: "browser" (console) or "performance" (requests)."""
        return self._send("/se/log", {"type": kind})  # type: ignore[no-any-return]

    def devtools(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol."""
        return self._send("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        """Give the page a viewport of exactly this size."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def prefer(self, scheme: str) -> None:
        """Let the page see a user who prefers "dark" or "light"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG."""
        taken = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def open_browser(flags: list[str] = FLAGS) -> Iterator[Browser]:
    """A window in a browser of its own, gone afterwards with its profile."""
    command = ["chromedriver", "--port=0", "--log-level=SEVERE"]
    driver = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    folder = Path(tempfile.mkdtemp(prefix="page-test-"))
    try:
        browser = Browser(f"http://127.0.0.1:{_port(driver)}", driver.pid)
        browser.begin(folder, flags)
        try:
            yield browser
        finally:
            browser.end()
    finally:
        driver.terminate()
        driver.communicate(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _port(driver: subprocess.Popen[str]) -> int:
    assert driver.stdout is not None
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.rstrip().rstrip(".").rsplit(" ", 1)[1])
    raise AssertionError("chromedriver ended before it listened")

"""The page in a real browser with a numbered camera, and what it saw of its own frames.

Both videos are read in the same page, in the callback of each frame, on the page's clock; what
counts is when the page could read the frame's pixels, which is about one refresh of the screen
after the compositor took it, so that nothing is flattered. Two latencies come of it. "Preview to
result": from a number's display in the camera's preview to its display in the result; it is what a
person compares, and leaves out what both share. "Capture to display": from the time the browser's
camera took the frame (`captureTime`) to the display of the result: glass to glass but for the
sensor and the screen. The second is the longer one, and the one to judge by.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamer.bench import counter
from streamer.bench.browser import FLAGS, KEEP_PEERS, RECEIVED, Browser, open_browser
from streamer.bench.processes import cpu_seconds, descendants
from streamer.bench.timeline import Sighting
from streamer.bench.watched import Watched
from streamer.live import Picture

PERIOD = 900
_MEASURE = Path(__file__).with_name("measure.js")
_STREAMING = "document.getElementById('state-line').dataset.state === 'streaming'"
_KEPT = ("framesDecoded", "framesDropped", "freezeCount", "packetsLost", "nackCount", "pliCount",
         "frameWidth", "frameHeight", "jitterBufferDelay", "jitterBufferEmittedCount",
         "jitterBufferMinimumDelay", "totalDecodeTime", "totalProcessingDelay")  # fmt: skip


def watch_page(url: str, paint: Callable[[int], Picture], seconds: float) -> Watched:
    """Open the page, start it, and read the numbers of its frames for a while.

    Args:
        url: of the server's page.
        paint: makes the camera's picture of a number.
        seconds: from the first edited frame.
    """
    with tempfile.TemporaryDirectory(prefix="bench-camera-") as folder:
        camera = Path(folder) / "camera.mjpeg"
        counter.write_camera(camera, map(paint, range(PERIOD)))
        with open_browser([*FLAGS, f"--use-file-for-fake-video-capture={camera}"]) as browser:
            _start(browser, url)
            cpu_s = _cpu_s(browser)
            time.sleep(seconds)
            return _gathered(browser, _cpu_s(browser) - cpu_s)


def _start(browser: Browser, url: str) -> None:
    browser.resize(1280, 900)
    browser.open(url)
    browser.script(KEEP_PEERS)
    browser.wait("document.querySelectorAll('.portrait').length > 0")
    for selector in (".portrait", "#consent"):
        browser.click(selector)
    browser.script("if (document.getElementById('mirror').checked) "
                   "document.getElementById('mirror').click()")  # fmt: skip
    browser.click("#start")
    browser.wait(_STREAMING)
    browser.script(
        _MEASURE.read_text("utf-8"),
        counter.COLUMNS, counter.ROWS, counter.WIDTH_PART, counter.HEIGHT_PART,
    )  # fmt: skip


def _gathered(browser: Browser, cpu_s: float) -> Watched:
    preview, remote = (
        browser.script(f"return window.bench.{name}") for name in ("preview", "remote")
    )
    received: dict[str, Any] = browser.script(RECEIVED) or {}
    stats = browser.script("return window.stats") or {}
    return Watched(
        captured=[_sighting(one, one[2]) for one in preview if one[2] is not None],
        previewed=[_sighting(one, one[1]) for one in preview],
        returned=[_sighting(one, one[1]) for one in remote],
        period=PERIOD,
        received={name: received[name] for name in _KEPT if name in received},
        stages_ms=stats.get("stages_ms", {}),
        cpu_s=cpu_s,
        client=str(browser.script("return navigator.userAgent")),
    )


def _sighting(sample: list[Any], time_ms: float) -> Sighting:
    return Sighting(number=counter.checked(int(sample[0])), time_s=time_ms / 1000)


def _cpu_s(browser: Browser) -> float:
    return sum(cpu_seconds(pid) for pid in descendants(browser.pid))

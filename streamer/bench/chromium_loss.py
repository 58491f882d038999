"""The page in a real browser behind a bad network: all of its media goes through the relay."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from streamer.bench import counter
from streamer.bench.browser import FLAGS, KEEP_PEERS, RECEIVED, Browser, open_browser
from streamer.bench.live_client import Seen
from streamer.bench.relay import Relay, hide_candidates

_MEASURE = Path(__file__).with_name("measure.js")
_STREAMING = "document.getElementById('state-line').dataset.state === 'streaming'"
_COUNTED = ("framesDecoded", "keyFramesDecoded", "freezeCount", "packetsLost", "nackCount",
            "pliCount", "retransmittedPacketsReceived")  # fmt: skip
# The page's offer names nobody and its answer is rewritten in Python, which sees it by WebDriver.
_THROUGH_RELAY = """
const Kept = RTCPeerConnection;
const nobody = %s;
window.RTCPeerConnection = class extends Kept {
  get localDescription() {
    const told = super.localDescription;
    if (!told) return told;
    const [head, ...sections] = told.sdp.replace(/a=candidate:.*\\r\\n/g, "").split(/^(?=m=)/m);
    return { type: told.type, sdp: head + sections.map((one) => one + nobody).join("") };
  }
  async setRemoteDescription(answer) {
    window.answer = answer.sdp;
    while (!window.rewritten) await new Promise((resolve) => setTimeout(resolve, 10));
    return super.setRemoteDescription({ type: answer.type, sdp: window.rewritten });
  }
};
const ask = window.fetch;
window.fetch = (url, options) => options?.method === "PATCH"
  ? Promise.resolve(new Response(null, { status: 204 })) : ask(url, options);
"""

Spells = Callable[[], Awaitable[None]]


async def watch_page_through(
    relay: Relay, url: str, camera: Path, spells: Spells
) -> tuple[list[Seen], dict[str, float]]:
    """Stream the page through the relay while the network changes.

    Args:
        relay: of this loop.
        url: of the server's page.
        camera: MJPEG with numbers, see `counter.write_camera`.
        spells: lets the network change; awaited once the page is streaming.

    Returns:
        What the page showed, by our `time.monotonic`, and the receiver's counters.
    """
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
    window = open_browser(flags)
    browser = await asyncio.to_thread(window.__enter__)
    try:
        await asyncio.to_thread(_begin, browser, url)
        answer = await asyncio.to_thread(browser.wait, "window.answer")
        rewritten = await relay.rewrite_answer(str(answer))
        await asyncio.to_thread(_go_on, browser, rewritten)
        offset_s = await asyncio.to_thread(_offset_s, browser)
        await spells()
        return await asyncio.to_thread(_gathered, browser, offset_s)
    finally:
        await asyncio.to_thread(window.__exit__, None, None, None)


def _begin(browser: Browser, url: str) -> None:
    nobody = hide_candidates("m=").removeprefix("m=")
    browser.resize(1280, 900)
    browser.open(url)
    browser.script(KEEP_PEERS)
    browser.script(_THROUGH_RELAY % json.dumps(nobody))
    browser.wait("document.querySelectorAll('.portrait').length > 0")
    for selector in (".portrait", "#consent"):
        browser.click(selector)
    browser.script("if (document.getElementById('mirror').checked) "
                   "document.getElementById('mirror').click()")  # fmt: skip
    browser.click("#start")


def _go_on(browser: Browser, answer: str) -> None:
    browser.script("window.rewritten = arguments[0]", answer)
    browser.wait(_STREAMING)
    browser.script(
        _MEASURE.read_text("utf-8"),
        counter.COLUMNS, counter.ROWS, counter.WIDTH_PART, counter.HEIGHT_PART,
    )  # fmt: skip


def _offset_s(browser: Browser) -> float:
    """What to add to the page's clock, to some milliseconds."""
    before_s = time.monotonic()
    page_ms = float(browser.script("return performance.now()"))
    return (before_s + time.monotonic()) / 2 - page_ms / 1000


def _gathered(browser: Browser, offset_s: float) -> tuple[list[Seen], dict[str, float]]:
    preview, remote = (
        browser.script(f"return window.bench.{name}") for name in ("preview", "remote")
    )
    received: dict[str, Any] = browser.script(RECEIVED) or {}
    counted = {name: float(received[name]) for name in _COUNTED if name in received}
    return matched(preview, remote, offset_s), counted


def matched(preview: list[list[Any]], remote: list[list[Any]], offset_s: float) -> list[Seen]:
    """Each returned frame with the last time before at which the preview showed its number.

    Args:
        preview: samples of measure.js.
        remote: likewise.
        offset_s: of the page's clock.
    """
    shown = [(counter.checked(int(word)), ms) for word, ms, _ in preview if word >= 0]
    found, last_ms, next_shown = [], dict[int, float](), 0
    for word, came_ms, _ in remote:
        while next_shown < len(shown) and shown[next_shown][1] <= came_ms:
            number, ms = shown[next_shown]
            next_shown += 1
            if number is not None:
                last_ms[number] = ms
        answered = counter.checked(int(word)) if word >= 0 else None
        if answered is not None and answered in last_ms:
            sent_s, came_s = (ms / 1000 + offset_s for ms in (last_ms[answered], came_ms))
            found.append(Seen(number=answered, came_s=came_s, sent_s=sent_s))
    return found

"""What the tests of the page do with it."""

import time
from typing import Any

from streamer.bench.browser import KEEP_PEERS, PATIENCE_S, Browser
from webclient.fake_server import FakeServer

IS_LIVE = "document.getElementById('state-line').dataset.state === 'streaming'"
MOVE_SLIDER = """
const slider = document.querySelector('input[name=strength]');
slider.value = arguments[0];
slider.dispatchEvent(new Event('input', { bubbles: true }));
"""


def show(page: Browser, url: str) -> None:
    page.open(url)
    page.wait("document.querySelectorAll('.portrait').length === 3")


def start(page: Browser) -> None:
    page.script(KEEP_PEERS)
    page.click(".portrait")
    page.click("#consent")
    page.wait("!document.getElementById('start').disabled")
    page.click("#start")


def start_and_wait(page: Browser) -> None:
    start(page)
    page.wait(IS_LIVE)
    page.wait("document.getElementById('remote').videoWidth > 0")


def server_has(server: FakeServer, page: Browser, controls: dict[str, Any]) -> None:
    """Wait, as long as for the page, until the server got these controls."""
    until = time.monotonic() + PATIENCE_S
    while controls not in controls_sent(server):
        assert time.monotonic() < until, f"the server never got {controls}"
        page.script("return 0")


def controls_sent(server: FakeServer) -> list[dict[str, Any]]:
    return [
        request["controls"] for request in server.behaviour.requests if request["type"] == "set"
    ]

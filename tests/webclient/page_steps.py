"""What the tests of the page do with it."""

import time
from collections.abc import Callable
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
    _wait(page, lambda: controls in controls_sent(server), f"the server never got {controls}")


def server_was_told_of_sound(server: FakeServer, page: Browser, actions: list[str]) -> None:
    """Wait until the server was told these of sound, in this order, and no others."""
    requests = server.behaviour.requests
    _wait(
        page,
        lambda: actions == [each["action"] for each in requests if each["type"] == "sound"],
        f"the server was never told {actions} of sound",
    )


def _wait(page: Browser, is_so: Callable[[], bool], problem: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, problem
        page.script("return 0")


def controls_sent(server: FakeServer) -> list[dict[str, Any]]:
    return [
        request["controls"] for request in server.behaviour.requests if request["type"] == "set"
    ]

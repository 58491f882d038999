"""The page in a real browser, and the fake server it talks to."""

from collections.abc import Iterator

import pytest

from streamer.bench.browser import Browser, open_browser
from webclient.fake_server import FakeServer
from webclient.page_steps import show


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def page(window: Browser, server: FakeServer) -> Iterator[Browser]:
    """The page, loaded; left again afterwards, so that it does not try to reconnect."""
    window.resize(1280, 800)
    window.logged("browser")
    window.logged("performance")
    show(window, server.url)
    yield window
    window.open("about:blank")

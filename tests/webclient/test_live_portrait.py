"""The whole product: a real browser with a talking head for a camera, the real server and model."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.bench.browser import (
    FLAGS,
    KEEP_PEERS,
    NUM_DECODED,
    Browser,
    missing_program,
    open_browser,
)

pytestmark = [
    pytest.mark.skipif(
        missing_program() is not None, reason=f"needs {missing_program()}, which is not installed"
    ),
    pytest.mark.timeout(300),
]
NUM_LOOKS = 12
LOOK = """
const canvas = new OffscreenCanvas(64, 64);
const context = canvas.getContext('2d');
context.drawImage(document.getElementById('remote'), 0, 0, 64, 64);
return [...context.getImageData(0, 0, 64, 64).data];
"""


@pytest.fixture(scope="module")
def camera(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The talking man as Chromium takes a fake camera's pictures: MJPEG, played in a loop."""
    path = tmp_path_factory.mktemp("camera") / "man.mjpeg"
    with av.open(str(carphone)) as source, path.open("wb") as sink:
        for frame in source.decode(video=0):
            picture = cv2.resize(frame.to_ndarray(format="bgr24"), (640, 480))
            sink.write(cv2.imencode(".jpg", picture)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def address(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server, warm, on a free port."""
    logs = tmp_path_factory.mktemp("sessions")
    command = [sys.executable, "-u", "-m", "streamer.server", "--port", "0"]
    with subprocess.Popen(
        [*command, "--log_folder", str(logs), "--runtime", "eager"],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        said = "".join(iter(server.stdout.readline, "ready\n"))
        yield re.findall(r"http://\S+", said)[0]
        server.terminate()
        assert server.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def live(address: str, camera: Path) -> Iterator[Browser]:
    """The page, streaming the first portrait."""
    with open_browser([*FLAGS, f"--use-file-for-fake-video-capture={camera}"]) as browser:
        browser.resize(1280, 800)
        browser.open(address)
        browser.script(KEEP_PEERS)
        browser.wait("document.querySelectorAll('.portrait').length > 0")
        browser.click(".portrait")
        browser.click("#consent")
        browser.click("#start")
        browser.wait("document.getElementById('state-line').dataset.state === 'streaming'")
        yield browser


def decoded(browser: Browser) -> int:
    return int(browser.script(NUM_DECODED))


def seen(browser: Browser) -> np.ndarray:
    pixels = browser.script(LOOK)
    return np.array(pixels, np.uint8).reshape(64, 64, 4)[..., :3].astype(float)


def test_the_portrait_moves_in_the_browser(live: Browser) -> None:
    looks = []
    for number in range(NUM_LOOKS):
        start = decoded(live)
        live.wait(f"{number} >= 0")
        while decoded(live) < start + 2:
            live.script("await new Promise(requestAnimationFrame)")
        looks.append(seen(live))
    shown = np.stack(looks)
    background = shown[:, 30:60, :4].std(0).mean()
    face = shown[:, 16:44, 20:44].std(0).mean()
    assert face > 1.5
    assert face > 2 * background


def test_what_comes_back_is_the_portrait_and_not_the_camera(live: Browser) -> None:
    """The man sits in a car with a blue seat; the portrait is a woman before plain grey."""
    corner = seen(live)[30:60, :4]
    assert np.ptp(corner.mean((0, 1))) < 25
    assert corner.std() < 25

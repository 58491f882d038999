"""The whole product: a real browser with a talking head for a camera, the real server and model."""

import re
import subprocess
import sys
import urllib.request
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
from streamer.label import Label
from streamer.verify import verify

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
HEARD = """
const reports = await window.peers.at(-1).getStats();
const received = [...reports.values()].filter(({ type }) => type === 'inbound-rtp');
return received.find(({ kind }) => kind === 'audio')?.packetsReceived ?? 0;
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
        encoding="utf-8",
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


def test_ones_own_sound_comes_back_only_while_it_is_played(live: Browser) -> None:
    before = live.script(HEARD)
    live.click("#sound")
    live.wait(f"(async () => {{ {HEARD} }})().then((now) => now > arguments[0] + 50)", before)
    live.click("#sound")
    last = -1
    while last != (last := live.script(HEARD)):
        live.script("await new Promise((resolve) => setTimeout(resolve, 500))")
    start = decoded(live)
    while decoded(live) < start + 5:
        live.script("await new Promise(requestAnimationFrame)")
    assert live.script(HEARD) == last


@pytest.mark.parametrize(("view", "width"), [("edited", 1), ("side_by_side", 2)])
def test_what_is_recorded_is_downloaded_labelled_and_signed(
    live: Browser, address: str, tmp_path: Path, view: str, width: int
) -> None:
    number = live.script("return document.querySelectorAll('#downloads a').length")
    live.script("document.getElementById('record-view').value = arguments[0]", view)
    live.press("v")
    live.wait("document.getElementById('record-time').textContent === '0:02'")
    live.press("v")
    live.wait(f"document.querySelectorAll('#downloads a').length === {number + 1}")
    link = live.script("return [...document.querySelectorAll('#downloads a')].at(-1).href")
    with urllib.request.urlopen(link) as answer:
        (tmp_path / "recording.mp4").write_bytes(answer.read())
    assert verify(tmp_path / "recording.mp4").is_good
    with av.open(str(tmp_path / "recording.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height = frames[0].shape[0]
    assert frames[0].shape[1] == width * height
    if view == "side_by_side":
        assert frames[-1][:, :height].std() > 20
    plate = Label().box(height, height)
    written = frames[-1][plate[1] : plate[3], (width - 1) * height :][:, plate[0] : plate[2]]
    assert np.ptp(written.mean(-1)) > 80

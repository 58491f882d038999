"""The sliders and switches of the page, in a real browser."""

import pytest

from streamer.bench.browser import Browser, missing_program
from streamer.controls import SLOW, controls_schema
from webclient.fake_server import FakeServer
from webclient.page_steps import MOVE_SLIDER, server_has, start_and_wait

pytestmark = pytest.mark.skipif(
    missing_program() is not None, reason=f"needs {missing_program()}, which is not installed"
)
LIGHT = [
    "light", "light_from", "light_preset", "light_strength", "light_azimuth", "light_elevation",
    "light_temperature", "light_ambient",
]  # fmt: skip
GROUPS = """
return [...document.querySelectorAll('#controls [role=group]')].map((group) => [
  document.getElementById(group.getAttribute('aria-labelledby')).textContent,
  ...new Set(
    [...group.querySelectorAll('input, select')].map((input) => input.name.replace('control-', '')),
  ),
]);
"""


def move(page: Browser, name: str, value: float) -> None:
    page.script(MOVE_SLIDER.replace("strength", name), value)


def test_the_controls_of_the_schema_are_in_groups_with_mirroring_at_the_camera(
    page: Browser, server: FakeServer
) -> None:
    groups = {title: names for title, *names in page.script(GROUPS)}
    assert list(groups) == ["Motion", "Pose", "Face", "Eyes", "Light", "Background", "Picture"]
    assert groups["Light"] == LIGHT
    shown = sorted(name for names in groups.values() for name in names)
    assert shown == sorted(set(controls_schema()) - {"mirror"})


def test_light_and_regions_are_sent_and_each_group_is_reset_alone(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    move(page, "light_azimuth", -45)
    server_has(server, page, {"light_azimuth": -45})
    page.script("document.querySelector('input[name=eyes]').click()")
    server_has(server, page, {"eyes": False})
    move(page, "strength", 0.5)
    server_has(server, page, {"strength": 0.5})
    page.script("document.querySelector('button[aria-label=\"Reset: Light\"]').click()")
    light = {name: controls_schema()[name]["default"] for name in LIGHT if name not in SLOW}
    server_has(server, page, light)
    page.wait("document.querySelector('output[for=control-light_azimuth]').value === '–'")
    assert page.script("return document.querySelector('input[name=strength]').value") == "0.5"
    assert not page.script("return document.querySelector('input[name=eyes]').checked")


def test_mirroring_is_changed_by_the_control_and_kept_through_a_reset(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    page.script("document.getElementById('mirror').click()")
    server_has(server, page, {"mirror": False})
    assert len(server.behaviour.offers) == 1
    preview = "document.getElementById('preview').classList.contains('mirrored')"
    assert not page.script(f"return {preview}")
    page.script("document.getElementById('mirror').click()")
    server_has(server, page, {"mirror": True})
    page.script("document.getElementById('controls-default').click()")
    everything = {n: e["default"] for n, e in controls_schema().items() if n != "mirror"}
    server_has(server, page, {n: value for n, value in everything.items() if n not in SLOW})
    server_has(server, page, {n: value for n, value in everything.items() if n in SLOW})
    assert page.script("return document.getElementById('mirror').checked")

"""The sliders and switches of the page, in a real browser."""

import pytest

from streamer.bench.browser import Browser, missing_program
from streamer.controls import SLOW, controls_schema
from webclient.fake_server import SKINS, FakeServer
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


def move(page: Browser, name: str, value: float | str) -> None:
    page.script(MOVE_SLIDER.replace("strength", name), value)


def test_the_controls_of_the_schema_are_in_groups_with_mirroring_at_the_camera(
    page: Browser, server: FakeServer
) -> None:
    groups = {title: names for title, *names in page.script(GROUPS)}
    assert list(groups) == [
        "Motion", "Pose", "Face", "Eyes", "Light", "Background", "Hair and clothes", "Picture",
    ]  # fmt: skip
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


def choose(page: Browser, name: str, value: str) -> None:
    page.script(
        "const list = document.querySelector(`select[name=${arguments[0]}]`);"
        "list.value = arguments[1];"
        "list.dispatchEvent(new Event('change', { bubbles: true }));",
        name,
        value,
    )


def test_attributes_are_taken_from_portraits_of_the_gallery_and_given_back(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    offered = page.script(
        "return [...document.querySelector('select[name=expression_from]').options]"
        ".map((option) => option.value)"
    )
    assert offered == ["", *SKINS]
    choose(page, "expression_from", "ben")
    server_has(server, page, {"expression_from": "ben"})
    choose(page, "expression_from", "")
    server_has(server, page, {"expression_from": None})


def test_a_preset_is_chosen_by_name_and_a_slider_without_a_value_says_so(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    told = "document.querySelector('output[for=control-light_azimuth]').value"
    assert page.script(f"return {told}") == "–"
    choose(page, "light_preset", "split")
    server_has(server, page, {"light_preset": "split"})
    move(page, "light_azimuth", 30)
    server_has(server, page, {"light_azimuth": 30})
    assert page.script(f"return {told}") == "30°"


def test_one_background_takes_the_place_of_another(page: Browser, server: FakeServer) -> None:
    start_and_wait(page)
    move(page, "background_blur", 12)
    none = {"background_blur": 0, "background_colour": None, "background_from": None}
    server_has(server, page, {**none, "background_blur": 12})
    move(page, "background_colour", "#1e90ff")
    server_has(server, page, {**none, "background_colour": "#1e90ff"})
    page.wait("document.querySelector('input[name=background_blur]').value === '0'")
    choose(page, "background_from", "chen")
    server_has(server, page, {**none, "background_from": "chen"})
    page.wait("document.querySelector('output[for=control-background_colour]').value === '–'")
    page.script("document.querySelector('button[aria-label=\"Reset: Background\"]').click()")
    server_has(server, page, none)
    page.wait("document.querySelector('select[name=background_from]').value === ''")
    assert page.script("return document.getElementById('controls-error').textContent") == ""


def test_anothers_light_takes_the_place_of_the_cameras(page: Browser, server: FakeServer) -> None:
    start_and_wait(page)
    page.script("document.querySelectorAll('input[name=control-light]')[1].click()")
    server_has(server, page, {"light": "driver", "light_from": None})
    choose(page, "light_from", "anna")
    server_has(server, page, {"light_from": "anna", "light": "source"})
    page.wait("document.querySelectorAll('input[name=control-light]')[0].checked")


def test_hair_and_clothes_are_taken_from_portraits_and_all_of_it_is_taken_back(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    choose(page, "hair_from", "ben")
    server_has(server, page, {"hair_from": "ben"})
    move(page, "hair_strength", 0.5)
    server_has(server, page, {"hair_strength": 0.5})
    page.script("document.querySelectorAll('input[name=control-swap]')[1].click()")
    server_has(server, page, {"swap": "tokens"})
    page.script("document.querySelector('input[name=show_slots]').click()")
    server_has(server, page, {"show_slots": True})
    page.script("document.querySelector('button[aria-label=\"Reset: Hair and clothes\"]').click()")
    schema = controls_schema()
    worn = ("hair_from", "hair_strength", "clothes_from", "clothes_strength", "swap")
    server_has(server, page, {name: schema[name]["default"] for name in worn})
    page.wait("document.querySelector('select[name=hair_from]').value === ''")
    assert page.script("return document.querySelector('input[name=show_slots]').checked")
